"""The match clauses by which the source of prices says which ids mean a model or a provider."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Matcher = Callable[[str], bool]


def matcher(clause: Any, where: str) -> Matcher:
    """A published clause, such as ``{"or": [{"equals": "gpt-4o"}, {"starts_with": "gpt-4o-2"}]}``, as a function of
    an id in lower case. ValueError, beginning with ``where``, for what is no clause.
    """
    if not isinstance(clause, Mapping) or len(clause) != 1:
        raise unexpected(clause, where, f"one clause of {', '.join(_CLAUSES)}")
    [(kind, operand)] = clause.items()
    if kind not in _CLAUSES:
        raise unexpected(kind, where, f"one of {', '.join(_CLAUSES)}")
    return _CLAUSES[kind](operand, where)


def readable(clause: Mapping[str, Any]) -> str:
    """A clause that `matcher` took, for people: ``gpt-4o | gpt-4o-2* | /^o[134]/``."""
    [(kind, operand)] = clause.items()
    if kind in ("or", "and"):
        inner = [readable(each) for each in operand]
        return f" {'|' if kind == 'or' else '&'} ".join(
            f"({each})" if " " in each else each for each in inner
        )
    return _SHOWN[kind].format(operand)


_SHOWN: Final = {
    "starts_with": "{}*",
    "ends_with": "*{}",
    "contains": "*{}*",
    "equals": "{}",
    "regex": "/{}/",
}


def _starts_with(operand: Any, where: str) -> Matcher:
    text = _text(operand, where)
    return lambda name: name.startswith(text)


def _ends_with(operand: Any, where: str) -> Matcher:
    text = _text(operand, where)
    return lambda name: name.endswith(text)


def _contains(operand: Any, where: str) -> Matcher:
    text = _text(operand, where)
    return lambda name: text in name


def _equals(operand: Any, where: str) -> Matcher:
    text = _text(operand, where)
    return lambda name: name == text


def _regex(operand: Any, where: str) -> Matcher:
    try:
        found = re.compile(operand).search
    except (re.error, TypeError) as error:
        raise unexpected(operand, where, f"a regular expression ({error})") from error
    return lambda name: found(name) is not None


def _or(operand: Any, where: str) -> Matcher:
    clauses = _list(operand, where)
    return lambda name: any(matches(name) for matches in clauses)


def _and(operand: Any, where: str) -> Matcher:
    clauses = _list(operand, where)
    return lambda name: all(matches(name) for matches in clauses)


_CLAUSES: Final[Mapping[str, Callable[[Any, str], Matcher]]] = {
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "contains": _contains,
    "regex": _regex,
    "equals": _equals,
    "or": _or,
    "and": _and,
}


def _text(operand: Any, where: str) -> str:
    if not isinstance(operand, str):
        raise unexpected(operand, where, "a text to compare with")
    return operand.lower()


def _list(operand: Any, where: str) -> list[Matcher]:
    if not isinstance(operand, list):
        raise unexpected(operand, where, "a list of clauses")
    return [matcher(clause, where) for clause in operand]


def unexpected(found: Any, where: str, expected: str) -> ValueError:
    """The error to raise about something in a published price list; what was found is cut to some 80 characters."""
    shown = repr(found)
    return ValueError(
        f"{where}: found {shown if len(shown) < 80 else shown[:77] + '...'}, expected {expected}"
    )
