"""Real collectors for tests: started as processes on free loopback ports, asked by SQL, stopped by pid."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
from click.testing import CliRunner

from collector import memory
from collector.cli.render import write_json
from collector.data_dir import CATALOG
from collector.store.lake import Lake
from tests.store_support import lay_empty_lake

BIN = Path(sys.executable).parent
# Of a collector whose requests are waited for one by one; by default a batch may take a second to fill.
LOADS_SOON = "loader: {max_wait_seconds: 0.2}\n"
# How long a test waits for what is to come: nothing is promised by it. Other processes may keep the machine busy.
PATIENCE_SECONDS = 60.0
READY_SECONDS = PATIENCE_SECONDS
_NEWEST = "SELECT max(snapshot_id) FROM __ducklake_metadata_lake.ducklake_snapshot"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*arguments: str | Path, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands as a user would and capture what it prints."""
    command = [str(BIN / str(arguments[0])), *map(str, arguments[1:])]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)


_PROGRAMS = {
    "otlp-collector": "collector.cli.main",
    "otlp-backfill": "collector.backfill.cli",
    "otlp-analyze": "collector.cli.analyze",
}


def run_here(
    *arguments: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """As `run`, in this process, which takes a second less: where what is printed is the question.

    Not for a command that copies or replaces a catalog: SQLite's locks do not hold within a process.
    """
    program, *rest = map(str, arguments)
    main = importlib.import_module(_PROGRAMS[program]).main
    with (
        mock.patch.object(memory, "give_back_always"),
        mock.patch.object(memory, "look_for_garbage_rarely"),
    ):
        result = CliRunner().invoke(main, rest, prog_name=program, env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess([program, *rest], result.exit_code, result.stdout, result.stderr)


def wait_until(condition: Any, seconds: float = PATIENCE_SECONDS, pause: float = 0.05) -> Any:
    """The condition's first truthy answer; fails with its last answer when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition!r} answered {answer!r}")
        time.sleep(pause)


async def until(condition: Any) -> None:
    """Wait in an event loop; whoever runs it sets the time."""
    while not condition():
        await asyncio.sleep(0.01)


def get_json(url: str) -> tuple[int, Any]:
    """Status and JSON body of a GET; status 0 where nothing listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")
    except OSError:
        return 0, None


def ask(lake: Lake, statement: str) -> list[dict[str, Any]]:
    """Rows of one SELECT as `otlp-collector sql --json` has them."""
    found = lake.connection.execute(statement)
    return as_printed([column[0] for column in found.description or ()], found.fetchall())


def as_printed(names: list[str], rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """As `otlp-collector sql --json` prints them."""
    printed = io.StringIO()
    write_json(names, rows, printed)
    read: list[dict[str, Any]] = json.loads(printed.getvalue())
    return read


class Reader:
    """A lake that another process writes, and that is asked the same again and again: an answer holds until there is
    a new snapshot, or the catalog was written. A query takes some 20 ms of a core, and a test asks until it hears what
    it waits for."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lake: Lake | None = None
        self._answers: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}
        self._of: object = None

    def ask(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The columns' names, and the rows."""
        try:
            return self._ask(statement)
        except duckdb.Error:  # the lake was moved, or is another one
            self.close()
            return self._ask(statement)

    def close(self) -> None:
        if self._lake is not None:
            self._lake.close()
            self._lake = None
        self._of = None

    def _ask(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        state = self._state()
        if state != self._of:
            self._answers.clear()
            self._of = state
        if statement not in self._answers:
            self._answers[statement] = self._execute(statement)
        return self._answers[statement]

    def _execute(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        if self._lake is None:
            self._lake = Lake.open(self._data_dir, read_only=True, threads=1)
        found = self._lake.connection.execute(statement)
        return [column[0] for column in found.description or ()], found.fetchall()

    def _state(self) -> object:
        """What readers see of a commit comes later than its bytes: the files alone do not tell."""
        files = [file for end in ("", "-wal") if (file := self._data_dir / f"{CATALOG}{end}").exists()]
        looks = [(file.stat().st_ino, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return self._execute(_NEWEST)[1], looks


@dataclass
class Collector:
    """A running `otlp-collector serve` and where it listens."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    grpc_port: int
    http_port: int
    admin_port: int
    log: Path
    _reader: Reader | None = field(default=None, repr=False, kw_only=True)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def reader(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self.data_dir)
        return self._reader

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Rows of one SELECT as `otlp-collector sql --json` has them. A process for each would take a second."""
        return as_printed(*self.reader.ask(statement))

    def close(self) -> None:
        """Not the collector, but what it was looked at with."""
        if self._reader is not None:
            self._reader.close()

    def wait_for_spans(self, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the lake holds this many spans in all."""
        wait_until(lambda: self.sql("SELECT count(*) AS n FROM spans")[0]["n"] >= count, seconds)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    def kill(self) -> None:
        """SIGKILL to the supervisor, as the kernel's out-of-memory killer would."""
        self.close()
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """SIGTERM; returns the exit code. The promised 10 s are for the long forms of tests/faults/test_shutdown.py."""
        self.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def wait_ready(self) -> None:
        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.log.read_text()}")
            return get_json(f"{self.admin}/readyz")[0] == 200

        wait_until(ready, READY_SECONDS, 0.1)


def spawn_collector(
    data_dir: Path,
    *arguments: str,
    config: str = "",
    ports: tuple[int, int, int] | None = None,
    under: Sequence[str] = (),
) -> Collector:
    """A collector that has been started, on free ports. ``under``: the beginning of a command that runs it."""
    grpc_port, http_port, admin_port = ports or (free_port(), free_port(), free_port())
    log = data_dir.parent / f"{data_dir.name}.log"
    command = [*under, str(BIN / "otlp-collector"), "serve", "--data-dir", str(data_dir)]
    command += ["--grpc-endpoint", f"127.0.0.1:{grpc_port}", "--http-endpoint", f"127.0.0.1:{http_port}"]
    command += ["--admin-endpoint", f"127.0.0.1:{admin_port}", *arguments]
    if config:
        path = data_dir.parent / f"{data_dir.name}.yaml"
        path.write_text(config)
        command += ["--config", str(path)]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "SPANLEDGER_"))
    }
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    return Collector(process, data_dir, grpc_port, http_port, admin_port, log)


def start_collector(data_dir: Path, *arguments: str, **options: Any) -> Collector:
    """As `spawn_collector`, and wait until it says that it is ready."""
    collector = spawn_collector(data_dir, *arguments, **options)
    try:
        collector.wait_ready()
    except BaseException:
        collector.process.kill()
        collector.process.wait(10)
        raise
    return collector


@contextlib.contextmanager
def running(data_dir: Path, *arguments: str, config: str = "") -> Iterator[Collector]:
    """A collector for the length of a with-block, stopped however the block ends.

    Where there is no lake yet it finds an empty one, laid by this process once: that takes half a second each time.
    """
    if not data_dir.exists():
        lay_empty_lake(data_dir)
    collector = start_collector(data_dir, *arguments, config=config)
    try:
        yield collector
    finally:
        collector.stop()
