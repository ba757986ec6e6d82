"""The hot loop: what the dialect tables claim among one record's attributes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from semconv import notes as note
from semconv.converters import MAX_IDENTIFIER_BYTES
from semconv.dialect_rules import NO_DIALECT, RECORD_COLUMNS, RESOURCE_COLUMNS, Claim, Rules
from semconv.documents import look_up, may_be_kept, read_document
from semconv.otlp import Attributes, Notes, Value
from semconv.shapes import Further, InnerClaim, Marked, Shapes, Wanted, WantedDocument, WantedIf
from semconv.values import utf8_length

_BLANK_RECORD: Final[list[Any]] = [None] * len(RECORD_COLUMNS)
_BLANK_RESOURCE: Final[list[Any]] = [None] * len(RESOURCE_COLUMNS)
_LAST: Final = (1 << 62, None)
# Texts of no more characters are stored as they are, whatever they are.
_SHORT_TEXT: Final = 512

Kept = dict[str, dict[str, Any]]  # key → place in its document → value
Waiting = dict[int, tuple[int, Any]]  # by column: lowest precedence, and what it claims


class Claimed(NamedTuple):
    """Values by column (RECORD_COLUMNS or RESOURCE_COLUMNS), the dialect's rank, the keys where the gate has work,
    and what evidence keeps of documents that it takes.
    """

    values: list[Any]
    rank: int
    marked: Marked
    kept: Kept | None


def claim_record(attributes: Attributes, shapes: Shapes, notes: Notes) -> Claimed:
    """What a record's attributes claim."""
    return _claim(attributes, shapes, _BLANK_RECORD, notes)


def claim_resource(attributes: Attributes, shapes: Shapes, notes: Notes) -> Claimed:
    """What a resource's attributes claim."""
    return _claim(attributes, shapes, _BLANK_RESOURCE, notes)


def claim_name(claimed: Claimed, rules: Rules, name: str, attributes: Attributes) -> Claimed:
    """Fill columns that no attribute filled from the name of a span or log event."""
    rank = claimed.rank
    if rank == NO_DIALECT and not rules.names_tell:
        return claimed
    for row in rules.said_by[name]:
        if row.when is not None and attributes.get(row.when[0]) != row.when[1]:
            continue
        if row.telling or rank < NO_DIALECT:
            if claimed.values[row.slot] is None:
                claimed.values[row.slot] = _identifier(name) if row.value is None else row.value
            rank = min(rank, row.rank) if row.telling else rank
    return claimed if rank == claimed.rank else claimed._replace(rank=rank)


def _identifier(name: str) -> str | None:
    return name if name and utf8_length(name) <= MAX_IDENTIFIER_BYTES else None


def _claim(attributes: Attributes, shapes: Shapes, blank: list[Any], notes: Notes) -> Claimed:
    """Fill columns: at once where values are as usual, else claim by claim."""
    sent = [*attributes.values(), None]
    rank, marked, wanted, usual, further = shapes[tuple(attributes)]
    values = None
    if usual is not None:
        pick, types, counts, columns, rest = usual
        picked = pick(sent)
        as_usual = tuple(map(type, picked)) == types and (all(picked) or "" not in picked)
        if as_usual and (not counts or min(counts(sent)) >= 0):
            values, wanted = [*columns(sent)], rest
    if values is None:
        values = blank.copy()
    kept = None
    if wanted or further:
        kept = _claim_further(sent, wanted, further, values, notes)
    return tuple.__new__(Claimed, (values, rank, marked, kept))  # half of its own constructor's time


def _claim_further(
    sent: list[Value],
    wanted: tuple[Wanted, ...],
    further: Further | None,
    values: list[Any],
    notes: Notes,
) -> Kept | None:
    waiting: Waiting = {}
    _claim_each(sent, wanted, values, waiting, notes)
    kept = None
    if further is not None:
        documents, conditional = further
        kept = _claim_within(sent, documents, values, waiting)
        _claim_if(sent, conditional, values, waiting, notes)
    if waiting:
        _settle(values, waiting)
    return kept


def _claim_each(
    sent: list[Value], wanted: tuple[Wanted, ...], values: list[Any], waiting: Waiting, notes: Notes
) -> None:
    """Fill ``values``: at once where a value needs nothing done to it and no key goes before its own."""
    for place, slot, exact, precedence, claims in wanted:
        value = sent[place]
        if type(value) is exact and value and (exact is not int or value > 0):  # type: ignore[operator]
            if precedence == 0:
                values[slot] = value
            elif slot not in waiting or waiting[slot][0] > precedence:
                waiting[slot] = precedence, value
        else:
            _convert(value, claims, values, waiting, notes)


def _claim_if(
    sent: list[Value],
    conditional: tuple[WantedIf, ...],
    values: list[Any],
    waiting: Waiting,
    notes: Notes,
) -> None:
    """Fill ``values`` from what is claimed where another attribute has a certain value."""
    for place, where, claim in conditional:
        if claim.when is not None and sent[where] == claim.when[1]:
            _convert(sent[place], (claim,), values, waiting, notes)


def _claim_within(
    sent: list[Value],
    documents: tuple[WantedDocument, ...],
    values: list[Any],
    waiting: Waiting,
) -> Kept:
    """Fill ``values`` from documents. Of one that the gate may take only what evidence keeps is read, and kept."""
    kept: Kept = {}
    for place, key, is_content, tree in documents:
        value = sent[place]
        document = read_document(value)
        if document is not None:
            may_be_taken = is_content or type(value) is not str or len(value) > _SHORT_TEXT
            found: list[tuple[InnerClaim, Any]] = []
            look_up(document, tree, found)
            own = _claim_places(found, may_be_taken, values, waiting)
            if own:
                kept[key] = own
    return kept


def _claim_places(
    found: list[tuple[InnerClaim, Any]],
    may_be_taken: bool,
    values: list[Any],
    waiting: Waiting,
) -> dict[str, Any]:
    """Convert what stands at the claims' places. The document is its sender's own: what does not convert is no
    fault of it and counts as absent.
    """
    kept = {}
    for (claim, place), value in found:
        if value in ("", []) or (may_be_taken and not may_be_kept(value)):
            continue
        exact = claim.exact
        if type(value) is exact and (exact is not int or value > 0):  # type: ignore[operator]
            _fill(value, claim, values, waiting)
        else:
            try:
                _fill(claim.convert(value), claim, values, waiting)
            except ValueError:
                continue
        if may_be_taken:
            kept[place] = value
    return kept


def _convert(
    value: Value,
    claims: tuple[Claim, ...],
    values: list[Any],
    waiting: Waiting,
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
        _fill(converted, claim, values, waiting)


def _fill(converted: Any, claim: Claim, values: list[Any], waiting: Waiting) -> None:
    if claim.first:
        values[claim.slot] = converted
    elif converted is not None and waiting.get(claim.slot, _LAST)[0] > claim.precedence:
        waiting[claim.slot] = claim.precedence, converted


def _settle(values: list[Any], waiting: Waiting) -> None:
    """Give columns that are still empty to the waiting claim of the lowest precedence."""
    for slot, (_, converted) in waiting.items():
        if values[slot] is None:
            values[slot] = converted


def drop_long(values: list[Any], notes: Notes) -> None:
    """Empty the columns whose text is too long for an identifier; for records with long values only."""
    for slot, value in enumerate(values):
        if isinstance(value, str) and utf8_length(value) > MAX_IDENTIFIER_BYTES:
            values[slot] = None
            notes.append(note.UNUSABLE_VALUE)
