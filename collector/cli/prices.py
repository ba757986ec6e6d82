"""otlp-collector prices: update, show, list"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from collector.cli.options import CliError, InputRejectedError, config_options, json_option, load
from collector.cli.render import json_text, write_json, write_table
from collector.config_section import ConfigError

if TYPE_CHECKING:
    from collector.config import Config
    from semconv.prices import PriceBook, PriceList
    from semconv.prices.sheets import Sheet
    from semconv.settings import PriceOverride

EPILOG: Final = """\b
Examples:
  otlp-collector prices update
  otlp-collector prices show gpt-4.1-mini
  otlp-collector prices list --provider openai
"""
UPDATE_EPILOG: Final = """\b
Examples:
  pip install --upgrade genai-prices && otlp-collector prices update
  otlp-collector prices update --from data.json
"""
SHOW_EPILOG: Final = """\b
Examples:
  otlp-collector prices show claude-sonnet-4-5-20250929
  otlp-collector prices show openai/gpt-4.1 --provider azure.ai.openai --at 2026-03-01
"""
LIST_EPILOG: Final = """\b
Examples:
  otlp-collector prices list --provider anthropic
  otlp-collector prices list --json
"""

# A list can differ from another in every model; --json has them all.
_NAMES_SHOWN: Final = 10
_LISTED_UNITS: Final = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok")
_STANDARD: Final = "standard"
_SHOWN: Final = (
    "variant",
    "valid_from",
    "valid_to",
    "time_from",
    "time_to",
    "tier_start",
    "unit",
    "price_usd",
)


@click.group(epilog=EPILOG)
def command() -> None:
    """Show the prices, or take newer ones. They come with the installed package genai-prices, or from a file; nothing
    is fetched from a network.

    A newer list holds for calls from then on; for those that are stored: otlp-collector reprice.
    """


# --- update


@dataclass(frozen=True, slots=True)
class Difference:
    """Models, as provider/model, of one list against the one before."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@command.command(epilog=UPDATE_EPILOG)
@click.option(
    "--from",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A JSON file as genai-prices publishes it, instead of the installed package.",
)
@json_option
@config_options()
def update(config_path: Path | None, path: Path | None, as_json: bool, **flags: Any) -> None:
    """Make the installed prices, or those of a file, the active list.

    A running server takes it within 10 s. A list from a file stays the active one until the next update.
    Exit codes: 0 it ran, 1 the file is no price list, 2 it could not run.
    """
    config = load(config_path, flags)
    new = _from_file(path) if path else _installed()
    old, is_new = _activate(config, new)
    difference = _compare(old, new)
    if as_json:
        click.echo(json_text(_update_as_json(new, is_new, difference), indent="  "))
        return
    click.echo(_described(new))
    if not is_new:
        click.echo("It is the active list already.")
        return
    for word in ("added", "removed", "changed"):
        _print_names(word, getattr(difference, word))
    click.echo("It is the active list now; for calls that are stored: otlp-collector reprice --dry-run")


def _installed() -> PriceList:
    from semconv.prices import installed

    return installed()


def _from_file(path: Path) -> PriceList:
    from semconv.prices import read_file

    try:
        return read_file(path)
    except OSError as error:
        raise InputRejectedError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputRejectedError(f"{path}: {error}") from None


def _activate(config: Config, new: PriceList) -> tuple[PriceList, bool]:
    """The list that was active, and whether the new one is another."""
    import duckdb

    from collector.store import prices
    from collector.store.durability import DataFiles
    from collector.store.lake import LakeError
    from collector.store.lock import writer_lock
    from collector.store.migrate import open_current

    dimensions = {name: dimension.attribute for name, dimension in config.dimensions.items()}
    try:
        with open_current(config.data_dir, dimensions, threads=1) as lake, writer_lock(config.data_dir):
            old, files = prices.active(lake.connection), DataFiles(config.data_dir)
            lake.connection.begin()
            is_new = prices.activate(lake.connection, new)
            files.sync_new()
            lake.connection.commit()
            return old, is_new
    except (LakeError, duckdb.Error, OSError) as error:
        raise CliError(f"the prices stay as they are: {error}") from error


def _compare(old: PriceList, new: PriceList) -> Difference:
    before, after = _by_model(old), _by_model(new)
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
    )


def _by_model(price_list: PriceList) -> dict[str, list[str]]:
    """What each model costs, apart from the list it stands in."""
    found: dict[str, list[str]] = {}
    for sheet in price_list.sheets:
        name = sheet.id.removeprefix(f"{price_list.snapshot_id}/")
        found.setdefault(f"{sheet.provider}/{sheet.model}", []).append(f"{name} {sheet.until} {sheet.tiers}")
    return found


def _update_as_json(new: PriceList, is_new: bool, difference: Difference) -> dict[str, Any]:
    return {
        **_list_as_json(new),
        "was_active": not is_new,
        "added": list(difference.added),
        "removed": list(difference.removed),
        "changed": list(difference.changed),
    }


def _list_as_json(price_list: PriceList) -> dict[str, Any]:
    return {
        "snapshot_id": price_list.snapshot_id,
        "source": price_list.source,
        "source_version": price_list.source_version,
        "data_as_of": price_list.data_as_of,
        "age_days": _age_days(price_list),
        "models": len({(sheet.provider, sheet.model) for sheet in price_list.sheets}),
        "prices": price_list.rows.num_rows,
    }


def _age_days(price_list: PriceList) -> int | None:
    as_of = price_list.data_as_of
    return (dt.datetime.now(dt.UTC).date() - as_of).days if as_of else None


def _described(price_list: PriceList) -> str:
    facts = _list_as_json(price_list)
    age = "of unknown age" if facts["age_days"] is None else f"{facts['age_days']} days old"
    as_of = f", data as of {price_list.data_as_of}" if price_list.data_as_of else ", data"
    return (
        f"{price_list.source} {price_list.source_version}: {facts['prices']:,} prices of {facts['models']:,} models"
        f"{as_of} ({age}), list {price_list.snapshot_id}"
    )


def _print_names(word: str, names: Sequence[str]) -> None:
    more = len(names) - _NAMES_SHOWN
    listed = ", ".join(names[:_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
    click.echo(f"{word}: {len(names):,}" + (f" ({listed})" if names else ""))


# --- show


@command.command(epilog=SHOW_EPILOG)
@click.argument("model")
@click.option("--provider", metavar="NAME", help="As calls name it: openai, azure.ai.openai, aws.bedrock, …")
@click.option("--at", metavar="DATE", help="Only what holds on that day (UTC).")
@json_option
@config_options()
def show(
    config_path: Path | None,
    model: str,
    *,
    provider: str | None,
    at: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """What a call of this model costs: which listed model the id means, its prices by date, variant and context tier,
    and the prices of the configuration that can hold instead.

    Exit codes: 0 found, 1 no price for this model, 2 it could not run.
    """
    config = load(config_path, flags)
    day = _date(at) if at else None
    book = _book(config)
    priced = book.listed(provider, model, None)
    overrides = _overrides(book, provider, model, day)
    if priced is None and not overrides:
        raise InputRejectedError(_unknown(book.price_list, provider, model))
    sheets = [sheet for sheet in book.price_list.sheets if (sheet.provider, sheet.model) == priced]
    rows = _rows([sheet for sheet in sheets if day is None or sheet.is_on(day)])
    if as_json:
        answer = {
            "model": model,
            "provider": priced[0] if priced else None,
            "priced_as": priced[1] if priced else None,
            "price_list": _list_as_json(book.price_list),
            "prices": [dict(zip(_SHOWN, row, strict=True)) for row in rows],
            "overrides": overrides,
        }
        click.echo(json_text(answer, indent="  "))
        return
    click.echo(f"{model} is {'/'.join(priced)} of the list" if priced else f"{model} is not in the list")
    if rows:
        write_table(*_without_empty(_SHOWN, rows))
    elif priced:
        click.echo(f"without a price on {day}")
    if overrides:
        click.echo("\nThe configuration has, the most specific first:")
        columns = ("name", "provider", "model", "billing_account", "since", "until", "variant", "price")
        write_table(*_without_empty(columns, [tuple(each[name] for name in columns) for each in overrides]))
    click.echo(_described(book.price_list))


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise CliError(f"{text!r} is not a date such as 2026-03-31") from None


def _book(config: Config) -> PriceBook:
    """The lake's active list, or where there is no lake yet the installed one, with the configuration's prices."""
    import duckdb

    from collector.store import prices
    from collector.store.lake import Lake, LakeError, LakeMissing
    from semconv.prices import PriceBook, installed

    try:
        with Lake.open(config.data_dir, read_only=True, threads=1) as lake:
            price_list = prices.active(lake.connection)
    except LakeMissing:
        price_list = installed()
    except (LakeError, duckdb.Error) as error:
        raise CliError(str(error)) from None
    try:
        return PriceBook(price_list, config.semconv_settings().price_overrides)
    except ConfigError as error:
        raise CliError(str(error)) from None


def _overrides(
    book: PriceBook, provider: str | None, model: str, day: dt.date | None
) -> list[dict[str, Any]]:
    """Those that can hold for calls of the model, of whichever account."""
    priced = book.listed(provider, model, None)
    found = []
    for override in book.overrides:
        given = override.given
        of_provider = given.provider if provider is None and _can_be_meant(given, priced) else provider
        is_on = day is None or override.since <= day < override.until
        if is_on and override in book.overrides_for(of_provider, model, None, given.billing_account):
            found.append(
                {
                    "name": given.name,
                    "provider": given.provider,
                    "model": given.model,
                    "billing_account": given.billing_account,
                    "since": given.since,
                    "until": given.until,
                    "variant": given.variant,
                    "price": _price(given),
                }
            )
    return found


def _can_be_meant(given: PriceOverride, priced: tuple[str, str] | None) -> bool:
    """Whether the provider of a price is one that a model named alone can be of."""
    from semconv.prices.finder import source_id

    return (
        source_id(given.provider) == priced[0]
        if priced
        else given.model is not None and given.discount is None
    )


def _price(given: PriceOverride) -> str:
    if given.prices is not None:
        return ", ".join(f"{unit} {_plain(price)} USD" for unit, price in given.prices.items())
    if given.discount is not None:
        return f"{(given.discount * 100).normalize():f} % off the list"
    return "free" if given.free else f"{_plain(given.gpu_hour_usd)} USD for an hour of a call"


def _unknown(price_list: PriceList, provider: str | None, model: str) -> str:
    from analyzers.unknown_models import nearest

    known = sorted({(sheet.provider, sheet.model) for sheet in price_list.sheets})
    names = nearest(provider, model, known)
    at = f" at {provider}" if provider else ""
    return f"no price for {model!r}{at}: calls of it have no cost; nearest known names: {', '.join(names) or 'none'}"


def _rows(sheets: Sequence[Sheet]) -> list[tuple[Any, ...]]:
    """Standard prices first, then in the order of time and size."""
    rows = [tuple(_plain(row[name]) for name in _SHOWN) for sheet in sheets for row in sheet.rows()]
    return sorted(rows, key=lambda row: (row[0] != _STANDARD, *map(str, row[:5]), row[5], row[6]))


def _plain(value: Any) -> Any:
    """Dates without a time, and amounts without the zeros that fill them up."""
    if isinstance(value, dt.datetime):
        return value.date()
    return Decimal(f"{value.normalize():f}") if isinstance(value, Decimal) else value


def _without_empty(
    columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns in which something stands, and a dash where it does not."""
    shown = [at for at in range(len(columns)) if any(row[at] not in (None, 0) for row in rows)]
    cells = [tuple("-" if row[at] is None else row[at] for at in shown) for row in rows]
    return [columns[at].replace("_", " ") for at in shown], cells


# --- list


@command.command("list", epilog=LIST_EPILOG)
@click.option("--provider", metavar="NAME", help="Only what this provider has.")
@json_option
@config_options()
def list_(config_path: Path | None, provider: str | None, as_json: bool, **flags: Any) -> None:
    """Every model of the active list with what it costs today: standard prices of the lowest context tier, in USD."""
    from semconv.prices.finder import source_id

    book = _book(load(config_path, flags))
    today = dt.datetime.now(dt.UTC).date()
    sheets = [sheet for sheet in book.price_list.sheets if sheet.variant == _STANDARD and sheet.is_on(today)]
    if provider is not None:
        sheets = [sheet for sheet in sheets if sheet.provider == source_id(provider)]
        if not sheets:
            known = ", ".join(sorted({sheet.provider for sheet in book.price_list.sheets}))
            raise InputRejectedError(f"the list has no provider {provider!r}; it has: {known}")
    rows = sorted(_today(sheet) for sheet in sheets if sheet.time_from in (None, dt.time(0)))
    columns = ("provider", "model", *(f"{unit}_usd" for unit in _LISTED_UNITS))
    if as_json:
        write_json(columns, rows, sys.stdout)
        return
    write_table([name.replace("_", " ") for name in columns], [_dashed(row) for row in rows])
    click.echo(_described(book.price_list))


def _today(sheet: Sheet) -> tuple[Any, ...]:
    base = dict(sheet.tiers[0][1])
    return (sheet.provider, sheet.model, *(_plain(base.get(unit)) for unit in _LISTED_UNITS))


def _dashed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("-" if value is None else value for value in row)
