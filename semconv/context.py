"""What the three signals' extraction shares: a request's surroundings and bounds, and rows to tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final, Generic, NamedTuple, TypeVar

import pyarrow as pa

from semconv import notes as note
from semconv.claims import Claimed, claim_record
from semconv.dialect_rules import NO_DIALECT
from semconv.dialects import AllTables, Tables
from semconv.gate import Gate, Taken
from semconv.otlp import INT64_MAX, Attributes, Exemplar, Notes
from semconv.redaction import Redaction, redaction
from semconv.request import Request
from semconv.settings import Keep, Settings
from semconv.values import cut_text

# The values of a row in the order of its table's columns, in parts, of which rows of one sender share some.
Part = Sequence[Any]
Row = tuple[Part, ...]

# JSON text of the rows of one request: twice the largest request. Ordinary spans are hardly longer in
# JSON than in protobuf, events with nothing in them fifty times.
_OWN_BYTES: Final = 128 << 20
# Text that these rows may repeat of their sender, and how much of it for a byte of the request: 8 KB for each of
# the 8,192 records that a gateway sends at a time, 10 KB for those of 80 bytes. A scope's name of 64 KiB could
# make it 3 GiB.
_REPEATED_BYTES: Final = 64 << 20
_REPEATED_BYTES_PER_BYTE: Final = 128
# What is kept of texts beyond these bounds: some 100 MB at most for 50,000 records.
_SHORT_BYTES: Final = 128
_SHORT_ATTRIBUTES: Final = 8
# Requests of fewer bytes have few records.
_WORTH_SEARCHING: Final = 1 << 20
# Records of one scope, with their events and the like, that exist as Python objects at a time: where they need
# not wait for others, and where they do.
_PORTION: Final = 1000
_MOST_WAITING: Final = 200_000

Draft = TypeVar("Draft")


class Portion(NamedTuple, Generic[Draft]):
    """Some of a scope's records, not yet rows."""

    drafts: list[Draft]
    weight: int  # how many they are, with their events, links or exemplars
    rank: int  # the lowest of their dialects


@dataclass(slots=True)
class Rows:
    """Rows of the four tables, in the order of their schemas, and the counts, while requests are read."""

    spans: list[Row] = field(default_factory=list)
    log_records: list[Row] = field(default_factory=list)
    metric_points: list[Row] = field(default_factory=list)
    contents: list[Row] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def count(self, **numbers: int) -> None:
        """Add to the counts; what never happens is not counted."""
        self.counts.update({name: number for name, number in numbers.items() if number})


def table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """The Arrow table of rows in the order of the schema's columns."""
    if not rows:
        return _empty(schema)
    columns = (column for parts in zip(*rows, strict=True) for column in zip(*parts, strict=True))
    arrays = [pa.array(column, of_type) for column, of_type in zip(columns, schema.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


@cache
def _empty(schema: pa.Schema) -> pa.Table:
    """Made once: of a wide schema it takes as long as the rows of ten spans."""
    return schema.empty_table()


@dataclass(slots=True)
class Budget:
    """How much text the rows of a request may still hold: below 0 they are written in short."""

    own: int
    repeated: int

    @classmethod
    def of(cls, request: Request) -> Budget:
        """The budget of a request's rows."""
        return cls(_OWN_BYTES, min(_REPEATED_BYTES, _REPEATED_BYTES_PER_BYTE * len(request.body)))

    def allows(self, size: int, rows: int) -> bool:
        """Whether so many rows may repeat a text of ``size`` bytes; counts it if so."""
        if size * rows > self.repeated:
            return False
        self.repeated -= size * rows
        return True


@dataclass(frozen=True, slots=True)
class Context:
    """One request's surroundings."""

    request: Request
    settings: Settings
    tables: AllTables
    rows: Rows
    short: int  # no text of so few characters needs to be cut
    redaction: Redaction | None
    budget: Budget
    may_be_genai: bool  # whether one of the request's records may be

    @classmethod
    def of(cls, request: Request, settings: Settings, tables: AllTables, rows: Rows) -> Context:
        """A request's surroundings; its rows are added to ``rows``."""
        rules = None if settings.redaction is None else redaction(settings.redaction)
        budget, may_be_genai = Budget.of(request), _may_be_genai(request, tables)
        short = settings.max_value_bytes // 4
        return cls(request, settings, tables, rows, short, rules, budget, may_be_genai)

    def in_short(self) -> Context:
        """The same with limits for what the budget does not allow, and rows of its own for contents."""
        limit = min(_SHORT_BYTES, self.settings.max_value_bytes)
        most = min(_SHORT_ATTRIBUTES, self.settings.max_attributes)
        settings = replace(self.settings, max_value_bytes=limit, max_attributes=most)
        return replace(self, settings=settings, short=limit // 4, rows=Rows())

    @property
    def received_us(self) -> int:
        """When the request was received, in Unix microseconds."""
        return self.request.received_at // 1000

    def text(self, text: str | None, notes: Notes) -> str | None:
        """A text column: NULL for empty, cut to the configured length."""
        if not text:
            return None
        if len(text) <= self.short:
            return text
        cut = cut_text(text, self.settings.max_value_bytes)
        if cut is not text:
            notes.append(note.VALUE_CUT)
        return cut

    def gate(self, *, own: Tables | None = None, genai_scope: bool) -> Gate:
        """The gate for the records of one scope message; ``own`` are the tables that hold for them."""
        return Gate(self.tables, self.settings, own=own, genai_scope=genai_scope)

    def redacted(self, attributes: Attributes, notes: Notes) -> Attributes:
        """Attributes without what the rules of redaction name."""
        return attributes if self.redaction is None else self.redaction.attributes(attributes, notes)

    def claim(self, own: Tables, received: Attributes, attributes: Attributes, notes: Notes) -> Claimed:
        """What redacted attributes claim by their record's tables; their dialect is that of those received, so
        that the gate does not open for what redaction has taken.
        """
        claimed = claim_record(attributes, own.records, notes)
        if len(attributes) == len(received):
            return claimed
        return claimed._replace(rank=own.records[tuple(received)][0])

    def add_contents(self, taken: Taken, trace_id: str | None, span_id: str | None, time_us: int) -> None:
        """Store what the gate took of the classes that are switched on."""
        for content_class, place, text in taken.contents:
            row = (self.request.tenant, trace_id, span_id, content_class, place, text, time_us)
            self.rows.contents.append((row,))


def _may_be_genai(request: Request, tables: AllTables) -> bool:
    """False where a large request has none of the words that make a record GenAI. JSON can spell them in more
    than one way.
    """
    if request.encoding == "json" or len(request.body) < _WORTH_SEARCHING:
        return True
    return any(word in request.body for word in tables.rules.telling_words())


def in_portions(
    context: Context, scope_is_genai: bool, portions: Iterator[Portion[Draft]]
) -> Iterator[tuple[list[Draft], bool]]:
    """The records of a scope, some at a time, and whether their scope is GenAI. Any of them may make it so:
    they wait for the first that does, or the last, unless no record of the request can. Where too many wait
    the scope passes for GenAI, whose gate is the stricter one.
    """
    is_genai, waiting, weight = scope_is_genai, list[Draft](), 0
    for portion in portions:
        is_genai = is_genai or portion.rank < NO_DIALECT
        waiting += portion.drafts
        weight += portion.weight
        is_genai = is_genai or (weight > _MOST_WAITING and context.may_be_genai)
        if is_genai or not context.may_be_genai:
            yield waiting, is_genai
            waiting, weight = [], 0
    if waiting:
        yield waiting, is_genai


def portions_of(drafts: Iterator[tuple[Draft, int, int]]) -> Iterator[Portion[Draft]]:
    """Drafts, each with its dialect's rank and its weight, some at a time."""
    portion, weight, rank = list[Draft](), 0, NO_DIALECT
    for draft, own_rank, own_weight in drafts:
        portion.append(draft)
        weight += own_weight
        rank = min(rank, own_rank)
        if weight >= _PORTION:
            yield Portion(portion, weight, rank)
            portion, weight, rank = [], 0, NO_DIALECT
    if portion:
        yield Portion(portion, weight, rank)


def is_kept(keep: Keep, *, genai: bool) -> bool:
    """Whether the settings keep a record."""
    return keep == "all" or (keep == "genai" and genai)


def stored_time(time_unix_nano: int, notes: Notes) -> int:
    """The time of an event or exemplar; one beyond int64 nanoseconds is 0 with a note."""
    if time_unix_nano <= INT64_MAX:
        return time_unix_nano
    notes.append(note.INTEGER_OUT_OF_RANGE)
    return 0


def exemplar_json(exemplar: Exemplar, gate: Gate, taken: Taken) -> dict[str, Any]:
    """An exemplar as it stands in the ``exemplars`` column."""
    return {
        **exemplar._asdict(),
        "time_unix_nano": stored_time(exemplar.time_unix_nano, taken.notes),
        "filtered_attributes": gate.clean(exemplar.filtered_attributes, taken, "exemplar/"),
    }
