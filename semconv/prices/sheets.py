"""From the source's conditional prices to price sheets: all that a model costs in one range of time, per variant."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise, product
from typing import Any, Final

import pyarrow as pa

from semconv.columns import MONEY
from semconv.prices.published import Condition, Model, Prices

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
        ("model_match", pa.string()),
    ]
)

STANDARD: Final = "standard"
GPU_HOUR: Final = "gpu_hour"  # a unit that only overrides have: an hour of a call's duration
_MIDNIGHT: Final = dt.time(0)
SMALLEST: Final = Decimal("1e-12")  # what DECIMAL(38,12) holds

Units = Mapping[str, Decimal]  # unit -> USD for one


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a provider's model costs from ``since`` until before ``until`` (UTC dates, None = unbounded), at all hours
    or within a window of the UTC day (``time_to`` None = midnight). ``tiers``: per context tier the count of input
    tokens strictly above which it holds, 0 = the base, and every unit's price. ``id`` is the lake's price_id,
    ``model_match`` tells people which ids mean the model.
    """

    id: str
    provider: str
    model: str
    model_match: str
    variant: str
    since: dt.date | None
    until: dt.date | None
    time_from: dt.time | None
    time_to: dt.time | None
    tiers: tuple[tuple[int, Units], ...]

    def is_on(self, day: dt.date) -> bool:
        return (self.since or dt.date.min) <= day < (self.until or dt.date.max)

    def rows(self) -> Iterator[dict[str, Any]]:
        for tier_start, units in self.tiers:
            for unit, price in units.items():
                yield {
                    "price_id": self.id,
                    "provider": self.provider,
                    "model": self.model,
                    "model_match": self.model_match,
                    "variant": self.variant,
                    "valid_from": _midnight(self.since),
                    "valid_to": _midnight(self.until),
                    "time_from": self.time_from,
                    "time_to": self.time_to,
                    "tier_start": tier_start,
                    "unit": unit,
                    "price_usd": price,
                }


def sheets_of(provider: str, model: Model) -> Iterator[Sheet]:
    """A model's conditions as sheets in each of which the source's own rules answer the same prices, so that no order
    of conditions is left to get wrong. The standard ones cover all time; those of a variant what it is priced in."""
    for variant, context in _contexts(model):
        for since, until, days in _ranges(model, context):
            for (time_from, time_to), prices in days:
                if not prices:
                    continue
                name = f"{provider}/{model.id}/{variant}/{_since(since, time_from)}"
                tiers = tuple(_tiers(prices))
                yield Sheet(
                    name, provider, model.id, model.match, variant, since, until, time_from, time_to, tiers
                )


def _since(since: dt.date | None, time_from: dt.time | None) -> str:
    return f"{since or 'always'}" + (f"T{time_from:%H:%M}" if time_from else "")


# --- which contexts a request to a model may have

Context = Mapping[str, str]


def _contexts(model: Model) -> Iterator[tuple[str, Context]]:
    """Each combination of what the model's variants ask for, by its name."""
    asked = {key: sorted({v.when[key] for v in model.variants if key in v.when}) for key in _PREFIXES}
    choices = [[None, *(value for value in values if value != "default")] for values in asked.values()]
    for chosen in product(*choices):
        context = {key: value for key, value in zip(asked, chosen, strict=True) if value is not None}
        yield variant_name(context), context


# What of a request's context `calls` tells, and what precedes its value in a variant's name. Others that the source
# has (`route`, `search_type`) are left out: no telemetry tells them, so their variants never hold.
_PREFIXES: Final = {"processing": "", "service_tier": "", "speed": "speed-"}


def variant_name(context: Context) -> str:
    """``batch+flex``, ``speed-fast``, …; without a context ``standard``."""
    return "+".join(f"{_PREFIXES[key]}{value}" for key, value in context.items()) or STANDARD


# --- what holds when


def _prices_at(model: Model, context: Context, day: dt.date, time: dt.time) -> Prices:
    """Nothing where a part of the context has no price of its own."""
    standard = next(
        (prices for condition, prices in reversed(model.prices) if condition.holds(day, time)),
        model.prices[0][1],
    )
    matching = [
        variant
        for variant in model.variants
        if variant.prices and variant.condition.holds(day, time) and variant.when.items() <= context.items()
    ]
    if not context.keys() <= {key for variant in matching for key in variant.when}:
        return {}
    own = {unit: price for variant in reversed(matching) for unit, price in variant.prices.items()}
    return {**standard, **own}


def _conditions(model: Model) -> Iterator[Condition]:
    yield from (condition for condition, _ in model.prices)
    yield from (variant.condition for variant in model.variants)


def _start_dates(model: Model) -> list[dt.date]:
    return sorted({condition.since for condition in _conditions(model) if condition.since})


def _before_all(model: Model) -> dt.date:
    starts = _start_dates(model)
    return starts[0] - dt.timedelta(days=1) if starts else dt.date(2020, 1, 1)


_Window = tuple[dt.time | None, dt.time | None]
_Day = list[tuple[_Window, Prices]]


def _ranges(model: Model, context: Context) -> Iterator[tuple[dt.date | None, dt.date | None, _Day]]:
    """Half-open ranges of dates, each with what holds on all of its days; neighbours differ."""
    starts: list[tuple[dt.date | None, _Day]] = []
    for since in (None, *_start_dates(model)):
        day = _day(model, context, since or _before_all(model))
        if not starts or starts[-1][1] != day:
            starts.append((since, day))
    for (since, day), (until, _) in pairwise([*starts, (None, [])]):
        if any(prices for _, prices in day):
            yield since, until, day


def _day(model: Model, context: Context, date: dt.date) -> _Day:
    """Half-open windows of the UTC day with their prices; (None, None) = all day, None as the end = midnight."""
    edges = {_MIDNIGHT, *(edge for c in _conditions(model) if c.window for edge in c.window)}
    starts = sorted(edges)
    prices = [_prices_at(model, context, date, start) for start in starts]
    if all(price == prices[0] for price in prices):
        return [((None, None), prices[0])]
    return list(zip(pairwise([*starts, None]), prices, strict=True))


def _tiers(prices: Prices) -> Iterator[tuple[int, Units]]:
    """Every unit's price in every context tier, so that one tier says all that holds in it."""
    starts = sorted({start for price in prices.values() for start, _ in price})
    for tier_start in starts or [0]:
        yield (
            tier_start,
            {
                unit: [amount for start, amount in price if start <= tier_start][-1].quantize(
                    SMALLEST, ROUND_HALF_EVEN
                )
                for unit, price in sorted(prices.items())
            },
        )


def _midnight(date: dt.date | None) -> dt.datetime | None:
    return dt.datetime.combine(date, _MIDNIGHT) if date else None


def table(sheets: Iterable[Sheet], **same_in_all: Any) -> pa.Table:
    rows = [{**row, **same_in_all} for sheet in sheets for row in sheet.rows()]
    return pa.Table.from_pylist(rows, schema=ROWS)


def by_model(sheets: Iterable[Sheet]) -> dict[tuple[str, str], list[Sheet]]:
    """By provider and model."""
    found: dict[tuple[str, str], list[Sheet]] = {}
    for sheet in sheets:
        found.setdefault((sheet.provider, sheet.model), []).append(sheet)
    return found
