"""`calls` of all that a batch touches: gather the records, let semconv build, replace what came out different."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from collector.store.call_logs import CallLogs
from collector.store.new_files import NewFiles
from collector.store.records import SPANS, count, hours_of
from collector.store.span_records import SpanRecords, may_have_streams
from collector.store.statements import sql
from collector.store.traces import StoredSpans, distinct_traces, joined_parts, of_traces
from collector.store.windows import Extent, Window, any_of, windows
from semconv.ancestry import CANDIDATE_ROLES
from semconv.calls import (
    CALL_ID,
    NESTING_SLACK_NS,
    PARTNER_COLUMNS,
    PARTNER_HORIZON,
    partner_span_select,
    partner_traces_sql,
    span_record_select,
)
from semconv.columns import SPANS as SPAN_COLUMNS
from semconv.planned import Planned, relation
from semconv.resolve import Resolver
from semconv.sqltext import literal, quoted

# start_time is cut to microseconds, the rule counts nanoseconds.
_SLACK: Final = dt.timedelta(microseconds=NESTING_SLACK_NS // 1000 + 1)
# Roots of the library that tells the ends of streams in spans of their own (semconv/calls.py).
_LIBRARY: Final = "logfire"
_MAY_STREAM: Final = (
    f"starts_with(scope_name, '{_LIBRARY}') AND role IN ('llm', 'embeddings') AND parent_span_id IS NULL"
    " AND (event_name IS NOT NULL OR coalesce(input_tokens, output_tokens) IS NULL)"
)
_TRACE: Final = ["tenant", "trace_id"]
_REPORTER: Final = ["signal", "scope_name", "event_name"]
_IDENTITY: Final = [*_TRACE, "span_id", "signal"]
_LOG, _ERROR, _EMPTY = (pa.scalar(text, pa.string()) for text in ("log", "ERROR", ""))
_NONE, _UNKNOWN = (pa.scalar(number, pa.int64()) for number in (-1, None))
# So many values are written into a statement; else it asks for them.
_FEW_VALUES: Final = 64
_ALL_IDS: Final = "(SELECT response_id FROM call_records WHERE response_id IS NOT NULL)"
# Equal counts, or a failure without any, at the same moment: times within the slack lie in one piece of that length, or
# in neighbouring ones.
_COUNTED: Final = "coalesce(input_tokens, CASE WHEN status_code = 'ERROR' THEN -1 END)"
_MOMENT: Final = f"epoch_us(start_time) // {_SLACK // dt.timedelta(microseconds=1)}"
_ALIKE: Final = f"""hash({_COUNTED}, {_MOMENT}) IN (
    SELECT hash({_COUNTED}, {_MOMENT} + unnest([-1, 0, 1])) FROM call_records WHERE {_COUNTED} IS NOT NULL
)"""


class CallsUpdate:
    """Two steps of one transaction: `build` only reads the lake, `replace` writes."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, resolver: Resolver, dimensions: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._resolver = resolver
        self._selects = {
            streams: span_record_select(dimensions, of_streams=streams) for streams in (False, True)
        }
        self._partners = {
            with_logs: Planned(connection, partner_traces_sql("partner_records", with_logs=with_logs))
            for with_logs in (False, True)
        }
        self.stored = StoredSpans(connection)
        self.logs = CallLogs(connection, dimensions)
        self._of_spans = SpanRecords(connection, dimensions, self.logs.new.schema)
        self._records_found = self._partner_records = self.logs.new
        self._touched = distinct_traces(self.logs.new)
        self._built: pa.Table | None = None
        self._has_stored = False  # whether a touched trace has stored records, and so may have stored calls
        self.may_lack_records = False  # stored calls (missing_records.py)

    def build(self, new_spans: pa.Table, looked_at: list[Window], linked: pa.Table | None = None) -> bool:
        """Build the calls of the traces that the batch touches; False where no model call is touched.

        Needs `stored` with the windows that were looked at for it, and `logs` with the new ones; the lake must not
        hold the new records yet. `linked` (tenant, trace_id, start_time): traces that are touched whatever they hold,
        looked at too.
        """
        self.logs.look_around(looked_at, new_spans)
        self._touched = self._traces_touched(new_spans)
        if linked is not None:
            self._touch(linked)
        if not self._touched.num_rows:
            return False
        self._gather(new_spans, looked_at, linked)
        while (partners := self._find_partners()).num_rows:
            self._add_partners(partners)
        self._built = self._resolver.build_calls(self._records_found)
        return True

    def build_again(
        self, linked: pa.Table, spans: pa.Table | None = None, logs: pa.Table | None = None
    ) -> bool:
        """As `build`, of traces with stored records: without any new ones, or with `spans` or `logs` that take the
        place of stored ones, which the lake must not hold any more.
        """
        if spans is None:
            spans = self._resolver.resolve_spans(SPAN_COLUMNS.empty_table())
        self.logs.take_new(logs)
        self.stored.rows = linked
        parts = joined_parts(spans, self.logs.new)
        traces = distinct_traces(joined_parts(parts, linked))
        return self.build(spans, self.stored.look_up(traces, self.stored.extents(traces, parts)), linked)

    def replace(self, files: NewFiles) -> int:
        """Put the calls that were built in the place of the touched traces' calls; how many rows were written."""
        if self._built is None:
            return 0
        calls = self._built
        if self._has_stored:
            columns = ", ".join(map(quoted, calls.column_names))
            with relation(self._connection, "built_calls", calls):
                if self._look_up_stored(columns):
                    calls = self._different(calls, columns)
                    self._delete_outdated(columns)
        if calls.num_rows:
            files.insert("calls", calls, "start_time")
        return int(calls.num_rows)

    def forget(self) -> None:
        """Let go of the records that were found last, and of their calls."""
        self._built = None
        self.stored.rows = self.stored.rows.schema.empty_table()
        self._records_found = self._records_found.schema.empty_table()
        self._partner_records = self._partner_records.schema.empty_table()

    def _traces_touched(self, new_spans: pa.Table) -> pa.Table:
        """Traces with a new record that hold a model call, new or stored, reported by a span or a log record. On
        others nothing depends. A log record outside any trace is a trace of its own.
        """
        stored = self.stored.rows
        with_calls = [stored.filter(_is_candidate(stored)), self.logs.traces]
        grown = of_traces(new_spans, pa.concat_tables([table.select(_TRACE) for table in with_calls]))
        new = [new_spans.filter(_is_candidate(new_spans)), grown, self.logs.new]
        return distinct_traces(pa.concat_tables([table.select(_TRACE) for table in new]))

    def _gather(self, new_spans: pa.Table, looked_at: list[Window], linked: pa.Table | None) -> None:
        """All records of the touched traces."""
        self._has_stored = self.may_lack_records
        self._records_found = self._of_spans.of(of_traces(new_spans, self._touched))
        if self.stored.rows.num_rows:
            self.stored.complete(self._touched, looked_at, new_spans, self.logs.new)
            self._add_stored_spans(self._touched)
        self._add(self.logs.new)
        near = hours_of(self._records_found, "start_time") if self.logs.are_there else []
        if linked is not None:
            near += hours_of(linked, "start_time")
        self._add_stored_logs(self._touched, near)

    def _add(self, records: pa.Table) -> None:
        if records.num_rows:
            self._records_found = pa.concat_tables([self._records_found, records])

    def _touch(self, traces: pa.Table) -> None:
        self._touched = distinct_traces(pa.concat_tables([self._touched, traces.select(_TRACE)]))

    def _look_up_stored(self, columns: str) -> int:
        """TEMP stored_calls: the touched traces' calls as they are; how many."""
        by_log = sql("sql/stored_log_calls.sql").format(columns=columns, when=self._when(), call_id=CALL_ID)
        log_records = self._records_found.filter(pc.equal(self._records_found.column("signal"), _LOG))
        with (
            relation(self._connection, "wanted_traces", self._touched),
            relation(self._connection, "call_records", log_records.select(_IDENTITY)),
        ):
            self._connection.execute(
                f"CREATE OR REPLACE TEMP TABLE stored_calls AS SELECT {columns} FROM lake.calls"
                f" SEMI JOIN wanted_traces USING (tenant, trace_id) WHERE {self._when()}"
                f" {by_log if self.logs.are_there else ''}"
            )
        return count(self._connection, "stored_calls")

    def _different(self, calls: pa.Table, columns: str) -> pa.Table:
        """Those that are not stored exactly so."""
        found = self._connection.execute(sql("sql/different_calls.sql").format(columns=columns))
        ids = found.to_arrow_table().column("call_id")
        return calls.filter(pc.is_in(calls.column("call_id"), value_set=ids))

    def _delete_outdated(self, columns: str) -> None:
        self._connection.execute(sql("sql/outdated_calls.sql").format(columns=columns))
        if self.may_lack_records:
            records = self._records_found.filter(
                pc.invert(pc.equal(self._records_found.column("signal"), _LOG))
            )
            with relation(self._connection, "known_records", records.select([*_TRACE, "span_id"])):
                self._connection.execute(sql("sql/keep_calls_without_records.sql"))
        delete_calls(self._connection, "outdated_calls", hours_of(self._records_found, "start_time"))

    def _when(self) -> str:
        """When the touched traces' calls start: a call starts with one of its records."""
        return _starts_in(hours_of(self._records_found, "start_time"))

    def _add_stored_spans(self, traces: pa.Table) -> None:
        """Append the stored spans of `traces` to call_records: those whose keys were found."""
        rows = of_traces(self.stored.rows, traces)
        if rows.num_rows:
            self._has_stored = True
            ranges = windows(hours_of(rows, SPANS.time))
            with relation(self._connection, "wanted_traces", traces):
                stored = self._connection.execute(
                    f"SELECT {self._selects[may_have_streams(rows)]} FROM lake.spans"
                    f" SEMI JOIN wanted_traces USING (tenant, trace_id) WHERE {any_of(ranges, SPANS.time)}"
                ).to_arrow_table()
            self._add(stored)

    def _add_stored_logs(self, traces: pa.Table, near: list[Extent]) -> None:
        self._has_stored |= self.logs.are_stored
        self._add(self.logs.stored(traces, near))

    def _find_partners(self) -> pa.Table:
        """Further traces with a record that may be one call with one of call_records."""
        records = self._records_found
        candidates = records.select(PARTNER_COLUMNS).filter(_is_candidate(records))
        has_streams = _may_be_of_streams(candidates)
        with relation(self._connection, "call_records", candidates):
            selects = list(self._partner_selects(candidates, has_streams))
            if selects:
                found = self._connection.execute(" UNION ALL BY NAME ".join(selects))
                self._partner_records = found.to_arrow_table()
            else:
                self._partner_records = candidates.schema.empty_table()
        if not self._partner_records.num_rows or _are_of_one_reporter(self._partner_records, candidates):
            return self._touched.schema.empty_table()
        return self._partners[self.logs.are_there or has_streams].table(
            partner_records=self._partner_records, call_records=candidates, touched_traces=self._touched
        )

    def _partner_selects(self, candidates: pa.Table, has_streams: bool) -> Iterator[str]:
        """SELECTs of stored records, with call_records registered."""
        near = hours_of(candidates, SPANS.time)
        within_horizon = any_of(windows(near, PARTNER_HORIZON), SPANS.time)
        yield from self._partner_span_select(candidates, within_horizon)
        needed = {"partner_spans_of_logs": self.logs.are_there, "partner_streams": has_streams}
        for name, is_needed in needed.items():
            if is_needed:
                statement = sql(f"sql/{name}.sql").format(
                    columns=partner_span_select(), within_horizon=within_horizon, may_stream=_MAY_STREAM
                )
                yield f"({statement})"
        of_logs = self.logs.partners_sql(near)
        if of_logs is not None:
            yield f"({of_logs})"

    def _partner_span_select(self, candidates: pa.Table, within_horizon: str) -> Iterator[str]:
        """None where there are no such spans. To read all their columns of all the calls of two hours takes twice as
        long as to see that there are none, or from when to when.
        """
        statement = sql("sql/partner_spans.sql")
        values = {
            "ids": _among(candidates.column("response_id"), _ALL_IDS),
            "alike": _alike(candidates),
            "of_others": _of_others(candidates),
        }
        found = statement.format(
            columns="min(start_time), max(start_time)", within_horizon=within_horizon, **values
        )
        ((first, last),) = self._connection.execute(found).fetchall()
        if first is not None:
            within = Window(first, last).condition(SPANS.time)
            columns = partner_span_select(of_streams=False)
            yield f"({statement.format(columns=columns, within_horizon=within, **values)})"

    def _add_partners(self, traces: pa.Table) -> None:
        partners = of_traces(self._partner_records, traces)
        extents = hours_of(partners, SPANS.time)
        looked_at = self.stored.look_up(traces, extents)
        self.stored.complete(traces, looked_at)
        self._add_stored_spans(traces)
        self._add_stored_logs(traces, hours_of(self._partner_records, SPANS.time))
        self._touch(traces)


def delete_calls(connection: duckdb.DuckDBPyConnection, doomed: str, starts: list[Extent]) -> None:
    """Delete the calls that the relation `doomed` (tenant, call_id) names; `starts`: when they may start."""
    if count(connection, doomed):
        connection.execute(
            f"DELETE FROM lake.calls WHERE (tenant, call_id) IN (SELECT (tenant, call_id) FROM {doomed})"
            f" AND ({_starts_in(starts)})"
        )


def _starts_in(starts: list[Extent]) -> str:
    return any_of(windows(starts), "start_time")


def _is_candidate(records: pa.Table) -> pa.ChunkedArray:
    """Which records may report a call."""
    return pc.is_in(records.column("role"), value_set=CANDIDATE_ROLES)


def _are_of_one_reporter(*records: pa.Table) -> bool:
    """Whether one library and event reported all: no two of them are one call in two traces then."""
    reporters = pa.concat_tables([table.select(_REPORTER) for table in records])
    return bool(reporters.group_by(_REPORTER).aggregate([]).num_rows == 1)


def _of_others(candidates: pa.Table) -> str:
    """The condition that another library reported a stored span than the one that reported all of these, if it is one.
    Where all that is stored is of that one too, its files are hardly read.
    """
    reporters = candidates.group_by(_REPORTER).aggregate([]).to_pylist()
    if len(reporters) != 1 or reporters[0]["signal"] != "span" or reporters[0]["event_name"] is not None:
        return "true"
    scope = reporters[0]["scope_name"]
    return (
        "scope_name IS NOT NULL"
        if scope is None
        else f"(scope_name <> {literal(scope)} OR scope_name IS NULL)"
    )


def _may_be_of_streams(candidates: pa.Table) -> bool:
    """As _MAY_STREAM says it."""
    of_library = pc.starts_with(pc.fill_null(candidates.column("scope_name"), _EMPTY), _LIBRARY)
    roots = candidates.filter(pc.and_(of_library, pc.is_null(candidates.column("parent_span_id"))))
    usage = pc.coalesce(roots.column("input_tokens"), roots.column("output_tokens"))
    return _holds(pc.or_(pc.is_valid(roots.column("event_name")), pc.is_null(usage)))


def _holds(conditions: pa.ChunkedArray) -> bool:
    return bool(pc.any(conditions).as_py())


def _alike(candidates: pa.Table) -> str:
    """The condition that a stored span may be alike with one of these."""
    failed = pc.equal(candidates.column("status_code"), _ERROR)
    counts = pc.coalesce(candidates.column("input_tokens"), pc.if_else(failed, _NONE, _UNKNOWN))
    distinct = _distinct(counts)
    if len(distinct) > _FEW_VALUES:
        return _ALIKE
    same_moment = any_of(windows(hours_of(candidates, SPANS.time), _SLACK), SPANS.time)
    return f"({same_moment}) AND {_COUNTED} IN ({_listed(distinct)})"


def _among(values: pa.ChunkedArray, otherwise: str) -> str:
    """The right side of IN: the values where they are few, for a subquery costs more to plan than all the rest."""
    distinct = _distinct(values)
    return otherwise if len(distinct) > _FEW_VALUES else f"({_listed(distinct)})"


def _distinct(values: pa.ChunkedArray) -> list[Any]:
    return [value for value in pc.unique(values).to_pylist() if value is not None]


def _listed(values: list[Any]) -> str:
    return ", ".join(literal(value) if isinstance(value, str) else str(value) for value in values) or "NULL"
