"""otlp-collector backup"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from collector.cli.backups import told
from collector.cli.options import config_options, json_option, load

EPILOG: Final = """\b
Examples:
  otlp-collector backup /mnt/backups/2026-11-22
  otlp-collector backup /mnt/backups/2026-11-22 --data-dir /var/lib/spanledger --json
"""


@click.command(epilog=EPILOG)
@click.argument("to", type=click.Path(path_type=Path))
@json_option
@config_options()
def command(config_path: Path | None, *, to: Path, as_json: bool, **flags: Any) -> None:
    """Make a consistent copy of the data directory at TO, while everything runs.

    The lake, what was acknowledged and is not in it yet, the quarantine and the key of the redaction, of one moment.
    Parquet files are linked where TO is on the same file system, else copied. TO must not exist, or be empty. It is on
    disk, was opened and was counted when the command ends. A backup is a data directory: sql and erase work on it with
    --data-dir. The configuration is not part of it. Exit codes: 0 it ran, 2 it could not run.
    """
    from collector.backup import back_up

    data_dir = load(config_path, flags).data_dir
    told(lambda: back_up(data_dir, to), as_json=as_json)
