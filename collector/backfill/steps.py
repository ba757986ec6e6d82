"""Extracted rows of a file, sorted by time and cut into steps for the lake.

Sorting keeps a step within few months, which is one Parquet file each, and a trace together. All tables are
cut at the same times, so that a span's texts are committed with the span.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from semconv.extract import Extracted

# The tables of records, and what each table is sorted by.
RECORDS: Final = ("spans", "log_records", "metric_points")
TIMES: Final = dict(zip((*RECORDS, "contents"), ("start_time", "time", "time", "start_time"), strict=True))

Tables = dict[str, pa.Table]


def rows(extracted: Extracted) -> int:
    """Spans, log records and metric points; texts do not count."""
    return sum(getattr(extracted, name).num_rows for name in RECORDS)


def cut_into_steps(parts: list[Extracted], step_rows: int) -> Iterator[Extracted]:
    """Yields all rows in the order of time, about ``step_rows`` at a time; empties ``parts``.

    Rows of one time are never parted. What is in no row (rejected, not kept) is counted in the first step;
    together the steps have the counts of the parts.
    """
    if not parts:
        return
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    tables = {name: _sorted([getattr(part, name) for part in parts], name) for name in TIMES}
    parts.clear()
    steps = _slices(tables, step_rows)
    own = [Counter({f"{name}_read": step[name].num_rows for name in RECORDS}) for step in steps]
    for later in own[1:]:
        counts.subtract(later)
    for step, step_counts in zip(steps, [counts, *own[1:]], strict=True):
        yield Extracted(**step, counts=step_counts)


def _sorted(tables: list[pa.Table], name: str) -> pa.Table:
    return pa.concat_tables(tables).sort_by(TIMES[name])


def _slices(tables: Tables, step_rows: int) -> list[Tables]:
    times = {name: _microseconds(table, TIMES[name]) for name, table in tables.items()}
    records = sorted(time for name in RECORDS for time in times[name])
    borders = sorted(set(records[step_rows::step_rows]) - set(records[:1]))
    cuts = {
        name: [0, *(bisect_left(column, border) for border in borders), len(column)]
        for name, column in times.items()
    }
    return [
        {
            name: table.slice(cuts[name][step], cuts[name][step + 1] - cuts[name][step])
            for name, table in tables.items()
        }
        for step in range(len(borders) + 1)
    ]


def _microseconds(table: pa.Table, column: str) -> list[int]:
    times: list[int] = table.column(column).cast(pa.int64()).to_pylist()
    return times
