"""Documents inside attribute values: JSON as text, once or twice quoted, a dictionary as Python writes it, or a map.

Reading one is bounded and never fails: what is no document, too large or too deep counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import orjson

from semconv.otlp import Value
from semconv.values import is_small_json

Wish = TypeVar("Wish")
# A step, what is wanted there, and the tree below it.
Places = tuple[tuple[str, tuple[Wish, ...], "Places[Wish]"], ...]

# Characters of a text that is read: half of the largest request, and of what Python writes what usage and the like
# need, for to translate it takes up to a hundred times as long.
_LONGEST_JSON: Final = 32 << 20
_LONGEST_PYTHON: Final = 64 << 10
_LONGEST_QUOTED_PYTHON: Final = 4 << 10  # where texts hold quotes or escapes, which takes that long
_PYTHON_BEGINS: Final = ("{'", "['", "[{'")
_PYTHON_TOKEN: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|\b(?:None|True|False)\b""", re.DOTALL
)
_PYTHON_WORDS: Final = {"None": "null", "True": "true", "False": "false"}
# What evidence may keep of a string: an identifier or an enumerated word.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:/@+=-]{1,256}", re.ASCII)


def read_document(value: Value) -> Any:
    """The list or map that a value is or spells, else None."""
    if not isinstance(value, str):
        return value if isinstance(value, dict | list) else None
    if value[:1] == '"':
        value = _loaded(value)
    document = _of_text(value) if isinstance(value, str) else None
    return document if isinstance(document, dict | list) else None


def read_json(value: Value) -> Any:
    """The same of JSON alone: what Python writes is not read as text for text."""
    if not isinstance(value, str):
        return value if isinstance(value, dict | list) else None
    document = _loaded(value) if value.lstrip()[:1] in ("{", "[", '"') else None
    return read_json(document) if isinstance(document, str) else document


def places(wanted: Iterable[tuple[tuple[str, ...], Wish]]) -> Places[Wish]:
    """Paths with what is wanted there, as a tree; N in a path is a list's first element."""
    by_step: dict[str, list[tuple[tuple[str, ...], Wish]]] = {}
    for path, wish in wanted:
        by_step.setdefault(path[0], []).append((path[1:], wish))
    return tuple(
        (
            step,
            tuple(wish for rest, wish in below if not rest),
            places((rest, wish) for rest, wish in below if rest),
        )
        for step, below in by_step.items()
    )


def look_up(document: Any, tree: Places[Wish], found: list[tuple[Wish, Any]]) -> None:
    """Add to ``found`` what stands at the places of a tree and is not null."""
    if isinstance(document, dict):
        for step, wishes, below in tree:
            value = document.get(step)
            if value is not None:
                found += [(wish, value) for wish in wishes]
                if below:
                    look_up(value, below, found)
    elif isinstance(document, list) and document:
        for step, wishes, below in tree:
            if step == "N":
                found += [(wish, document[0]) for wish in wishes]
                look_up(document[0], below, found)


def may_be_kept(leaf: Any) -> bool:
    """Whether a value of a document is a number or an identifier, and no text."""
    if isinstance(leaf, str):
        return _IDENTIFIER.fullmatch(leaf) is not None
    return isinstance(leaf, int | float)


def _of_text(text: str) -> Any:
    if text[:1].isspace():
        text = text.lstrip()
    if text.startswith(_PYTHON_BEGINS):
        return _loaded(_as_json(text)) if len(text) <= _LONGEST_PYTHON else None
    return _loaded(text) if text.startswith(("{", "[")) else None


def _loaded(text: str) -> Any:
    if len(text) > _LONGEST_JSON or not is_small_json(text):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _as_json(text: str) -> str:
    """The JSON of what Python's repr wrote. Text with an escape or a quote in it is left out: it names nothing."""
    if '"' in text or "\\" in text:
        return _PYTHON_TOKEN.sub(_json_token, text) if len(text) <= _LONGEST_QUOTED_PYTHON else ""
    text = text.replace("'", '"')
    for word, instead in _PYTHON_WORDS.items():
        text = text.replace(f": {word}", f": {instead}")
    return text


def _json_token(match: re.Match[str]) -> str:
    token = match[0]
    inner = token[1:-1]
    return _PYTHON_WORDS.get(token) or ('""' if "\\" in inner or '"' in inner else f'"{inner}"')
