"""Price lists as a lake keeps them: the table `price_snapshots`, in which the newest activation is the active list."""

from __future__ import annotations

import duckdb

from semconv.prices.price_list import PriceList, installed

_NEWEST = "ORDER BY activated_at DESC LIMIT 1"


def active(connection: duckdb.DuckDBPyConnection, table: str = "price_snapshots") -> PriceList:
    """The active list; where none is active yet, or the lake is of a version that had no lists, the installed one."""
    try:
        found = connection.execute(f"SELECT snapshot_id FROM {table} {_NEWEST}").fetchone()
    except duckdb.CatalogException:
        found = None
    return installed() if found is None else stored(connection, found[0], table)


def stored(
    connection: duckdb.DuckDBPyConnection, snapshot_id: str, table: str = "price_snapshots"
) -> PriceList:
    """The list of that id. Raises KeyError for one that was never active here."""
    # Reading the installed package is not slower than compiling a text, and others may have done it already.
    if snapshot_id == installed().snapshot_id:
        return installed()
    found = connection.execute(
        f"SELECT document FROM {table} WHERE snapshot_id = ? {_NEWEST}", [snapshot_id]
    ).fetchone()
    if found is None:
        raise KeyError(snapshot_id)
    return PriceList.from_json(found[0])
