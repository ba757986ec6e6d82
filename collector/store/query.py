"""Run what a user asks of the lake, such that it can do nothing but read the lake.

QueryError
├── QueryRefused    not a statement that `sql` runs
├── QueryLimit      over its time, memory or rows
└── QueryFailed     DuckDB says no: an unknown column, a division of a text, …
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from collector.store import damage, guard
from collector.store.deadline import deadline
from collector.store.extensions import EXTENSIONS
from collector.store.lake import Lake, LakeError, attach_sql
from semconv.sqltext import literal

Row = tuple[Any, ...]
_FETCH_ROWS: Final = 2048


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one query; None = no limit of ours."""

    seconds: float
    memory: str | None
    rows: int | None


class QueryError(Exception):
    """The statement gave no result; the message is one sentence for its author."""


class QueryRefused(QueryError):  # noqa: N818 - the name says what is the case
    """Not a statement that `sql` runs."""


class QueryLimit(QueryError):  # noqa: N818 - as above
    """Over its time, memory or rows."""


class QueryFailed(QueryError):  # noqa: N818 - as above
    """DuckDB cannot run it."""


def run_query(
    data_dir: Path,
    statement: str,
    *,
    time_limit_s: float = 300.0,
    memory_limit: str | None = None,
    max_rows: int | None = None,
) -> tuple[list[str], Iterator[Row]]:
    """Column names and rows of one SELECT or EXPLAIN over the lake in `data_dir`.

    Rows stream: a limit may be hit, as a QueryError, after some have been handed out, so nobody may take them
    for the result before the iterator has ended. Times are naive UTC datetimes, money is Decimal.
    Raises QueryError, here and while iterating.
    """
    try:
        guard.check(statement)
    except guard.Refused as error:
        raise QueryRefused(str(error)) from None
    rows = _twice(data_dir, statement, Limits(time_limit_s, memory_limit, max_rows))
    columns = next(rows)
    return [str(name) for name in columns], rows


def attach_statement(data_dir: Path) -> str:
    """SQL that attaches the lake, to read it, in any DuckDB shell that may install extensions."""
    loading = " ".join(f"INSTALL {name}; LOAD {name};" for name in EXTENSIONS.values())
    return f"{loading}\n{attach_sql(data_dir, read_only=True)};\nUSE lake;"


def _twice(data_dir: Path, statement: str, limits: Limits) -> Iterator[Row]:
    """The column names, then the rows. A file that was merged away just when the query was about to open it makes
    a second attempt, for which the catalog names its heir; not once rows have been handed out.
    """
    for is_last in (False, True):
        handed_out = 0
        try:
            for row in _rows(data_dir, statement, limits):
                yield row
                handed_out += 1
        except duckdb.IOException as error:
            if is_last or handed_out or "No such file" not in str(error):
                raise QueryFailed(guard.sentence(error)) from None
        except UnicodeDecodeError:
            raise QueryFailed("the result has a text that is not UTF-8") from None
        else:
            return


def _rows(data_dir: Path, statement: str, limits: Limits) -> Iterator[Row]:
    """The column names, then the rows."""
    with _open(data_dir, limits) as lake, deadline(lake.connection, limits.seconds) as expired:
        try:
            result = lake.connection.execute(statement)
            first = result.fetchmany(_FETCH_ROWS)
            yield tuple(column[0] for column in result.description)
            yield from _limited(result, first, limits.rows)
        except duckdb.OutOfMemoryException:
            raise QueryLimit(f"the query needs more memory than its limit of {limits.memory}") from None
        except (duckdb.Error, UnicodeDecodeError) as error:
            if expired.is_set():
                raise QueryLimit(f"the query ran for longer than its limit of {limits.seconds:g} s") from None
            _raise_if_damaged(lake, error)
            if isinstance(error, duckdb.IOException | UnicodeDecodeError):
                raise
            raise QueryFailed(guard.sentence(error)) from None


def _raise_if_damaged(lake: Lake, error: Exception) -> None:
    """A file that is missing may just have been merged away, and is no damage here."""
    found = damage.find(lake, error, damage.SEARCH_SECONDS)
    if found is not None and not found.is_missing:
        raise QueryFailed(found.advice) from damage.LakeDamaged(found.advice)


def _limited(result: duckdb.DuckDBPyConnection, rows: list[Row], at_most: int | None) -> Iterator[Row]:
    handed_out = 0
    while rows:
        handed_out += len(rows)
        if at_most is not None and handed_out > at_most:
            raise QueryLimit(f"the result has more rows than its limit of {at_most}")
        yield from rows
        rows = result.fetchmany(_FETCH_ROWS)


@contextmanager
def _open(data_dir: Path, limits: Limits) -> Iterator[Lake]:
    """A lake whose connection can reach the lake's files and nothing else, and cannot be told otherwise."""
    try:
        lake = Lake.open(data_dir, read_only=True, memory_limit=limits.memory)
    except LakeError as error:
        raise QueryFailed(str(error)) from None
    with lake:
        files = literal(f"{data_dir.absolute()}/data/")
        lake.connection.execute(f"SET allowed_directories = [{files}]")
        lake.connection.execute("SET enable_external_access = false")
        lake.connection.execute("SET lock_configuration = true")
        yield lake
