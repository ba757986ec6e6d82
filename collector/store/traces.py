"""The stored parts of traces.

Which stored spans belong to a trace of the batch: those within 24 h of the batch's own, the border moving on
while parts are found in its outer half, and spans of up to a week that last into that range. So a trace is found
whole unless it is silent for more than 12 h with no span lasting through the silence.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from collector.store.records import SPANS, look_up_sql
from collector.store.statements import sql
from collector.store.windows import HOUR, Extent, Window, covers, shifted, windows
from semconv.planned import Planned, relation
from semconv.sqltext import literal

MARGIN: Final = 24 * HOUR
SILENCE: Final = MARGIN / 2
# Longer durations are broken clocks; following them would make a commit read the whole lake.
LONGEST_SPAN: Final = dt.timedelta(days=7)
_BLANK: Final = pa.scalar(" ", pa.string())
# So many are written into the statement.
_FEW_TRACES: Final = 64
_NOTHING: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("tenant", "trace_id", "span_id", "role")),
        ("start_time", pa.timestamp("us")),
        ("duration_ns", pa.int64()),
    ]
).empty_table()
_PART: Final = ["tenant", "trace_id", "start_time", "duration_ns"]
_COLUMNS: Final = ", ".join(_NOTHING.column_names)


class StoredSpans:
    """The stored parts of the traces of one batch after the other; `rows` are their keys, role and times. `traces` are
    tables (tenant, trace_id).
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        longest = _nanos(LONGEST_SPAN)
        self._batch_extents = Planned(connection, sql("sql/batch_extents.sql").format(longest_ns=longest))
        self._extents = Planned(connection, sql("sql/extents.sql").format(longest_ns=longest))
        self.rows = _NOTHING

    def look_up_batch(self, parts: pa.Table) -> list[Window]:
        """Look for the traces of these parts, which are a batch; where it looked."""
        return self.look_up(distinct_traces(parts), self._batch_extents.rows(parts=parts))

    def look_up(self, traces: pa.Table, extents: list[Extent]) -> list[Window]:
        """Look for stored spans of `traces` near `extents`; where it looked."""
        ranges = windows(extents, MARGIN)
        conditions = [condition for window in ranges for condition in _conditions(window)]
        named = _named(traces)
        with relation(self._connection, "wanted_traces", traces):
            if named is None:
                conditions = list(self._narrowed(conditions))
            parts = [
                look_up_sql(SPANS.table, _COLUMNS, "wanted_traces", "tenant, trace_id", condition)
                if named is None
                else f"SELECT {_COLUMNS} FROM lake.spans WHERE {condition} AND {named}"
                for condition in conditions
            ]
            self.rows = (
                self._connection.execute(" UNION ALL ".join(parts)).to_arrow_table() if parts else _NOTHING
            )
        return ranges

    def _narrowed(self, conditions: list[str]) -> Iterator[str]:
        """The conditions under which there is any, and from when to when.

        By the trace ids alone, as most batches find none, or some from a moment ago: to read all columns of all that is
        stored within a day takes twice as long.
        """
        first_and_last = "min(start_time), max(start_time)"
        for condition in conditions:
            statement = look_up_sql(SPANS.table, first_and_last, "wanted_traces", "trace_id", condition)
            ((first, last),) = self._connection.execute(statement).fetchall()
            if first is not None:
                yield f"{condition} AND {Window(first, last).condition(SPANS.time)}"

    def complete(self, traces: pa.Table, looked_at: list[Window], *new: pa.Table) -> None:
        """Look further until `rows` has all parts of `traces`; `new` are those of the batch."""
        while True:
            extents = self.extents(traces, *new)
            if covers(looked_at, windows(extents, SILENCE)):
                return
            looked_at = self.look_up(traces, extents)

    def extents(self, traces: pa.Table, *new: pa.Table) -> list[Extent]:
        """From when to when the known parts of `traces` last, joined by the hour of their start."""
        parts = joined_parts(self.rows, *new)
        return self._extents.rows(parts=parts, wanted=traces)


def joined_parts(*records: pa.Table) -> pa.Table:
    """The records of several tables as parts of traces: whose, when and for how long."""
    return pa.concat_tables([table.select(_PART) for table in records])


def distinct_traces(records: pa.Table) -> pa.Table:
    """The traces (tenant, trace_id) of records."""
    traces = ["tenant", "trace_id"]
    return records.select(traces).group_by(traces).aggregate([]).select(traces)


def of_traces(records: pa.Table, traces: pa.Table) -> pa.Table:
    """The records that belong to these traces."""
    if not (records.num_rows and traces.num_rows):
        return records.schema.empty_table()
    of = pc.is_in(_trace_keys(records), value_set=_trace_keys(traces))
    return records if pc.all(of).as_py() else records.filter(of)


def _trace_keys(records: pa.Table) -> pa.ChunkedArray:
    """No trace id has a blank but those that stand for log records, and they begin with a fixed word."""
    return pc.binary_join_element_wise(records.column("trace_id"), records.column("tenant"), _BLANK)


def _named(traces: pa.Table) -> str | None:
    """The condition that a span is of one of few traces of one tenant: a join costs more to plan than all the rest."""
    tenants = pc.unique(traces.column("tenant")).to_pylist()
    if traces.num_rows > _FEW_TRACES or len(tenants) != 1:
        return None
    ids = ", ".join(map(literal, traces.column("trace_id").to_pylist()))
    return f"trace_id IN ({ids}) AND tenant = {literal(tenants[0])}"


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
