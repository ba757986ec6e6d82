"""Whose fault a failed load is: it decides whether waiting helps or the request has to be put aside."""

from __future__ import annotations

from typing import Final, Literal

import duckdb

from collector.store.lake import LakeError

Fault = Literal["lake", "size", "data"]

# DuckDB's errors that values can cause. All others (disk full, catalog locked or gone, a statement of ours that
# does not fit the lake) would hit every batch alike.
_DATA_ERRORS: Final = (
    duckdb.DataError,  # conversion, out of range
    duckdb.IntegrityError,  # NOT NULL
    duckdb.InvalidInputException,
    duckdb.InternalException,
)
_SIZE_ERRORS: Final = (duckdb.OutOfMemoryException, MemoryError)


def fault_of(error: BaseException) -> Fault:
    """`lake`: the same batch may work later. `size`: a smaller one may. `data`: this one never will."""
    if isinstance(error, _SIZE_ERRORS):
        return "size"
    if isinstance(error, OSError):
        return "lake"
    if isinstance(error, duckdb.Error):
        return "data" if isinstance(error, _DATA_ERRORS) and "DuckLake" not in str(error) else "lake"

    return "lake" if isinstance(error, LakeError) else "data"
