"""Builds `calls` from the records of whole traces, step by step; each step has its SQL in a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import duckdb
import pyarrow as pa

from semconv.ancestry import Ancestry, walk
from semconv.call_sql import CallSql
from semconv.grouping import Edge, Grouping, group
from semconv.log_twins import LogTwin
from semconv.prices.book import PriceBook
from semconv.prices.pricer import Pricer
from semconv.sqltext import sql_text

_MEMBERS: Final = pa.schema([("node", pa.int64()), ("call_number", pa.int64())])


class CallBuilder:
    """Turns TEMP call_records into TEMP built_calls."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, dimensions: Iterable[str], book: PriceBook
    ) -> None:
        self._connection = connection
        self._sql = CallSql(dimensions)
        connection.execute(sql_text("call_macros.sql"))
        self._pricer = Pricer(connection, book)

    def build(self) -> None:
        """Reads call_records (semconv/calls.py says what it holds), replaces built_calls."""
        ancestry = self._walk()
        self._with_table("ancestry", ancestry.telling, self._sql.candidates)
        self._merge(self._group(ancestry.nesting))
        self._pricer.price("call_candidates")
        self._connection.execute(self._sql.calls)

    def _walk(self) -> Ancestry:
        columns = self._connection.execute(self._sql.parents).to_arrow_table().to_pydict()
        return walk(columns["node"], columns["parent"], columns["is_candidate"], columns["is_telling"])

    def _group(self, nesting: pa.Table) -> Grouping:
        self._connection.register("nesting", nesting)
        try:
            if nesting.num_rows:
                self._drop_roll_ups()
            found = self._connection.execute(self._sql.partners).fetchone() or (False,) * 4
            if not (nesting.num_rows or any(found)):
                return Grouping((), frozenset())
            edges = [Edge(*row) for row in self._connection.execute(self._sql.edges).fetchall()]
        finally:
            self._connection.unregister("nesting")
        pairs = zip(nesting.column("ancestor").to_pylist(), nesting.column("node").to_pylist(), strict=True)
        _, _, has_logs, has_streams = found
        twins = [*self._twins(self._sql.streams, has_streams), *self._twins(self._sql.log_twins, has_logs)]
        return group(edges, frozenset(pairs), twins)

    def _twins(self, statement: str, are_there: bool) -> list[LogTwin]:
        if not are_there:
            return []
        return [LogTwin(*row) for row in self._connection.execute(statement).fetchall()]

    def _drop_roll_ups(self) -> None:
        roll_ups = [node for (node,) in self._connection.execute(self._sql.roll_ups).fetchall()]
        self._change_candidates("DELETE FROM call_candidates", roll_ups)

    def _merge(self, grouping: Grouping) -> None:
        doubtful = sorted({node for pair in grouping.doubtful for node in pair})
        self._change_candidates("UPDATE call_candidates SET possible_duplicate = TRUE", doubtful)
        if grouping.groups:
            self._with_table("call_members", _members(grouping), self._sql.merge)
            merged = [node for members in grouping.groups for node in members]
            self._change_candidates("DELETE FROM call_candidates", merged)
            self._connection.execute("INSERT INTO call_candidates BY NAME FROM merged_candidates")

    def _change_candidates(self, change: str, nodes: list[int]) -> None:
        if nodes:
            self._connection.execute(f"{change} WHERE node IN ({', '.join(map(str, nodes))})")

    def _with_table(self, name: str, table: pa.Table, statement: str) -> None:
        self._connection.register(name, table)
        try:
            self._connection.execute(statement)
        finally:
            self._connection.unregister(name)


def _members(grouping: Grouping) -> pa.Table:
    rows = [(node, number) for number, members in enumerate(grouping.groups) for node in members]
    return pa.table([pa.array(column, pa.int64()) for column in zip(*rows, strict=True)], schema=_MEMBERS)
