"""Prices as rows: the installed genai-prices, compiled into one dated table that a hash names."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.metadata import version
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa
from genai_prices import data_snapshot
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from semconv.columns import MONEY

SOURCE: Final = "genai-prices"

ROWS: Final = pa.schema(
    [
        ("snapshot_id", pa.string()),
        ("price_id", pa.string()),
        ("provider", pa.string()),
        ("model", pa.string()),
        ("variant", pa.string()),
        ("valid_from", pa.timestamp("us")),
        ("valid_to", pa.timestamp("us")),
        ("time_from", pa.time64("us")),
        ("time_to", pa.time64("us")),
        ("tier_start", pa.int64()),
        ("unit", pa.string()),
        ("price_usd", MONEY),
        ("source", pa.string()),
        ("source_version", pa.string()),
        ("data_as_of", pa.date32()),
    ]
)

_STANDARD: Final = "standard"
_MIDNIGHT: Final = dt.time(0)
_SMALLEST: Final = Decimal("1e-12")  # what DECIMAL(38,12) holds
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One compiled state of the source: `rows` has the columns of the lake's `prices`."""

    snapshot_id: str
    data_as_of: dt.date | None
    source_version: str
    rows: pa.Table


@functools.cache
def compile_snapshot() -> Snapshot:
    """Compile the prices of the installed genai-prices; the same release always gives the same `snapshot_id`.

    A model's list of conditional prices becomes one set of rows per range of dates (and per time of day, where
    the source prices that) in which the source itself answers the same prices, so that no order of conditions
    is left to get wrong. `data_as_of` is the newest date in the data that has come; the rows also hold prices
    announced for later.
    """
    providers = data_snapshot.get_snapshot().providers
    rows = [
        row for provider in providers for model in provider.models for row in _model_rows(provider.id, model)
    ]
    snapshot_id = _digest(rows)
    source_version, data_as_of = version(SOURCE), _newest_date(rows)
    for row in rows:
        row["snapshot_id"] = snapshot_id
        row["price_id"] = f"{snapshot_id}/{row['price_id']}"
        row.update(source=SOURCE, source_version=source_version, data_as_of=data_as_of)
    return Snapshot(snapshot_id, data_as_of, source_version, pa.Table.from_pylist(rows, schema=ROWS))


def _model_rows(provider: str, model: ModelInfo) -> Iterator[Row]:
    for valid_from, valid_to in _date_ranges(model):
        day = valid_from or _before_all(model)
        for time_from, time_to in _time_ranges(model, day):
            prices = model.get_prices(dt.datetime.combine(day, time_from or _MIDNIGHT, tzinfo=dt.UTC))
            yield from (
                {
                    "price_id": _price_name(provider, model.id, valid_from, time_from),
                    "provider": provider,
                    "model": model.id,
                    "variant": _STANDARD,
                    "valid_from": valid_from and dt.datetime.combine(valid_from, _MIDNIGHT),
                    "valid_to": valid_to and dt.datetime.combine(valid_to, _MIDNIGHT),
                    "time_from": time_from,
                    "time_to": time_to,
                    "tier_start": tier_start,
                    "unit": unit,
                    "price_usd": price.quantize(_SMALLEST, ROUND_HALF_EVEN),
                }
                for tier_start, unit, price in _unit_prices(prices)
            )


def _price_name(provider: str, model: str, valid_from: dt.date | None, time_from: dt.time | None) -> str:
    since = f"{valid_from or 'always'}" + (f"T{time_from:%H:%M}" if time_from else "")
    return f"{provider}/{model}/{_STANDARD}/{since}"


def _date_ranges(model: ModelInfo) -> list[tuple[dt.date | None, dt.date | None]]:
    """Half-open ranges of UTC dates, None = unbounded, that cover all time."""
    return list(pairwise([None, *_start_dates(model), None]))


def _start_dates(model: ModelInfo) -> list[dt.date]:
    return sorted({c.start_date for c in _constraints(model) if isinstance(c, StartDateConstraint)})


def _before_all(model: ModelInfo) -> dt.date:
    starts = _start_dates(model)
    return starts[0] - dt.timedelta(days=1) if starts else dt.date(2020, 1, 1)


def _time_ranges(model: ModelInfo, day: dt.date) -> list[tuple[dt.time | None, dt.time | None]]:
    """Half-open windows of the UTC day, (None, None) = all day, None as the end = midnight."""
    edges = {_MIDNIGHT}
    for constraint in _constraints(model):
        if isinstance(constraint, TimeOfDateConstraint):
            edges |= {_utc(constraint.start_time), _utc(constraint.end_time)}
    windows = list(pairwise([*sorted(edges), None]))
    prices = [
        model.get_prices(dt.datetime.combine(day, start or _MIDNIGHT, tzinfo=dt.UTC)) for start, _ in windows
    ]
    if all(price == prices[0] for price in prices):
        return [(None, None)]
    return windows


def _utc(time: dt.time) -> dt.time:
    if time.tzinfo is None:
        return time
    return dt.datetime.combine(dt.date(2020, 1, 2), time).astimezone(dt.UTC).time()


def _constraints(model: ModelInfo) -> list[StartDateConstraint | TimeOfDateConstraint]:
    if isinstance(model.prices, ModelPrice):
        return []
    return [price.constraint for price in model.prices if price.constraint is not None]


def _unit_prices(prices: ModelPrice) -> Iterator[tuple[int, str, Decimal]]:
    """Every unit's price in every context tier, so that one tier's rows say all that holds in it."""
    stored = {
        unit: price for unit, price in vars(prices).items() if price is not None and not unit.startswith("_")
    }
    starts = {
        tier.start for price in stored.values() if isinstance(price, TieredPrices) for tier in price.tiers
    }
    for tier_start in sorted({0, *starts}):
        for unit, price in sorted(stored.items()):
            yield tier_start, unit, _price_in_tier(price, tier_start)


def _price_in_tier(price: Decimal | TieredPrices, tier_start: int) -> Decimal:
    """The price for inputs just above `tier_start`; the whole request is priced at it."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if 0 < tier.start <= tier_start]
    return reached[-1] if reached else price.base


def _newest_date(rows: list[Row]) -> dt.date | None:
    today = dt.datetime.now(dt.UTC).date()
    dates = {row["valid_from"].date() for row in rows if row["valid_from"]}
    return max((date for date in dates if date <= today), default=None)


def _digest(rows: list[Row]) -> str:
    lines = sorted("|".join(f"{key}={value}" for key, value in row.items()) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
