"""The id of who is erased, where it stands as a text in what is not theirs: in an attribute of somebody else's span, a
message, an exemplar.

Such a row stays, with the word `erased` in the place of the id. An id of fewer than 8 characters, or one that is a
word of the telemetry (a provider, a model, a service, an agent), is no name: it is left where it stands.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa

from collector.store.statements import sql
from semconv.planned import relation
from semconv.sqltext import quoted

if TYPE_CHECKING:
    from collector.store.erase import Subject

_INSTEAD: Final = "erased"
_SHORTEST: Final = 8
_JSON: Final = ("resource_attributes", "scope_attributes", "attributes")
# Relation → its columns of text that senders choose.
_TEXTS: Final = {
    "spans": ("name", "status_message", "trace_state", *_JSON, "events", "links", "evidence", "source"),
    "log_records": ("body", *_JSON, "evidence", "source"),
    "metric_points": ("exemplars", "metric_metadata", *_JSON, "source"),
    "contents": ("content",),
    "calls": (),  # and its dimensions
    "loads": ("source",),
}
_TIMES: Final = {"log_records": "time", "metric_points": "time", "loads": "loaded_at"}
_WORDS: Final = (
    *(
        "tenant",
        "provider",
        "request_model",
        "response_model",
        "operation",
        "service_name",
        "service_namespace",
    ),
    *(
        "deployment_environment",
        "scope_name",
        "agent_name",
        "tool_name",
        "billing_account",
        "dialect",
        "role",
    ),
)
# The last column of `calls` in schema.sql; dimensions follow it.
_LAST_FIXED_COLUMN: Final = "notes"


class Mentions:
    """Of one subject, in a transaction in which the subject's own records are deleted already."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, subject: Subject) -> None:
        self._connection = connection
        self._subject = subject
        names = [form for form in subject.forms if len(form) >= _SHORTEST and not self._is_word(form)]
        # As it stands in a text, and in the text of a JSON document, where an escape may go before it.
        spelled = dict.fromkeys(
            text for name in names for text in (name, json.dumps(name, ensure_ascii=False)[1:-1])
        )
        self._name = re.compile(rf"(?:(?<!\w)|(?<=\\[nrtbf]))(?:{'|'.join(map(re.escape, spelled))})(?!\w)")
        self._are_named = bool(names)

    def replace(self) -> int:
        """How many rows were written anew."""
        return sum(
            self._replace(table, [*columns, *self._dimensions(table)]) for table, columns in _TEXTS.items()
        )

    def _replace(self, table: str, columns: list[str]) -> int:
        conditions = [self._subject.may_hold(quoted(name)) for name in columns] if self._are_named else []
        if table == "metric_points":
            conditions.append(
                "contains(exemplars::VARCHAR, 'trace_id') AND (tenant, record_hash) IN (FROM erase_exemplars)"
            )
            self._find_exemplars()
        if not conditions:
            return 0
        time = _TIMES.get(table, "start_time")
        chosen = ", ".join(f"{quoted(name)}::VARCHAR AS {quoted(name)}" for name in columns)
        of_tenant = "true" if table == "loads" else self._subject.parts()["of_tenant"]
        found = self._connection.execute(
            f"SELECT rowid AS node, {chosen} FROM lake.{table} WHERE {of_tenant} AND ({' OR '.join(conditions)})"
        ).to_arrow_table()
        changed = [row for row in found.to_pylist() if self._change(row)]
        if changed:
            with relation(self._connection, "erase_changed", pa.Table.from_pylist(changed, found.schema)):
                self._write(table, time, columns)
        return len(changed)

    def _write(self, table: str, time: str, columns: list[str]) -> None:
        replaced = ", ".join(f"changed.{quoted(name)} AS {quoted(name)}" for name in columns)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE erase_written AS SELECT stored.* REPLACE ({replaced})"
            f" FROM lake.{table} AS stored JOIN erase_changed AS changed ON changed.node = stored.rowid"
        )
        self._connection.execute(f"DELETE FROM lake.{table} WHERE rowid IN (SELECT node FROM erase_changed)")
        self._connection.execute(f"INSERT INTO lake.{table} BY NAME FROM erase_written ORDER BY {time}")

    def _change(self, row: dict[str, Any]) -> bool:
        """Take the id out of a row's texts; whether there was any."""
        before = dict(row)
        for name, text in before.items():
            if isinstance(text, str):
                left = self._without_exemplars(text) if name == "exemplars" else text
                row[name] = self._name.sub(_INSTEAD, left) if self._are_named else left
        return row != before

    def _without_exemplars(self, text: str) -> str:
        exemplars = json.loads(text)
        left = [one for one in exemplars if (one.get("trace_id"), one.get("span_id")) not in self._spans]
        return (
            text
            if len(left) == len(exemplars)
            else json.dumps(left, separators=(",", ":"), ensure_ascii=False)
        )

    def _find_exemplars(self) -> None:
        """TEMP erase_exemplars: data points of which an exemplar names an erased span."""
        self._connection.execute(sql("sql/erase_exemplars.sql"))
        rows = self._connection.execute("SELECT trace_id, span_id FROM erase_spans").fetchall()
        self._spans = set(rows)

    def _dimensions(self, table: str) -> list[str]:
        if table != "calls":
            return []
        columns = [row[0] for row in self._connection.execute("DESCRIBE lake.calls").fetchall()]
        return columns[columns.index(_LAST_FIXED_COLUMN) + 1 :]

    def _is_word(self, form: str) -> bool:
        among = ", ".join(f"lower({name})" for name in _WORDS)
        found = self._connection.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM lake.spans WHERE lower(?) IN ({among}) LIMIT 1)", [form]
        ).fetchone()
        return bool(found and found[0])
