"""The records of one person or one session leave every relation of the lake, in one transaction.

What is a subject's (`--user` or `--session`, below "the id"):

- spans whose own user (session) it is, under whichever key the id came; spans that say none and inherit it as `calls`
  do: from the nearest ancestor, else because the trace names nobody else;
- log records likewise, by themselves, their span or their trace; data points by themselves;
- calls that are the subject's, calls that one of those records reported, and all other records of each such call;
- texts (`contents`) of those spans and log records; exemplars of data points that name one of those spans;
- results of recorded runs, with their findings, whose window holds one of those records, or that name the id;
- alerts that name the id, and the texts of those whose window holds one of those records.

Where a trace tells of several subjects, what says nothing itself and has no ancestor that does belongs to none of
them, and stays. All other calls stay as they are. What else holds the id as a text (an attribute of somebody else's
span) stays, with the word `erased` in its place; see collector/store/erase_mentions.py.

What is deleted here is still in files: collector/store/erase_files.py and erase_catalog.py remove it from there.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import duckdb

from collector.store.durability import DataFiles
from collector.store.erase_mentions import Mentions
from collector.store.lake import Lake
from collector.store.records import count
from collector.store.statements import sql
from semconv.dialect_rules import claiming_keys
from semconv.dialects import tables
from semconv.sqltext import literal

SubjectKind = Literal["user", "session"]
Counts = dict[str, int]
"""Relation → rows; of runs, findings and alerts too, and `mentions`: rows that stay without the id."""

# Relation → its time and what names a row; in the order of deletion.
_DELETED: Final = {
    "calls": ("start_time", "(tenant, call_id)"),
    "contents": ("start_time", "rowid"),
    "spans": ("start_time", "(tenant, trace_id, span_id)"),
    "log_records": ("time", "(tenant, record_hash)"),
    "metric_points": ("time", "(tenant, record_hash)"),
}
_NAMED: Final = {"contents": "node"}
# Tables of which the catalog holds the latest rows.
INLINED: Final = ("runs", "loads")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom to erase; `forms`: the id as it may stand in the lake, as it came and hashed; of one tenant, or all."""

    kind: SubjectKind
    forms: tuple[str, ...]
    tenant: str | None = None

    @property
    def column(self) -> str:
        """Of spans, log_records, metric_points and calls."""
        return f"{self.kind}_id"

    def parts(self) -> dict[str, str]:
        """What the statements ask, as SQL; `own` is true, false (somebody else's) or NULL (they do not say)."""
        of_tenant = "true" if self.tenant is None else f"tenant = {literal(self.tenant)}"
        matches = " OR ".join(self._matches())
        return {
            "column": self.column,
            "forms": _values(self.forms),
            "of_tenant": of_tenant,
            "names_it": f"({of_tenant} AND ({matches}))",
            "own": f"CASE WHEN {of_tenant} AND ({matches}) THEN true WHEN {self.column} IS NOT NULL THEN false END",
        }

    def _matches(self) -> Iterator[str]:
        """The column says what one key said; a record may have several."""
        yield f"coalesce({self.column} IN {_values(self.forms)}, false)"
        keys = [key for key in claiming_keys(tables().every_rule, self.column) if '"' not in key]
        paths = ", ".join(literal(f'$."{key}"') for key in keys)
        forms = ", ".join(map(literal, self.forms))
        for attributes in ("attributes", "resource_attributes"):
            yield (
                f"({self.may_hold(attributes)} AND coalesce(list_has_any("
                f"json_extract_string({attributes}, [{paths}]), [{forms}]), false))"
            )

    def may_hold(self, column: str) -> str:
        """That one of the forms stands somewhere in a text, or in a JSON text, as SQL."""
        texts = dict.fromkeys(
            (*self.forms, *(json.dumps(form, ensure_ascii=False)[1:-1] for form in self.forms))
        )
        holds = " OR ".join(f"contains({column}::VARCHAR, {literal(text)})" for text in texts)
        return f"coalesce({holds}, false)"


class Eraser:
    """Finds what is a subject's, and deletes it. Needs TEMP tables of a connection of its own."""

    def __init__(self, lake: Lake, subject: Subject) -> None:
        self._lake = lake
        self._connection = lake.connection
        self._subject = subject
        self._parts = subject.parts()
        self.traces: set[tuple[str, str]] = set()  # (tenant, trace_id) in which the subject was found

    def find(self) -> Counts:
        """Count what there is; nothing is written."""
        self._connection.begin()  # one state of the lake
        try:
            return self._select()
        finally:
            self._connection.rollback()

    def erase(self, on_found: Callable[[], None]) -> Counts:
        """Delete it, once `on_found` has returned; the caller holds the writer lock. After any exception nothing is
        deleted."""
        files = DataFiles(self._lake.data_dir)
        # Rows in the catalog keep what they were before; those in files can be written anew.
        for table in INLINED:
            self._connection.execute(f"CALL ducklake_flush_inlined_data('lake', table_name => '{table}')")
        self._connection.begin()
        try:
            counts = self._select()
            on_found()
            self._delete()
            counts["mentions"] = Mentions(self._connection, self._subject).replace()
            files.sync_new()
            self._connection.commit()
        except BaseException:
            with suppress(duckdb.Error):
                self._connection.rollback()
            raise
        return counts

    def _select(self) -> Counts:
        """TEMP erase_<relation>: what is to be deleted."""
        for name in ("own", "told", "spans", "logs", "calls", "members", "rest"):
            self._connection.execute(sql(f"sql/erase_{name}.sql").format(**self._parts))
        self._select_told()
        self.traces = set(self._connection.execute("SELECT tenant, trace_id FROM erase_traces").fetchall())
        found = {name: count(self._connection, f"erase_{name}") for name in (*_DELETED, "runs", "alerts")}
        found["calls"] = count(self._connection, "(SELECT DISTINCT tenant, call_id FROM erase_calls)")
        found["findings"] = count(self._connection, "lake.findings SEMI JOIN erase_runs USING (run_id)")
        return found

    def _select_told(self) -> None:
        """What was worked out from those records, or names the subject."""
        extents = [extent for relation in _DELETED if (extent := self._extent(relation))]
        overlaps = "false"
        if extents:
            first, last = min(extent[0] for extent in extents), max(extent[1] for extent in extents)
            overlaps = f"window_start <= TIMESTAMP '{last}' AND window_end >= TIMESTAMP '{first}'"
        columns = ("error", "settings", "result")
        statement = sql("sql/erase_runs.sql").format(
            overlaps=overlaps,
            mentioned=" OR ".join(map(self._subject.may_hold, columns)),
            in_finding=" OR ".join(map(self._subject.may_hold, ("title", "finding", "finding_id"))),
        )
        self._connection.execute(statement)
        statement = sql("sql/erase_alerts.sql").format(
            overlaps=overlaps, mentioned=self._subject.may_hold("alert")
        )
        self._connection.execute(statement)

    def _extent(self, relation: str) -> tuple[dt.datetime, dt.datetime] | None:
        time, _ = _DELETED[relation]
        row = self._connection.execute(f"SELECT min({time}), max({time}) FROM erase_{relation}").fetchone()
        return (row[0], row[1]) if row and row[0] is not None else None

    def _delete(self) -> None:
        for relation, (time, key) in _DELETED.items():
            if (extent := self._extent(relation)) is not None:
                self._connection.execute(
                    f"DELETE FROM lake.{relation} WHERE {key} IN"
                    f" (SELECT {_NAMED.get(relation, key)} FROM erase_{relation})"
                    f" AND {time} BETWEEN TIMESTAMP '{extent[0]}' AND TIMESTAMP '{extent[1]}'"
                )
        self._connection.execute("DELETE FROM lake.findings WHERE run_id IN (FROM erase_runs)")
        # The run itself stays: the schedule goes by it.
        self._connection.execute(
            "UPDATE lake.runs SET result = NULL,"
            f" error = CASE WHEN {self._subject.may_hold('error')} THEN NULL ELSE error END,"
            f" settings = CASE WHEN {self._subject.may_hold('settings')} THEN '{{}}' ELSE settings END"
            " WHERE run_id IN (FROM erase_runs)"
        )
        self._connection.execute(
            "DELETE FROM lake.alerts WHERE alert_id IN (SELECT alert_id FROM erase_alerts WHERE is_named)"
        )
        # That it was raised stays: the same is not raised again.
        self._connection.execute(
            "UPDATE lake.alerts SET alert = NULL"
            " WHERE alert IS NOT NULL AND alert_id IN (SELECT alert_id FROM erase_alerts)"
        )


def _values(forms: tuple[str, ...]) -> str:
    return f"({', '.join(map(literal, forms))})"
