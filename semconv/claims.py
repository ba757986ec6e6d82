"""The hot loop: what the dialect tables claim among one record's attributes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from semconv import notes as note
from semconv.converters import MAX_IDENTIFIER_BYTES
from semconv.dialects import RECORD_COLUMNS, RESOURCE_COLUMNS, Claim, Shapes
from semconv.otlp import Attributes, Notes, Value
from semconv.values import utf8_length

_BLANK_RECORD: Final[list[Any]] = [None] * len(RECORD_COLUMNS)
_BLANK_RESOURCE: Final[list[Any]] = [None] * len(RESOURCE_COLUMNS)


class Claimed(NamedTuple):
    """Values by column (RECORD_COLUMNS or RESOURCE_COLUMNS), the dialect's rank, and whether the gate has
    work.
    """

    values: list[Any]
    rank: int
    marked: bool


def claim_record(attributes: Attributes, shapes: Shapes, notes: Notes) -> Claimed:
    """What a record's attributes claim."""
    return _claim(attributes, shapes, _BLANK_RECORD.copy(), notes)


def claim_resource(attributes: Attributes, shapes: Shapes, notes: Notes) -> Claimed:
    """What a resource's attributes claim."""
    return _claim(attributes, shapes, _BLANK_RESOURCE.copy(), notes)


def _claim(attributes: Attributes, shapes: Shapes, values: list[Any], notes: Notes) -> Claimed:
    """Fill ``values``: at once where a value needs nothing done to it and no key goes before its own."""
    waiting: list[tuple[int, int, Value]] = []
    sent = list(attributes.values())
    rank, marked, wanted = shapes[tuple(attributes)]
    for place, slot, exact, claims in wanted:
        value = sent[place]
        if type(value) is exact and value and (exact is not int or value > 0):  # type: ignore[operator]
            values[slot] = value
        else:
            _convert(value, claims, values, waiting, notes)
    if waiting:
        _settle(values, waiting)
    return Claimed(values, rank, marked)


def _convert(
    value: Value,
    claims: tuple[Claim, ...],
    values: list[Any],
    waiting: list[tuple[int, int, Value]],
    notes: Notes,
) -> None:
    """Convert a value for its claims. An empty one counts as absent; one that does not convert is noted."""
    if value is None or value in ("", []):
        return
    for claim in claims:
        try:
            converted = claim.convert(value)
        except ValueError:
            notes.append(note.UNUSABLE_VALUE)
            continue
        if claim.first:
            values[claim.slot] = converted
        else:
            waiting.append((claim.slot, claim.precedence, converted))


def _settle(values: list[Any], waiting: list[tuple[int, int, Value]]) -> None:
    """Give columns that are still empty to the waiting claim of the lowest precedence."""
    waiting.sort(key=lambda claim: claim[:2])
    for slot, _, converted in waiting:
        if values[slot] is None:
            values[slot] = converted


def drop_long(values: list[Any], notes: Notes) -> None:
    """Empty the columns whose text is too long for an identifier; for records with long values only."""
    for slot, value in enumerate(values):
        if isinstance(value, str) and utf8_length(value) > MAX_IDENTIFIER_BYTES:
            values[slot] = None
            notes.append(note.UNUSABLE_VALUE)
