"""A YAML file as plain values, with the line of every key and ``${env:NAME}`` expanded."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

# Where a value stands: ("tokens", 0, "token").
KeyPath = tuple[str | int, ...]

_REFERENCE: Final = re.compile(r"\$\{env:(?P<name>[^}:]*)(?P<fallback>:-[^}]*)?(?P<rest>[^}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ConfigFileError(ValueError):
    """The file cannot be used. ``str()`` is one sentence that begins with where."""


class WrittenFloat(float):
    """A number with a point, and how it was written: money is read from that."""

    written: str


@dataclass(frozen=True, slots=True)
class Document:
    """What a config file says. ``lines`` has the 1-based line of every value, by path."""

    path: Path
    values: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """``file:line`` of the value or, where it is absent, of the nearest thing around it."""
        for length in range(len(path), 0, -1):
            if line := self.lines.get(path[:length]):
                return f"{self.path}:{line}"
        return str(self.path)


def read(path: Path, environ: Mapping[str, str]) -> Document:
    """Parse the file. Raises ConfigFileError: not readable, not YAML, a key twice, a variable not set."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigFileError(f"{path}: cannot read the config file: {reason}") from None
    document = Document(path, {})
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        values = None if root is None else _Builder(loader, document, environ).build(root, ())
    except yaml.YAMLError as error:
        raise ConfigFileError(_syntax(path, error)) from None
    if values is not None and not isinstance(values, dict):
        raise ConfigFileError(f"{path}: the config file must hold a mapping of keys to values")
    document.values.update(values or {})
    return document


def _syntax(path: Path, error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"{path}: not valid YAML: {' '.join(str(error).split())}"
    mark = error.problem_mark or error.context_mark
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    return f"{where}: not valid YAML: {error.problem or error.context}"


@dataclass(frozen=True, slots=True)
class _Builder:
    loader: yaml.SafeLoader
    document: Document
    environ: Mapping[str, str]

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if node.tag == "tag:yaml.org,2002:str" and "${env:" in node.value:
            return self._expand(node.value, path)
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        try:
            value = self.loader.construct_object(node)
        except ValueError:  # what looks like a date and is none
            where = self.document.where(path)
            raise ConfigFileError(f"{where}: there is no such date or number: {node.value}") from None
        if isinstance(value, float):
            value = WrittenFloat(value)
            value.written = node.value
        return value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        self._refuse_duplicates(node)
        self.loader.flatten_mapping(node)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(self.loader.construct_object(key_node))
            self.document.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.build(value_node, (*path, key))
        return result

    def _refuse_duplicates(self, node: yaml.MappingNode) -> None:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                line = key_node.start_mark.line + 1
                raise ConfigFileError(
                    f"{self.document.path}:{line}: the key {key_node.value!r} stands here twice"
                )
            if isinstance(key_node.value, str):
                seen.add(key_node.value)

    def _expand(self, text: str, path: KeyPath) -> str | None:
        """The text with its references replaced; a value that is one empty reference is no value.

        It stays text (a token of digits must not turn into a number): the model converts it where it must.
        """
        expanded = _REFERENCE.sub(lambda match: self._lookup(match, path), text)
        return None if expanded == "" and _REFERENCE.fullmatch(text) else expanded

    def _lookup(self, match: re.Match[str], path: KeyPath) -> str:
        name, fallback = match["name"], match["fallback"]
        if not _NAME.fullmatch(name) or match["rest"]:
            problem = f"{match[0]} is not a reference; write ${{env:NAME}} or ${{env:NAME:-default}}"
            raise ConfigFileError(f"{self.document.where(path)}: {problem}")
        if value := self.environ.get(name):
            return value
        if fallback is not None:
            return fallback[2:]
        if name in self.environ:
            return ""
        problem = f"the environment variable {name} is not set; set it or write ${{env:{name}:-default}}"
        raise ConfigFileError(f"{self.document.where(path)}: {problem}")
