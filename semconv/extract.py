"""Extraction: OTLP requests → Arrow tables, mechanically, by the dialect tables.

No value is judged here: names and types change, meaning does not. What a value means (aliases, whether an
input count includes cache, whose account it is) is resolution's part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from semconv import columns
from semconv.context import Budget, Context, Rows, table
from semconv.decode import scope_groups
from semconv.dialects import tables
from semconv.extract_logs import extract_logs
from semconv.extract_metrics import extract_metrics
from semconv.extract_spans import extract_spans
from semconv.otlp import DecodeError, ScopeGroup
from semconv.redaction import redaction
from semconv.request import Request
from semconv.sender import Senders
from semconv.settings import Settings, Signal

_EXTRACTORS: Final[dict[Signal, Callable[[Context, Senders, ScopeGroup], None]]] = {
    "traces": extract_spans,
    "logs": extract_logs,
    "metrics": extract_metrics,
}


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
    rows, dialects, short = Rows(), tables(), settings.max_value_bytes // 4
    rules = None if settings.redaction is None else redaction(settings.redaction)
    for number, request in enumerate(requests):
        try:
            _read(Context(request, settings, dialects, rows, short, rules, Budget.of(request)))
        except DecodeError as error:
            raise DecodeError(f"request {number} ({request.signal}, {request.encoding}): {error}") from error
    return _tables(rows)


def _read(context: Context) -> None:
    request, senders = context.request, Senders(context)
    read_group = _EXTRACTORS[request.signal]
    for group in scope_groups(request.signal, request.encoding, request.body):
        read_group(context, senders, group)


def _tables(rows: Rows) -> Extracted:
    return Extracted(
        spans=table(rows.spans, columns.SPANS),
        log_records=table(rows.log_records, columns.LOG_RECORDS),
        metric_points=table(rows.metric_points, columns.METRIC_POINTS),
        contents=table(rows.contents, columns.CONTENTS),
        counts=rows.counts,
    )
