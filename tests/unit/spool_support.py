"""What the tests of the spool share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from collector.spool import Position, Record, read_records


def record(body: bytes = b"body", **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "received_at": 1_760_000_000_000_000_001,
        "limits_version": 1,
        "tenant": "",
        "billing_account": None,
        "signal": "traces",
        "encoding": "protobuf",
        "body": body,
    }
    return Record(**{**fields, **changes})


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def bodies(directory: Path, end: Position, start: Position | None = None) -> list[bytes]:
    return [found.body for _, found in read_records(directory, start, end)]


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.spool"))
