"""otlp-analyze: run analyzers over a window of the lake, or show what was recorded."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import click

from analyzers import registry, setting
from analyzers.registry import Analyzer, UnknownAnalyzer
from analyzers.window import BadWindow, Window, parse_window
from collector import runs
from collector.cli import export_config, recorded, report
from collector.cli.alerts import OrAlerts
from collector.cli.analyzer_options import (
    Form,
    form_of,
    given_settings,
    output_options,
    setting_options,
    settings_of,
)
from collector.cli.lake import open_lake
from collector.cli.markdown import print_markdown
from collector.cli.options import CliError, InputRejectedError, config_options, load
from collector.cli.render import plain, printable, write_json, write_table

if TYPE_CHECKING:
    from collector.config import Config
    from collector.store.lake import Lake

EPILOG: Final = """\b
Examples:
  otlp-analyze --list
  otlp-analyze cost --since 24h --by model
  otlp-analyze cost --by day --by billing_account --since 2026-03-01 --until 2026-04-01 --csv
  otlp-analyze cost --since 7d --compare previous --markdown
  otlp-analyze unit-cost --by app.job_id --unit-budget 0.10 --budget 500 --top 10
  otlp-analyze accounts --since 2026-03-01 --until 2026-04-01 --config collector.yaml
  otlp-analyze data-quality --since 24h --fail-on finding
  otlp-analyze --since 4w --compare previous --html report.html
  otlp-analyze --since 4w --export-config litellm --output litellm.yaml
  otlp-analyze --last
  otlp-analyze --runs --since 4w
  otlp-analyze alerts --help
"""

DEFAULT_SINCE: Final = "7d"
_COMPARISON: Final = "compare"
# What --fail-on budget looks for: an analyzer, and which of its findings.
_BUDGETS: Final = "budget"
_EXCEEDED: Final = "exceeded"


@click.command(cls=OrAlerts, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--list", "list_them", is_flag=True, help="Say which analyzers there are, and their settings.")
@click.option("--last", is_flag=True, help="Print the latest recorded results; compute nothing.")
@click.option("--runs", "list_runs", is_flag=True, help="List the runs that began in the window.")
@click.option(
    "--since",
    metavar="7d|TIME",
    help="Start: a length of time before the end (30m, 24h, 7d, 4w) or an ISO time. Default: 7d.",
)
@click.option("--until", metavar="TIME", help="End, exclusive: an ISO time. Default: now.")
@setting_options
@output_options
@export_config.export_options
@click.option(
    "--fail-on",
    type=click.Choice(["budget", "finding"]),
    help="Exit 1 where a budget is exceeded, or where there is any finding.",
)
@config_options("timezone", "sql_time_limit_seconds", "sql_memory_limit")
def main(names: tuple[str, ...], *, list_them: bool, config_path: Path | None, **rest: Any) -> None:
    """Compute figures and findings from the calls in the lake; without NAME, all analyzers.

    Times without an offset, and days, are those of the configured time zone. Notes say what the figures leave
    out. What was computed is recorded in the lake's `runs` where it can be written. Exit codes: 0 it ran (an
    empty window is said in a note), 1 --fail-on found something, 2 it could not run.
    """
    form = form_of(rest)
    if form == "html" and (list_them or rest["list_runs"]):
        raise CliError("--html: a page is of results, not of --list or --runs")
    if rest["export_config"]:
        if list_them or rest["list_runs"]:
            raise CliError("--export-config: a configuration is of results, not of --list or --runs")
        names = names or export_config.ANALYZERS
    export_config.check(rest, names)
    if list_them:
        _print_list(form)
        return
    config = load(config_path, rest)
    if rest["last"] or rest["list_runs"]:
        _show_recorded(config, names, form, rest)
    else:
        _analyze(config, names, form, rest)


def _analyze(config: Config, names: Sequence[str], form: Form, rest: Mapping[str, Any]) -> None:
    now = dt.datetime.now(dt.UTC)
    facts = {**config.analyzer_facts(), "now": now}
    analyzers = [entry.bind(facts) for entry in _find(names, with_comparison=rest["baseline"] is not None)]
    if form == "csv" and len(analyzers) != 1:
        raise CliError("--csv prints one analyzer: name it")
    _check_fail_on(rest["fail_on"], [entry.name for entry in analyzers])
    window = _window(rest["since"], rest["until"], now, config.timezone)
    settings = settings_of(analyzers, config.analyzers, rest)
    limit = config.sql.time_limit_seconds
    with open_lake(config) as lake:
        done = runs.execute_all(lake, [(entry, settings[entry.name]) for entry in analyzers], window, limit)
        done = runs.settle(lake, done, now, limit)
        results = [result for run in done if (result := run.result()) is not None]
        if form == "html":
            _write_html(rest["html"], results, now, _daily(lake, window, results, limit))
        else:
            _print(results, form)
        if rest["export_config"]:
            export_config.export(rest, results, lake.connection)
        _record(lake, [run for run in done if run.outcome.report is not None])
    _fail_with_the_first_error(done)
    _fail_on(rest["fail_on"], results)


def _show_recorded(config: Config, names: Sequence[str], form: Form, rest: Mapping[str, Any]) -> None:
    if rest["last"] and rest["list_runs"]:
        raise CliError("--last and --runs exclude each other")
    if others := given_settings(rest):
        raise CliError(f"{others[0]}: --last and --runs compute nothing")
    chosen = [entry.name for entry in _find(names)] if names else []
    with open_lake(config) as lake:
        if rest["list_runs"]:
            now = dt.datetime.now(dt.UTC)
            window = _window(rest["since"], rest["until"], now, config.timezone)
            recorded.print_runs(lake.connection, window, chosen, form)
            return
        if rest["since"] is not None or rest["until"] is not None:
            raise CliError(
                "--last prints results over the windows that they were computed for, without --since"
            )
        results = recorded.last_results(lake.connection, chosen)
        if rest["export_config"]:
            export_config.export(rest, results, lake.connection)
    if form == "csv" and len(results) > 1:
        raise CliError("--csv prints one analyzer: name it")
    if form == "html":
        _write_html(rest["html"], results, dt.datetime.now(dt.UTC))
    else:
        _print(results, form)
    found = {result["analyzer"] for result in results}
    for name in chosen or ([] if found else ["any analyzer"]):
        if name not in found:
            click.echo(f"note: no run of {name} is recorded", err=form != "table")
    _fail_on(rest["fail_on"], results)


def _print_list(form: Form) -> None:
    known = list(registry.discover().values())
    if form == "json":
        write_json(
            ("name", "help", "settings"),
            [(one.name, one.help, [*_described(one)]) for one in known],
            sys.stdout,
        )
        return
    write_table(("name", "help"), [(one.name, one.help) for one in known])
    settings = [
        (one.name, described["name"], _default(described["default"]), described["help"])
        for one in known
        for described in _described(one)
    ]
    click.echo("")
    write_table(("analyzer", "setting", "default", "help"), settings)


def _described(analyzer: Analyzer) -> Iterator[dict[str, object]]:
    for one in analyzer.settings:
        yield {"name": one.name, "default": setting.written(one.default), "help": one.help}


def _default(value: object) -> str:
    if value is None or value == "":
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(plain(value))


def _find(names: Sequence[str], *, with_comparison: bool = False) -> list[Analyzer]:
    """Those of these names, or all; the comparison, where it is asked for, comes last."""
    wanted = dict.fromkeys(names or registry.discover())
    if with_comparison:
        wanted.pop(_COMPARISON, None)
        wanted[_COMPARISON] = None
    try:
        return [registry.get(name) for name in wanted]
    except UnknownAnalyzer as error:
        raise CliError(str(error)) from None


def _window(since: str | None, until: str | None, now: dt.datetime, timezone: str) -> Window:
    try:
        return parse_window(since or DEFAULT_SINCE, until, now, timezone)
    except BadWindow as error:
        raise CliError(str(error)) from None


def _print(results: list[dict[str, Any]], form: Form) -> None:
    if form == "json":
        report.print_json(results)
    elif form == "markdown":
        print_markdown(results, sys.stdout)
    else:
        for result in results:
            (report.print_csv if form == "csv" else report.print_table)(result, sys.stdout)


def _daily(
    lake: Lake, window: Window, results: Sequence[Mapping[str, Any]], limit: float
) -> Mapping[str, Mapping[str, Any]]:
    """What the page shows over time, where it is of costs at all."""
    from collector.cli.html.daily import daily_costs

    return daily_costs(lake, window, limit) if any(one["analyzer"] == "cost" for one in results) else {}


def _write_html(
    path: Path,
    results: list[dict[str, Any]],
    now: dt.datetime,
    daily: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> None:
    from collector.cli.html.page import write_page

    try:
        write_page(path, results, daily, now)
    except OSError as error:
        raise CliError(f"--html {path}: {error.strerror}") from None
    click.echo(f"wrote {path}")


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


def _check_fail_on(fail_on: str | None, names: Sequence[str]) -> None:
    if fail_on == "budget" and _BUDGETS not in names:
        raise CliError(f"--fail-on budget: the analyzer {_BUDGETS} is to run too: name it")


def _fail_on(fail_on: str | None, results: Sequence[Mapping[str, Any]]) -> None:
    """Raises InputRejectedError, exit code 1, for findings of the kind that is to fail."""
    titles = [
        finding["title"]
        for result in results
        for finding in result["findings"]
        if fail_on == "finding" or (result["analyzer"], finding.get("kind")) == (_BUDGETS, _EXCEEDED)
    ]
    if fail_on is not None and titles:
        raise InputRejectedError(
            f"--fail-on {fail_on}: {len(titles)} found, the first: {printable(titles[0])}"
        )


if __name__ == "__main__":
    main()
