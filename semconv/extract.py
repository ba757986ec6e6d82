"""Extraction: OTLP requests → Arrow tables, mechanically, by the dialect tables.

No value is judged here: names and types change, meaning does not. What a value means (aliases, whether an
input count includes cache, whose account it is) is resolution's part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from semconv import columns
from semconv.context import Context, Rows, table
from semconv.decode import scope_groups
from semconv.dialects import tables
from semconv.extract_logs import extract_logs
from semconv.extract_metrics import extract_metrics
from semconv.extract_spans import extract_spans
from semconv.otlp import DecodeError, ScopeGroup
from semconv.request import Request
from semconv.sender import Senders
from semconv.settings import Settings, Signal

_EXTRACTORS: Final[dict[Signal, Callable[[Context, Senders, ScopeGroup], Iterator[None]]]] = {
    "traces": extract_spans,
    "logs": extract_logs,
    "metrics": extract_metrics,
}
TABLES: Final = ("spans", "log_records", "metric_points", "contents")
# Rows that exist as Python objects at a time, some 10 KB each, and the JSON text in them.
_MOST_ROWS: Final = 2000
_MOST_TEXT: Final = 16 << 20


@dataclass(slots=True)
class Extracted:
    """One table per signal, with the schemas of :mod:`semconv.columns`, empty where there is nothing.

    ``counts`` has the names of the ``loads`` table: {spans, log_records, metric_points}_{read, rejected,
    not_kept}.
    """

    spans: pa.Table
    log_records: pa.Table
    metric_points: pa.Table
    contents: pa.Table
    counts: Counter[str]


def extract(requests: Iterable[Request], settings: Settings) -> Extracted:
    """Read requests into tables. DecodeError names a request whose body cannot be decoded at all."""
    rows, dialects = Rows(), tables()
    pieces: list[Extracted] = []
    for number, request in enumerate(requests):
        context = Context.of(request, settings, dialects, rows)
        left = context.budget.own
        try:
            for _ in _groups_read(context):
                count = sum(len(getattr(rows, name)) for name in TABLES)
                if count >= _MOST_ROWS or left - context.budget.own >= _MOST_TEXT:
                    pieces.append(_taken(rows))
                    left = context.budget.own
        except DecodeError as error:
            raise DecodeError(f"request {number} ({request.signal}, {request.encoding}): {error}") from error
    return joined([*pieces, _taken(rows)])


def joined(pieces: Sequence[Extracted]) -> Extracted:
    """Several in one, at least one; no row is copied."""
    if len(pieces) == 1:
        return pieces[0]
    tables = {name: pa.concat_tables([getattr(piece, name) for piece in pieces]) for name in TABLES}
    return Extracted(**tables, counts=sum((piece.counts for piece in pieces), Counter()))


def _groups_read(context: Context) -> Iterator[None]:
    """Reads a request into the context's rows; hands over from time to time."""
    request, senders = context.request, Senders(context)
    read_group = _EXTRACTORS[request.signal]
    for group in scope_groups(request.signal, request.encoding, request.body):
        yield from read_group(context, senders, group)


def _taken(rows: Rows) -> Extracted:
    """The tables of ``rows``, which has none from then on."""
    extracted = Extracted(
        spans=table(rows.spans, columns.SPANS),
        log_records=table(rows.log_records, columns.LOG_RECORDS),
        metric_points=table(rows.metric_points, columns.METRIC_POINTS),
        contents=table(rows.contents, columns.CONTENTS),
        counts=rows.counts,
    )
    for name in TABLES:
        getattr(rows, name).clear()
    rows.counts = Counter()
    return extracted
