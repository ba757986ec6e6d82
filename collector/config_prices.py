"""The section of the configuration that says what is paid instead of list prices."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from itertools import combinations
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from collector.config_section import RuleBroken, Section, Text
from semconv.settings import PriceOverride

# Those that calls are priced by (semconv/prices/rates.py); `mtok` is a million tokens.
UNITS: Final = (
    *("input_mtok", "output_mtok", "cache_read_mtok"),
    *("cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok"),
    *("input_audio_mtok", "output_audio_mtok", "cache_audio_read_mtok"),
    *("input_image_mtok", "cache_image_read_mtok", "output_reasoning_mtok", "requests_kcount"),
)
# What DECIMAL(38,12) keeps of a price.
_DECIMALS: Final = 12
# Above it the exact arithmetic of costs could overflow, and no price is near it.
_LARGEST: Final = 1_000_000
# Joined by "+", as `prices.variant` has them: batch, flex, priority, speed-fast, batch+flex, …
_VARIANT: Final = re.compile(r"[a-z0-9_-]+(\+[a-z0-9_-]+)*")


def _decimal(value: object) -> Decimal:
    """Exactly the digits that were written. Raises ValueError for what is no number."""
    try:
        return Decimal(getattr(value, "written", str(value)))
    except InvalidOperation:
        raise ValueError("use a number") from None


def _check_price(price: Decimal) -> Decimal:
    if not 0 <= price <= _LARGEST:  # false for NaN too
        raise ValueError(f"a price is between 0 and {_LARGEST} USD")
    if price != round(price, _DECIMALS):
        raise ValueError(f"a price has at most {_DECIMALS} decimals")
    return price


def _parse_discount(value: object) -> Decimal:
    is_percent = isinstance(value, str) and value.strip().endswith("%")
    part = _decimal(str(value).strip()[:-1]) / 100 if is_percent else _decimal(value)
    if not 0 < part < 1:
        raise ValueError(
            'a discount is the part taken off, more than 0 and less than 1, such as "15%" or 0.15'
        )
    return part


def _check_unit(unit: str) -> str:
    if unit not in UNITS:
        raise ValueError(f"there is no such unit; use {', '.join(UNITS)}")
    return unit


def _check_model(model: str) -> str:
    if not model.strip("*") or "*" in model[:-1]:
        raise ValueError(
            "a model's id, or the beginning of one with a * at its end, such as gpt-4.1*; leave it out for any model"
        )
    return model


def _check_variant(variant: str) -> str:
    if not _VARIANT.fullmatch(variant):
        raise ValueError(
            "a variant is named as in the table prices: standard, batch, flex, priority, batch+flex"
        )
    return variant


Price = Annotated[Decimal, BeforeValidator(_decimal), AfterValidator(_check_price)]


class GpuHour(Section):
    """A machine of one's own: what an hour of one GPU costs, how many serve the model, and how many calls at once."""

    usd: Price
    gpus: Annotated[int, Field(gt=0)] = 1
    concurrency: Annotated[int, Field(gt=0)] = 1

    def usd_of_a_call(self) -> Decimal:
        """For an hour of a call's duration, rounded half even to what the lake keeps."""
        return (self.usd * self.gpus / self.concurrency).quantize(Decimal(10) ** -_DECIMALS, ROUND_HALF_EVEN)


class PriceConfig(Section):
    """One price and whose calls have it; of several that fit the most specific holds."""

    name: Text
    provider: Text | None = None
    model: Annotated[Text, AfterValidator(_check_model)] | None = None
    billing_account: Text | None = None
    since: dt.date | None = None
    until: dt.date | None = None
    variant: Annotated[str, AfterValidator(_check_variant)] = "standard"
    # In USD by unit, as the table prices has them: input_mtok is for a million tokens.
    list: dict[Annotated[str, AfterValidator(_check_unit)], Price] | None = None
    discount: Annotated[Decimal, BeforeValidator(_parse_discount)] | None = None
    gpu_hour: GpuHour | None = None
    free: bool = False

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        given = {
            "list": self.list is not None,
            "discount": self.discount is not None,
            "gpu_hour": self.gpu_hour is not None,
            "free": self.free,
        }
        found = [name for name, is_given in given.items() if is_given]
        if len(found) != 1:
            raise ValueError(
                f"a price is exactly one of list, discount, gpu_hour and free: true; here: {', '.join(found) or 'none'}"
            )
        if self.list is not None and not self.list:
            raise ValueError("list needs at least one unit with its price")
        if self.since and self.until and self.since >= self.until:
            raise ValueError(
                f"until is the first day on which the price no longer holds, and must come after since ({self.since})"
            )
        return self

    def override(self) -> PriceOverride:
        """What semconv prices by."""
        return PriceOverride(
            name=self.name,
            provider=self.provider,
            model=self.model,
            billing_account=self.billing_account,
            since=self.since,
            until=self.until,
            variant=self.variant,
            prices=self.list,
            discount=self.discount,
            gpu_hour_usd=self.gpu_hour.usd_of_a_call() if self.gpu_hour else None,
            free=self.free,
        )

    def reach(self) -> tuple[str | None, ...]:
        """Which calls it is for; prices of one reach must not overlap in time."""
        return self.billing_account, self.model and self.model.lower(), self.provider, self.variant

    def overlaps(self, other: PriceConfig) -> bool:
        """Whether there is a day on which both hold."""
        return (self.since or dt.date.min) < (other.until or dt.date.max) and (other.since or dt.date.min) < (
            self.until or dt.date.max
        )


def check_overlaps(prices: Sequence[PriceConfig]) -> None:
    """Raises RuleBroken where two prices hold for the same calls on one day."""
    for (_, first), (position, second) in combinations(enumerate(prices), 2):
        if first.reach() == second.reach() and first.overlaps(second):
            key = "since" if second.since else "name"
            raise RuleBroken(
                ("prices", position, key),
                f"{second.name!r} and {first.name!r} hold for the same calls on the same days; "
                "end the earlier one with until",
            )
