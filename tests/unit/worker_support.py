"""Work for worker processes: they import it by this name."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa


def spin() -> list[None]:
    while True:
        pass


def each_twice(tables: dict[str, pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    for name, table in tables.items():
        yield name, pa.concat_tables([table, table])


def inverse(number: int) -> Iterator[float]:
    yield 0.0
    yield 1 / number
