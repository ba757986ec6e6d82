"""otlp-collector export: calls or spans as a file for other programs."""

from __future__ import annotations

import datetime as dt
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TextIO, TypeAlias

import click

from analyzers.window import BadWindow, Window, parse_moment
from collector.cli import render
from collector.cli.lake import one_line, open_lake
from collector.cli.options import CliError, config_options, load

if TYPE_CHECKING:
    import duckdb

    from collector.store.lake import Lake

    # Writes the rows of a cursor.
    _Write: TypeAlias = Callable[[duckdb.DuckDBPyConnection], None]
    # Takes a cursor without rows, for its columns, and where to write.
    _Form: TypeAlias = Callable[[duckdb.DuckDBPyConnection, BinaryIO], AbstractContextManager[_Write]]

EPILOG: Final = """\b
Examples:
  otlp-collector export --parquet -o calls.parquet
  otlp-collector export calls --csv --since 2026-03-01 --until 2026-04-01 -o march.csv
  otlp-collector export spans --jsonl --since 24h | gzip > spans.jsonl.gz

\b
Columns are those of `otlp-collector sql "SELECT * FROM calls"`; times are UTC, money is USD with all its
digits, and an unknown value is empty (CSV) or null. pricing_mode says what an amount is: do not add up modes.
"""

_QUERIES: Final = Path(__file__).parent / "queries"
# What tells rows of one moment apart: the same lake gives the same file.
_KEYS: Final = {"calls": "call_id", "spans": "tenant, trace_id, span_id"}
_ROWS_AT_ONCE: Final = 16_384
_EARLIEST: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_DAY: Final = dt.timedelta(days=1)


@click.command(epilog=EPILOG)
@click.argument("relation", type=click.Choice(["calls", "spans"]), default="calls")
@click.option("--parquet", "form", flag_value="parquet", help="Apache Parquet, compressed with zstd.")
@click.option("--csv", "form", flag_value="csv", help="With a header; no cell is a formula.")
@click.option("--jsonl", "form", flag_value="jsonl", help="An object a line; attributes are objects too.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: stdout."
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@click.option(
    "--since",
    metavar="7d|TIME",
    help="Start: a length of time before the end (24h, 7d, 4w) or an ISO time. Default: the first.",
)
@click.option("--until", metavar="TIME", help="End, exclusive: an ISO time. Default: the last.")
@config_options("timezone", "sql_memory_limit")
def command(
    relation: str,
    form: str | None,
    output: Path | None,
    overwrite: bool,
    since: str | None,
    until: str | None,
    config_path: Path | None,
    **flags: Any,
) -> None:
    """Write all calls, or spans, that began in a window: every column, in order of time.

    It is the lake of one moment, also while the collector runs. FILE is there when it is whole, or not at all;
    its owner alone may read it.
    Exit codes: 0 written, also where the window is empty (stderr says so), 2 it could not run.
    """
    if form is None:
        raise click.UsageError("say in which form: --parquet, --csv or --jsonl")
    config = load(config_path, flags)
    _check_output(output, form, overwrite=overwrite)
    over = window(since, until, config.timezone)
    with open_lake(config) as lake, _failures(), _stream(output) as stream:
        rows = write(lake, relation, over, form, stream)
    click.echo(f"{rows:,} {relation} written{f' to {output}' if output else ''}", err=True)


def window(since: str | None, until: str | None, timezone: str) -> Window:
    """Between two ends as the options have them; None is before or after all. Raises CliError."""
    now = dt.datetime.now(dt.UTC)
    latest = dt.datetime.max.replace(tzinfo=dt.UTC)
    try:
        end = latest if until is None else parse_moment(until, now, timezone)
        # A length of time counts back from an end that is given, else from now.
        start = _EARLIEST if since is None else parse_moment(since, now if until is None else end, timezone)
        return Window(start, end, timezone)
    except BadWindow as error:
        raise CliError(str(error)) from None


def _check_output(output: Path | None, form: str, *, overwrite: bool) -> None:
    if output is None:
        if form == "parquet" and sys.stdout.isatty():
            raise CliError("Parquet is not for a terminal: name a file with --output")
    elif output.exists() and not overwrite:
        raise CliError(f"{output} is there already; --overwrite replaces it")
    elif not output.absolute().parent.is_dir():
        raise CliError(f"{output.absolute().parent} is no directory")


@contextmanager
def _failures() -> Iterator[None]:
    """What goes wrong while rows are read or written, as one line."""
    import duckdb

    try:
        yield
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise CliError(f"the lake cannot be read: {one_line(error)}") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CliError(f"cannot write: {error.strerror}") from None


@contextmanager
def _stream(output: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that takes its name when all is written."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.absolute().parent)
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        unfinished.replace(output)
    except BaseException:
        unfinished.unlink()
        raise


def write(lake: Lake, relation: str, over: Window, form: str, stream: BinaryIO) -> int:
    """How many rows were written. A day is sorted and written at a time, so that memory does not grow with the window;
    all days are of one state of the lake."""
    lake.connection.begin()
    try:
        return _write(lake.connection, relation, over, _FORMS[form], stream)
    finally:
        lake.connection.rollback()


def _write(
    connection: duckdb.DuckDBPyConnection, relation: str, over: Window, begin: _Form, stream: BinaryIO
) -> int:
    statement = (_QUERIES / "export_rows.sql").read_text().format(relation=relation, key=_KEYS[relation])
    days = (_QUERIES / "export_days.sql").read_text().format(relation=relation)
    found = connection.execute(days, over.parameters()).fetchall()
    total, done = sum(count for _, count in found), 0
    columns = connection.execute(f"{statement} LIMIT 0", over.parameters())
    with (
        begin(columns, stream) as write_rows,
        render.progress(lambda: total, of_bytes=False, quiet=False) as progress,
    ):
        for day, count in found:
            write_rows(connection.execute(statement, _within(day, over)))
            done += count
            progress(done)
    return done


def _within(day: dt.date, over: Window) -> dict[str, Any]:
    midnight = dt.datetime.combine(day, dt.time())
    edges = over.parameters()
    return {"start": max(edges["start"], midnight), "end": min(edges["end"], midnight + _DAY)}


@contextmanager
def _parquet(columns: duckdb.DuckDBPyConnection, stream: BinaryIO) -> Iterator[_Write]:
    import pyarrow.parquet as pq

    schema = columns.to_arrow_table().schema
    with pq.ParquetWriter(stream, schema, compression="zstd") as file:

        def write(rows: duckdb.DuckDBPyConnection) -> None:
            for batch in rows.to_arrow_reader(_ROWS_AT_ONCE):
                file.write_batch(batch)

        yield write


@contextmanager
def _csv(columns: duckdb.DuckDBPyConnection, stream: BinaryIO) -> Iterator[_Write]:
    with _text(stream) as text:
        render.write_csv([column[0] for column in columns.description or ()], (), text)
        yield lambda rows: render.write_csv_rows(_fetched(rows), text)


@contextmanager
def _jsonl(columns: duckdb.DuckDBPyConnection, stream: BinaryIO) -> Iterator[_Write]:
    described = columns.description or ()
    names = [column[0] for column in described]
    documents = {column[0] for column in described if str(column[1]) == "JSON"}
    with _text(stream) as text:
        yield lambda rows: render.write_json_lines(names, documents, _fetched(rows), text)


@contextmanager
def _text(stream: BinaryIO) -> Iterator[TextIO]:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    yield text
    text.detach()


def _fetched(cursor: duckdb.DuckDBPyConnection) -> Iterator[render.Row]:
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield from rows


_FORMS: Final = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
