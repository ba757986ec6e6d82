"""otlp-collector restore"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from collector.cli.backups import told
from collector.cli.options import config_options, json_option, load

EPILOG: Final = """\b
Examples:
  otlp-collector restore /mnt/backups/2026-11-22 --data-dir /var/lib/spanledger
"""


@click.command(epilog=EPILOG)
@click.argument("backup", metavar="FROM", type=click.Path(path_type=Path))
@json_option
@config_options()
def command(config_path: Path | None, *, backup: Path, as_json: bool, **flags: Any) -> None:
    """Make a data directory of the backup FROM.

    The data directory must not exist, or be empty: nothing is overwritten. Every file is checked against what was
    backed up, and the lake against its totals, before the directory has its name. What was erased after the backup was
    made, while it was out of reach, has to be erased again. Exit codes: 0 it ran, 2 it could not run.
    """
    from collector.backup import restore

    data_dir = load(config_path, flags).data_dir
    told(lambda: restore(backup, data_dir), as_json=as_json)
