"""Keyed hashes of a prompt and of its beginnings: what tells that two calls asked, or began, alike, and no text.

**The prompt** of a record is what the dialect tables mark with ``prompt``: tools, then system texts, then messages, in
the order in which providers look for a beginning that they have in their cache. Each part comes from one source, the
key (numbers apart) that is named first: of ``request``, the whole request under one key, is taken what no key of its
own tells. A message is one section, so is each system text, and the tools are one together.

**Normalised**: runs of white space are one space, those at the ends of a text are none; keys of maps are in order, and
marks for a cache (``cache_control``) are left out. Case, punctuation and the order of messages stay. Model, temperature
and other parameters are no part of it, answers neither.

**Boundaries** are the ends of sections, and every 4,096 bytes within one. Each has a hash of all before it, so that
two prompts have the same hash at a boundary just where they are the same up to there; and one of the text alone that
ends there, which may be the same behind another beginning. Of the 16 first boundaries all
are kept, then every 4th, of those behind the 64th every 16th, and none behind the 512th.

Hashes are BLAKE2b with a key (RFC 7693): who has not the key of the deployment cannot try texts out.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Final, Literal, get_args

import orjson

from semconv.documents import read_json
from semconv.otlp import Attributes, Value

PromptPart = Literal["tools", "system", "messages", "request"]
Section = tuple[str, Value]  # its role, one of _ROLES' values or "tools", and what it says

PROMPT_PARTS: Final[tuple[PromptPart, ...]] = get_args(PromptPart)
# 1,024 tokens or so, the fewest that most providers cache.
_WITHIN_BYTES: Final = 4096
_HASH_BYTES: Final = 16
_PREFIX_BYTES: Final = (
    8  # one in a thousand million pairs of a million prompts' beginnings would be alike by chance
)
EVENTS: Final = "~"  # the source that is named last
_DEEPEST: Final = 64
_NO_TEXT: Final = frozenset({"cache_control", "cacheControl", "cachePoint"})
_ANSWER: Final = "gen_ai.choice"
_ROLES: Final = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "ai", "model"), "assistant"),
    **dict.fromkeys(("tool", "function"), "tool"),
}
_UNNAMED: Final = "message"
# How requests of providers' and frameworks' APIs name the parts.
_NAMES: Final = {
    "tools": ("tools", "functions", "toolConfig", "tool_config"),
    "system": ("system", "instructions", "system_instruction", "systemInstruction"),
    "messages": ("messages", "contents", "input", "prompt"),
}
_INDEX: Final = re.compile(r"\.([0-9]{1,9})(?:\.|$)", re.ASCII)


def hash_key(secret: bytes) -> bytes:
    """The key of the hashes, made from the deployment's key of redaction, which serves other hashes too."""
    return hmac.digest(secret, b"hashes of prompts", "sha256")


class Prompt:
    """What one record tells of its prompt, gathered before the gate takes it."""

    __slots__ = ("_alone", "_key", "_sources")

    def __init__(self, key: bytes) -> None:
        self._key = key
        # By part and source, each with its key: documents, texts and, of keys with numbers, maps by key; sections where
        # from events.
        self._sources: dict[str, dict[str, list[tuple[str, Any]]]] = {}
        self._alone: Section | None = None

    def add(self, part: PromptPart, source: str, key: str, attributes: Attributes) -> None:
        """Gather what stands under a key, or under all keys of its source where those have numbers."""
        by_source = self._sources.setdefault(part, {})
        if not source.endswith(".N"):
            by_source.setdefault(source, []).append((key, attributes[key]))
        elif source not in by_source:
            beginning = source.removesuffix("N")
            entries = {name: attributes[name] for name in attributes if name.startswith(beginning)}
            by_source[source] = [(source, entries)]

    def add_event(self, name: str, content: Value) -> None:
        """Gather one message of a span's, which is an event of its own."""
        by_source = self._sources.setdefault("messages", {})
        by_source.setdefault(EVENTS, []).append((EVENTS, (_role_of_event(name), content)))

    def add_record(self, name: str, content: Value) -> None:
        """Gather one message that is a log record of its own."""
        self._alone = _role_of_event(name), content

    def told(self) -> dict[str, Any]:
        """``{"prompt": {hash, bytes, parts, prefixes, texts, ends}}``, ``{"message": …}`` of a record that is but one
        message, or nothing.

        The lists have an entry for each boundary, ``ends`` in bytes. A part with ``*`` goes on behind it.
        """
        if sections := self._sections():
            return {"prompt": _hashed(sections, self._key)}
        return {"message": _hashed([self._alone], self._key)} if self._alone is not None else {}

    def _sections(self) -> list[Section]:
        parts = {part: list(self._of_part(part)) for part in _NAMES}
        if not parts["messages"]:
            request = self._first("request")
            asked = _requested(request[1][0]) if request is not None else {}
            parts = {part: own or asked.get(part, []) for part, own in parts.items()}
        if not parts["messages"]:
            return []
        return [section for sections in parts.values() for section in sections]

    def _first(self, part: str) -> tuple[str, list[Any]] | None:
        """The source that is named first and what it holds, in the order of its keys."""
        source = min(self._sources.get(part, ()), default=None)
        if source is None:
            return None
        return source, [held for _, held in sorted(self._sources[part][source], key=itemgetter(0))]

    def _of_part(self, part: str) -> Iterator[Section]:
        found = self._first(part)
        if found is None:
            return
        source, values = found
        if source == EVENTS:
            yield from values
        elif source.endswith(".N"):
            yield from _of_numbered_keys(part, values[0], len(source) - len(".N"))
        else:
            for value in values:
                yield from _of_document(part, value)


def _of_numbered_keys(part: str, entries: Attributes, begins: int) -> Iterator[Section]:
    """The sections of keys with numbers, each with its role and whatever else its keys tell."""
    numbered: dict[int, Attributes] = {}
    for key, value in entries.items():
        if match := _INDEX.match(key, begins):
            numbered.setdefault(int(match[1]), {})[key[match.end() :]] = value
    if part == "tools":
        yield "tools", [entries for _, entries in sorted(numbered.items())]
        return
    for _, entry in sorted(numbered.items()):
        role = entry.get("role", entry.get("message.role"))
        yield _ROLES.get(role, _UNNAMED) if isinstance(role, str) else _UNNAMED, entry


def _of_document(part: str, value: Value) -> Iterator[Section]:
    document = read_json(value)
    if part != "messages":
        yield part, value if document is None else document
    elif not isinstance(document, list):
        yield _role(document), value if document is None else document
    else:
        for message in _flat(document):
            if not (isinstance(message, dict) and message.get("event.name") == _ANSWER):
                yield _role(message), message


def _flat(items: list[Any]) -> Iterator[Any]:
    """Messages; LangChain has lists of them, one for each prompt."""
    for item in items:
        if isinstance(item, list):
            yield from item
        else:
            yield item


def _requested(value: Value) -> dict[str, list[Section]]:
    """The parts of a whole request; what names none is a message."""
    document = read_json(value)
    if not isinstance(document, dict):
        return {"messages": list(_of_document("messages", value))}
    config = document.get("config")
    places = (document, config) if isinstance(config, dict) else (document,)
    found = {part: _named(places, names) for part, names in _NAMES.items()}
    if not found["messages"]:
        return {"messages": [(_UNNAMED, document)]}
    return {part: list(_of_document(part, own)) for part, own in found.items() if own}


def _named(places: Iterable[dict[str, Any]], names: tuple[str, ...]) -> Any:
    return next((place[name] for place in places for name in names if place.get(name)), None)


def _role(message: Any) -> str:
    if not isinstance(message, dict):
        return _UNNAMED
    inner = message.get("kwargs")
    told = message.get("role") or (inner.get("type") if isinstance(inner, dict) else message.get("type"))
    return _ROLES.get(told, _UNNAMED) if isinstance(told, str) else _UNNAMED


def _role_of_event(name: str) -> str:
    """``gen_ai.user.message`` → user."""
    return _ROLES.get(name.removesuffix(".message").rpartition(".")[2], _UNNAMED)


# --- hashes ----------------------------------------------------------------------------------------


def _hashed(sections: Iterable[Section], key: bytes) -> dict[str, Any]:
    state, length, number = blake2b(digest_size=_HASH_BYTES, key=key), 0, 0
    parts, prefixes, texts, ends = [], [], [], []
    for role, content in sections:
        text = _text(content)
        state.update(f"\x1e{role}\x1f".encode())
        for begin in range(0, max(len(text), 1), _WITHIN_BYTES):
            piece = text[begin : begin + _WITHIN_BYTES]
            state.update(piece)
            if _is_kept(number):
                end = min(begin + _WITHIN_BYTES, len(text))
                parts.append(role if end == len(text) else f"{role}*")
                prefixes.append(_number(state.digest()))
                texts.append(_number(blake2b(piece, digest_size=_PREFIX_BYTES, key=key).digest()))
                ends.append(length + end)
            number += 1
        length += len(text)
    boundaries = {"parts": parts, "prefixes": prefixes, "texts": texts, "ends": ends}
    return {"hash": state.hexdigest(), "bytes": length, **boundaries}


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:_PREFIX_BYTES], "big", signed=True)


def _is_kept(number: int) -> bool:
    if number < 16:
        return True
    return number % 4 == 3 if number < 64 else number % 16 == 15 and number < 512


def _text(content: Value) -> bytes:
    folded = _folded(content, 0)
    if isinstance(folded, str):
        return folded.encode(errors="surrogatepass")
    return orjson.dumps(folded, option=orjson.OPT_SORT_KEYS)


def _folded(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return " ".join(value.split())
    if depth >= _DEEPEST:
        return None
    if isinstance(value, list):
        return [_folded(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {name: _folded(item, depth + 1) for name, item in value.items() if name not in _NO_TEXT}
    return value
