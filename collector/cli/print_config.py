"""otlp-collector print-config"""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Any, Final

import click

from collector.cli.options import all_config_options, json_option, load
from collector.cli.render import json_text
from collector.config import Config

EPILOG = """\b
Examples:
  otlp-collector print-config
  otlp-collector print-config --config collector.yaml --json
"""

MASK: Final = "****"


@click.command(epilog=EPILOG)
@all_config_options()
@json_option
def command(config_path: Path | None, as_json: bool, **flags: Any) -> None:
    """Show the effective configuration, as YAML: defaults, file, environment and flags brought together.

    Tokens, secrets and passwords are shown as ****, of a webhook's address only the host.
    """
    values = masked(load(config_path, flags))
    if as_json:
        click.echo(json_text(values, indent="  "))
    else:
        import yaml

        click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


def masked(config: Config) -> dict[str, Any]:
    """Every key with its effective value, the secrets hidden."""
    values = config.model_dump(mode="json")
    for secret in (*values["tokens"], values["metrics_token"] or {}):
        if secret.get("token") is not None:
            secret["token"] = MASK
    for channel in (*values["alerts"]["channels"]["webhooks"], *values["alerts"]["channels"]["email"]):
        for name in ("secret", "password"):
            if channel.get(name) is not None:
                channel[name] = MASK
        if "url" in channel:
            parts = urllib.parse.urlsplit(channel["url"])
            channel["url"] = f"{parts.scheme}://{parts.netloc}/{MASK}"
    return values
