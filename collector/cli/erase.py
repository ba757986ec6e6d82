"""otlp-collector erase"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from collector.cli.options import CliError, config_options, json_option, load
from collector.cli.render import json_text, write_table
from collector.config_section import ConfigError

if TYPE_CHECKING:
    from collector.config import Config
    from collector.erase import Erasure
    from collector.store.erase import SubjectKind

EPILOG: Final = """\b
Examples:
  otlp-collector erase --user alice@example.com --dry-run
  otlp-collector erase --user alice@example.com --now
  otlp-collector erase --session 5f0c2f6e --config collector.yaml
"""


@click.command(epilog=EPILOG)
@click.option("--user", metavar="ID", help="The user, as senders name it, or hashed as the lake does.")
@click.option("--session", metavar="ID", help="The session or conversation.")
@click.option("--tenant", metavar="NAME", help="Of this tenant alone. Default: of all.")
@click.option("--now", is_flag=True, help="Do not wait for queries that may still read the old files.")
@click.option("--dry-run", is_flag=True, help="Count what the lake and the quarantine hold; write nothing.")
@json_option
@config_options()
def command(
    config_path: Path | None,
    *,
    user: str | None,
    session: str | None,
    tenant: str | None,
    now: bool,
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Erase what is stored of a user or a session, from every file of the data directory.

    Its spans and log records, those that inherit it, its calls with all records of them, texts, data points, results of
    recorded runs, requests in the spool and the quarantine; files and catalog are written anew, backups listed in the
    data directory included. Where anybody else's record names the id, the word `erased` takes its place. Works with or
    without a running server. Without --now the old files stay for the hour in which a query may be reading them; the
    same command, after it, removes them. A run that was interrupted is finished by running it again. What arrives
    afterwards is new data. erasures.jsonl keeps a keyed hash of the id, when, and how many rows.
    Exit codes: 0 it ran, 2 it could not run, or not to its end.
    """
    if (user is None) == (session is None):
        raise CliError("give one of --user and --session")
    identifier = user if user is not None else session
    if not identifier:
        raise CliError("the id is empty")
    config = load(config_path, flags)
    done = _run(config, "user" if user is not None else "session", identifier, tenant, (now, dry_run))
    if as_json:
        click.echo(json_text({"dry_run": dry_run, "erased": [one.as_dict() for one in done]}, indent="  "))
    else:
        _print(done, dry_run)


def _run(
    config: Config, kind: SubjectKind, identifier: str, tenant: str | None, how: tuple[bool, bool]
) -> list[Erasure]:
    """In the data directory and in its backups. The heavy imports wait until the options are known to be good."""
    import duckdb

    from collector.erase import EraseError, erase_everywhere, find, forms
    from collector.store.erase import Subject
    from collector.store.lake import LakeError
    from collector.store.lock import LockTimeout

    now, dry_run = how
    again = "nothing was counted" if dry_run else "it stopped; the same command again goes on from there"
    try:
        if dry_run:
            return [find(config, Subject(kind, forms(config, identifier), tenant))]
        return erase_everywhere(config, kind, identifier, tenant, now=now, tell=_tell)
    except (EraseError, LakeError, LockTimeout, ConfigError, OSError, duckdb.Error, sqlite3.Error) as error:
        raise CliError(f"{again}: {error}") from error
    except KeyboardInterrupt:
        raise CliError(f"interrupted: {again}") from None


def _tell(doing: str) -> None:
    click.echo(f"{doing} …", err=True)


def _print(done: list[Erasure], dry_run: bool) -> None:
    for one in done:
        if len(done) > 1:
            click.echo(f"{one.data_dir}:")
        if not one.rows:
            click.echo("This backup is not there any more. Where it was moved, erase with --data-dir.")
            continue
        rows = [(name.replace("_", " "), number) for name, number in one.rows.items()]
        write_table(("of", "rows"), [*rows, ("quarantined requests", one.quarantined)])
    if dry_run:
        click.echo("A dry run: nothing was written. What waits in the spool, and backups, are not counted.")
    elif not done[0].finished:
        click.echo(
            "Queries see none of it any more. Run the same command again in an hour to remove the old files."
        )
