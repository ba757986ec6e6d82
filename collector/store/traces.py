"""The stored parts of traces.

Which stored spans belong to a trace of the batch: those within 24 h of the batch's own, the border moving on
while parts are found in its outer half, and spans of up to a week that last into that range. So a trace is found
whole unless it is silent for more than 12 h with no span lasting through the silence.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import duckdb

from collector.store.records import SPANS, look_up_sql
from collector.store.statements import sql
from collector.store.windows import HOUR, Extent, Window, covers, shifted, windows

MARGIN: Final = 24 * HOUR
SILENCE: Final = MARGIN / 2
# Longer durations are broken clocks; following them would make a commit read the whole lake.
LONGEST_SPAN: Final = dt.timedelta(days=7)
_EXTENT: Final = "tenant, trace_id, start_time, duration_ns"
_COLUMNS: Final = "tenant, trace_id, span_id, role, start_time, duration_ns"


def batch_extents(connection: duckdb.DuckDBPyConnection) -> list[Extent]:
    """From when to when the batch's spans and calls last, joined by the hour of their start."""
    return connection.execute(sql("sql/batch_extents.sql").format(longest_ns=_nanos(LONGEST_SPAN))).fetchall()


def look_up_traces(connection: duckdb.DuckDBPyConnection, traces: str, extents: list[Extent]) -> list[Window]:
    """TEMP stored_spans: keys, role and times of stored spans of `traces` near `extents`; where it looked.

    `traces` is a relation (tenant, trace_id).
    """
    ranges = windows(extents, MARGIN)
    conditions = [condition for window in ranges for condition in _conditions(window)]
    parts = [
        look_up_sql(SPANS.table, _COLUMNS, traces, "tenant, trace_id", condition) for condition in conditions
    ]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE stored_spans AS {' UNION ALL '.join(parts)}")
    return ranges


def complete_traces(
    connection: duckdb.DuckDBPyConnection, traces: str, looked_at: list[Window], *, with_new: bool
) -> None:
    """Look further until TEMP stored_spans has all parts of `traces`; `with_new` adds those of the batch."""
    while True:
        extents = trace_extents(connection, traces, with_new=with_new)
        if covers(looked_at, windows(extents, SILENCE)):
            return
        looked_at = look_up_traces(connection, traces, extents)


def trace_extents(connection: duckdb.DuckDBPyConnection, traces: str, *, with_new: bool) -> list[Extent]:
    """From when to when the known parts of `traces` last, joined by the hour of their start."""
    new = [f"SELECT {_EXTENT} FROM {table}" for table in ("new_spans", "new_call_logs") if with_new]
    or_new = " ".join(f"UNION ALL {part}" for part in new)
    statement = sql("sql/extents.sql").format(traces=traces, or_new=or_new, longest_ns=_nanos(LONGEST_SPAN))
    return connection.execute(statement).fetchall()


def _conditions(window: Window) -> list[str]:
    """Starts inside, or lasts into it from before."""
    before = Window(
        shifted(window.start, -LONGEST_SPAN), shifted(window.start, -dt.timedelta(microseconds=1))
    )
    return [
        window.condition(SPANS.time),
        f"{before.condition(SPANS.time)} AND duration_ns > {_nanos(SILENCE)}",
    ]


def _nanos(length: dt.timedelta) -> int:
    return int(length.total_seconds()) * 1_000_000_000
