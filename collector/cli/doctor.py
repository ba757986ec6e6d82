"""otlp-collector doctor"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from collector.cli.options import CliError, config_options, json_option, load
from collector.cli.render import console, json_text

if TYPE_CHECKING:
    from collector.cli.checks import Check
    from collector.config import Config

EPILOG: Final = """\b
Examples:
  otlp-collector doctor
  otlp-collector doctor --data-dir /var/lib/spanledger --json
  otlp-collector doctor --repair
"""

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command(epilog=EPILOG)
@config_options("grpc_endpoint", "http_endpoint", "admin_endpoint", "timezone")
@click.option(
    "--repair", is_flag=True, help="First put damaged data files aside, so that all others can be read."
)
@json_option
def command(config_path: Path | None, repair: bool, as_json: bool, **flags: Any) -> None:
    """Look at versions, ports, disk, lake, data files, spool, clocks, prices and plans, and say what to do where
    needed.

    With --repair every data file is read from end to end; those that cannot be read go to quarantine/ whole, and the
    lake reads on without their rows. Works beside a running collector. Exit code 0 where the checks ran, whatever
    they found.
    """
    from collector.cli.checks import Subject, run
    from collector.cli.server import probe

    config = load(config_path, flags)
    put_aside = _repair(config) if repair else []
    subject = Subject(config, probe(config.admin_endpoint), dt.datetime.now(dt.UTC))
    checks = run(subject)
    if as_json:
        document = {"checks": [_as_dict(check) for check in checks]}
        click.echo(json_text(document | ({"put_aside": put_aside} if repair else {}), indent="  "))
        return
    for damage in put_aside:
        click.echo(f"put aside: {damage}")
    found = [_print(check) for check in checks]
    click.echo(f"\n{found.count('fail')} failed, {found.count('warn')} to look at, {found.count('ok')} ok")


def _repair(config: Config) -> list[str]:
    """What was damaged and is put aside; calls are built again from their records."""
    import duckdb

    from collector.cli.lake import one_line
    from collector.store import damage
    from collector.store.lake import Lake, LakeError
    from collector.store.rebuild import rebuild_calls

    try:
        with Lake.open(config.data_dir) as lake:
            found = list(damage.damaged(config.data_dir, damage.data_files(lake.connection)))
            for one in found:
                damage.put_aside(lake, one)
            for one in found:
                if one.file.table == "calls":
                    rebuild_calls(lake, config.semconv_settings(), one.file)
    except (LakeError, OSError, duckdb.Error) as error:
        raise CliError(one_line(error)) from None
    return [str(one) for one in found]


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
