"""The floor: the product's own receivers before a spool that forgets. ``python -m tests.bench.dropping``

Prints one JSON object with its ports, ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from collector.config import load_config
from collector.memory import keep_at_hand
from collector.receivers.grpc import start_grpc
from collector.receivers.http import start_http
from collector.receivers.intake import Intake
from collector.spool import Record
from collector.telemetry import Telemetry


class Forgetful:
    """A spool whose disk costs nothing."""

    async def append(self, record: Record) -> None:
        """Say yes at once."""


async def serve() -> None:
    keep_at_hand()
    config = load_config(None, {}, {})
    intake = Intake(Forgetful(), config, Telemetry())
    http = await start_http(intake, "127.0.0.1:0", config)
    grpc = await start_grpc(intake, "127.0.0.1:0", config)
    print(json.dumps({"http": http.port, "grpc": grpc.port}), flush=True)  # noqa: T201 - this is how it talks
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await grpc.stop(0)
    await http.close()
    intake.close()


if __name__ == "__main__":
    uvloop.run(serve())
