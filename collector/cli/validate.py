"""otlp-collector validate"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from collector.cli.options import CliError, all_config_options, json_option, load
from collector.cli.render import json_text
from collector.config import ConfigError

EPILOG = """\b
Examples:
  otlp-collector validate --config collector.yaml
  SPANLEDGER_TIMEZONE=Europe/Berlin otlp-collector validate
"""


@click.command(epilog=EPILOG)
@all_config_options()
@json_option
def command(config_path: Path | None, as_json: bool, **flags: Any) -> None:
    """Check the configuration as `serve` would, tokens, keys and certificates in files included, without
    opening a port.

    Exit code 0 where it can be used, 2 where it cannot.
    """
    from collector.config_check import check_files

    try:
        check_files(load(config_path, flags))
    except (CliError, ConfigError) as error:
        if as_json:
            click.echo(json_text({"valid": False, "error": str(error)}))
        raise CliError(str(error)) from None
    file = config_path or os.environ.get("SPANLEDGER_CONFIG")
    if as_json:
        click.echo(json_text({"valid": True, "config": str(file) if file else None}))
    else:
        click.echo(f"The configuration is valid ({file or 'no file; defaults, environment and flags'}).")
