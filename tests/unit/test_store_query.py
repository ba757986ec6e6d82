"""What `sql` gives back, its limits, and reading beside a writer."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from collector.store import query
from collector.store.extensions import EXTENSIONS, extension_path
from collector.store.query import QueryFailed, QueryLimit, attach_statement, run_query
from tests.store_support import NOON, Store, call, store, traces


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store(tmp_path_factory.mktemp("lake") / "data") as opened:
        opened.load(traces(call(1, 1), call(2, 1)))
        yield opened


def test_columns_and_python_values(lake: Store) -> None:
    columns, rows = run_query(
        lake.data_dir, "SELECT start_time, input_tokens, cost_usd, session_id, 1.5 AS x FROM calls LIMIT 1"
    )
    assert columns == ["start_time", "input_tokens", "cost_usd", "session_id", "x"]
    (row,) = rows
    assert row[0] == NOON.replace(tzinfo=None)
    assert row[1] == 1000
    assert isinstance(row[2], Decimal)
    assert row[3] is None
    assert isinstance(run_query(lake.data_dir, "SELECT now()::DATE")[1].__next__()[0], dt.date)


def test_columns_of_one_name_are_kept_apart_by_place(lake: Store) -> None:
    columns, rows = run_query(lake.data_dir, "SELECT 1 AS a, 2 AS a")
    assert (columns, list(rows)) == (["a", "a"], [(1, 2)])


def test_no_rows_still_have_columns(lake: Store) -> None:
    columns, rows = run_query(lake.data_dir, "SELECT span_id FROM spans WHERE false")
    assert (columns, list(rows)) == (["span_id"], [])


def test_a_mistake_is_one_sentence(lake: Store) -> None:
    with pytest.raises(QueryFailed, match="nonsuch") as failed:
        run_query(lake.data_dir, "SELECT nonsuch FROM calls")
    assert "\n" not in str(failed.value)


def test_over_its_time_a_query_ends(lake: Store) -> None:
    """It would take half an hour."""
    with pytest.raises(QueryLimit, match=r"longer than its limit of 0\.3 s"):
        list(
            run_query(
                lake.data_dir,
                "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b",
                time_limit_s=0.3,
            )[1]
        )


def test_over_its_memory_a_query_ends(lake: Store) -> None:
    statement = "SELECT count(*) FROM (SELECT list(range) AS l FROM range(100000000)) WHERE len(l) > 5"
    with pytest.raises(QueryLimit, match="more memory than its limit of 64MB"):
        list(run_query(lake.data_dir, statement, memory_limit="64MB")[1])


def test_too_many_rows_are_an_error_and_not_a_cut_result(lake: Store) -> None:
    assert len(list(run_query(lake.data_dir, "FROM range(10)", max_rows=10)[1])) == 10
    with pytest.raises(QueryLimit, match="more rows than its limit of 9"):
        list(run_query(lake.data_dir, "FROM range(10)", max_rows=9)[1])


def test_a_long_result_streams(lake: Store) -> None:
    _, rows = run_query(lake.data_dir, "SELECT range, repeat('x', 1000) FROM range(100000000)")
    assert [next(rows)[0] for _ in range(5000)][-1] == 4999
    rows.close()  # type: ignore[attr-defined]


def test_no_lake(tmp_path: Path) -> None:
    with pytest.raises(QueryFailed, match="no lake in"):
        run_query(tmp_path, "SELECT 1")


def test_a_file_that_was_merged_away_makes_a_second_attempt(
    lake: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []
    real = query._rows

    def failing_once(*arguments: object) -> Iterator[query.Row]:
        attempts.append(1)
        if len(attempts) == 1:
            raise duckdb.IOException("IO Error: Cannot open file: No such file or directory")
        yield from real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(query, "_rows", failing_once)
    assert list(run_query(lake.data_dir, "SELECT count(*) FROM calls")[1]) == [(2,)]
    assert len(attempts) == 2


def test_the_attach_statement_works_in_a_duckdb_shell(lake: Store) -> None:
    """Pasted as it is, but for INSTALL, which would fetch from the network what the wheels hold."""
    with duckdb.connect() as shell:
        for wheel in EXTENSIONS:
            shell.execute(f"LOAD '{extension_path(wheel)}'")
        lines = attach_statement(lake.data_dir).split("\n")
        assert lines[0] == "INSTALL ducklake; LOAD ducklake; INSTALL sqlite; LOAD sqlite;"
        shell.execute("\n".join(lines[1:]))
        assert shell.execute("SELECT count(*) FROM calls").fetchall() == [(2,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            shell.execute("DELETE FROM calls")


def test_queries_run_while_a_writer_commits(tmp_path: Path) -> None:
    """Each query sees spans and their calls of the same moment, and none fails."""
    with store(tmp_path / "data") as opened:
        opened.load(traces(call(1, 1)))
        done = threading.Event()
        seen: list[tuple[int, int]] = []

        def ask() -> None:
            while not done.is_set():
                statement = "SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM calls)"
                seen.extend(run_query(tmp_path / "data", statement)[1])

        reader = threading.Thread(target=ask)
        reader.start()
        try:
            for number in range(2, 6):
                opened.load(traces(call(number, 1), call(number, 2)))
        finally:
            done.set()
            reader.join()
    assert seen
    assert all(spans == calls for spans, calls in seen)
