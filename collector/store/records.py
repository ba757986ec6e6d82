"""The append-only tables: find what is stored already, insert the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from collector.store.statements import sql
from collector.store.windows import HOUR, Extent, any_of, windows
from semconv.planned import relation

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
_BETWEEN: Final = pa.scalar("\x1f", pa.string())


def look_up_keys(connection: duckdb.DuckDBPyConnection, kind: Kind, records: pa.Table) -> pa.Table:
    """The keys of `records` that the lake holds already, near their time."""
    key = ", ".join(kind.key)
    ranges = windows(hours_of(records, kind.time), TWIN_MARGIN)
    parts = [look_up_sql(kind.table, key, "batch", key, window.condition(kind.time)) for window in ranges]
    with relation(connection, "batch", records.select(kind.key)):
        return connection.execute(" UNION ALL ".join(parts)).to_arrow_table()


def look_up_sql(table: str, columns: str, wanted: str, match: str, condition: str) -> str:
    """A SELECT of `columns` of the lake's rows under `condition` whose `match` columns stand in `wanted`."""
    return sql("sql/look_up.sql").format(
        table=table, columns=columns, wanted=wanted, match=match, condition=condition
    )


def first_of_each(records: pa.Table, kind: Kind) -> pa.Table:
    """`records` without those whose key an earlier one has."""
    keys = pc.binary_join_element_wise(*(records.column(name) for name in kind.key), _BETWEEN)
    if pc.count_distinct(keys, mode="all").as_py() == records.num_rows:
        return records
    numbered = pa.table({"key": keys, "row": pa.array(range(records.num_rows), pa.int64())})
    first = numbered.group_by("key").aggregate([("row", "min")]).column("row_min")
    return records.take(first.take(pc.sort_indices(first)))


def remember(connection: duckdb.DuckDBPyConnection, batch: Mapping[Kind, pa.Table]) -> None:
    """Count the batch as stored from now on, though it was rolled back: TEMP seen_<table>, for dry runs."""
    for kind, records in batch.items():
        with relation(connection, "batch", records.select(kind.key)):
            connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS seen_{kind.table} AS FROM batch LIMIT 0")
            connection.execute(f"INSERT INTO seen_{kind.table} FROM batch")


def choose_new(
    connection: duckdb.DuckDBPyConnection, kind: Kind, records: pa.Table, stored: pa.Table, *, also_seen: bool
) -> pa.Table:
    """`records` without those whose keys stand in `stored`, or with `also_seen` among what earlier dry runs would
    have stored.
    """
    if not (stored.num_rows or also_seen):
        return records
    key = ", ".join(kind.key)
    seen = f"UNION ALL SELECT {key} FROM seen_{kind.table}" if also_seen else ""
    statement = sql("sql/new_rows.sql").format(key=key, or_seen=seen)
    with (
        relation(connection, "batch", records.select(kind.key)),
        relation(connection, "stored", stored.select(kind.key)),
    ):
        rows = connection.execute(statement).to_arrow_table().column("row")
    return records if len(rows) == records.num_rows else records.take(rows)


def insert_contents(connection: duckdb.DuckDBPyConnection, contents: pa.Table, load_id: str) -> None:
    """Write the gated texts that are not stored yet."""
    ranges = windows(hours_of(contents, "start_time"), TWIN_MARGIN)
    statement = sql("sql/insert_contents.sql")
    text = statement.format(windows=any_of(ranges, "start_time"), load_id=load_id)
    with relation(connection, "extracted_contents", contents):
        connection.execute(text)


def drop_tables(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Free large TEMP tables: until they are replaced, they take memory."""
    for name in names:
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


def hours_of(table: pa.Table, column: str) -> list[Extent]:
    """The same of an Arrow table."""
    times = table.column(column)
    hour = pc.floor_temporal(times, unit="hour")
    grouped = pa.table({"hour": hour, "time": times}).group_by("hour")
    extents = grouped.aggregate([("time", "min"), ("time", "max")])
    return list(
        zip(extents.column("time_min").to_pylist(), extents.column("time_max").to_pylist(), strict=True)
    )
