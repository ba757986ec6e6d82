"""What a dry run would have stored by now: rows that stand twice in the input count once, as when they are
stored."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import replace
from types import TracebackType
from typing import Final

import pyarrow as pa

from semconv.extract import Extracted

_KEYS: Final = {
    "spans": ("tenant", "trace_id", "span_id"),
    "log_records": ("tenant", "record_hash"),
    "metric_points": ("tenant", "record_hash"),
}


class Seen:
    """Identities of rows, in a temporary database on disk: there may be more than memory holds."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE seen (identity TEXT PRIMARY KEY) WITHOUT ROWID;"
        )

    def __enter__(self) -> Seen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def without_repeated(self, extracted: Extracted) -> tuple[Extracted, Counter[str]]:
        """The rows that earlier calls did not have, and how many of each table were left out."""
        fresh = {name: self._fresh(name, getattr(extracted, name)) for name in _KEYS}
        repeated = Counter(
            {
                f"{name}_duplicate": getattr(extracted, name).num_rows - table.num_rows
                for name, table in fresh.items()
            }
        )
        return replace(extracted, **fresh), repeated

    def _fresh(self, name: str, table: pa.Table) -> pa.Table:
        columns = [table.column(column).to_pylist() for column in _KEYS[name]]
        insert = self._database.execute
        new = [
            insert("INSERT OR IGNORE INTO seen VALUES (?)", ("\0".join((name, *key)),)).rowcount == 1
            for key in zip(*columns, strict=True)
        ]
        return table.filter(pa.array(new, pa.bool_()))
