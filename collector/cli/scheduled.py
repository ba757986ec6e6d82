"""The hidden side of otlp-analyze: one run of one analyzer, as the scheduler's child process.

``collector.limited`` starts it, bounds it and ends it with its parent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import orjson

from analyzers import registry
from collector import runs
from collector.cli.options import CliError
from collector.store.lake import Lake, LakeError

if TYPE_CHECKING:
    from collector.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])

# Scheduled runs leave a core to the loader.
_THREADS: Final = 1


def scheduled_options(command: Command) -> Command:
    """``--run-scheduled NAME --slot ISO [--options JSON] [--trigger schedule|catch-up]``, not in the help."""
    for option in (
        click.option("--run-scheduled", "scheduled", hidden=True),
        click.option("--slot", hidden=True),
        click.option("--options", default="{}", hidden=True),
        click.option(
            "--trigger", type=click.Choice(["schedule", "catch-up"]), default="schedule", hidden=True
        ),
    ):
        command = option(command)
    return command


def run_scheduled(config: Config, name: str, slot: str | None, options: str, trigger: runs.Trigger) -> None:
    """Run and record. Raises CliError (exit code 2) where the run gave no result or could not be recorded."""
    try:
        analyzer = registry.get(name).bind({**config.analyzer_facts(), "now": dt.datetime.now(dt.UTC)})
    except registry.UnknownAnalyzer as error:
        raise CliError(str(error)) from None
    occasion = runs.Occasion(trigger, _slot(slot))
    settings = {**config.analyzers.get(name, {}), **_parsed(options)}
    with open_lake(config, _THREADS) as lake:
        run = runs.execute_scheduled(
            lake, analyzer, settings, config.timezone, config.sql.time_limit_seconds, occasion
        )
        try:
            runs.record(lake, [run])
        except runs.NOT_RECORDED as error:
            raise CliError(f"{name}: the run could not be recorded: {error}") from None
    if run.outcome.error is not None:
        raise CliError(f"{name}: {run.outcome.error}")


def open_lake(config: Config, threads: int | None = None) -> Lake:
    """The lake for reading, within the memory that one query may take. Raises CliError."""
    try:
        return Lake.open(
            config.data_dir, read_only=True, threads=threads, memory_limit=config.sql.memory_limit
        )
    except LakeError as error:
        raise CliError(str(error)) from None


def _slot(text: str | None) -> dt.datetime:
    try:
        slot = dt.datetime.fromisoformat(text or "")
    except ValueError:
        raise CliError(f"--slot: {text!r} is not an ISO time") from None
    return slot if slot.tzinfo else slot.replace(tzinfo=dt.UTC)


def _parsed(options: str) -> dict[str, Any]:
    try:
        parsed = orjson.loads(options)
    except orjson.JSONDecodeError as error:
        raise CliError(f"--options: not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise CliError("--options: not a JSON object")
    return parsed
