"""otlp-collector doctor"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from collector.cli.options import config_options, json_option, load
from collector.cli.render import console, json_text

if TYPE_CHECKING:
    from collector.cli.checks import Check

EPILOG: Final = """\b
Examples:
  otlp-collector doctor
  otlp-collector doctor --data-dir /var/lib/spanledger --json
"""

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command(epilog=EPILOG)
@config_options("grpc_endpoint", "http_endpoint", "admin_endpoint", "timezone")
@json_option
def command(config_path: Path | None, as_json: bool, **flags: Any) -> None:
    """Look at versions, ports, disk, lake, spool, clocks, prices and plans, and say what to do where needed.

    Exit code 0 where the checks ran, whatever they found.
    """
    from collector.cli.checks import Subject, run
    from collector.cli.server import probe

    config = load(config_path, flags)
    subject = Subject(config, probe(config.admin_endpoint), dt.datetime.now(dt.UTC))
    checks = run(subject)
    if as_json:
        click.echo(json_text({"checks": [_as_dict(check) for check in checks]}, indent="  "))
        return
    found = [_print(check) for check in checks]
    click.echo(f"\n{found.count('fail')} failed, {found.count('warn')} to look at, {found.count('ok')} ok")


def _as_dict(check: Check) -> dict[str, str | None]:
    return {
        "name": check.name,
        "level": check.level,
        "found": check.found,
        "advice": check.advice or None,
    }


def _print(check: Check) -> str:
    from rich.text import Text

    line = Text.assemble((f"{check.level:<5}", _STYLES[check.level]), f"{check.name:<16} {check.found}")
    target = console()
    target.print(line, soft_wrap=True)
    if check.advice:
        target.print(Text(f"      → {check.advice}"), soft_wrap=True)
    return check.level
