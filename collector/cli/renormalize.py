"""otlp-collector renormalize"""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from analyzers.window import BadWindow, Window, iso, naive_utc, parse_moment
from collector.cli.options import CliError, config_options, json_option, load
from collector.cli.render import json_text, progress, write_table
from collector.config_section import ConfigError

if TYPE_CHECKING:
    from collector.config import Config
    from collector.store.lake import Lake
    from collector.store.renormalize import Outcome
    from semconv.settings import Settings

EPILOG: Final = """\b
Examples:
  otlp-collector renormalize --since 30d --dry-run
  otlp-collector renormalize --since 2026-03-01 --until 2026-04-01
"""

# Records may have been written by a clock that is ahead.
_NO_END: Final = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
_RELATIONS: Final = ("spans", "log_records", "metric_points")


@click.command(epilog=EPILOG)
@click.option(
    "--since",
    required=True,
    metavar="7d|TIME",
    help="Of records from then on: a length of time before now (30m, 24h, 7d, 4w) or an ISO time.",
)
@click.option("--until", metavar="TIME", help="Of records before then: an ISO time. Default: no end.")
@click.option("--dry-run", is_flag=True, help="Count what would change; write nothing.")
@json_option
@config_options("timezone", "default_plan_tier")
def command(
    config_path: Path | None, *, since: str, until: str | None, dry_run: bool, as_json: bool, **flags: Any
) -> None:
    """Read stored records again with this version's dialect tables, and build their calls again.

    What a newer version understands better, and the accounts and plans that are configured now, each from its day on,
    count for the past too, as if it had been loaded anew. Text that newer tables know as content leaves the lake; what
    is not stored cannot come back. Works with or without a running server, in short steps; a second run changes
    nothing. Exit codes: 0 it ran, 2 it could not run.
    """
    config = load(config_path, flags)
    window = _window(since, until, config.timezone)
    started = time.monotonic()
    outcome = _run(config, window, dry_run, quiet=as_json)
    if as_json:
        seconds = round(time.monotonic() - started, 3)
        click.echo(json_text(_as_json(outcome, window, dry_run) | {"seconds": seconds}, indent="  "))
    else:
        _print(outcome, dry_run)


def _window(since: str, until: str | None, timezone: str) -> Window:
    now = dt.datetime.now(dt.UTC)
    try:
        end = _NO_END if until is None else parse_moment(until, now, timezone)
        return Window(parse_moment(since, now, timezone), end, timezone)
    except BadWindow as error:
        raise CliError(str(error)) from None


def _run(config: Config, window: Window, dry_run: bool, quiet: bool) -> Outcome:
    """The heavy imports wait until the options are known to be good."""
    import duckdb

    from collector.store.lake import LakeError
    from collector.store.renormalize import Outcome, Renormalizer

    settings, total = _settings(config), Outcome()
    start, end = naive_utc(window.start), naive_utc(window.end)
    try:
        with _lake(config, settings, dry_run) as lake:
            renormalizer = Renormalizer(lake, settings)
            with progress(lambda: renormalizer.rows(start, end), of_bytes=False, quiet=quiet) as show:
                for step in renormalizer.steps(start, end):
                    total.add(renormalizer.take(step, dry_run=dry_run))
                    show(total.read.total())
    except (LakeError, duckdb.Error, OSError) as error:
        raise CliError(f"it stopped; what was done before stays: {error}") from error
    except KeyboardInterrupt:
        raise CliError("interrupted; what was done stays, the same command goes on from there") from None
    return total


def _lake(config: Config, settings: Settings, dry_run: bool) -> Lake:
    """A lake that is there already, and of this program's version unless nothing is to be written."""
    from collector.data_dir import CATALOG
    from collector.store.lake import Lake
    from collector.store.migrate import open_current

    data_dir, threads, memory = config.data_dir, config.loader.threads, config.loader.memory_limit
    if dry_run or not (data_dir / CATALOG).exists():
        return Lake.open(data_dir, threads=threads, memory_limit=memory)
    return open_current(data_dir, settings.dimensions, threads=threads, memory_limit=memory)


def _settings(config: Config) -> Settings:
    try:
        return config.semconv_settings()
    except ConfigError as error:
        raise CliError(str(error)) from None


def _as_json(outcome: Outcome, window: Window, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "since": iso(window.start),
        "until": None if window.end == _NO_END else iso(window.end),
        "relations": {
            name: {
                "read": outcome.read[name],
                "changed": outcome.changed(name),
                "left": outcome.left[name],
            }
            for name in _RELATIONS
        },
        "calls_written": outcome.calls,
        "changes": [
            {"relation": relation, "dialect_before": before, "dialect": now, "rows": rows}
            for relation, before, now, rows in _changes(outcome)
        ],
    }


def _changes(outcome: Outcome) -> list[tuple[str, str | None, str | None, int]]:
    """Largest first."""
    found = [(*change, rows) for change, rows in outcome.changes.items()]
    return sorted(found, key=lambda row: (_RELATIONS.index(row[0]), -row[3], row[1] or "", row[2] or ""))


def _print(outcome: Outcome, dry_run: bool) -> None:
    if not outcome.read.total():
        click.echo("There is no record of that time.")
        return
    rows = [
        (name.replace("_", " "), outcome.read[name], outcome.changed(name), outcome.left[name])
        for name in _RELATIONS
        if outcome.read[name]
    ]
    write_table(("relation", "read", "changed", "left as they are"), rows)
    if outcome.changes:
        click.echo()
        changes = [
            (relation.replace("_", " "), before or "none", now or "none", number)
            for relation, before, now, number in _changes(outcome)
        ]
        write_table(("relation", "dialect before", "dialect now", "changed"), changes)
    if outcome.left.total():
        click.echo("note: of those left as they are too much was cut off when they came in.")
    click.echo("A dry run: nothing was written." if dry_run else f"Calls written: {outcome.calls:,}.")
