"""SELECTs over Arrow tables that are planned once and run for every batch.

To plan a statement over our wide rows takes DuckDB 10 to 50 ms, more than a small batch needs for everything else. It
keeps the plan of a prepared statement as long as that reads no table of its catalog: after any CREATE, of whatever
TEMP table, a statement that reads one is planned anew at every execution. Arrow tables stand outside the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

import duckdb
import pyarrow as pa

_numbers: Final = count()


class Relation:
    """What a plan reads: DuckDB asks it for its rows, by the Arrow PyCapsule interface, at every execution."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_schema__(self) -> object:
        return self.table.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


@contextmanager
def relation(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> Iterator[None]:
    """Meanwhile any statement knows `table` by a name. Of a wide table that takes 10 ms.

    Within a transaction DuckDB keeps what was registered until that ends: it is not the table that is left to it.
    """
    registered = Relation(table)
    connection.register(name, registered)
    try:
        yield
    finally:
        connection.unregister(name)
        registered.table = table.schema.empty_table()


class Planned:
    """One SELECT on one connection. It may call macros, but name no table, only the relations it is given."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, statement: str) -> None:
        self._connection = connection
        self._statement = statement
        self._name = f"planned_{next(_numbers)}"
        self._relations: dict[str, Relation] = {}

    def table(self, **relations: pa.Table) -> pa.Table:
        """The result over these tables, by the names under which the statement knows them."""
        return self._run(relations).to_arrow_table()

    def rows(self, **relations: pa.Table) -> list[tuple[Any, ...]]:
        """The result as rows of Python values."""
        return self._run(relations).fetchall()

    def _run(self, tables: dict[str, pa.Table]) -> duckdb.DuckDBPyConnection:
        known = {name: relation.table.schema for name, relation in self._relations.items()}
        if known != {name: table.schema for name, table in tables.items()}:
            self._plan(tables)
        for name, table in tables.items():
            self._relations[name].table = table
        try:
            return self._connection.execute(f"EXECUTE {self._name}")
        finally:
            for name, table in tables.items():
                self._relations[name].table = table.schema.empty_table()

    def _plan(self, tables: dict[str, pa.Table]) -> None:
        """Under names of its own, for others may use the relations' names, and only for as long as it takes: a plan
        holds on to what it reads.
        """
        self._relations = {}
        relations = {name: Relation(table) for name, table in tables.items()}
        statement = re.sub(rf"\b({'|'.join(tables)})\b", rf"{self._name}_\1", self._statement)
        try:
            for name, relation in relations.items():
                self._connection.register(f"{self._name}_{name}", relation)
            self._connection.execute(f"PREPARE {self._name} AS {statement}")
        finally:
            for name in relations:
                self._connection.unregister(f"{self._name}_{name}")
        self._relations = relations
