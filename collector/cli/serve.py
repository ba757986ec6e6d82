"""otlp-collector serve"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from collector.cli.options import CliError, all_config_options, load
from collector.config import ConfigError

EPILOG = """\b
Examples:
  otlp-collector serve
  otlp-collector serve --config collector.yaml
  otlp-collector serve --data-dir /var/lib/spanledger --keep-spans genai

\b
Every option is also an environment variable: --grpc-endpoint is SPANLEDGER_GRPC_ENDPOINT.
Accounts, tokens, dimensions and schedule are set in the configuration file.
"""


@click.command(epilog=EPILOG)
@all_config_options()
def command(config_path: Path | None, **flags: Any) -> None:
    """Receive OTLP over gRPC and HTTP, and store, count and price it, until SIGTERM or SIGINT."""
    from collector.config_check import check_files

    config = load(config_path, flags)
    try:
        check_files(config)
    except ConfigError as error:
        raise CliError(str(error)) from None

    from collector.supervisor import serve

    click.get_current_context().exit(serve(config))
