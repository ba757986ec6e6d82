"""The log records that report calls: those of the batch, and those stored that belong to what it touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from collector.store.records import LOG_RECORDS, count, hours
from collector.store.statements import sql
from collector.store.traces import MARGIN
from collector.store.windows import Extent, Window, any_of, windows
from semconv.calls import (
    PARTNER_HORIZON,
    RECORD_TRACE,
    REPORTS_CALL,
    log_record_select,
    partner_log_select,
)


class CallLogs:
    """Log records as `call_records`, of one batch after the other. Most deployments store none that report calls:
    there a batch costs one look for them.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, dimensions: Mapping[str, str]) -> None:
        self._connection = connection
        self._select = log_record_select(dimensions)
        self._are_new = self._are_stored = False
        self._take_from("lake.log_records WHERE false")
        self._find_traces("false")

    @property
    def are_there(self) -> bool:
        """Whether the batch has any, or the lake at about its time."""
        return self._are_new or self._are_stored

    def take_new(self, *, has_log_records: bool) -> bool:
        """TEMP new_call_logs: those of TEMP new_log_records, if the batch has it; whether there are any."""
        if has_log_records:
            self._take_from(f"new_log_records WHERE {REPORTS_CALL}")
        elif count(self._connection, "new_call_logs"):
            self._take_from("lake.log_records WHERE false")
        self._are_new = count(self._connection, "new_call_logs") > 0
        return self._are_new

    def look_around(self, looked_at: Sequence[Window]) -> None:
        """Whether any are stored at about the batch's time, and TEMP stored_call_traces: in which of its traces."""
        within = any_of(looked_at, LOG_RECORDS.time)
        self._are_stored = self._may_be_stored() and self._finds(
            f"SELECT count(*) > 0 FROM (SELECT 1 FROM lake.log_records WHERE ({within}) AND {REPORTS_CALL} LIMIT 1)"
        )
        if self._are_stored:
            self._find_traces(within)
        elif count(self._connection, "stored_call_traces"):
            self._find_traces("false")

    def add_new(self) -> None:
        """Append those of the batch to call_records."""
        if self._are_new:
            self._connection.execute("INSERT INTO call_records BY NAME FROM new_call_logs")

    def add_stored(self, traces: str, near: str) -> bool:
        """Append those stored of `traces` to call_records; whether there may be any. `near`: a relation with the
        start_time of records of these traces.
        """
        if self._are_stored:
            within = any_of(windows(hours(self._connection, near, "start_time"), MARGIN), LOG_RECORDS.time)
            self._connection.execute(
                f"INSERT INTO call_records BY NAME SELECT {self._select} FROM lake.log_records"
                f" WHERE ({within}) AND {REPORTS_CALL} AND (tenant, {RECORD_TRACE}) IN (FROM {traces})"
            )
        return self._are_stored

    def add_partners(self, near: Sequence[Extent]) -> None:
        """Append to partner_records those stored that may be one call with one of call_records, whose candidates
        start at `near`.
        """
        if self._are_stored:
            # A record is written up to as long after its call's start as that may lie from the other's.
            within = any_of(windows(near, 2 * PARTNER_HORIZON), LOG_RECORDS.time)
            statement = sql("sql/partner_logs.sql")
            self._connection.execute(
                statement.format(columns=partner_log_select(), within=within, reports_call=REPORTS_CALL)
            )

    def _may_be_stored(self) -> bool:
        return self._finds(sql("sql/logs_of_calls.sql"))

    def _finds(self, statement: str) -> bool:
        row = self._connection.execute(statement).fetchone()
        return row is not None and bool(row[0])

    def _take_from(self, source: str) -> None:
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE new_call_logs AS SELECT {self._select} FROM {source}"
        )

    def _find_traces(self, within: str) -> None:
        among = "SEMI JOIN new_spans USING (tenant, trace_id)" if within != "false" else ""
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE stored_call_traces AS SELECT DISTINCT tenant, trace_id"
            f" FROM lake.log_records {among} WHERE ({within}) AND {REPORTS_CALL}"
        )
