"""The reader of the spool by itself: what it sets out to read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collector.config import Config
from collector.load_orders import Orders
from collector.load_reader import SpoolReader
from collector.spool import Record, Spool
from tests.unit.receivers_support import request


def test_what_the_first_run_left_is_read_before_anything_new_arrives(tmp_path: Path) -> None:
    """Scenario: a request is accepted, the lake is still empty, and both processes end. The next run writes to a
    segment of its own, in which there is nothing yet."""

    async def accept() -> None:
        spool = Spool.open(tmp_path / "spool", None)
        await spool.append(Record(1, 1, "", None, "traces", "protobuf", request().SerializeToString()))
        await spool.close()

    async def reopen() -> tuple[int, int]:
        spool = Spool.open(tmp_path / "spool", None)
        await spool.close()
        return spool.durable

    asyncio.run(accept())
    durable = asyncio.run(reopen())
    assert durable[1] == 0
    config, orders = Config(data_dir=tmp_path), Orders()
    reader = SpoolReader(config, config.semconv_settings(), None, orders)
    reader.start()
    orders.heed({"durable": durable})
    try:
        batch = reader.take(30)
    finally:
        reader.close()
    orders.stop()
    if batch is None or batch.extracted is None:
        pytest.fail("nothing was read")
    assert batch.extracted.counts["spans_read"] == 1
    assert batch.position == durable
