"""Deleted values leave the catalog: its statistics say what is there now, and its free pages hold nothing.

DuckLake only ever widens a column's least and greatest value; a message that was erased would be one of them for ever.
No DuckLake may be attached in this process meanwhile: the locks of two copies of SQLite do not see each other.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from collector.data_dir import CATALOG
from collector.store.lock import writer_lock

# A reader of the catalog is done after milliseconds; one that holds it for longer is not waited for for ever.
_BUSY_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
# How DuckLake's types compare; all others as their text does, by its bytes.
_ORDERS: Final[tuple[tuple[str, Callable[[str], Any]], ...]] = (
    ("int", int),
    ("uint", int),
    # As DuckDB or as Parquet writes them.
    ("boolean", lambda text: text in ("1", "true")),
    ("float", float),
    ("decimal", Decimal),
)
_COLUMNS: Final = """
SELECT DISTINCT stats.table_id, stats.column_id, named.column_type
FROM ducklake_table_column_stats AS stats
JOIN ducklake_column AS named
  ON named.table_id = stats.table_id AND named.column_id = stats.column_id AND named.end_snapshot IS NULL
"""
_LIVE: Final = """
SELECT stats.min_value, stats.max_value, coalesce(stats.value_count, 1) > 0
FROM ducklake_file_column_stats AS stats
JOIN ducklake_data_file AS file ON file.data_file_id = stats.data_file_id AND file.end_snapshot IS NULL
WHERE stats.table_id = ? AND stats.column_id = ?
"""
_UPDATE: Final = """
UPDATE ducklake_table_column_stats SET min_value = ?, max_value = ? WHERE table_id = ? AND column_id = ?
"""
_TEXTS: Final = ("varchar", "json")
_LAST: Final = "\U0010ffff"
_STALE: Final = (
    "DELETE FROM ducklake_file_column_stats WHERE data_file_id NOT IN (SELECT data_file_id FROM ducklake_data_file)",
    "DELETE FROM ducklake_file_partition_value WHERE data_file_id NOT IN (SELECT data_file_id FROM ducklake_data_file)",
)


class CatalogBusy(TimeoutError):  # noqa: N818 - the name says what is the case
    """A reader held the catalog for longer than the caller would wait."""


def scrub(data_dir: Path) -> None:
    """Make the statistics those of the live files, and write the catalog anew. Raises CatalogBusy, sqlite3.Error."""
    with (
        writer_lock(data_dir),
        closing(sqlite3.connect(data_dir / CATALOG, timeout=_BUSY_SECONDS, isolation_level=None)) as catalog,
    ):
        catalog.execute("BEGIN IMMEDIATE")
        for statement in _STALE:
            catalog.execute(statement)
        for table, column, kind in catalog.execute(_COLUMNS).fetchall():
            extremes = _extremes(catalog.execute(_LIVE, (table, column)).fetchall(), kind)
            if extremes is not None:
                catalog.execute(_UPDATE, (*extremes, table, column))
        catalog.execute("COMMIT")
        catalog.execute("VACUUM")
        _empty_log(catalog)


def _extremes(
    rows: list[tuple[str | None, str | None, int]], kind: str
) -> tuple[str | None, str | None] | None:
    """Of the files' least and greatest values; None, leave them, where a file with values does not say its own.

    Too narrow extremes would hide rows from queries. Of texts, of which any may be personal, they are the widest then.
    """
    order = next((convert for start, convert in _ORDERS if kind.startswith(start)), str.encode)
    least = [low for low, _, _ in rows if low is not None]
    greatest = [high for _, high, _ in rows if high is not None]
    if any(has_values and (low is None or high is None) for low, high, has_values in rows):
        return ("", _LAST) if order is str.encode and kind in _TEXTS else None
    return min(least, key=order, default=None), max(greatest, key=order, default=None)


def _empty_log(catalog: sqlite3.Connection) -> None:
    """What was written before lies in the write-ahead log until it is cut to nothing."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > deadline:
            raise CatalogBusy("a query is reading the catalog's log; run the same command again after it")
        time.sleep(_POLL_SECONDS)
