"""otlp-collector policy"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from analyzers import registry, setting
from collector.cli.options import all_config_options, json_option, load_with_origins
from collector.cli.print_config import MASK, masked
from collector.cli.render import json_text, plain, write_json, write_table
from collector.config_file import KeyPath
from collector.config_load import Origins, dotted, scalar_options

EPILOG: Final = """\b
Examples:
  otlp-collector policy
  otlp-collector policy --config collector.yaml --json
"""

# How and where the server runs; all else that can be configured is a rule.
_NO_RULES: Final = ("data_dir", "grpc_endpoint", "http_endpoint", "admin_endpoint", "log_level", "loader")
# What holds where a key is not set; elsewhere nothing does.
_UNSET: Final[Mapping[KeyPath, str]] = {
    ("spool", "max_bytes"): "min(4 GiB, 20 % of free space)",
    ("default_plan_tier",): "unknown",
    **{("retention", name): "for ever" for name in ("spans", "logs", "calls", "contents", "metrics")},
}
_NONE: Final = "none"


class Rule(NamedTuple):
    """``value``: as JSON has it, None where nothing is set. ``source``: as ``Origins`` says it."""

    key: str
    value: object
    source: str
    meaning: str


@click.command(epilog=EPILOG)
@all_config_options()
@json_option
def command(config_path: Path | None, as_json: bool, **flags: Any) -> None:
    """Show every rule in force, with the key of the configuration that it comes from; changes nothing.

    Budgets, alerts, what is kept and captured, redaction, retention, limits, prices, accounts, tokens by name,
    schedules, dimensions and the settings of all analyzers. What providers charge: otlp-collector prices show.
    """
    config, origins = load_with_origins(config_path, flags)
    rules = list(_rules(masked(config), origins))
    if as_json:
        write_json(Rule._fields, rules, sys.stdout)
    else:
        write_table(Rule._fields, [(rule.key, _shown(rule), rule.source, rule.meaning) for rule in rules])


def _rules(values: Mapping[str, Any], origins: Origins) -> Iterator[Rule]:
    meanings: dict[KeyPath, str] = {option.path: option.help for option in scalar_options().values()}
    for path, value in _leaves({**values, "analyzers": _settings(values["analyzers"])}, ()):
        if path[0] not in _NO_RULES:
            yield Rule(dotted(path), value, origins(path), meanings.get(path) or _help_of_setting(path))


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    """What sections end in; of lists of sections each item, without its secrets and what is not set in it."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for index, item in enumerate(value):
            yield (*path, index), _told(item)
    else:
        yield path, value


def _told(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    told = {name: _told(inner) for name, inner in value.items()}
    return {name: inner for name, inner in told.items() if inner not in (None, "", [], {}, MASK)}


def _settings(configured: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of every analyzer all settings, configured or not."""
    return {
        name: {
            one.name: configured.get(name, {}).get(one.name, plain(setting.written(one.default)))
            for one in analyzer.settings
        }
        for name, analyzer in registry.discover().items()
        if analyzer.settings
    }


def _help_of_setting(path: KeyPath) -> str:
    if path[0] != "analyzers" or len(path) < 3:
        return ""
    analyzer = registry.get(str(path[1]))
    return next(one.help for one in analyzer.settings if one.name == path[2])


def _shown(rule: Rule) -> str:
    value = rule.value
    if value is None or value in ([], {}, ""):
        return _UNSET.get(tuple(rule.key.split(".")), _NONE)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name}: {inner if isinstance(inner, str) else json_text(inner)}"
            for name, inner in value.items()
        )
    return value if isinstance(value, str) else json_text(value)
