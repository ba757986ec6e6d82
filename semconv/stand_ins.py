"""What stands in for attributes that the gate took, when a stored record is read again.

Evidence tells where text stood, how long it was, and the numbers and identifiers that were kept of it. That is enough
to claim from what is left of the record what would be claimed from all of it.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from semconv import notes as note
from semconv.converters import MAX_IDENTIFIER_BYTES
from semconv.gate import LONG_TEXT_BYTES
from semconv.otlp import Attributes, Value
from semconv.values import CUT_MARKER, json_text, utf8_length

# Places of evidence that are no attributes.
_ELSEWHERE: Final = ("body", "status.message")
_LOST: Final = {note.TEXT_DROPPED, note.ATTRIBUTES_DROPPED}
# The gate keeps no more values of one key.
_MOST_ITEMS: Final = 256


def is_whole(row: dict[str, Any]) -> bool:
    """Whether nothing but what the gate took is missing of a stored record that a table could claim."""
    notes = set(row["notes"] or ())
    if notes & _LOST:
        return False
    return note.VALUE_CUT not in notes or not any(
        _is_cut_identifier(value)
        for column in ("attributes", "resource_attributes")
        for value in orjson.loads(row[column] or "{}").values()
    )


def _is_cut_identifier(value: Value) -> bool:
    """A text that would have been short enough to be one, had the configured length not been shorter."""
    return (
        isinstance(value, str) and value.endswith(CUT_MARKER) and utf8_length(value) <= MAX_IDENTIFIER_BYTES
    )


def completed(attributes: Attributes, evidence: str | None, of_events: tuple[str, ...]) -> Attributes:
    """The attributes of a record, and what stands in for those that were taken from it. ``of_events``: how places
    in its events begin.
    """
    if evidence is None:
        return attributes
    told = orjson.loads(evidence)
    lengths, kept = told.get("gated", {}), told.get("kept", {})
    stand_ins = {
        place: _stand_in(lengths.get(place, LONG_TEXT_BYTES + 1), kept.get(place))
        for place in (lengths | kept)
        if place not in _ELSEWHERE and not place.startswith(of_events)
    }
    return {**attributes, **stand_ins}


def _stand_in(length: int, kept: dict[str, Any] | None) -> Value:
    """A document of what was kept; of the length at which a text is too long for a column, where it was; None, which
    claims nothing, where all that is known is that a short text stood there.
    """
    text = json_text(_document(kept)) if kept else ""
    if length > LONG_TEXT_BYTES:
        return text.ljust(LONG_TEXT_BYTES + 1, " " if kept else "x")
    return text or None


def _document(kept: dict[str, Any]) -> Any:
    document: dict[str, Any] = {}
    for path, value in kept.items():
        *steps, last = path.split(".")
        inner: Any = document
        for step in steps:
            inner = inner.setdefault(step, {}) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[last] = value
    return _with_lists(document)


def _with_lists(value: Any) -> Any:
    """Maps whose keys are numbers are the lists that they were."""
    if not isinstance(value, dict):
        return value
    if not all(key.isdecimal() for key in value):
        return {key: _with_lists(item) for key, item in value.items()}
    items = range(min(max(map(int, value)) + 1, _MOST_ITEMS))
    return [_with_lists(value.get(str(number))) for number in items]


def joined_evidence(stored: str | None, new: str | None) -> str | None:
    """The evidence of what was taken before and of what is taken now. Of a prompt that was taken in part before there
    can be no hashes now.
    """
    if stored is None or new is None:
        return stored or new
    before, now = orjson.loads(stored), orjson.loads(new)
    joined = {name: {**now.get(name, {}), **before.get(name, {})} for name in ("gated", "kept")}
    hashes = {name: before[name] for name in ("prompt", "message") if name in before}
    told = {name: entries for name, entries in joined.items() if entries or name == "gated"}
    return json_text(told | hashes)
