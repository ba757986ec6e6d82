"""A JSON body and the objects of its envelope, which must have their shape: resources, scopes, records.

Bodies are read by orjson where it reads them as they are, else by :mod:`semconv.json_exact`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce
from typing import Any, Final, TypeVar

import orjson

from semconv import json_exact
from semconv.otlp import DecodeError, TooDeep

Object = dict[str, Any]
Path = tuple[str | int, ...]
# An object and where it stands in its document.
Place = tuple[Path, Object]
Read = TypeVar("Read")

_TYPES: Final = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}


class Rounded(Exception):  # noqa: N818 - a question, not a fault
    """A number is asked for exactly, and the fast parser may have rounded it."""


def parse(body: bytes) -> Object:
    """The JSON object of a body; an empty body is an empty request. DecodeError names line and column."""
    if not body:
        return {}
    request = _loads(body)
    if type(request) is not dict:
        raise DecodeError(f"the body is {_type_name(request)}; expected one JSON object")
    return request


def _loads(body: bytes) -> Any:
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(body)
    return json_exact.parse(body)


def _type_name(value: Any) -> str:
    return _TYPES.get(type(value), "null" if value is None else "a number")


class Document:
    """A body's object; the places in it that orjson rounded are read once more, exactly."""

    def __init__(self, body: bytes) -> None:
        """DecodeError as ``parse``."""
        self.root = parse(body)
        self._body = body
        self._exact: Object | None = None

    def read(self, reader: Callable[[Object], Read], place: Place) -> Read:
        """What ``reader`` makes of a place. Its DecodeErrors get the place's name in front."""
        path, value = place
        try:
            try:
                return reader(value)
            except Rounded:
                return reader(self._exactly(path))
        except DecodeError as error:
            raise DecodeError(f"{_name(path)}.{error}") from error

    def _exactly(self, path: Path) -> Any:
        if self._exact is None:
            self._exact = json_exact.parse(self._body)
        return reduce(lambda parent, key: parent[key], path, self._exact)


def objects(path: Path, parent: Object, key: str) -> Iterator[Place]:
    """The objects of an array that may be absent, each with its place; DecodeError for anything else."""
    values = parent.get(key)
    if values is None:
        return
    if type(values) is not list:
        raise DecodeError(f"{_name((*path, key))} is {_type_name(values)}; expected an array")
    for number, value in enumerate(values):
        if type(value) is not dict:
            raise DecodeError(f"{_name((*path, key, number))} is {_type_name(value)}; expected an object")
        yield (*path, key, number), value


def _check_member(path: Path, parent: Object, key: str) -> None:
    """DecodeError for what is neither an object nor absent."""
    if not isinstance(value := parent.get(key), dict | None):
        raise DecodeError(f"{_name((*path, key))} is {_type_name(value)}; expected an object")


def _name(path: Path) -> str:
    """``resourceSpans[0].scopeSpans[1]``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def envelope(document: Document, signal: str, item: str) -> Iterator[tuple[Place, Place, list[Place]]]:
    """(resource group, scope group, [record, …]) of a request: ``signal`` Spans, ``item`` spans, …"""
    for resource_group in objects((), document.root, f"resource{signal}"):
        _check_member(*resource_group, "resource")
        for scope_group in objects(*resource_group, f"scope{signal}"):
            _check_member(*scope_group, "scope")
            yield resource_group, scope_group, list(objects(*scope_group, item))


# --- depth ----------------------------------------------------------------------------------------

_NESTING: Final = frozenset({"arrayValue", "kvlistValue"})
# An array with no array inside: between its brackets stand whole strings, and no quote or bracket besides. The
# quantifiers are possessive, so that no body makes the expression try twice.
_FLAT_VALUES: Final = re.compile(rb'values"\s*+:\s*+\[(?:[^\[\]"]++|"(?:[^"\\]++|\\.)*+")*+\]', re.DOTALL)
# Escapes with which the key "values" could be spelt otherwise: those of letters, \u0061 to \u007a.
_LETTER_ESCAPES: Final = (b"\\u006", b"\\u007")


def check_depth(body: bytes, document: Document, max_depth: int) -> None:
    """TooDeep where a value stands in ``max_depth`` lists and maps or more; it is one deep where it stands in none."""
    if _may_be_deep(body, max_depth) and _is_deep(document.root, max_depth):
        raise TooDeep(f"a value is nested more than {max_depth} deep")


def _may_be_deep(body: bytes, max_depth: int) -> bool:
    # Each level below the first stands in an array under the key "values", but for an empty innermost one; and all
    # of these arrays but the innermost hold a further one.
    if any(escape in body for escape in _LETTER_ESCAPES):
        return body.count(b"[") >= max_depth - 1
    arrays = body.count(b'values"')
    if arrays < max_depth - 1:
        return False
    return arrays - sum(1 for _ in _FLAT_VALUES.finditer(body)) >= max_depth - 2


def _is_deep(document: Object, max_depth: int) -> bool:
    level: list[Any] = [document]
    for _ in range(max_depth):
        nested: list[Any] = []
        while level:
            container = level.pop()
            if type(container) is dict:
                for key, value in container.items():
                    if type(value) is dict or type(value) is list:
                        (nested if key in _NESTING else level).append(value)
            else:
                level += [value for value in container if type(value) is dict or type(value) is list]
        level = nested
    return bool(level)
