"""Statements that are planned once: what they may see, and when they are planned anew."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from semconv.planned import Planned, relation


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def test_each_run_sees_the_rows_it_is_given(connection: duckdb.DuckDBPyConnection) -> None:
    """Larger, smaller and empty tables after one another; a join of two relations, one of them read twice."""
    planned = Planned(
        connection,
        "SELECT n FROM numbers SEMI JOIN wanted USING (n) WHERE n < (SELECT max(n) FROM numbers) ORDER BY n",
    )
    for numbers, wanted, expected in (
        ([1, 2, 3], [1, 3], [1]),
        ([5, 6, 7, 8], [8, 7, 5], [5, 7]),
        ([], [1], []),
        ([1, 2], [1], [1]),
    ):
        tables = {
            "numbers": pa.table({"n": pa.array(numbers, pa.int64())}),
            "wanted": pa.table({"n": pa.array(wanted, pa.int64())}),
        }
        assert planned.rows(**tables) == [(n,) for n in expected]
        assert planned.table(**tables).column("n").to_pylist() == expected


def test_it_is_planned_once_whatever_happens_in_the_catalog(connection: duckdb.DuckDBPyConnection) -> None:
    """A macro is worked into the plan: that a later one of its name is not used shows that the plan was kept, through
    other tables of the catalog and a transaction that was rolled back.
    """
    connection.execute("CREATE TEMP MACRO meaning(n) AS n + 1")
    planned = Planned(connection, "SELECT meaning(n) FROM numbers")
    assert planned.rows(numbers=pa.table({"n": [1]})) == [(2,)]
    connection.execute("CREATE OR REPLACE TEMP MACRO meaning(n) AS n + 100")
    connection.begin()
    connection.execute("CREATE TEMP TABLE other AS SELECT 1")
    connection.rollback()
    assert planned.rows(numbers=pa.table({"n": [2]})) == [(3,)]


def test_columns_of_another_type_are_planned_anew(connection: duckdb.DuckDBPyConnection) -> None:
    planned = Planned(connection, "SELECT n FROM numbers")
    assert planned.rows(numbers=pa.table({"n": [1]})) == [(1,)]
    assert planned.rows(numbers=pa.table({"n": ["one"]})) == [("one",)]


def test_relations_of_others_are_neither_read_nor_replaced(connection: duckdb.DuckDBPyConnection) -> None:
    """A table of the connection has the same name as a relation of the statement."""
    connection.execute("CREATE TEMP TABLE numbers AS SELECT 7 AS n")
    assert Planned(connection, "SELECT n FROM numbers").rows(numbers=pa.table({"n": [1]})) == [(1,)]
    assert connection.execute("FROM numbers").fetchall() == [(7,)]


def test_a_failing_run_leaves_the_plan_usable(connection: duckdb.DuckDBPyConnection) -> None:
    planned = Planned(
        connection, "SELECT 10 // nullif(n, 0), CASE WHEN n = 0 THEN error('none') END FROM numbers"
    )
    with pytest.raises(duckdb.Error, match="none"):
        planned.rows(numbers=pa.table({"n": [0]}))
    assert planned.rows(numbers=pa.table({"n": [5]})) == [(2, None)]


def test_a_relation_is_known_meanwhile(connection: duckdb.DuckDBPyConnection) -> None:
    with relation(connection, "numbers", pa.table({"n": [3]})):
        assert connection.execute("FROM numbers").fetchall() == [(3,)]
    with pytest.raises(duckdb.CatalogException):
        connection.execute("FROM numbers")
