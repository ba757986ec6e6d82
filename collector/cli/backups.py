"""What backup and restore print, and how they end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from collector.cli.lake import one_line
from collector.cli.options import CliError
from collector.cli.render import json_text, write_table

if TYPE_CHECKING:
    from collector.backup import Done


def told(make: Callable[[], Done], *, as_json: bool) -> None:
    """Make it, and print what came of it. Raises CliError, exit code 2."""
    import duckdb

    from collector.backup import BackupError
    from collector.store.lake import LakeError

    try:
        done = make()
    except (BackupError, LakeError) as error:
        raise CliError(str(error)) from None
    except (OSError, sqlite3.Error, duckdb.Error) as error:
        raise CliError(f"it stopped, and nothing was made: {one_line(error)}") from error
    except KeyboardInterrupt:
        raise CliError("interrupted; nothing was made") from None
    if as_json:
        click.echo(json_text(done.as_dict(), indent="  "))
        return
    write_table(("of", "rows"), [(name.replace("_", " "), number) for name, number in done.totals.items()])
    click.echo(f"{done.path}: {done.files:,} files, {done.bytes:,} bytes.")
