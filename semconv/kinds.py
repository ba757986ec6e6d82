"""What names alone tell of a record: who serves the call and where, its role, what its sender's counts mean.

A batch repeats few combinations of names. Each is worked out once, in SQL (resolve_kinds.sql), and remembered: rules
and patterns asked of every row took longer than all the rest of resolution, and most of that to plan the statement.
"""

from __future__ import annotations

from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from semconv.planned import relation
from semconv.sqltext import sql_text
from semconv.token_rules import PROPERTIES, Signs

# The names, columns of extraction; those that a signal does not have are NULL. `event` is a log record's event_name;
# `signs` holds which of the attributes that rules ask for the record has.
_NAMES: Final = pa.schema(
    [
        ("dialect", pa.string()),
        ("scope_name", pa.string()),
        ("scope_version", pa.string()),
        ("event_name", pa.string()),
        ("operation", pa.string()),
        ("provider", pa.string()),
        ("request_model", pa.string()),
        ("response_model", pa.string()),
        ("server_address", pa.string()),
        ("stream", pa.bool_()),
        ("signs", pa.int64()),
    ]
)
# What is found, as columns of the same rows.
FOUND: Final = ("served_by", "served_in", "role_of_operation", *(f"{name}_rule" for name in PROPERTIES))
_NOTHING: Final = (None,) * len(FOUND)
# Names come from the network: what is remembered about them stays bounded.
_MOST_REMEMBERED: Final = 50_000
_LARGEST_NUMBER: Final = 1 << 62

Kind = tuple[Any, ...]


class Kinds:
    """Works out what names tell, and remembers it; needs what macros.py installs."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, signs: Signs) -> None:
        self._connection = connection
        self._signs = signs
        self._found: dict[Kind, Kind] = {}
        self._statement = sql_text("resolve_kinds.sql")

    def told(self, records: pa.Table) -> pa.Table:
        """`records` with the columns served_by, served_in, role_of_operation and <property>_rule behind them."""
        names = self._names(records)
        numbers, kinds = _distinct(names)
        found = self._meanings(kinds)
        for place, name in enumerate(FOUND):
            meanings = pa.array([meanings[place] for meanings in found], pa.string())
            records = records.append_column(name, pa.DictionaryArray.from_arrays(numbers, meanings))
        return records

    def _names(self, records: pa.Table) -> pa.Table:
        signs = self._signs_of(records)
        columns = [
            signs if item.name == "signs" else _column(records, item.name, item.type) for item in _NAMES
        ]
        return pa.Table.from_arrays(columns, schema=_NAMES)

    def _signs_of(self, records: pa.Table) -> pa.Array:
        scopes = set(pc.unique(records.column("scope_name")).to_pylist())
        if scopes.isdisjoint(self._signs.scopes):
            return pa.nulls(records.num_rows, pa.int64())
        asked = _numbered(records.select(["scope_name", "attributes"]))
        found = self._query(asked, self._signs.statement)
        return found.column("signs").combine_chunks()

    def _meanings(self, kinds: list[Kind]) -> list[Kind]:
        """Of each combination what is found; nothing for records of no dialect."""
        asked = [kind for kind in kinds if kind[0] is not None]
        unknown = [kind for kind in asked if kind not in self._found]
        if len(self._found) + len(unknown) > _MOST_REMEMBERED:
            self._found.clear()
            unknown = asked
        if unknown:
            self._work_out(unknown)
        return [self._found.get(kind, _NOTHING) for kind in kinds]

    def _work_out(self, kinds: list[Kind]) -> None:
        columns = [
            pa.array(values, item.type) for values, item in zip(zip(*kinds, strict=True), _NAMES, strict=True)
        ]
        table = _numbered(pa.Table.from_arrays(columns, schema=_NAMES))
        found = self._query(table, self._statement).select(FOUND).to_pydict().values()
        self._found.update(zip(kinds, zip(*found, strict=True), strict=True))

    def _query(self, table: pa.Table, statement: str) -> pa.Table:
        with relation(self._connection, "named_records", table):
            return self._connection.execute(statement).to_arrow_table()


def _numbered(table: pa.Table) -> pa.Table:
    return table.append_column("row", pa.array(range(table.num_rows), pa.int64()))


def _column(records: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    if name not in records.column_names:
        return pa.nulls(records.num_rows, kind)
    return records.column(name).combine_chunks()


def _distinct(names: pa.Table) -> tuple[pa.Array, list[Kind]]:
    """Of each row the number of its combination, and the combinations by number."""
    combined, possible = pa.repeat(pa.scalar(0, pa.int64()), names.num_rows), 1
    for column in names.columns:
        if column.null_count == names.num_rows:
            continue
        encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
        if len(encoded.dictionary) > 1:
            if possible * len(encoded.dictionary) > _LARGEST_NUMBER:
                again = pc.dictionary_encode(combined)
                combined, possible = again.indices.cast(pa.int64()), len(again.dictionary)
            kinds_of_column = pa.scalar(len(encoded.dictionary), pa.int64())
            combined = pc.add(pc.multiply(combined, kinds_of_column), encoded.indices.cast(pa.int64()))
            possible *= len(encoded.dictionary)
    encoded = pc.dictionary_encode(combined)
    numbers = encoded.indices
    rows = pc.index_in(encoded.dictionary, value_set=combined)
    kinds = list(zip(*(column.to_pylist() for column in names.take(rows).columns), strict=True))
    return numbers, kinds
