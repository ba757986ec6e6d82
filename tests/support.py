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
from collector.store.lake import Lake
from tests.store_support import lay_empty_lake

BIN = Path(sys.executable).parent
# A start takes 2 to 4 s; three test processes and what they start share two cores.
READY_SECONDS = 60.0


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


def wait_until(condition: Any, seconds: float = 20.0, pause: float = 0.05) -> Any:
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
    printed = io.StringIO()
    write_json([column[0] for column in found.description or ()], found.fetchall(), printed)
    rows: list[dict[str, Any]] = json.loads(printed.getvalue())
    return rows


@dataclass
class Collector:
    """A running `otlp-collector serve` and where it listens."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    grpc_port: int
    http_port: int
    admin_port: int
    log: Path
    _lake: Lake | None = field(default=None, repr=False, kw_only=True)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Rows of one SELECT as `otlp-collector sql --json` has them. A process for each would take a second."""
        try:
            return self._ask(statement)
        except duckdb.Error:  # the lake was moved, or is another one
            self._close_lake()
            return self._ask(statement)

    def _ask(self, statement: str) -> list[dict[str, Any]]:
        if self._lake is None:
            self._lake = Lake.open(self.data_dir, read_only=True, threads=1)
        return ask(self._lake, statement)

    def _close_lake(self) -> None:
        if self._lake is not None:
            self._lake.close()
            self._lake = None

    def wait_for_spans(self, count: int, seconds: float = 20.0) -> None:
        """Wait until the lake holds this many spans in all."""
        wait_until(lambda: self.sql("SELECT count(*) AS n FROM spans")[0]["n"] >= count, seconds, 0.2)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def kill(self) -> None:
        """SIGKILL to the supervisor, as the kernel's out-of-memory killer would."""
        self._close_lake()
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM; returns the exit code, which must come within the promised 10 s (2 s more for a busy machine)."""
        self._close_lake()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(12)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def wait_ready(self) -> None:
        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.log.read_text()}")
            return get_json(f"{self.admin}/readyz")[0] == 200

        wait_until(ready, READY_SECONDS)


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
