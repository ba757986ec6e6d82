"""Open the lake for a command, or end it with one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from collector.cli.options import CliError

if TYPE_CHECKING:
    import duckdb

    from collector.config import Config
    from collector.store.lake import Lake


@contextmanager
def reading(data_dir: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads the lake as its default schema. Raises CliError, exit code 2, also in the place of an
    error that a damaged data file causes while it is used.
    """
    import duckdb

    from collector.store import damage
    from collector.store.lake import Lake, LakeError

    try:
        lake = Lake.open(data_dir, read_only=True)
    except LakeError as error:
        raise CliError(one_line(error)) from None
    with lake:
        try:
            yield lake.connection
        except (duckdb.Error, UnicodeDecodeError) as error:
            found = damage.find(lake, error, damage.SEARCH_SECONDS)
            if found is None:
                raise
            raise CliError(found.advice) from None


def open_lake(config: Config) -> Lake:
    """The lake for reading, within the memory that one query may take. Raises CliError."""
    from collector.store.lake import Lake, LakeError

    try:
        return Lake.open(config.data_dir, read_only=True, memory_limit=config.sql.memory_limit)
    except LakeError as error:
        raise CliError(str(error)) from None


def one_line(error: BaseException) -> str:
    """DuckDB's messages have several lines; the first says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
