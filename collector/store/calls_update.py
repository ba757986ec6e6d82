"""`calls` of all that a batch touches: gather the records, let semconv build, replace what came out different."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

import duckdb

from collector.store.records import SPANS, count, hours
from collector.store.statements import sql
from collector.store.traces import complete_traces, look_up_traces
from collector.store.windows import Window, any_of, windows
from semconv.calls import NESTING_SLACK_NS, PARTNER_HORIZON_SECONDS, call_record_select, partner_traces_sql
from semconv.resolve import Resolver

_HORIZON: Final = dt.timedelta(seconds=PARTNER_HORIZON_SECONDS)
# start_time is cut to microseconds, the rule counts nanoseconds.
_SLACK: Final = dt.timedelta(microseconds=NESTING_SLACK_NS // 1000 + 1)


class CallsUpdate:
    """Two steps of one transaction: `build` only reads the lake, `replace` writes."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, resolver: Resolver, dimensions: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._resolver = resolver
        self._select = call_record_select(dimensions)
        self._partners = partner_traces_sql("partner_spans")
        self._has_stored = False  # whether a touched trace has stored spans, and so may have stored calls

    def build(self, looked_at: list[Window]) -> bool:
        """TEMP built_calls for the traces that new_spans touches; False where no model call is touched.

        Needs TEMP new_spans and stored_spans with the windows that were looked at for it; lake.spans must not
        hold the new spans yet.
        """
        self._connection.execute(sql("sql/touched_traces.sql"))
        if not count(self._connection, "touched_traces"):
            return False
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE call_records AS SELECT {self._select} FROM new_spans"
            " SEMI JOIN touched_traces USING (tenant, trace_id)"
        )
        self._has_stored = False
        if count(self._connection, "stored_spans"):
            complete_traces(self._connection, "touched_traces", looked_at, with_new=True)
            self._add_stored("touched_traces")
        while self._find_partners():
            self._add_partners()
        self._resolver.build_calls()
        return True

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
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE stored_calls AS SELECT {columns} FROM lake.calls"
            f" SEMI JOIN touched_traces USING (tenant, trace_id) WHERE {self._when()}"
        )
        return count(self._connection, "stored_calls")

    def _delete_outdated(self, columns: str) -> None:
        self._connection.execute(sql("sql/outdated_calls.sql").format(columns=columns))
        if count(self._connection, "outdated_calls"):
            self._connection.execute(
                "DELETE FROM lake.calls"
                " WHERE (tenant, call_id) IN (SELECT (tenant, call_id) FROM outdated_calls)"
                f" AND ({self._when()})"
            )

    def _when(self) -> str:
        """When the touched traces' calls start: a call starts with one of its records."""
        return any_of(windows(hours(self._connection, "call_records", "start_time")), "start_time")

    def _add_stored(self, traces: str) -> None:
        """Append the stored spans of `traces` to call_records: those whose keys stand in stored_spans."""
        ranges = windows(
            hours(self._connection, f"stored_spans SEMI JOIN {traces} USING (tenant, trace_id)", SPANS.time)
        )
        if ranges:
            self._has_stored = True
            self._connection.execute(
                f"INSERT INTO call_records SELECT {self._select} FROM lake.spans"
                f" SEMI JOIN {traces} USING (tenant, trace_id) WHERE {any_of(ranges, SPANS.time)}"
            )

    def _find_partners(self) -> bool:
        """TEMP partner_traces: further traces with a record that may be one call with one of call_records."""
        candidates = "(FROM call_records WHERE role IN ('llm', 'embeddings'))"
        near = hours(self._connection, candidates, SPANS.time)
        self._connection.execute(
            sql("sql/partner_spans.sql").format(
                within_horizon=any_of(windows(near, _HORIZON), SPANS.time),
                same_moment=any_of(windows(near, _SLACK), SPANS.time),
            )
        )
        if not count(self._connection, "partner_spans"):
            return False
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE partner_traces AS {self._partners}")
        return count(self._connection, "partner_traces") > 0

    def _add_partners(self) -> None:
        partners = "partner_spans SEMI JOIN partner_traces USING (tenant, trace_id)"
        extents = hours(self._connection, partners, SPANS.time)
        looked_at = look_up_traces(self._connection, "partner_traces", extents)
        complete_traces(self._connection, "partner_traces", looked_at, with_new=False)
        self._add_stored("partner_traces")
        self._connection.execute("INSERT INTO touched_traces FROM partner_traces")
