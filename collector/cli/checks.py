"""What doctor looks at. Every check says what it found and, where that is not well, what to do next."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import socket
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, Literal

from analyzers import honest, price_age
from analyzers.window import Window
from collector.cli import facts
from collector.cli.lake import reading
from collector.cli.options import CliError
from collector.cli.quarantine import read_quarantine
from collector.cli.server import Server, reachable
from collector.config import ConfigError
from collector.config_check import check_files

if TYPE_CHECKING:
    import duckdb

    from collector.config import Config

Level = Literal["ok", "warn", "fail"]

_EXTENSION_WHEELS: Final = ("duckdb-extension-ducklake", "duckdb-extension-sqlite-scanner")
_LITTLE_SPACE_BYTES: Final = 2 << 30
_NO_SPACE_BYTES: Final = 200 << 20
# No system clock that is right is before the day this check was written.
_EARLIEST_NOW: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_UNDECLARED_DAYS: Final = 30
_FILES_SECONDS: Final = 10.0
_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Check:
    """``advice`` is empty where nothing is to be done."""

    name: str
    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at."""

    config: Config
    server: Server
    now: dt.datetime


def run(subject: Subject) -> Iterator[Check]:
    """Every check, those that need no lake first."""
    yield _versions()
    yield _files(subject)
    yield _data_dir(subject)
    yield _disk(subject)
    yield _server(subject)
    yield from _ports(subject)
    yield _system_clock(subject)
    yield _quarantine(subject)
    try:
        with reading(subject.config.data_dir) as connection:
            yield Check("lake", "ok", f"opens, schema version {_schema_version(connection)}")
            yield _data_files(subject, connection)
            yield from _of_the_lake(subject, connection)
    except CliError as error:
        yield _no_lake(subject, str(error))


def _of_the_lake(subject: Subject, connection: duckdb.DuckDBPyConnection) -> Iterator[Check]:
    lake = facts.read_lake(connection, facts.today(subject.config.timezone, subject.now))
    yield _spool(subject, lake)
    yield _senders_clocks(subject, connection)
    yield _prices(subject, lake)
    yield _not_kept(lake)
    yield _rejected(lake)
    yield _undeclared(subject, connection)


def _versions() -> Check:
    import duckdb

    found = f"Python {platform.python_version()}, duckdb {duckdb.__version__}"
    for wheel in _EXTENSION_WHEELS:
        try:
            installed = version(wheel)
        except PackageNotFoundError:
            return Check(
                "versions",
                "warn",
                f"{found}; {wheel} is not installed",
                f"pip install {wheel}=={duckdb.__version__}",
            )
        if installed != duckdb.__version__:
            advice = (
                f"pip install {wheel}=={duckdb.__version__}: DuckDB loads extensions of its own version only"
            )
            return Check("versions", "fail", f"{found}, but {wheel} {installed}", advice)
    return Check("versions", "ok", f"{found} and its extensions, {sys.platform}")


def _files(subject: Subject) -> Check:
    try:
        check_files(subject.config)
    except ConfigError as error:
        advice = (
            "a collector that runs goes on with what it read before; correct the file before the next start"
        )
        return Check("tokens and keys", "fail", str(error), advice)
    return Check("tokens and keys", "ok", "every file that the configuration names can be used")


def _data_dir(subject: Subject) -> Check:
    path = subject.config.data_dir
    try:
        status = path.stat()
    except FileNotFoundError:
        return Check(
            "data directory", "warn", f"{path} does not exist yet", "otlp-collector serve creates it"
        )
    except OSError as error:
        return Check("data directory", "fail", f"{path}: {error.strerror}", "name another with --data-dir")
    if not stat.S_ISDIR(status.st_mode):
        return Check("data directory", "fail", f"{path} is not a directory", "name another with --data-dir")
    if stat.S_IMODE(status.st_mode) & 0o077:
        return Check("data directory", "fail", f"{path} can be read by others", f"chmod 0700 {path}")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Check("data directory", "fail", f"{path} cannot be written by this user", "run as its owner")
    return Check("data directory", "ok", f"{path}, mode {stat.S_IMODE(status.st_mode):04o}")


def _disk(subject: Subject) -> Check:
    folder = subject.config.data_dir
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:,.1f} GiB free"
    if free < _LITTLE_SPACE_BYTES:
        level: Level = "fail" if free < _NO_SPACE_BYTES else "warn"
        return Check(
            "disk", level, found, f"free some space on the disk of {folder}: a full one refuses spans"
        )
    return Check("disk", "ok", found)


def _server(subject: Subject) -> Check:
    endpoint, server = subject.config.admin_endpoint, subject.server
    if not server.running:
        return Check(
            "collector", "warn", f"nothing answers at {endpoint}", "start it with: otlp-collector serve"
        )
    if not server.ready:
        return Check("collector", "fail", str(server), "see what it logs")
    if server.trouble:
        advice = "what is accepted waits in the spool; see what it logs"
        return Check("collector", "warn", f"running and ready at {endpoint}, but {server.trouble}", advice)
    return Check("collector", "ok", f"running and ready at {endpoint}")


def _ports(subject: Subject) -> Iterator[Check]:
    options = ("grpc_endpoint", "http_endpoint", *([] if subject.server.running else ["admin_endpoint"]))
    for option in options:
        endpoint = getattr(subject.config, option)
        taken = _answers(endpoint)
        flag = f"--{option.replace('_', '-')}"
        if taken and not subject.server.running:
            advice = f"stop what holds it, or choose another port with {flag}"
            yield Check(option, "fail", f"{endpoint} is taken by something else", advice)
        elif not taken and subject.server.running:
            advice = f"is the collector configured with another {flag}?"
            yield Check(option, "fail", f"nothing answers at {endpoint}", advice)
        else:
            yield Check(option, "ok", f"{endpoint} {'answers' if taken else 'is free'}")


def _answers(endpoint: str) -> bool:
    host, port = reachable(endpoint)
    if port == 0:
        return False
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def _system_clock(subject: Subject) -> Check:
    if subject.now < _EARLIEST_NOW:
        return Check(
            "clock", "fail", f"this machine says it is {subject.now:%Y-%m-%d}", "set the system clock"
        )
    return Check("clock", "ok", f"{subject.now:%Y-%m-%dT%H:%M:%SZ}")


def _quarantine(subject: Subject) -> Check:
    entries = read_quarantine(subject.config.data_dir)
    if not entries:
        return Check("quarantine", "ok", "empty")
    reasons = Counter(entry.reason for entry in entries).most_common(3)
    listed = "; ".join(f"{count} of them: {reason}" for reason, count in reasons)
    advice = "see them with otlp-collector quarantine list, load them once more with otlp-collector quarantine retry"
    return Check("quarantine", "warn", f"{len(entries)} entries: {listed}", advice)


def _no_lake(subject: Subject, error: str) -> Check:
    if (subject.config.data_dir / "catalog.sqlite").exists():
        return Check("lake", "fail", error, "see what the collector logs")
    return Check("lake", "warn", error, "otlp-collector serve creates it")


def _schema_version(connection: duckdb.DuckDBPyConnection) -> int | None:
    row = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
    return row[0] if row else None


def _data_files(subject: Subject, connection: duckdb.DuckDBPyConnection) -> Check:
    """The newest first, as far as one gets: a large lake takes minutes to read."""
    from collector.store import damage

    files = damage.data_files(connection)
    damaged = list(damage.damaged(subject.config.data_dir, files, _FILES_SECONDS))
    if not damaged:
        return Check("data files", "ok", f"{len(files)}, none found damaged in up to {_FILES_SECONDS:g} s")
    # Rows of a file that is put aside can come again: what is stored already is not stored twice.
    advice = (
        "restore the files from a backup; or put them aside with: otlp-collector doctor --repair, and load what they"
        " held again"
    )
    return Check("data files", "fail", "; ".join(map(str, damaged[:_LISTED])), advice)


def _spool(subject: Subject, lake: facts.LakeFacts) -> Check:
    directory = subject.config.data_dir / "spool"
    spool = facts.read_spool(directory, lake.position)
    if damage := facts.scan_spool(directory, lake.position) if spool.waiting_bytes else None:
        return Check(
            "spool", "fail", damage, "the collector skips what is damaged and says so; check the disk"
        )
    if not spool.waiting_bytes:
        return Check("spool", "ok", "everything that was accepted is in the lake")
    found = f"{spool.waiting_bytes:,} bytes wait to be loaded"
    if spool.oldest_received_at is None:
        return Check("spool", "ok", f"{found}, cut off in mid-write and never acknowledged")
    age = (subject.now - spool.oldest_received_at).total_seconds()
    if age < 60:
        return Check("spool", "ok", f"{found}, the oldest for {max(0, age):.0f} s")
    advice = (
        "see what it logs about the loader"
        if subject.server.running
        else "they are loaded by: otlp-collector serve"
    )
    return Check("spool", "warn", f"{found}, the oldest for {age / 60:.0f} minutes", advice)


def _senders_clocks(subject: Subject, connection: duckdb.DuckDBPyConnection) -> Check:
    ahead = facts.clocks_ahead(connection, subject.now)
    if not ahead:
        return Check("senders' clocks", "ok", "no span of the last day ended after it arrived")
    listed = "; ".join(
        f"{service}: {spans} spans up to {seconds:,.0f} s ahead" for service, spans, seconds in ahead
    )
    return Check(
        "senders' clocks", "warn", listed, "set the clocks of these machines: their calls land on wrong days"
    )


def _prices(subject: Subject, lake: facts.LakeFacts) -> Check:
    prices = lake.prices
    if prices is None:
        return Check(
            "prices",
            "warn",
            "none in the lake yet",
            "they come with the first start of: otlp-collector serve",
        )
    age = prices.age_days(subject.now.date())
    as_of = f"data as of {prices.data_as_of}" if prices.data_as_of else "data of unknown age"
    found = f"{prices.source} {prices.source_version}, {prices.prices:,} prices, {as_of}"
    if price_age.note(prices.source, prices.data_as_of, subject.now.date()):
        return Check("prices", "warn", f"{found}: {age} days old", price_age.advice(prices.source))
    return Check("prices", "ok", found)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def _not_kept(lake: facts.LakeFacts) -> Check:
    listed = _listed(lake.loads.not_kept())
    if not listed:
        return Check("kept", "ok", "everything that was received")
    return Check("kept", "ok", f"not kept, as configured: {listed}; `keep` in the configuration decides")


def _rejected(lake: facts.LakeFacts) -> Check:
    listed = _listed(lake.loads.rejected())
    if not listed:
        return Check("rejected", "ok", "nothing")
    return Check(
        "rejected", "warn", f"{listed} could not be stored", "see what the collector logged about them"
    )


def _undeclared(subject: Subject, connection: duckdb.DuckDBPyConnection) -> Check:
    window = Window(subject.now - dt.timedelta(days=_UNDECLARED_DAYS), subject.now + dt.timedelta(days=1))
    notes = honest.undeclared_plans(connection, window)
    if not notes:
        return Check("plans", "ok", f"every account of the last {_UNDECLARED_DAYS} days has a declared plan")
    return Check("plans", "warn", "; ".join(notes), "add that to the configuration")
