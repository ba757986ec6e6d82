"""`calls` of all that a batch touches: gather the records, let semconv build, replace what came out different."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

import duckdb

from collector.store.call_logs import CallLogs
from collector.store.records import SPANS, count, hours
from collector.store.statements import sql
from collector.store.traces import complete_traces, look_up_traces
from collector.store.windows import Window, any_of, windows
from semconv.calls import (
    CALL_ID,
    NESTING_SLACK_NS,
    PARTNER_HORIZON,
    partner_span_select,
    partner_traces_sql,
    span_record_select,
)
from semconv.resolve import Resolver

# start_time is cut to microseconds, the rule counts nanoseconds.
_SLACK: Final = dt.timedelta(microseconds=NESTING_SLACK_NS // 1000 + 1)
# Roots of the library that tells the ends of streams in spans of their own (semconv/calls.py).
_MAY_STREAM: Final = (
    "starts_with(scope_name, 'logfire') AND role IN ('llm', 'embeddings') AND parent_span_id IS NULL"
    " AND (event_name IS NOT NULL OR coalesce(input_tokens, output_tokens) IS NULL)"
)
_NO_LENGTH: Final = "role IN ('llm', 'embeddings') AND duration_ns = 0"


class CallsUpdate:
    """Two steps of one transaction: `build` only reads the lake, `replace` writes."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, resolver: Resolver, dimensions: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._resolver = resolver
        self._selects = {
            of_streams: span_record_select(dimensions, of_streams=of_streams) for of_streams in (False, True)
        }
        self._partners = {
            with_logs: partner_traces_sql("partner_records", with_logs=with_logs)
            for with_logs in (False, True)
        }
        self._logs = CallLogs(connection, dimensions)
        self._has_stored = False  # whether a touched trace has stored records, and so may have stored calls

    def build(self, looked_at: list[Window], linked: str | None = None) -> bool:
        """TEMP built_calls for the traces that the batch touches; False where no model call is touched.

        Needs TEMP new_spans, stored_spans with the windows that were looked at for it, and new_call_logs; the lake
        must not hold the new records yet. `linked`: a relation (tenant, trace_id, start_time) of traces that are
        touched whatever they hold, looked at too.
        """
        self._logs.look_around(looked_at)
        self._connection.execute(sql("sql/touched_traces.sql"))
        if linked is not None:
            self._connection.execute(
                f"INSERT INTO touched_traces SELECT tenant, trace_id FROM {linked} EXCEPT FROM touched_traces"
            )
        if not count(self._connection, "touched_traces"):
            return False
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE call_records AS SELECT {self._select_of('new_spans')} FROM new_spans"
            " SEMI JOIN touched_traces USING (tenant, trace_id)"
        )
        self._has_stored = False
        if count(self._connection, "stored_spans"):
            complete_traces(self._connection, "touched_traces", looked_at, with_new=True)
            self._add_stored_spans("touched_traces")
        self._logs.add_new()
        near = "call_records" if linked is None else _either("call_records", linked)
        self._has_stored |= self._logs.add_stored("touched_traces", near)
        while self._find_partners():
            self._add_partners()
        self._resolver.build_calls()
        return True

    def take_logs(self, *, has_log_records: bool) -> bool:
        """TEMP new_call_logs: the log records among TEMP new_log_records that report calls; whether there are any."""
        return self._logs.take_new(has_log_records=has_log_records)

    def replace(self) -> int:
        """Put TEMP built_calls in the place of the touched traces' calls; how many rows were written."""
        columns = ", ".join(
            f'"{row[0]}"' for row in self._connection.execute("DESCRIBE built_calls").fetchall()
        )
        except_stored = ""
        if self._has_stored and self._look_up_stored(columns):
            except_stored = f"EXCEPT SELECT {columns} FROM stored_calls"
            self._delete_outdated(columns)
        inserted = self._connection.execute(
            sql("sql/insert_calls.sql").format(columns=columns, except_stored=except_stored)
        ).fetchone()
        return int(inserted[0]) if inserted else 0

    def _look_up_stored(self, columns: str) -> int:
        """TEMP stored_calls: the touched traces' calls as they are; how many."""
        by_log = sql("sql/stored_log_calls.sql").format(columns=columns, when=self._when(), call_id=CALL_ID)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE stored_calls AS SELECT {columns} FROM lake.calls"
            f" SEMI JOIN touched_traces USING (tenant, trace_id) WHERE {self._when()}"
            f" {by_log if self._logs.are_there else ''}"
        )
        return count(self._connection, "stored_calls")

    def _delete_outdated(self, columns: str) -> None:
        self._connection.execute(sql("sql/outdated_calls.sql").format(columns=columns))
        delete_calls(self._connection, "outdated_calls", "call_records")

    def _when(self) -> str:
        """When the touched traces' calls start: a call starts with one of its records."""
        return _start_like(self._connection, "call_records")

    def _select_of(self, spans: str) -> str:
        """What makes call_records of these spans; where none can be a stream's end, the cheaper one."""
        return self._selects[count(self._connection, f"{spans} WHERE {_NO_LENGTH}") > 0]

    def _add_stored_spans(self, traces: str) -> None:
        """Append the stored spans of `traces` to call_records: those whose keys stand in stored_spans."""
        ranges = windows(
            hours(self._connection, f"stored_spans SEMI JOIN {traces} USING (tenant, trace_id)", SPANS.time)
        )
        if ranges:
            self._has_stored = True
            self._connection.execute(
                f"INSERT INTO call_records BY NAME SELECT {self._select_of('stored_spans')} FROM lake.spans"
                f" SEMI JOIN {traces} USING (tenant, trace_id) WHERE {any_of(ranges, SPANS.time)}"
            )

    def _find_partners(self) -> bool:
        """TEMP partner_traces: further traces with a record that may be one call with one of call_records."""
        candidates = "(FROM call_records WHERE role IN ('llm', 'embeddings'))"
        near = hours(self._connection, candidates, SPANS.time)
        within_horizon = any_of(windows(near, PARTNER_HORIZON), SPANS.time)
        self._connection.execute(
            sql("sql/partner_spans.sql").format(
                columns=partner_span_select(of_streams=False),
                within_horizon=within_horizon,
                same_moment=any_of(windows(near, _SLACK), SPANS.time),
            )
        )
        has_streams = count(self._connection, f"call_records WHERE {_MAY_STREAM}") > 0
        for name, is_needed in (
            ("partner_spans_of_logs", self._logs.are_there),
            ("partner_streams", has_streams),
        ):
            if is_needed:
                statement = sql(f"sql/{name}.sql").format(
                    columns=partner_span_select(), within_horizon=within_horizon, may_stream=_MAY_STREAM
                )
                self._connection.execute(statement)
        self._logs.add_partners(near)
        if not count(self._connection, "partner_records"):
            return False
        partners = self._partners[self._logs.are_there or has_streams]
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE partner_traces AS {partners}")
        return count(self._connection, "partner_traces") > 0

    def _add_partners(self) -> None:
        partners = "partner_records SEMI JOIN partner_traces USING (tenant, trace_id)"
        extents = hours(self._connection, partners, SPANS.time)
        looked_at = look_up_traces(self._connection, "partner_traces", extents)
        complete_traces(self._connection, "partner_traces", looked_at, with_new=False)
        self._add_stored_spans("partner_traces")
        self._has_stored |= self._logs.add_stored("partner_traces", "partner_records")
        self._connection.execute("INSERT INTO touched_traces FROM partner_traces")


def delete_calls(connection: duckdb.DuckDBPyConnection, doomed: str, near: str) -> None:
    """Delete the calls that the relation `doomed` (tenant, call_id) names; they start when rows of `near` do."""
    if count(connection, doomed):
        connection.execute(
            f"DELETE FROM lake.calls WHERE (tenant, call_id) IN (SELECT (tenant, call_id) FROM {doomed})"
            f" AND ({_start_like(connection, near)})"
        )


def _start_like(connection: duckdb.DuckDBPyConnection, near: str) -> str:
    return any_of(windows(hours(connection, near, "start_time")), "start_time")


def _either(one: str, other: str) -> str:
    return f"(SELECT start_time FROM {one} UNION ALL SELECT start_time FROM {other})"
