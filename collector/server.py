"""The server: receivers, spool and admin port in this process, loader and analyzers as its children.

Start: spool → ports → loader. Stop, within 10 s: receivers finish what is in flight, the spool what is
waiting, the loader what it can; the rest is safe in the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sqlite3
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from collector.alerts.keeper import AlertKeeper
from collector.banner import banner
from collector.budgets.desk import Desk
from collector.children import LoaderKeeper, Message
from collector.config import Config
from collector.data_dir import SPOOL, CannotStart
from collector.health import Health
from collector.held_catalog import hold
from collector.log import Log
from collector.maintainer import Maintainer
from collector.ports import Ports
from collector.receivers.intake import Intake
from collector.scheduler import Scheduler
from collector.spool import Position, Spool, SpoolDamaged, free, read_records
from collector.telemetry import Reading, Telemetry, resident_bytes, resident_with_children
from collector.watch import Watch

# With the 3 s of the receivers under the 10 s that a stop may take; enough for a commit or two.
_LOADER_GRACE: Final = 5.0
# Secrets and what else only this process uses; without tokens the endpoints would be refused as exposed.
NOT_FOR_CHILDREN: Final = {
    "tokens",
    "metrics_token",
    "tls",
    "grpc_endpoint",
    "http_endpoint",
    "admin_endpoint",
    "schedule",
    "alerts",
    "analyzers",
}

log = Log("server")


class Server:
    """Everything that runs between start and stop."""

    def __init__(self, config: Config, loader_command: Sequence[str]) -> None:
        self._config = config
        self._telemetry = Telemetry()
        self._spool = _open_spool(config)
        self._intake = Intake(self._spool, config, self._telemetry)
        self._catalog: sqlite3.Connection | None = None
        for_children = config.model_dump(mode="json", exclude=NOT_FOR_CHILDREN)
        self._loader = LoaderKeeper(loader_command, for_children, self._hear)
        self._maintainer = Maintainer(config, for_children)
        self._scheduler = Scheduler(config, for_children, self._telemetry)
        self._health = Health(config.data_dir, self._spool, self._loader)
        self._desk = Desk(config)
        self._ports = Ports(config, self._intake, self._health, self._telemetry, self._desk)
        self._watch = Watch(self._health, self._telemetry, self._ports.set_serving)
        self._watching: asyncio.Task[None] | None = None
        self._alerts = AlertKeeper(config, self._telemetry)
        self._loaded: Position = (0, 0)
        self._chores: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._refusal: str | None = None  # why this program cannot serve this lake

    async def run(self) -> None:
        """Until the first signal; a second one ends the process at once. Raises CannotStart."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, number)
        try:
            await self._start()
            await self._stop.wait()
        finally:
            await self._shut_down()
        if self._refusal is not None:
            raise CannotStart(self._refusal)

    async def _start(self) -> None:
        if self._spool.torn_bytes:
            log.warning("cut the last run's unfinished write", bytes=self._spool.torn_bytes)
        self._telemetry.show(self._readings())
        await self._ports.open()
        self._watching = asyncio.create_task(self._watch.run())
        self._spool.on_durable = self._durable
        self._durable(self._spool.durable)
        self._loader.start()
        # What is there now lives as long as the process; whoever looks for garbage has less to look at.
        gc.collect()
        gc.freeze()
        with contextlib.suppress(OSError):  # nobody has to read it
            click.echo(banner(self._config, self._ports.endpoints))

    async def _shut_down(self) -> None:
        log.info("stopping")
        # Load balancers hear of it before any connection is closed.
        self._health.stopping = True
        await self._watch.look()
        children = (self._scheduler, self._alerts, self._maintainer)
        await asyncio.gather(*(child.stop() for child in children), self._ports.close_receivers())
        await self._spool.close()
        self._durable(self._spool.durable)
        await self._loader.stop(_LOADER_GRACE)
        await asyncio.gather(*self._chores)
        if self._catalog is not None:
            self._catalog.close()
        await self._ports.close_admin()
        await self._desk.stop()
        self._intake.close()
        if self._watching is not None:
            self._watching.cancel()
        log.info("stopped")

    def _signalled(self, number: int) -> None:
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()

    def _durable(self, position: Position) -> None:
        self._loader.tell_durable(position)
        self._health.lag.durable(position, time.time())
        if position[1] == 0:  # a new segment: the one before can go as soon as it is loaded
            self._do(self._free())

    def _hear(self, message: Message) -> None:
        """One message of the loader; see collector.children."""
        if "ready" in message:
            self._lake_is_there(message.get("position"))
        if "loaded" in message:
            self._load_committed(message["loaded"])
        if "error" in message:
            self._lake_failed(str(message["error"]))
        if message.get("refused"):
            self._refusal = str(message["error"])
            self._stop.set()
        if "quarantined" in message:
            put_aside = message["quarantined"]
            self._telemetry.quarantined(put_aside.get("signal"), put_aside.get("items", 0))

    def _lake_is_there(self, position: Sequence[int] | None) -> None:
        """``position``: the spool is loaded up to here; None where nothing of it ever was."""
        if position is not None:
            self._loaded_to(position[0], position[1])
        self._lake_is_well()
        if not self._health.lake_created:
            self._health.lake_created = True
            self._do(self._watch.look())
            self._do(self._hold_catalog())
            self._do(self._look_at_left_over())
            self._scheduler.start()
            self._alerts.start()
            self._maintainer.start()
            self._desk.start()

    def _load_committed(self, row: Message) -> None:
        self._lake_is_well()
        self._telemetry.loaded(row)
        if row.get("spool_segment") is not None:
            self._loaded_to(row["spool_segment"], row["spool_offset"])

    def _loaded_to(self, segment: int, offset: int) -> None:
        self._loaded = (int(segment), int(offset))
        self._health.lag.loaded(self._loaded)
        self._do(self._free())

    def _lake_failed(self, reason: str) -> None:
        if self._health.lake_error is None:  # the loader logs each attempt
            log.warning("the lake cannot be written; accepting goes on", reason=reason)
        self._health.lake_error = reason

    def _lake_is_well(self) -> None:
        if self._health.lake_error is not None:
            log.info("the lake is written again")
        self._health.lake_error = None

    def _do(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _free(self) -> None:
        """In a thread: unlinking 64 MiB can take some 10 ms."""
        try:
            freed = await asyncio.to_thread(free, self._spool.directory, self._loaded)
        except OSError as error:
            log.failed("loaded segments cannot be removed", error)
        else:
            if freed:
                self._spool.recount()

    async def _hold_catalog(self) -> None:
        try:
            self._catalog = await asyncio.to_thread(hold, self._config.data_dir)
        except sqlite3.Error as error:
            log.failed("the catalog cannot be held open: on a full disk nobody could read the lake", error)

    async def _look_at_left_over(self) -> None:
        """How old is what the last run accepted and did not load?"""
        end = self._spool.left_over
        if end is not None and end > self._loaded:
            received_at = await asyncio.to_thread(_oldest, self._spool.directory, self._loaded, end)
            if received_at is not None:
                self._health.lag.left_over(end, received_at)

    def _readings(self) -> Mapping[str, Reading]:
        """What the metrics of the moment are read from; see collector.telemetry."""
        spool, health, loader, budget = self._spool, self._health, self._loader, self._intake.budget
        started = time.monotonic()
        return {
            "spanledger_ready": health.ready,
            "spanledger_spool_state": lambda: spool.state,
            "spanledger_spool_bytes": lambda: spool.used_bytes,
            "spanledger_spool_max_bytes": lambda: spool.max_bytes,
            "otelcol_exporter_queue_size": lambda: spool.used_bytes,
            "otelcol_exporter_queue_capacity": lambda: spool.max_bytes,
            "spanledger_lake_failed": lambda: health.lake_error is not None,
            "spanledger_loader_state": lambda: loader.state,
            "spanledger_loader_lag_seconds": health.lag_seconds,
            "spanledger_loader_restarts": lambda: loader.restarts,
            "spanledger_loader_memory_rss_bytes": lambda: resident_with_children(loader.pid),
            "spanledger_quarantine_entries": health.quarantined,
            "spanledger_alerts_looked_at_seconds": lambda: self._alerts.looked_at,
            "spanledger_alert_rules_failed": lambda: self._alerts.rules_failed,
            "spanledger_http_connections": self._ports.connections,
            "spanledger_requests_in_flight": self._ports.requests,
            "spanledger_inflight_cost_bytes": lambda: budget.used,
            "spanledger_inflight_cost_max_bytes": lambda: budget.limit,
            "otelcol_process_memory_rss_bytes": lambda: resident_bytes(os.getpid()),
            "otelcol_process_uptime_seconds": lambda: time.monotonic() - started,
            "otelcol_process_cpu_seconds": time.process_time,
        }


def _oldest(directory: Path, after: Position, end: Position) -> float | None:
    """Unix seconds at which the first record came; None where it cannot be read: the loader will say so."""
    try:
        return next((record.received_at / 1e9 for _, record in read_records(directory, after, end)), None)
    except (OSError, SpoolDamaged):
        return None


def _open_spool(config: Config) -> Spool:
    directory = config.data_dir / SPOOL
    try:
        return Spool.open(directory, config.spool.max_bytes)
    except OSError as error:
        raise CannotStart(f"the spool in {directory} cannot be written: {error.strerror}") from error
