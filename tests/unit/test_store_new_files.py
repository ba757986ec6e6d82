"""Files that pyarrow wrote are rows of the lake like any others, and leave nothing behind where a commit fails."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from collector.store.lake import Lake, LakeUnavailable
from collector.store.migrate import open_current
from collector.store.new_files import NewFiles
from collector.store.trouble import fault_of
from semconv.request import Request
from semconv.resolve import Resolver
from semconv.settings import Settings
from tests.store_support import SECOND, Store, call, extracted, logs, span, store, traces

MONTH = 31 * 86400 * SECOND
CATALOG = "__ducklake_metadata_lake"
# Text that JSON, SQL and UTF-8 treat in ways of their own, empty text, and one too long for statistics.
AWKWARD = {"quote": 'it\'s "so"\\', "snow": "☃\u2028𝄞", "empty": "", "long": "x" * 5000, "app": "a\tb"}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path / "data") as opened:
        yield opened


def some_spans() -> Request:
    """Two months, calls and other spans, values and NULLs."""
    return traces(
        call(1, 1, response_id="r-1", attributes=AWKWARD),
        call(2, 1, at=-MONTH, attributes={"gen_ai.response.finish_reasons": "stop"}),
        span(2, 2, parent=1, at=-MONTH, name="☃"),
        span(3, 1, at=SECOND, attributes=AWKWARD),
    )


def resolved(lake: Store) -> dict[str, tuple[pa.Table, str]]:
    """Rows of each table that records come to, with its time column, as a commit would write them."""
    batch = extracted(some_spans(), logs(0, SECOND, -MONTH, text="☃"))
    resolver = Resolver(lake.lake.connection, Settings())
    rows = {
        "spans": (resolver.resolve_spans(batch.spans), "start_time"),
        "log_records": (resolver.resolve_log_records(batch.log_records), "time"),
    }
    return {
        name: (table.append_column("load_id", pa.array(["x"] * table.num_rows)), time)
        for name, (table, time) in rows.items()
    }


@pytest.mark.parametrize("table", ["spans", "log_records"])
def test_rows_read_as_if_they_had_been_inserted(lake: Store, table: str) -> None:
    """The same rows by an INSERT into a table of the same types: no value differs, none is missing."""
    connection = lake.lake.connection
    rows, time = resolved(lake)[table]
    connection.register("new_rows", rows)
    connection.execute(f"CREATE TEMP TABLE inserted AS FROM lake.{table} LIMIT 0")
    connection.execute("INSERT INTO inserted BY NAME FROM new_rows")
    connection.begin()
    files = NewFiles(lake.lake)
    files.insert(table, rows, time)
    files.commit()
    assert lake.one(f"SELECT count(*) FROM {table}") == rows.num_rows
    for one, other in ((f"lake.{table}", "inserted"), ("inserted", f"lake.{table}")):
        assert connection.execute(f"FROM {one} EXCEPT ALL FROM {other}").fetchall() == []


def test_the_lake_works_on_with_such_files(lake: Store) -> None:
    """Columns added, rows deleted, files rewritten and merged: whatever the lake does later gives the same rows."""
    for number in range(4):
        lake.load(traces(*(call(10 * number + n, 1, at=-MONTH * (n % 2)) for n in range(1, 5))))
    connection = lake.lake.connection
    before = connection.execute("SELECT * FROM lake.calls ORDER BY call_id").fetchall()
    open_current(lake.data_dir, {"team": "app.team"}).close()
    assert connection.execute("SELECT * EXCLUDE (team) FROM lake.calls ORDER BY call_id").fetchall() == before
    assert connection.execute("SELECT DISTINCT team FROM lake.calls").fetchall() == [(None,)]
    gone = before[0][0]
    connection.execute(f"DELETE FROM lake.calls WHERE call_id = '{gone}'")
    connection.execute("CALL ducklake_rewrite_data_files('lake', 'calls', delete_threshold => 0.01)")
    connection.execute("CALL ducklake_merge_adjacent_files('lake', 'calls')")
    left = connection.execute("SELECT * EXCLUDE (team) FROM lake.calls ORDER BY call_id").fetchall()
    assert left == [row for row in before if row[0] != gone]
    live = f"FROM {CATALOG}.ducklake_data_file JOIN {CATALOG}.ducklake_table USING (table_id)"
    (files,) = connection.execute(
        f"SELECT count(*) {live} WHERE table_name = 'calls' AND ducklake_data_file.end_snapshot IS NULL"
    ).fetchall()[0]
    assert files <= 4, "files of one month merge, whoever wrote them"


def test_files_outside_the_time_asked_for_are_not_read(lake: Store) -> None:
    """The catalog knows the times in each file: a day's question reads the day's file alone."""
    for number in range(1, 4):
        lake.load(traces(call(number, 1, at=-MONTH * number)))
    plan = lake.lake.connection.execute(
        "EXPLAIN ANALYZE SELECT count(*) FROM lake.spans"
        " WHERE start_time BETWEEN TIMESTAMP '2026-02-07' AND TIMESTAMP '2026-02-08'"
    ).fetchall()[0][1]
    assert "Total Files Read: 1 " in plan


def test_a_lake_with_such_files_can_be_moved(tmp_path: Path) -> None:
    """Each stands in the catalog by its path under the data path, in the folder of its month."""
    with store(tmp_path / "data") as opened:
        opened.load(some_spans())
        found = opened.lake.connection.execute(
            f"SELECT file.path, file.path_is_relative, table_name FROM {CATALOG}.ducklake_data_file AS file"
            f" JOIN {CATALOG}.ducklake_table USING (table_id) WHERE table_name IN ('spans', 'calls')"
        ).fetchall()
    assert {path.rpartition("/")[0] for path, _, _ in found} == {
        "year=2026/month=2",
        "year=2026/month=3",
    }
    assert all(is_relative for _, is_relative, _ in found)
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    with Lake.open(tmp_path / "elsewhere", read_only=True, threads=1) as moved:
        assert moved.connection.execute("SELECT count(*), max(name) FROM spans").fetchall() == [(4, "☃")]


def test_a_missing_value_fails_the_batch_as_an_insert_would(lake: Store) -> None:
    """Registering a file checks nothing: a NULL where there must be none would be there for good."""
    rows, time = resolved(lake)["spans"]
    place = rows.column_names.index("tenant")
    files = NewFiles(lake.lake)
    for wrong in (
        rows.set_column(place, "tenant", pa.nulls(rows.num_rows, pa.string())),
        rows.drop("tenant"),
    ):
        lake.lake.connection.begin()
        with pytest.raises(duckdb.ConstraintException, match=r"spans\.tenant"):
            files.insert("spans", wrong, time)
        lake.lake.connection.rollback()
    assert not parquet_files(lake.data_dir)


def test_a_column_that_another_process_adds_stops_no_loader(lake: Store) -> None:
    """A backfill with a further dimension: what the loader of before writes has none of it."""
    lake.load(traces(call(1, 1)))
    open_current(lake.data_dir, {"team": "app.team"}).close()
    assert lake.load(traces(call(2, 1))).spans_stored == 1
    assert lake.ask("SELECT count(*), count(team) FROM calls") == [(2, 0)]


def test_a_table_that_lacks_a_column_is_trouble_of_the_lake(lake: Store) -> None:
    """Not of the batch, which would be put aside, and each one after it."""
    lake.lake.connection.execute("ALTER TABLE lake.spans DROP COLUMN trace_state")
    with pytest.raises(LakeUnavailable, match="trace_state") as raised:
        lake.load(traces(call(1, 1)))
    assert fault_of(raised.value) == "lake"
    assert not parquet_files(lake.data_dir)


def test_a_dimension_named_as_the_folder_is_a_column(tmp_path: Path) -> None:
    settings = replace(Settings(), dimensions={"year": "app.year"})
    with store(tmp_path / "data", settings) as opened:
        opened.load(traces(call(1, 1, attributes={"app.year": "1999"})))
        assert opened.ask("SELECT year, year(start_time) FROM calls") == [("1999", 2026)]
        assert len(parquet_files(opened.data_dir)) == 2, "no file is left that no table knows"


class Failing:
    """A connection whose COMMIT fails."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, error: Exception) -> None:
        self._connection = connection
        self._error = error

    def commit(self) -> None:
        raise self._error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize(
    ("message", "left"), [("database or disk is full", 0), ("disk I/O error", 2)], ids=["full", "in doubt"]
)
def test_a_commit_that_fails_removes_files_only_where_it_cannot_have_been_made(
    lake: Store, message: str, left: int
) -> None:
    """The catalog's log may hold it after all, and a catalog that names files which are not there is unreadable. On a
    full disk each attempt would take more of it.
    """
    files = lake.committer._writer.new_files
    files._connection = Failing(lake.lake.connection, duckdb.IOException(message))  # type: ignore[assignment]
    with pytest.raises(duckdb.IOException, match=message):
        lake.load(traces(call(1, 1)))
    assert len(parquet_files(lake.data_dir)) == left
    files._connection = lake.lake.connection
    assert lake.load(traces(call(1, 1))).spans_stored == 1
    assert lake.one("SELECT count(*) FROM calls") == 1


def parquet_files(data_dir: Path) -> list[Path]:
    """Of the tables that lie by month."""
    return list(data_dir.glob("data/main/*/*/*/*.parquet"))


def test_the_month_is_that_of_each_row(lake: Store) -> None:
    """Rows of the last and the first moment of a month stand in a file of each."""
    start = int((dt.datetime(2026, 4, 1) - dt.datetime(2026, 3, 10, 12)).total_seconds()) * SECOND
    lake.load(traces(call(1, 1, at=start - 1000), call(1, 2, at=start)))
    folders = {path.parent.name for path in parquet_files(lake.data_dir) if "spans" in path.parts}
    assert folders == {"month=3", "month=4"}
