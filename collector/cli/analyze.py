"""otlp-analyze: run analyzers over a window of the lake."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from analyzers import registry
from analyzers.registry import Analyzer, UnknownAnalyzer
from analyzers.window import BadWindow, Window, parse_window
from collector import runs
from collector.cli import report
from collector.cli.alerts import OrAlerts
from collector.cli.analyzer_options import setting_options, settings_of
from collector.cli.options import CliError, config_options, json_option, load
from collector.cli.render import write_json, write_table
from collector.cli.scheduled import open_lake, run_scheduled, scheduled_options

if TYPE_CHECKING:
    from collector.store.lake import Lake

EPILOG: Final = """\b
Examples:
  otlp-analyze --list
  otlp-analyze cost --since 24h --by model
  otlp-analyze cost --by day --by billing_account --since 2026-03-01 --until 2026-04-01 --csv
  otlp-analyze unit-cost --by app.job_id --unit-budget 0.10 --budget 500 --top 10
  otlp-analyze accounts --since 2026-03-01 --until 2026-04-01 --config collector.yaml
  otlp-analyze alerts --help
"""

DEFAULT_SINCE: Final = "7d"


@click.command(cls=OrAlerts, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--list", "list_them", is_flag=True, help="Say which analyzers there are.")
@click.option(
    "--since",
    default=DEFAULT_SINCE,
    metavar="7d|TIME",
    help="Start: a length of time before the end (30m, 24h, 7d, 4w) or an ISO time. Default: 7d.",
)
@click.option("--until", metavar="TIME", help="End, exclusive: an ISO time. Default: now.")
@setting_options
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, safe to open in a spreadsheet.")
@config_options("timezone", "sql_time_limit_seconds", "sql_memory_limit")
@scheduled_options
def main(
    names: tuple[str, ...],
    *,
    list_them: bool,
    as_json: bool,
    as_csv: bool,
    config_path: Path | None,
    **rest: Any,
) -> None:
    """Compute figures and findings from the calls in the lake; without NAME, all analyzers.

    Times without an offset, and days, are those of the configured time zone. Notes say what the figures leave
    out. What was computed is recorded in the lake's `runs` where it can be written. Exit codes: 0 it ran (an
    empty window is said in a note), 2 it could not run.
    """
    if as_json and as_csv:
        raise CliError("--json and --csv exclude each other")
    if list_them:
        _print_list(as_json)
        return
    config = load(config_path, rest)
    if rest["scheduled"] is not None:
        run_scheduled(config, rest["scheduled"], rest["slot"], rest["options"], rest["trigger"])
        return
    now = dt.datetime.now(dt.UTC)
    analyzers = [entry.bind({**config.analyzer_facts(), "now": now}) for entry in _find(names)]
    if as_csv and len(analyzers) != 1:
        raise CliError("--csv prints one analyzer: name it")
    window = _window(rest["since"], rest["until"], now, config.timezone)
    settings = settings_of(analyzers, config.analyzers, rest)
    limit = config.sql.time_limit_seconds
    with open_lake(config) as lake:
        done = [runs.execute(lake, entry, window, settings[entry.name], limit) for entry in analyzers]
        done = runs.settle(lake, done, now, limit)
        _print(done, as_json, as_csv)
        _record(lake, [run for run in done if run.outcome.report is not None])
    _fail_with_the_first_error(done)


def _print_list(as_json: bool) -> None:
    columns = ("name", "help", "settings")
    rows = [(entry.name, entry.help, list(entry.setting_names)) for entry in registry.discover().values()]
    if as_json:
        write_json(columns, rows, sys.stdout)
    else:
        write_table(columns, [(name, text, ", ".join(settings)) for name, text, settings in rows])


def _find(names: Sequence[str]) -> list[Analyzer]:
    try:
        return [registry.get(name) for name in dict.fromkeys(names)] or list(registry.discover().values())
    except UnknownAnalyzer as error:
        raise CliError(str(error)) from None


def _window(since: str, until: str | None, now: dt.datetime, timezone: str) -> Window:
    try:
        return parse_window(since, until, now, timezone)
    except BadWindow as error:
        raise CliError(str(error)) from None


def _print(done: list[runs.Run], as_json: bool, as_csv: bool) -> None:
    if as_json:
        report.print_json([run.result() for run in done if run.outcome.report])
        return
    for run in done:
        if run.outcome.report is None or run.window is None:
            continue
        if as_csv:
            report.print_csv(run.outcome.report, sys.stdout)
        else:
            report.print_table(run.analyzer, run.window, run.outcome.report, sys.stdout)


def _record(lake: Lake, done: list[runs.Run]) -> None:
    """Recording is a courtesy here: the figures are out already, and who may only read gets no more."""
    sys.stdout.flush()
    if not done or not os.access(lake.data_dir, os.W_OK):
        return
    try:
        runs.record(lake, done)
    except runs.NOT_RECORDED as error:
        click.echo(f"note: this run was not recorded: {error}", err=True)


def _fail_with_the_first_error(done: list[runs.Run]) -> None:
    for run in done:
        if run.outcome.error is not None:
            raise CliError(f"{run.analyzer}: {run.outcome.error}")


if __name__ == "__main__":
    main()
