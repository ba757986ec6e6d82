"""otlp-collector reprice"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from analyzers import honest, price_age
from analyzers.finding import Column, Report, Row
from analyzers.window import BadWindow, Window, iso, naive_utc, parse_moment
from collector.cli.options import CliError, InputRejectedError, config_options, json_option, load
from collector.cli.render import json_text, progress
from collector.cli.report import print_tables
from collector.config_section import ConfigError

if TYPE_CHECKING:
    from collector.config import Config
    from collector.store.lake import Lake
    from collector.store.reprice import ModelChange, Outcome, Repricer
    from collector.what_if import WhatIf
    from semconv.prices import PriceList
    from semconv.settings import Settings

EPILOG: Final = """\b
Examples:
  otlp-collector reprice --dry-run
  otlp-collector reprice --since 2026-03-01 --until 2026-04-01
  otlp-collector reprice --as-of 2026-03-31 --dry-run
  otlp-collector reprice --what-if cheaper.yaml --since 30d
\b
A file for --what-if is a price list (JSON, as genai-prices publishes it), or YAML:
  models: {claude-opus-4*: claude-sonnet-4-5, gpt-4.1: google/gemini-2.5-flash}
  prices:
    - {name: negotiated, provider: openai, discount: 20%}
"""

# No record is older than the clock that it carries.
_BEGINNING: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NO_END: Final = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
# Files are read and written in threads of their own, which keep a second core busy: a second thread of DuckDB's got in
# their way. All together take up to 900 MB.
_THREADS: Final = 1
_MEMORY: Final = "256MB"

_KEYS: Final = (Column("model", "model", "text"),)
_PRICED_AS: Final = Column("priced_as", "priced as", "text")
_COUNTS: Final = (
    Column("calls", "calls", "count"),
    Column("calls_changed", "changed", "count"),
    Column("calls_without_cost_before", "without cost before", "count"),
    Column("calls_without_cost_after", "without cost after", "count"),
)
_MONEY: Final = (
    *honest.columns("{}_before", "{} before"),
    *honest.columns("{}_after", "{} after"),
    *honest.columns("{}_difference", "difference of {}"),
)


@click.command(epilog=EPILOG)
@click.option(
    "--as-of", metavar="DATE", help="By the price list that was active at the end of that day (UTC)."
)
@click.option("--snapshot", metavar="ID", help="By this price list, one of price_snapshots in the lake.")
@click.option(
    "--what-if",
    "what_if_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="By other prices or as other models, writing nothing; see below.",
)
@click.option(
    "--since",
    metavar="7d|TIME",
    help="Of calls from then on: a length of time before now (30m, 24h, 7d, 4w) or an ISO time. Default: all.",
)
@click.option("--until", metavar="TIME", help="Of calls before then: an ISO time. Default: no end.")
@click.option("--dry-run", is_flag=True, help="Show what would change; write nothing.")
@json_option
@config_options("timezone")
def command(
    config_path: Path | None,
    *,
    since: str | None,
    until: str | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Work out again what stored calls cost, by the active price list and the prices of the configuration.

    All at once: no reader sees some calls at old prices and some at new ones, and after a kill nothing has changed.
    Only calls that differ are written; the same again changes nothing. A running server loads on when it is done
    (some seconds a million calls). With --as-of or --snapshot the prices of the configuration hold too, and the list
    stays the active one: calls that are built again later (renormalize, late parts of a trace) are priced by the
    active list again. The prices in a file for --what-if hold instead of those of the configuration.

    Exit codes: 0 it ran, 1 no such price list or a bad file, 2 it could not run.
    """
    as_of, snapshot, what_if_path = (options[name] for name in ("as_of", "snapshot", "what_if_path"))
    if sum(given is not None for given in (as_of, snapshot, what_if_path)) > 1:
        raise CliError("give one of --as-of, --snapshot and --what-if")
    config = load(config_path, options)
    window = _window(since, until, config.timezone)
    what_if = _what_if(what_if_path)
    started = time.monotonic()
    is_dry = dry_run or what_if is not None

    def choose(lake: Lake) -> PriceList:
        return _price_list(lake, as_of, snapshot, what_if)

    price_list, outcome, notes = _run(config, window, choose, what_if, is_dry=is_dry, quiet=as_json)
    today = dt.datetime.now(dt.UTC).date()
    if as_of is None and (old := price_age.note(price_list.source, price_list.data_as_of, today)):
        notes = (*notes, old)
    report = _report(outcome, notes, with_stand_ins=bool(what_if and what_if.models))
    if as_json:
        answer = {
            "dry_run": is_dry,
            "what_if": str(what_if_path) if what_if_path else None,
            **_as_json(report, outcome, price_list, window),
            "seconds": round(time.monotonic() - started, 3),
        }
        click.echo(json_text(answer, indent="  "))
    else:
        _print(report, outcome, price_list, is_dry=is_dry)


def _window(since: str | None, until: str | None, timezone: str) -> Window:
    now = dt.datetime.now(dt.UTC)
    try:
        start = _BEGINNING if since is None else parse_moment(since, now, timezone)
        end = _NO_END if until is None else parse_moment(until, now, timezone)
        return Window(start, end, timezone)
    except BadWindow as error:
        raise CliError(str(error)) from None


def _what_if(path: Path | None) -> WhatIf | None:
    from collector.what_if import read

    try:
        return read(path) if path else None
    except ConfigError as error:
        raise InputRejectedError(str(error)) from None


def _run(
    config: Config,
    window: Window,
    choose: Callable[[Lake], PriceList],
    what_if: WhatIf | None,
    *,
    is_dry: bool,
    quiet: bool,
) -> tuple[PriceList, Outcome, tuple[str, ...]]:
    """The heavy imports wait until the options are known to be good."""
    import duckdb

    from collector.store.lake import LakeError
    from collector.store.reprice import Repricer, UnknownModel

    settings = _settings(config, what_if)
    start, end = naive_utc(window.start), naive_utc(window.end)
    try:
        with _lake(config, settings, is_dry) as lake:
            price_list = choose(lake)
            repricer = Repricer(lake, settings, price_list, what_if.models if what_if else None)
            with progress(lambda: repricer.count(start, end), of_bytes=False, quiet=quiet) as show:
                work = _work(repricer, is_dry)
                outcome = work(start, end, show)
            lake.connection.execute("USE lake")
            return price_list, outcome, honest.undeclared_plans(lake.connection, window)
    except UnknownModel as error:
        raise InputRejectedError(f"--what-if: {error}") from None
    except (LakeError, duckdb.Error, OSError) as error:
        raise CliError(f"nothing was changed: {error}") from error
    except KeyboardInterrupt:
        raise CliError("interrupted; nothing was changed") from None


def _work(repricer: Repricer, is_dry: bool) -> Callable[..., Outcome]:
    return repricer.compare if is_dry else repricer.reprice


def _settings(config: Config, what_if: WhatIf | None) -> Settings:
    try:
        settings = config.semconv_settings()
    except ConfigError as error:
        raise CliError(str(error)) from None
    if what_if and what_if.overrides is not None:
        return replace(settings, price_overrides=what_if.overrides)
    return settings


def _lake(config: Config, settings: Settings, is_dry: bool) -> Lake:
    """A lake that is there already, and of this program's version where something is to be written."""
    from collector.data_dir import CATALOG
    from collector.store.lake import Lake
    from collector.store.migrate import open_current

    if is_dry or not (config.data_dir / CATALOG).exists():
        return Lake.open(config.data_dir, read_only=True, threads=_THREADS, memory_limit=_MEMORY)
    return open_current(config.data_dir, settings.dimensions, threads=_THREADS, memory_limit=_MEMORY)


def _price_list(lake: Lake, as_of: str | None, snapshot: str | None, what_if: WhatIf | None) -> PriceList:
    from collector.store import prices

    if what_if and what_if.price_list:
        return what_if.price_list
    if snapshot is not None:
        try:
            return prices.stored(lake.connection, snapshot)
        except KeyError:
            known = dict.fromkeys(each.snapshot_id for each in prices.history(lake.connection))
            raise InputRejectedError(
                f"there is no price list {snapshot!r} in this lake; there are: {', '.join(known) or 'none'}"
            ) from None
    if as_of is None:
        return prices.active(lake.connection)
    found = prices.active_on(lake.connection, _date(as_of))
    if found is None:
        first = next(
            (f"{each.activated_at:%Y-%m-%d}" for each in prices.history(lake.connection)), "none yet"
        )
        raise InputRejectedError(f"no price list was active on {as_of}; the first one: {first}")
    return found


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise CliError(f"{text!r} is not a date such as 2026-03-31") from None


def _report(outcome: Outcome, notes: tuple[str, ...], *, with_stand_ins: bool) -> Report:
    keys = (*_KEYS, _PRICED_AS) if with_stand_ins else _KEYS
    changes = sorted(outcome.models.items(), key=lambda item: _order(item[0][2], item[1]))
    rows = [((model, priced_as)[: len(keys)], mode, change) for (model, priced_as, mode), change in changes]
    modes = [mode for mode in honest.MODES if any(mode == of for _, of, _ in rows)]
    totals = [(mode, [change for _, of, change in rows if of == mode]) for mode in modes]
    if with_stand_ins:
        notes = (*notes, "as another model the calls are priced at the token counts that they had")
    return Report(
        columns=(*keys, honest.MODE, *_COUNTS, *_MONEY),
        rows=tuple(_row(named, mode, [change]) for named, mode, change in rows),
        totals=tuple(_row((None,) * len(keys), mode, of_mode) for mode, of_mode in totals),
        notes=notes if outcome.calls else (),
    )


def _order(mode: str, change: ModelChange) -> tuple[int, Decimal, int]:
    """Within a mode, what changes most comes first."""
    difference = _difference(change.before, change.after) or Decimal(0)
    return honest.MODES.index(mode), -abs(difference), -change.calls


def _row(keys: Row, mode: str, changes: list[ModelChange]) -> Row:
    before, after = (_sum(getattr(change, side) for change in changes) for side in ("before", "after"))
    return (
        *keys,
        mode,
        sum(change.calls for change in changes),
        sum(change.changed for change in changes),
        sum(change.unpriced_before for change in changes),
        sum(change.unpriced_after for change in changes),
        *honest.amounts(mode, before),
        *honest.amounts(mode, after),
        *honest.amounts(mode, _difference(before, after)),
    )


def _sum(amounts: Any) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known else None


def _difference(before: Decimal | None, after: Decimal | None) -> Decimal | None:
    return None if before is None or after is None else after - before


def _as_json(report: Report, outcome: Outcome, price_list: PriceList, window: Window) -> dict[str, Any]:
    return {
        "price_list": {
            "snapshot_id": price_list.snapshot_id,
            "source": price_list.source,
            "source_version": price_list.source_version,
            "data_as_of": price_list.data_as_of,
        },
        "since": iso(window.start),
        "until": None if window.end == _NO_END else iso(window.end),
        "calls": outcome.calls,
        "calls_changed": outcome.changed,
        **report.as_dict(),
    }


def _print(report: Report, outcome: Outcome, price_list: PriceList, *, is_dry: bool) -> None:
    if not outcome.calls:
        click.echo("There is no call of that time.")
        return
    click.echo(f"by {price_list.source} {price_list.source_version}, data as of {price_list.data_as_of}")
    print_tables(report.as_dict(), sys.stdout)
    done = "would change; nothing was written" if is_dry else "changed"
    click.echo(f"{outcome.changed:,} of {outcome.calls:,} calls {done}.")
