"""What the commands share: flags out of the configuration's options, errors as one line and an exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, get_args

import click

from collector import config_load
from collector.config import ConfigError
from collector.config_load import Option, Origins, scalar_options

if TYPE_CHECKING:
    from collector.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])


class CliError(click.ClickException):
    """The command could not run; it ends with one line on stderr."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"Error: {self.format_message()}", file=file, err=file is None)


class InputRejectedError(CliError):
    """The command ran and cannot take what it was given."""

    exit_code = 1


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def config_options(*names: str) -> Callable[[Command], Command]:
    """``--config``, ``--data-dir`` and the flags of the named options (see ``scalar_options``).

    The command gets ``config_path`` and ``flags``; pass both to ``load``.
    """
    options = [scalar_options()[name] for name in dict.fromkeys(("data_dir", *names))]

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = _flag(option)(command)
        return click.option(
            "--config",
            "config_path",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The YAML configuration [SPANLEDGER_CONFIG].",
        )(command)

    return decorate


def all_config_options() -> Callable[[Command], Command]:
    return config_options(*scalar_options())


def load(config_path: Path | None, flags: dict[str, Any]) -> Config:
    """The effective configuration out of what ``config_options`` collected. Raises CliError, exit code 2."""
    return load_with_origins(config_path, flags)[0]


def load_with_origins(config_path: Path | None, flags: dict[str, Any]) -> tuple[Config, Origins]:
    """Like ``load``; and of each value where it was set."""
    given = {name: flags[name] for name in scalar_options() if name in flags}
    try:
        return config_load.load_with_origins(config_path, given, os.environ)
    except ConfigError as error:
        raise CliError(str(error)) from None


def _flag(option: Option) -> Callable[[Command], Command]:
    if option.type is bool:
        name, metavar = f"{option.flag}/--no-{option.flag[2:]}", None
    else:
        name, metavar = option.flag, _metavar(option)
    # The model converts and judges the text, with one message wherever it came from.
    return click.option(
        name,
        option.name,
        default=None,
        type=bool if option.type is bool else str,
        metavar=metavar,
        help=_help(option),
    )


def _metavar(option: Option) -> str:
    choices = list(_literals(option.type))
    if choices:
        return f"[{'|'.join(choices)}]"
    return {"data_dir": "DIR"}.get(option.name) or (
        "HOST:PORT" if option.name.endswith("endpoint") else "VALUE"
    )


def _literals(annotation: Any) -> Iterable[str]:
    for argument in get_args(annotation):
        if isinstance(argument, str):
            yield argument
        else:
            yield from _literals(argument)


def _help(option: Option) -> str:
    if option.default is None or isinstance(option.default, bool | Path):
        return option.help
    default = option.default
    if option.name.endswith("_bytes"):
        default = f"{default >> 20} MiB" if default % (1 << 20) == 0 else f"{default >> 10} KiB"
    return f"{option.help} Default: {default}."
