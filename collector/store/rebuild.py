"""`calls` built again from the records that are stored, where a data file of theirs was put aside."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import duckdb

from collector.store.calls_update import CallsUpdate
from collector.store.damage import DataFile
from collector.store.lake import Lake
from collector.store.prices import WriterPrices
from collector.store.records import SPANS
from collector.store.statements import sql
from collector.store.traces import MARGIN
from collector.store.transaction import Writer
from collector.store.windows import Window
from semconv.calls import RECORD_TRACE, REPORTS_CALL
from semconv.resolve import Resolver
from semconv.settings import Settings

# Records of a step: their calls are built and written in about a second.
_STEP_ROWS: Final = 2000


def rebuild_calls(lake: Lake, settings: Settings, file: DataFile) -> int:
    """Those that stood in this file of `calls`; how many were written. In short transactions under the writer lock;
    done again, it writes none.
    """
    found = lake.connection.execute(
        sql("sql/times_of_data_file.sql").format(data_file_id=file.number)
    ).fetchone()
    return _rebuild(lake, settings, Window(*found).widened(MARGIN)) if found and found[0] is not None else 0


def _rebuild(lake: Lake, settings: Settings, window: Window) -> int:
    prices = WriterPrices(lake.connection, settings)
    resolver = Resolver(lake.connection, settings, prices.price_list)
    calls = CallsUpdate(lake.connection, resolver, settings.dimensions)
    writer, written = Writer(lake), 0
    for step in list(_steps(lake.connection, window)):
        with writer.transaction():
            prices.store()
            if _build(lake.connection, calls, step):
                written += calls.replace(writer.new_files)
        prices.committed()
        calls.forget()
    return written


def _steps(connection: duckdb.DuckDBPyConnection, window: Window) -> Iterator[Window]:
    """They share their borders: what is there twice is written once."""
    statement = sql("sql/step_borders.sql").format(
        table=SPANS.table, time=SPANS.time, within=window.condition(SPANS.time), rows=_STEP_ROWS
    )
    borders = [row[0] for row in connection.execute(statement).fetchall()]
    times: list[dt.datetime] = [window.start, *borders[1:], window.end]
    yield from (Window(start, end) for start, end in pairwise(times))


def _build(connection: duckdb.DuckDBPyConnection, calls: CallsUpdate, step: Window) -> bool:
    """Build the calls of the step's traces as after a load of nothing that touches them all."""
    linked = connection.execute(
        sql("sql/traces_with_calls.sql").format(
            start=step.start, end=step.end, record_trace=RECORD_TRACE, reports_call=REPORTS_CALL
        )
    ).to_arrow_table()
    if not linked.num_rows:
        return False
    return calls.build_again(linked)
