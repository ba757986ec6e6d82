"""The append-only tables: find what is stored already, insert the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from collector.store.statements import sql
from collector.store.windows import HOUR, Extent, any_of, windows

# A record's twin further away in time is not looked for at every commit; `maintain` finds it.
TWIN_MARGIN: Final = HOUR


@dataclass(frozen=True, slots=True)
class Kind:
    """An append-only table: its time column and what tells two of its rows apart."""

    table: str
    time: str
    key: tuple[str, ...]


SPANS: Final = Kind("spans", "start_time", ("tenant", "trace_id", "span_id"))
LOG_RECORDS: Final = Kind("log_records", "time", ("tenant", "record_hash"))
METRIC_POINTS: Final = Kind("metric_points", "time", ("tenant", "record_hash"))
KINDS: Final = (SPANS, LOG_RECORDS, METRIC_POINTS)
_LARGEST_TABLES: Final = (
    *(f"resolved_{kind.table}" for kind in KINDS),
    *("call_records", "call_candidates", "call_prices", "built_calls"),
)


def look_up_keys(connection: duckdb.DuckDBPyConnection, kind: Kind) -> None:
    """TEMP stored_<table>: the batch's keys that the lake holds already, near their time."""
    key = ", ".join(kind.key)
    batch = f"(SELECT DISTINCT {key} FROM resolved_{kind.table})"
    ranges = windows(hours(connection, f"resolved_{kind.table}", kind.time), TWIN_MARGIN)
    parts = [look_up_sql(kind.table, key, batch, key, window.condition(kind.time)) for window in ranges]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE stored_{kind.table} AS {' UNION ALL '.join(parts)}")


def look_up_sql(table: str, columns: str, wanted: str, match: str, condition: str) -> str:
    """A SELECT of `columns` of the lake's rows under `condition` whose `match` columns stand in `wanted`."""
    return sql("sql/look_up.sql").format(
        table=table, columns=columns, wanted=wanted, match=match, condition=condition
    )


def first_of_each(records: pa.Table, kind: Kind) -> pa.Table:
    """`records` without those whose key an earlier one has. Done before resolution, whose joins keep no order."""
    numbered = records.select(list(kind.key)).append_column("row", pa.array(range(records.num_rows)))
    first = numbered.group_by(list(kind.key)).aggregate([("row", "min")]).column("row_min")
    return records if len(first) == records.num_rows else records.take(first.take(pc.sort_indices(first)))


def remember(connection: duckdb.DuckDBPyConnection, kinds: Iterable[Kind]) -> None:
    """Count the batch as stored from now on, though it was rolled back: TEMP seen_<table>, for dry runs."""
    for kind in kinds:
        select = f"SELECT {', '.join(kind.key)} FROM resolved_{kind.table}"
        connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS seen_{kind.table} AS {select} LIMIT 0")
        connection.execute(f"INSERT INTO seen_{kind.table} {select}")


def choose_new(connection: duckdb.DuckDBPyConnection, kind: Kind, *, also_seen: bool) -> int:
    """How many rows of TEMP resolved_<table> are not in TEMP stored_<table>; leaves them as TEMP VIEW new_<table>.

    With `also_seen`, what earlier dry runs would have stored counts as stored.
    """
    key = ", ".join(kind.key)
    tables = [f"stored_{kind.table}", *([f"seen_{kind.table}"] if also_seen else [])]
    known = " UNION ALL ".join(f"SELECT {key} FROM {table}" for table in tables)
    connection.execute(sql("sql/new_rows.sql").format(table=kind.table, key=key, known=known))
    new = count(connection, f"new_{kind.table}_rows")
    all_new = new == count(connection, f"resolved_{kind.table}")
    chosen = "" if all_new else f"SEMI JOIN new_{kind.table}_rows AS new ON resolved.rowid = new.new_row"
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW new_{kind.table} AS "
        f"SELECT resolved.* FROM resolved_{kind.table} AS resolved {chosen}"
    )
    return new


def insert_new(connection: duckdb.DuckDBPyConnection, kind: Kind, load_id: str) -> None:
    """Write TEMP VIEW new_<table> to the lake, sorted by time."""
    statement = sql("sql/insert_rows.sql")
    connection.execute(statement.format(table=kind.table, time=kind.time, load_id=load_id))


def insert_contents(connection: duckdb.DuckDBPyConnection, contents: pa.Table, load_id: str) -> None:
    """Write the gated texts that are not stored yet."""
    connection.register("extracted_contents", contents)
    try:
        ranges = windows(hours(connection, "extracted_contents", "start_time"), TWIN_MARGIN)
        statement = sql("sql/insert_contents.sql")
        connection.execute(statement.format(windows=any_of(ranges, "start_time"), load_id=load_id))
    finally:
        connection.unregister("extracted_contents")


def forget_large_tables(connection: duckdb.DuckDBPyConnection, *others: str) -> None:
    """Free the largest of the TEMP tables: until the next batch replaces them, they take some 90 MB."""
    for name in (*_LARGEST_TABLES, *others):
        connection.execute(f"DROP TABLE IF EXISTS temp.{name}")


def count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    """Rows of a relation."""
    row = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
    return int(row[0]) if row else 0


def hours(connection: duckdb.DuckDBPyConnection, relation: str, column: str) -> list[Extent]:
    """First and last moment of each hour in which the relation has a row."""
    return connection.execute(
        f"SELECT min({column}), max({column}) FROM {relation} GROUP BY date_trunc('hour', {column})"
    ).fetchall()
