"""otlp-collector maintain"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from collector.cli.options import CliError, config_options, json_option, load
from collector.cli.render import console, json_text, write_table
from collector.config_section import ConfigError

if TYPE_CHECKING:
    from collector.config import Config
    from collector.upkeep import Report

EPILOG: Final = """\b
Examples:
  otlp-collector maintain --dry-run
  otlp-collector maintain --retention-spans 90 --retention-calls 1100 --retention-contents 7
"""

_RETENTION: Final = tuple(f"retention_{name}" for name in ("spans", "logs", "calls", "contents", "metrics"))


@click.command(epilog=EPILOG)
@click.option("--dry-run", is_flag=True, help="Say what there is to do; write nothing.")
@json_option
@config_options(*_RETENTION, "timezone", "default_plan_tier", "sql_time_limit_seconds")
def command(config_path: Path | None, *, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Keep the lake small, quick and within its retention, until nothing is left to do.

    Deletes what is older than its retention, spans that are stored twice more than an hour apart, and files that killed
    processes left; merges small files, forgets old states of the lake and removes their files once no query can be
    reading them, an hour later or at the next run. Works with or without a running server, in short steps; a server
    does all of this once a day by itself. Exit codes: 0 it ran, 2 it could not run.
    """
    config = load(config_path, flags)
    report = _run(config, dry_run, quiet=as_json)
    if as_json:
        from collector.upkeep import as_json as report_as_json

        click.echo(json_text(report_as_json(report, dry_run=dry_run), indent="  "))
    else:
        _print(report, dry_run)


def _run(config: Config, dry_run: bool, quiet: bool) -> Report:
    """The heavy imports wait until the options are known to be good."""
    import duckdb

    from collector.store.lake import LakeError
    from collector.upkeep import look, maintain

    try:
        with _status(quiet) as show:
            return look(config) if dry_run else maintain(config, show)
    except (ConfigError, LakeError) as error:
        raise CliError(str(error)) from None
    except (duckdb.Error, OSError) as error:
        raise CliError(f"it stopped; what was done before stays: {error}") from error
    except KeyboardInterrupt:
        raise CliError("interrupted; what was done stays, the same command goes on from there") from None


@contextmanager
def _status(quiet: bool) -> Iterator[Callable[[str], None]]:
    """What is being done, on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    with console(sys.stderr).status("") as status:
        yield status.update


def _print(report: Report, dry_run: bool) -> None:
    rows = [row for row in _rows(report) if row[1]]
    if rows:
        write_table(("to do" if dry_run else "done", "number"), rows)
    else:
        click.echo("There is nothing to do." if dry_run else "There was nothing to do.")
    for twin in report.twin_examples:
        click.echo(
            f"twin: span {twin['span_id']} of trace {twin['trace_id']} of {twin['start_time']}, "
            f"first stored with {twin['start_time_kept']}"
        )
    for path in report.missing_files:
        click.echo(f"warning: a file of the lake is missing: {path}", err=True)
    if report.after is not None:
        size = report.after
        click.echo(
            f"The lake has {size.files:,} files of {size.bytes:,} bytes and a catalog of {size.catalog_bytes:,};"
            f" {size.waiting_files:,} more files wait until nobody can be reading them."
        )
    click.echo(
        "A dry run: nothing was written."
        if dry_run
        else f"{report.steps:,} steps in {report.seconds:.1f} s, the longest {report.longest_step_seconds:.1f} s."
    )


def _rows(report: Report) -> Iterator[tuple[str, int]]:
    for relation, deleted in report.rows_deleted.items():
        yield f"{relation.replace('_', ' ')} older than their retention", deleted
    yield "spans stored twice", report.twins
    yield "files merged", report.done["merge"]
    yield "files written anew without what was deleted", report.done["rewrite"]
    yield "rows moved out of the catalog", report.done["flush"]
    yield "old states forgotten", report.done["expire"]
    yield "files of old states removed", report.done["remove"]
    yield f"files that nothing names removed, {report.orphan_bytes:,} bytes", report.orphan_files
