"""The flags of otlp-analyze that are settings of analyzers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click

from analyzers.registry import Analyzer
from collector.cli.options import CliError

Command = TypeVar("Command", bound=Callable[..., Any])

# Setting -> its flag.
_FLAGS: Final = {
    "by": "--by",
    "top": "--top",
    "unit_budget": "--unit-budget",
    "budget": "--budget",
    "success_attr": "--success-attr",
    "short_ids": "--short-ids",
}


def setting_options(command: Command) -> Command:
    """One option per setting; what is not given is None or empty."""
    for option in (
        click.option("--short-ids", is_flag=True, help="Cut units' ids to what tells them apart."),
        click.option(
            "--success-attr", metavar="KEY[=VALUE]", help="Attribute that says of a unit that it succeeded."
        ),
        click.option("--budget", metavar="USD", help="What may be spent in a month."),
        click.option("--unit-budget", metavar="USD", help="What one unit may cost."),
        click.option("--top", type=int, metavar="N", help="Most units to show, the dearest; 0 = all."),
        click.option(
            "--by",
            multiple=True,
            metavar="DIMENSION",
            help="Group by; several, or comma-separated. Of unit-cost one, or any attribute.",
        ),
    ):
        command = option(command)
    return command


def settings_of(
    analyzers: Sequence[Analyzer], configured: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """By analyzer: what the configuration says, and what the command line says over it. Raises CliError for a flag
    that none of the analyzers reads."""
    settings = {entry.name: dict(configured.get(entry.name, {})) for entry in analyzers}
    for name, flag in _FLAGS.items():
        value = given[name]
        if value is None or value is False or value == ():
            continue
        reading = [entry.name for entry in analyzers if name in entry.setting_names]
        if not reading:
            raise CliError(f"{flag}: {', '.join(entry.name for entry in analyzers)} has no such setting")
        for analyzer in reading:
            settings[analyzer][name] = list(value) if isinstance(value, tuple) else value
    return settings
