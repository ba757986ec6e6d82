"""otlp-backfill: load OTLP files into the lake."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from collector.backfill.reader import FORMATS
from collector.backfill.source import STDIN
from collector.cli.options import CliError, config_options, json_option, load
from collector.config_section import ConfigError
from semconv.settings import Settings, Signal

if TYPE_CHECKING:
    from collector.backfill.report import Report
    from collector.backfill.run import Options
    from collector.cli.render import Progress
    from collector.config import Config
    from collector.store.lake import Lake

EPILOG: Final = """\b
Examples:
  otlp-backfill traces.jsonl
  otlp-backfill --dry-run archive/*.json.gz
  zstd -dc traces.jsonl.zst | otlp-backfill -
"""


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--format", "format_name", type=click.Choice(FORMATS), default="auto", help="Default: auto.")
@click.option(
    "--signal",
    type=click.Choice(get_args(Signal)),
    help="What protobuf files hold, where that cannot be told.",
)
@click.option("--dry-run", is_flag=True, help="Count what would be stored; write nothing.")
@json_option
@config_options("default_plan_tier", "keep_spans", "keep_logs", "keep_metrics")
def main(files: tuple[str, ...], *, as_json: bool, config_path: Path | None, **rest: Any) -> None:
    """Load OTLP files: traces, logs and metrics, as JSON (one object of any size, an array, one a line) or
    protobuf (one message, or several with their lengths before them), each also packed with gzip; - is
    standard input.

    Works with or without a running server. What is stored already is left alone, so that a file can be loaded
    again. Exit codes: 0 everything was taken, 1 some input was rejected, 2 it could not run.
    """
    config = load(config_path, rest)
    _check_files(files)
    report = _run(files, config, rest["signal"], rest["dry_run"], quiet=as_json)
    _print(report, as_json)
    sys.exit(1 if report.rejected else 0)


def _check_files(files: tuple[str, ...]) -> None:
    for path in files:
        if path == STDIN:
            continue
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise CliError(f"{path}: {error.strerror}") from None


def _run(files: tuple[str, ...], config: Config, signal: Signal | None, dry_run: bool, quiet: bool) -> Report:
    """The heavy imports wait until the options are known to be good."""
    from collector.memory import give_back_always, look_for_garbage_rarely

    give_back_always()

    import duckdb

    from collector.backfill.report import Report
    from collector.backfill.run import Options
    from collector.cli.render import progress
    from collector.store.lake import LakeError
    from collector.worker import WorkerEnded

    look_for_garbage_rarely()
    started = time.monotonic()
    report = Report(dry_run)
    scratch = config.data_dir if config.data_dir.is_dir() and not dry_run else None
    options = Options(_settings(config, dry_run), signal, dry_run, scratch)
    try:
        with (
            _lake(config, options.settings, dry_run) as lake,
            progress(lambda: _size(files), of_bytes=True, quiet=quiet) as show,
        ):
            _load_all(files, lake, options, show, report)
    except (LakeError, WorkerEnded, duckdb.Error, OSError) as error:
        raise CliError(f"the load stopped, what was stored before stays: {error}") from error
    except KeyboardInterrupt:
        raise CliError("interrupted; what was stored stays, the same command goes on from there") from None
    report.seconds = time.monotonic() - started
    return report


def _settings(config: Config, dry_run: bool) -> Settings:
    """A dry run needs a key for the redaction too, and leaves none behind."""
    from collector.data_dir import CannotStart, prepare

    try:
        if dry_run:
            return config.semconv_settings(spare_key=os.urandom(32))
        prepare(config.data_dir)
        config.redaction.make_key(config.data_dir, of_prompts=config.capture.prompt_hashes)
        return config.semconv_settings()
    except (CannotStart, ConfigError) as error:
        raise CliError(str(error)) from None


def _load_all(
    files: tuple[str, ...], lake: Lake, options: Options, progress: Progress, report: Report
) -> None:
    from collector.backfill.run import Backfill
    from collector.backfill.seen import Seen
    from collector.backfill.store import LakeStore

    with contextlib.ExitStack() as stack:
        seen = stack.enter_context(Seen()) if options.dry_run else None
        backfill = stack.enter_context(Backfill(LakeStore(lake, options.settings), options, seen))
        for path in files:
            before = sum(file.bytes for file in report.files)
            report.files.append(backfill.load(path, partial(_advance, progress, before)))
        backfill.finish()


def _advance(progress: Progress, before: int, consumed: int) -> None:
    progress(before + consumed)


@contextmanager
def _lake(config: Config, settings: Settings, dry_run: bool) -> Iterator[Lake]:
    """The lake of the data directory, created where there is none; a dry run then counts against an empty
    one."""
    from collector.data_dir import CATALOG
    from collector.store.lake import Lake
    from collector.store.migrate import open_current

    data_dir = config.data_dir
    threads, memory = config.loader.threads, config.loader.memory_limit
    with contextlib.ExitStack() as stack:
        if dry_run and (data_dir / CATALOG).exists():
            lake = Lake.open(data_dir, threads=threads, memory_limit=memory)
        else:
            if dry_run:
                data_dir = Path(
                    stack.enter_context(tempfile.TemporaryDirectory(prefix="spanledger-dry-run-"))
                )
            lake = open_current(data_dir, settings.dimensions, threads=threads, memory_limit=memory)
        yield stack.enter_context(lake)


def _size(files: tuple[str, ...]) -> int | None:
    """Bytes of all of them; None where one is a stream."""
    return None if STDIN in files else sum(Path(path).stat().st_size for path in files)


def _print(report: Report, as_json: bool) -> None:
    from collector.backfill.report import problem_lines, table_rows
    from collector.cli.render import json_text, write_table

    if as_json:
        click.echo(json_text(report.as_json(), indent="  "))
        return
    rows = list(table_rows(report))
    if rows:
        write_table(("file", "signal", "read", "stored", "already there", "not kept", "rejected"), rows)
    else:
        click.echo("No record was read.")
    for line in (line for file in report.files for line in problem_lines(file)):
        click.echo(line, err=True)
    if report.dry_run:
        click.echo("A dry run: nothing was written.")


if __name__ == "__main__":
    main()
