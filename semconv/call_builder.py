"""Builds `calls` from the records of whole traces, step by step; each step has its SQL in a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from semconv import columns
from semconv.ancestry import Ancestry
from semconv.call_sql import CallSql
from semconv.grouping import Edge, Grouping, group
from semconv.log_twins import LogTwin
from semconv.planned import Planned
from semconv.prices.book import PriceBook
from semconv.prices.pricer import Pricer
from semconv.sqltext import sql_text

# What call_partners.sql reads.
_COMPARED: Final = [
    *("tenant", "signal", "scope_name", "event_name", "response_id", "input_tokens", "status_code")
]
_DOCUMENTS: Final = {"members"}
_MEMBERS: Final = pa.schema([("node", pa.int64()), ("call_number", pa.int64())])


class CallBuilder:
    """Turns records into calls."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, dimensions: Iterable[str], book: PriceBook
    ) -> None:
        self._sql = CallSql(dimensions)
        connection.execute(sql_text("call_macros.sql"))
        self._plans = {name: Planned(connection, text) for name, text in self._sql.selects().items()}
        self._pricer = Pricer(connection, book)

    def build(self, records: pa.Table) -> pa.Table:
        """The rows of `calls` for `records`: call_records (semconv/calls.py says what it holds)."""
        ancestry = Ancestry(records)
        nesting = ancestry.nesting()
        candidates = self._merged(*self._grouped(self._candidates(records, ancestry), nesting))
        costs = self._pricer.price(candidates)
        return columns.as_documents(self._completed(candidates, costs), _DOCUMENTS)

    def _candidates(self, records: pa.Table, ancestry: Ancestry) -> pa.Table:
        """One row per record that may report a call, with who it belongs to as far as its own trace tells."""
        told = ancestry.told(self._sql.values, self._sql.dimensions)
        own = records.select(self._sql.record_columns).take(told.column("node"))
        columns = dict(zip(own.column_names, own.columns, strict=True))
        columns |= dict(zip(told.column_names, told.columns, strict=True))
        columns["possible_duplicate"] = pa.repeat(pa.scalar(False, pa.bool_()), told.num_rows)
        columns["members"] = pa.nulls(told.num_rows, pa.json_(pa.string()))
        return pa.table(columns)

    def _grouped(self, candidates: pa.Table, nesting: pa.Table) -> tuple[pa.Table, Grouping]:
        """The candidates that are no roll-ups, and which of them are one call."""
        if nesting.num_rows:
            roll_ups = self._plans["roll_ups"].table(call_candidates=candidates, nesting=nesting)
            candidates = candidates.filter(pc.invert(_is_of(candidates, roll_ups.column("node"))))
        [found] = self._plans["partners"].rows(call_candidates=candidates.select(_COMPARED))
        if not (nesting.num_rows or any(found)):
            return candidates, Grouping((), frozenset())
        rows = self._plans["edges"].rows(call_candidates=candidates, nesting=nesting)
        pairs = zip(nesting.column("ancestor").to_pylist(), nesting.column("node").to_pylist(), strict=True)
        _, _, has_logs, has_streams = found
        twins = [
            LogTwin(*row)
            for name, are_there in (("streams", has_streams), ("log_twins", has_logs))
            if are_there
            for row in self._plans[name].rows(call_candidates=candidates)
        ]
        return candidates, group([Edge(*row) for row in rows], frozenset(pairs), twins)

    def _merged(self, candidates: pa.Table, grouping: Grouping) -> pa.Table:
        """One row per call."""
        doubtful = {node for pair in grouping.doubtful for node in pair}
        if doubtful:
            place = candidates.column_names.index("possible_duplicate")
            flags = _is_of(candidates, pa.array(sorted(doubtful), pa.int64()))
            candidates = candidates.set_column(place, "possible_duplicate", flags)
        if not grouping.groups:
            return candidates
        members = _members(grouping)
        merged = self._plans["merge"].table(call_candidates=candidates, call_members=members)
        alone = candidates.filter(pc.invert(_is_of(candidates, members.column("node"))))
        return pa.concat_tables([alone, merged.select(alone.column_names).cast(alone.schema)])

    def _completed(self, candidates: pa.Table, costs: pa.Table) -> pa.Table:
        """The columns of `calls`: few are computed, most are taken over as they are, which costs nothing."""
        decided = self._plans["calls"].table(call_candidates=candidates.select(self._sql.decided_from))
        costs = costs.take(pc.index_in(candidates.column("node"), value_set=costs.column("node")))
        found: dict[str, pa.ChunkedArray] = {}
        for table in (candidates, costs, decided):
            found |= dict(zip(table.column_names, table.columns, strict=True))
        return pa.table({name: found[name] for name in self._sql.call_columns})


def _members(grouping: Grouping) -> pa.Table:
    rows = [(node, number) for number, members in enumerate(grouping.groups) for node in members]
    return pa.table([pa.array(column, pa.int64()) for column in zip(*rows, strict=True)], schema=_MEMBERS)


def _is_of(candidates: pa.Table, nodes: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(candidates.column("node"), value_set=nodes)
