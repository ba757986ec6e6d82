"""Sheets as rows of rates that SQL multiplies counts by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from semconv.prices.sheets import GPU_HOUR, Sheet, Units

# A rate of `price_rates` -> the units whose price it is, the first that the sheet has: a class of tokens without a
# price of its own costs what the class around it costs, but for those of _APART, which then are not told apart.
_RATES: Final[Mapping[str, tuple[str, ...]]] = {
    "input_rate": ("input_mtok",),
    "output_rate": ("output_mtok",),
    "cache_read_rate": ("cache_read_mtok", "input_mtok"),
    "cache_write_rate": ("cache_write_mtok", "input_mtok"),
    "cache_write_5m_rate": ("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    "cache_write_1h_rate": ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    "audio_input_rate": ("input_audio_mtok",),
    "audio_output_rate": ("output_audio_mtok",),
    "image_input_rate": ("input_image_mtok",),
    "cached_audio_rate": ("cache_audio_read_mtok",),
    "cached_image_rate": ("cache_image_read_mtok",),
    "reasoning_rate": ("output_reasoning_mtok",),
    "request_rate": ("requests_kcount",),
    "hour_rate": (GPU_HOUR,),
}
_AROUND: Final = {
    "audio_input_rate": "input_rate",
    "audio_output_rate": "output_rate",
    "image_input_rate": "input_rate",
    "cached_audio_rate": "cache_read_rate",
    "cached_image_rate": "cache_read_rate",
    "reasoning_rate": "output_rate",
}
# Every unit by which a call's price can be computed.
UNITS: Final = tuple(sorted({unit for units in _RATES.values() for unit in units}))

_PICO: Final = 10**12  # rates are counted in 1e-12 USD for a million tokens, a thousand requests, an hour
NO_LIMIT: Final = 2**63 - 1
_LAST_MOMENT: Final = dt.time.max

SCHEMA: Final = pa.schema(
    [
        ("sheet", pa.int32()),
        ("valid_from", pa.timestamp("us")),
        ("valid_to", pa.timestamp("us")),
        ("time_from", pa.time64("us")),
        ("time_to", pa.time64("us")),
        ("over_tokens", pa.int64()),
        ("upto_tokens", pa.int64()),
        ("price_id", pa.string()),
        ("is_override", pa.bool_()),
        ("is_other_tier", pa.bool_()),
        *((name, pa.int64()) for name in _RATES),
    ]
)

NAMES: Final = tuple(_RATES)

Rates = dict[str, int | None]
Dates = tuple[dt.date, dt.date]  # half-open; date.min and date.max stand for no bound


def rate_rows(number: int, dates: Dates, sheet: Sheet, **flags: bool) -> Iterator[dict[str, Any]]:
    """The rows of one sheet within ``dates``: one per context tier."""
    window = (sheet.time_from, sheet.time_to)
    tiers = [(start, _rates(units)) for start, units in sheet.tiers]
    yield from _rows(number, dates, window, tiers, price_id=sheet.id, **flags)


def bound_rows(
    number: int, dates: Dates, others: list[list[Sheet]], extreme: Callable[[Iterable[int]], int]
) -> Iterator[dict[str, Any]]:
    """Rows of the least or the greatest rate that any of several variants' sheets has for each class of tokens."""
    edges = sorted({sheet.time_from or dt.time(0) for sheets in others for sheet in sheets})
    for start, end in zip(edges, [*edges[1:], None], strict=True):
        now = [sheet for sheets in others for sheet in sheets if _holds_at(sheet, start)]
        starts = sorted({tier_start for sheet in now for tier_start, _ in sheet.tiers})
        tiers = [(tier, _extremes([_in_tier(sheet, tier) for sheet in now], extreme)) for tier in starts]
        yield from _rows(
            number, dates, (start, end), tiers, price_id="", is_override=False, is_other_tier=True
        )


def safe_tokens(rows: Iterable[Mapping[str, Any]], unit: int) -> int:
    """Fewer tokens than these cost what fits 64 bits, in rates of a unit of so many 1e-12 USD; 0 if these rates are no
    multiples of it. The input may be read as its count and twice as much cached besides, hence the 8."""
    known = [rate for row in rows for name in NAMES if (rate := row[name]) is not None]
    return 0 if any(rate % unit for rate in known) else NO_LIMIT // 8 // max([1, *known]) * unit


def _rows(
    number: int,
    dates: Dates,
    window: tuple[dt.time | None, dt.time | None],
    tiers: list[tuple[int, Rates]],
    **same: Any,
) -> Iterator[dict[str, Any]]:
    ends = [start for start, _ in tiers[1:]] + [NO_LIMIT]
    for (start, rates), end in zip(tiers, ends, strict=True):
        yield {
            "sheet": number,
            "valid_from": _midnight(dates[0]),
            "valid_to": _midnight(dates[1]),
            "time_from": window[0],
            "time_to": window[1],
            # The tier holds for inputs above `over_tokens` up to and including `upto_tokens`.
            "over_tokens": start or -1,
            "upto_tokens": end,
            **same,
            **rates,
        }


def _rates(units: Units) -> Rates:
    found = {
        name: next((_pico(units[unit]) for unit in choices if unit in units), None)
        for name, choices in _RATES.items()
    }
    if "cache_read_mtok" not in units:  # then what was cached costs what it costs uncached
        found["cached_audio_rate"] = found["audio_input_rate"]
        found["cached_image_rate"] = found["image_input_rate"]
    return found


def _extremes(alternatives: list[Rates], extreme: Callable[[Iterable[int]], int]) -> Rates:
    found: Rates = {}
    for name in _RATES:
        filled = [
            rates[_AROUND[name]] if rates[name] is None and name in _AROUND else rates[name]
            for rates in alternatives
        ]
        known = [rate for rate in filled if rate is not None]
        is_told_apart = any(rates[name] is not None for rates in alternatives)
        found[name] = extreme(known) if known and is_told_apart else None
    return found


def _in_tier(sheet: Sheet, tier_start: int) -> Rates:
    return _rates([units for start, units in sheet.tiers if start <= tier_start][-1])


def _holds_at(sheet: Sheet, time: dt.time) -> bool:
    return (sheet.time_from or dt.time(0)) <= time < (sheet.time_to or _LAST_MOMENT)


def _pico(price: Decimal) -> int:
    return int(price * _PICO)


def _midnight(date: dt.date) -> dt.datetime | None:
    """None where there is no bound."""
    return None if date in (dt.date.min, dt.date.max) else dt.datetime.combine(date, dt.time(0))
