"""otlp-collector sql"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import click

from collector.cli import render
from collector.cli.lake import one_line
from collector.cli.options import CliError, InputRejectedError, config_options, load

EPILOG: Final = """\b
Examples:
  otlp-collector sql "SELECT pricing_mode, provider, count(*) AS calls, sum(cost_usd) AS cost FROM calls GROUP BY ALL"
  otlp-collector sql "SELECT * FROM calls WHERE session_id = 'abc'" --csv > calls.csv
  otlp-collector sql - < report.sql
  otlp-collector sql --attach

\b
Relations: calls (one row per model call, the truth about cost), spans, log_records, metric_points,
contents, prices, loads, runs, findings, alerts; sessions, agents and units over calls. Times are UTC.
"""

if TYPE_CHECKING:
    from collector.config import Config

# A result up to this size waits in memory, a larger one in a temporary file, until it is known to be whole.
_IN_MEMORY_BYTES: Final = 16 << 20


@click.command(epilog=EPILOG)
@click.argument("statement", required=False)
@config_options("sql_time_limit_seconds", "sql_memory_limit")
@click.option("--json", "as_json", is_flag=True, help="One array of objects, column name -> value.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated, with a header line.")
@click.option(
    "--attach", is_flag=True, help="Print the statement that attaches the lake in any DuckDB shell."
)
@click.option("--max-rows", type=click.IntRange(min=1), help="Refuse a result with more rows than this.")
def command(
    statement: str | None,
    config_path: Path | None,
    as_json: bool,
    as_csv: bool,
    attach: bool,
    max_rows: int | None,
    **flags: Any,
) -> None:
    """Run one SELECT or EXPLAIN over the lake and print what it gives; - reads it from stdin.

    It only reads, and works while the collector runs. Exit code 1 where the statement is refused or fails.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    config = load(config_path, flags)
    if attach:
        from collector.store.query import attach_statement

        click.echo(attach_statement(config.data_dir))
        return
    with _query(_statement(statement), config, max_rows) as (columns, rows):
        if as_json:
            _refuse_twins(columns)
        if as_json or as_csv:
            _print_whole(render.write_json if as_json else render.write_csv, columns, rows)
        else:
            render.write_table(columns, list(rows))


@contextmanager
def _query(
    statement: str, config: Config, max_rows: int | None
) -> Iterator[tuple[list[str], Iterable[render.Row]]]:
    """Column names and rows; what goes wrong, also while they are read, ends the command with one line."""
    from collector.store.lake import LakeError
    from collector.store.query import QueryError, run_query

    try:
        yield run_query(
            config.data_dir,
            statement,
            time_limit_s=config.sql.time_limit_seconds,
            memory_limit=config.sql.memory_limit,
            max_rows=max_rows,
        )
    except QueryError as error:
        # Without a lake, or one of its files, no statement could have run: that is not the statement's fault.
        if isinstance(error.__cause__ or error.__context__, LakeError):
            raise CliError(one_line(error)) from None
        raise InputRejectedError(one_line(error)) from None


def _refuse_twins(columns: list[str]) -> None:
    """An object has one value per name: of two columns with one name, one would be lost."""
    for name in columns:
        if columns.count(name) > 1:
            raise InputRejectedError(f'two columns are called "{name}": give each its own name with AS')


def _print_whole(
    write: Callable[[Sequence[str], Iterable[render.Row], TextIO], None],
    columns: Sequence[str],
    rows: Iterable[render.Row],
) -> None:
    """Print nothing before the result is whole: a cut one must not look like an answer."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, "w+", encoding="utf-8", newline="") as result:
        write(columns, rows, cast("TextIO", result))
        result.seek(0)
        shutil.copyfileobj(result, sys.stdout)


def _statement(argument: str | None) -> str:
    if argument is None:
        raise click.UsageError(
            'name a statement, such as "SELECT count(*) FROM calls", or - to read it from stdin'
        )
    return sys.stdin.read() if argument == "-" else argument
