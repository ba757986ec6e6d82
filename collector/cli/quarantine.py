"""otlp-collector quarantine list | retry | drop: the requests that could not be loaded and were put aside."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from collector.cli.options import CliError, config_options, json_option, load
from collector.cli.render import iso_time, json_text, write_table
from collector.config_section import ConfigError
from collector.quarantine import FOLDER

if TYPE_CHECKING:
    from collector.config import Config
    from collector.quarantine_retry import Retried

EPILOG: Final = """\b
Examples:
  otlp-collector quarantine list
  otlp-collector quarantine retry
  otlp-collector quarantine drop 000000000001-000000004711
"""

_NAMES: Final = click.argument("names", nargs=-1, metavar="[NAME]...")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What was put aside and why; what cannot be read of it is None."""

    path: Path
    reason: str
    kind: str | None = None  # request; damage: bytes of the spool; data file: of the lake
    signal: str | None = None
    bytes: int | None = None
    received_at: str | None = None


def read_quarantine(data_dir: Path) -> list[Quarantined]:
    """What lies in the quarantine, oldest first; empty where there is none."""
    folder = data_dir / FOLDER
    if not folder.is_dir():
        return []
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> Quarantined:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict):
        return Quarantined(path, "no reason can be read")
    received = document.get("received_at")
    return Quarantined(
        path,
        str(document.get("reason") or "no reason given"),
        document.get("kind"),
        document.get("signal"),
        document.get("bytes"),
        iso_time(dt.datetime.fromtimestamp(received / 1e9, dt.UTC)) if isinstance(received, int) else None,
    )


@click.group(epilog=EPILOG)
def command() -> None:
    """What was accepted and could not be loaded: see it, load it once more, or let it go.

    Each entry lies in the data directory with its reason beside it, and nothing else is lost for it.
    """


@command.command("list", epilog=EPILOG)
@json_option
@config_options()
def list_command(config_path: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Show what is put aside, oldest first, and why."""
    found = read_quarantine(load(config_path, flags).data_dir)
    if as_json:
        rows = [{"name": one.path.stem, **asdict(one), "path": str(one.path)} for one in found]
        click.echo(json_text(rows, indent="  "))
    elif not found:
        click.echo("The quarantine is empty.")
    else:
        columns = ("name", "signal", "bytes", "received", "reason")
        rows_shown = [(one.path.stem, one.signal, one.bytes, one.received_at, one.reason) for one in found]
        write_table(columns, rows_shown)


@command.command(epilog=EPILOG)
@_NAMES
@json_option
@config_options("limits_max_request_bytes", "limits_max_json_bytes", "limits_max_spans", "limits_max_nodes")
def retry(config_path: Path | None, *, names: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Load them once more, all or those named; what loads leaves the quarantine, and nothing is stored twice.

    Worth it after an update that can read them, or with wider limits. Works with or without a running server. Exit
    codes: 0 all are loaded, 1 some stay, 2 it could not run.
    """
    config = load(config_path, flags)
    wanted = _wanted(config, names)
    done = _retry(config, wanted) if wanted else []
    if as_json:
        click.echo(json_text([_as_json(one) for one in done], indent="  "))
    elif not done:
        click.echo("The quarantine is empty.")
    else:
        write_table(("name", "loaded", "stored", "reason"), [_as_row(one) for one in done])
    if any(one.row is None for one in done):
        raise click.exceptions.Exit(1)


@command.command(epilog=EPILOG)
@_NAMES
@click.option("--all", "is_all", is_flag=True, help="All that there is.")
@json_option
@config_options()
def drop(
    config_path: Path | None, *, names: tuple[str, ...], is_all: bool, as_json: bool, **flags: Any
) -> None:
    """Remove them for good, those named or all. They were acknowledged, and are nowhere else."""
    from collector.quarantine import remove

    config = load(config_path, flags)
    if is_all == bool(names):
        raise CliError("name what is to go, or say --all")
    dropped = _wanted(config, names)
    for name in dropped:
        remove(config.data_dir, name)
    click.echo(json_text({"dropped": dropped}) if as_json else f"Dropped: {len(dropped)}.")


def _wanted(config: Config, names: tuple[str, ...]) -> list[str]:
    """Those named, or all. Raises CliError where one does not exist."""
    present = [one.path.stem for one in read_quarantine(config.data_dir)]
    for name in names:
        if name not in present:
            raise CliError(f"there is no {name!r} in the quarantine; otlp-collector quarantine list shows it")
    return list(dict.fromkeys(names)) or present


def _retry(config: Config, names: list[str]) -> list[Retried]:
    """The heavy imports wait until there is something to load."""
    import duckdb

    from collector.quarantine_retry import LARGEST_COMMIT_BYTES, retry
    from collector.store.commit import Committer
    from collector.store.lake import LakeError
    from collector.store.migrate import open_current

    threads, memory = config.loader.threads, config.loader.memory_limit
    try:
        settings = config.semconv_settings()
        with open_current(config.data_dir, settings.dimensions, threads=threads, memory_limit=memory) as lake:
            committer = Committer(lake, settings, LARGEST_COMMIT_BYTES)
            return list(retry(config.data_dir, names, committer, settings, config.limits))
    except (ConfigError, LakeError, duckdb.Error, OSError) as error:
        raise CliError(f"it stopped; what was loaded stays loaded: {error}") from error


def _as_json(one: Retried) -> dict[str, Any]:
    return {
        "name": one.name,
        "loaded": one.row is not None,
        "reason": one.reason,
        "load": one.row.as_json() if one.row else None,
    }


def _as_row(one: Retried) -> tuple[str, str, int | None, str | None]:
    if one.row is None:
        return one.name, "no", None, one.reason
    stored = one.row.spans_stored + one.row.log_records_stored + one.row.metric_points_stored
    return one.name, "yes", stored, None
