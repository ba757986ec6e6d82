"""The flags of otlp-analyze that are settings of analyzers, or say how results are printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click

from analyzers.compare import SPECS
from analyzers.registry import Analyzer
from analyzers.setting import BadSetting
from collector.cli.options import CliError, json_option

Command = TypeVar("Command", bound=Callable[..., Any])
Form = Literal["table", "json", "csv", "markdown", "html"]

# Setting -> its flag.
_FLAGS: Final = {
    "by": "--by",
    "top": "--top",
    "unit_budget": "--unit-budget",
    "budget": "--budget",
    "success_attr": "--success-attr",
    "short_ids": "--short-ids",
    "baseline": "--compare",
}
_SETTINGS: Final = {flag: name for name, flag in _FLAGS.items()}
_FORMS: Final[Mapping[str, Form]] = {
    "as_json": "json",
    "as_csv": "csv",
    "as_markdown": "markdown",
    "html": "html",
}


def setting_options(command: Command) -> Command:
    """One option per setting; what is not given is None or empty."""
    for option in (
        click.option(
            "--compare",
            "baseline",
            metavar="|".join(SPECS),
            help="Print what changed since another window too, A and B being times.",
        ),
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


def output_options(command: Command) -> Command:
    """What ``form_of`` reads."""
    for option in (
        click.option(
            "--html",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write one page with charts that needs no network, to look at, print or send.",
        ),
        click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown, for a pull request."),
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV, safe to open in a spreadsheet."),
    ):
        command = option(command)
    return json_option(command)


def form_of(given: Mapping[str, Any]) -> Form:
    """Raises CliError for two at once."""
    forms = [form for name, form in _FORMS.items() if given[name]]
    if len(forms) > 1:
        raise CliError(f"{' and '.join(f'--{form}' for form in forms)} exclude each other")
    return forms[0] if forms else "table"


def given_settings(given: Mapping[str, Any]) -> list[str]:
    """The flags of settings that stand on the command line."""
    return [flag for name, flag in _FLAGS.items() if given[name] not in (None, False, ())]


def settings_of(
    analyzers: Sequence[Analyzer], configured: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """By analyzer: what the configuration says, and what the command line says over it. Raises CliError for a flag
    that none of the analyzers reads, or a value that one cannot use."""
    settings = {entry.name: dict(configured.get(entry.name, {})) for entry in analyzers}
    for flag in given_settings(given):
        name = _SETTINGS[flag]
        value = given[name]
        reading = [entry.name for entry in analyzers if name in entry.setting_names]
        if not reading:
            raise CliError(f"{flag}: {', '.join(entry.name for entry in analyzers)} has no such setting")
        for analyzer in reading:
            settings[analyzer][name] = list(value) if isinstance(value, tuple) else value
    for entry in analyzers:
        try:
            entry.check(settings[entry.name])
        except BadSetting as error:
            raise CliError(f"{entry.name}: {error}") from None
    return settings
