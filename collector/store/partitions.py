"""Batches in pieces for one commit each: of few partitions, of which each gets a file per table, and of few bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from semconv.extract import TABLES, Extracted

# A commit over 30 partitions took 1.5 s, over 365 of them 4.3 s.
MAX_MONTHS: Final = 24
_MONTHS: Final = pa.scalar(12, pa.int64())  # of a year
_TIME_COLUMNS: Final = {
    "spans": "start_time",
    "log_records": "time",
    "metric_points": "time",
    "contents": "start_time",
}


def split(extracted: Extracted, max_bytes: int | None) -> list[Extracted]:
    """`extracted` in pieces of at most MAX_MONTHS and about `max_bytes` each, None = whatever they have.

    The counts stand with the last piece.
    """
    pieces = split_by_month(extracted)
    return [part for piece in pieces for part in split_by_size(piece, max_bytes)] if max_bytes else pieces


def split_by_size(extracted: Extracted, max_bytes: int) -> list[Extracted]:
    """`extracted` in pieces of at most `max_bytes` or one row of a table each, which are no copies: halved until
    they fit, for rows may differ much in size.
    """
    tables = [getattr(extracted, name) for name in TABLES]
    if sum(table.nbytes for table in tables) <= max_bytes or max(table.num_rows for table in tables) < 2:
        return [extracted]
    return [piece for half in _halves(extracted) for piece in split_by_size(half, max_bytes)]


def _halves(extracted: Extracted) -> tuple[Extracted, Extracted]:
    tables = {name: getattr(extracted, name) for name in TABLES}
    first = {name: table.slice(0, table.num_rows // 2) for name, table in tables.items()}
    second = {name: table.slice(table.num_rows // 2) for name, table in tables.items()}
    return replace(extracted, **first, counts=type(extracted.counts)()), replace(extracted, **second)


def split_by_month(extracted: Extracted) -> list[Extracted]:
    """`extracted` in pieces of at most 24 months each, oldest first; the counts stand with the last piece."""
    months = {name: month_numbers(getattr(extracted, name), column) for name, column in _TIME_COLUMNS.items()}
    present = sorted({month for column in months.values() for month in pc.unique(column).to_pylist()})
    if len(present) <= MAX_MONTHS:
        return [extracted]
    groups = [present[first : first + MAX_MONTHS] for first in range(0, len(present), MAX_MONTHS)]
    return list(_by_group(extracted, months, groups))


def _by_group(
    extracted: Extracted, months: dict[str, pa.ChunkedArray], groups: list[list[int]]
) -> Iterator[Extracted]:
    for group in groups:
        tables = {
            name: getattr(extracted, name).filter(pc.is_in(column, value_set=pa.array(group, pa.int64())))
            for name, column in months.items()
        }
        counts = extracted.counts if group is groups[-1] else type(extracted.counts)()
        yield replace(extracted, **tables, counts=counts)


def month_numbers(table: pa.Table, column: str) -> pa.ChunkedArray:
    """Of each row the month of its time, counted from the year 0."""
    times = table.column(column)
    return pc.add(pc.multiply(pc.year(times), _MONTHS), pc.month(times))
