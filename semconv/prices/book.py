"""The price book: a price list, and what a deployment pays instead."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, Final

import pyarrow as pa

from semconv.prices import rates
from semconv.prices.finder import Priced, references
from semconv.prices.overrides import Override
from semconv.prices.price_list import PriceList
from semconv.prices.sheets import STANDARD, Sheet, by_model
from semconv.settings import PriceOverride

# Model ids come from the network: what is remembered about them stays bounded.
_MOST_REMEMBERED: Final = 50_000
_ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Period:
    """What holds in a range of dates (half-open; date.min and date.max stand for no bound)."""

    since: dt.date
    until: dt.date
    sheets: list[Sheet]  # several only where prices depend on the time of day
    is_override: bool
    is_other_tier: bool  # the variant asked for has no price of its own
    others: list[list[Sheet]]  # where it has none: the sheets of every variant that has


class PriceBook:
    """``rows``: all that `prices` must hold before calls priced by this book are stored."""

    def __init__(self, price_list: PriceList, overrides: Iterable[PriceOverride] = ()) -> None:
        self.price_list = price_list
        self.overrides = sorted(
            (Override(given, price_list) for given in overrides),
            key=lambda each: each.specificity,
            reverse=True,
        )
        self.knows_accounts = any(each.given.billing_account is not None for each in self.overrides)
        # How many input tokens a call has at most that is in its model's lowest context tier, whatever the model.
        self.first_tier = min((tier for sheet in price_list.sheets for tier, _ in sheet.tiers[1:]), default=0)
        self._listed = by_model(price_list.sheets)
        self._found: dict[tuple[str | None, str], Priced | None] = {}

    @property
    def rows(self) -> pa.Table:
        return pa.concat_tables([self.price_list.rows, *(override.rows() for override in self.overrides)])

    def find(
        self,
        provider: str | None,
        response_model: str | None,
        request_model: str | None,
        billing_account: str | None = None,
    ) -> Priced | None:
        """The listed model, as the source names it, that the response's or else the request's id means; where the
        list knows neither, the provider and model of an override that prices it; None where nothing does."""
        priced = self.listed(provider, response_model, request_model)
        if priced:
            return priced
        for override in self.overrides_for(provider, response_model, request_model, billing_account):
            if override.given.discount is None:
                return override.given.provider or _ANY, override.given.model or _ANY
        return None

    def listed(
        self, provider: str | None, response_model: str | None, request_model: str | None
    ) -> Priced | None:
        """The response's model if the list knows it, else the request's; None where neither is known."""
        for model in (response_model, request_model):
            if model and (priced := self._remembered(provider, model)):
                return priced
        return None

    def overrides_for(
        self,
        provider: str | None,
        response_model: str | None,
        request_model: str | None,
        billing_account: str | None,
    ) -> list[Override]:
        """Those that can hold for such calls, the most specific first. A call goes by the ids that were sent, by what
        follows a gateway's path in them, and by the listed model that they mean."""
        if not self.overrides:
            return []
        sent = [name for model in (response_model, request_model) if model for name in references(model)]
        priced = self.listed(provider, response_model, request_model)
        names = {name.lower() for name in (*sent, *(priced or ())[1:])}
        return [override for override in self.overrides if override.is_for(provider, names, billing_account)]

    def sheets(self, provider: str | None, priced: Priced | None) -> list[Sheet]:
        """A listed model's prices at a provider: who resells another's model has none of its variants."""
        listed = self._listed.get(priced, []) if priced else []
        if priced is None or self.price_list.finder.is_own(provider, priced):
            return listed
        return [sheet for sheet in listed if sheet.variant == STANDARD]

    def periods(
        self, listed: list[Sheet], priced: Priced | None, overrides: list[Override], variant: str
    ) -> Iterator[Period]:
        """What a variant of a model costs over time; gaps where it has no price."""
        edges = {dt.date.min, dt.date.max}
        for sheet in listed:
            edges |= {sheet.since or dt.date.min, sheet.until or dt.date.max}
        for override in overrides:
            edges |= {override.since, override.until}
        for since, until in pairwise(sorted(edges)):
            for choice in _choices(variant):
                sheets, is_override = _on(since, choice, priced, listed, overrides)
                if sheets:
                    is_other = choice != variant
                    others = _by_variant(listed, since) if is_other and not is_override else []
                    yield Period(since, until, sheets, is_override, is_other, others)
                    break

    def rate_rows(
        self,
        listed: list[Sheet],
        priced: Priced | None,
        overrides: list[Override],
        variant: str,
        numbers: tuple[int, int, int],
    ) -> Iterator[dict[str, Any]]:
        """The rows of `price_rates`: under the first number what the variant costs; under the others, where it has no
        price of its own and other variants of the model have, the least and the greatest of all of theirs."""
        for period in self.periods(listed, priced, overrides, variant):
            dates = (period.since, period.until)
            for sheet in period.sheets:
                yield from rates.rate_rows(
                    numbers[0],
                    dates,
                    sheet,
                    is_override=period.is_override,
                    is_other_tier=period.is_other_tier,
                )
            if len(period.others) > 1:
                yield from rates.bound_rows(numbers[1], dates, period.others, min)
                yield from rates.bound_rows(numbers[2], dates, period.others, max)

    def _remembered(self, provider: str | None, model: str) -> Priced | None:
        key = (provider, model)
        if key not in self._found:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            self._found[key] = self.price_list.finder.find(provider, model)
        return self._found[key]


def _choices(variant: str) -> Iterator[str]:
    """A variant and what is left of it without the parts that have no price: fewest left out first."""
    parts = [] if variant == STANDARD else variant.split("+")[:3]
    for size in range(len(parts), 0, -1):
        yield from ("+".join(chosen) for chosen in combinations(parts, size))
    yield STANDARD


def _on(
    day: dt.date, variant: str, priced: Priced | None, listed: list[Sheet], overrides: list[Override]
) -> tuple[list[Sheet], bool]:
    for override in overrides:
        if sheets := override.sheets_on(day, variant, priced):
            return sheets, True
    return [sheet for sheet in listed if sheet.variant == variant and sheet.is_on(day)], False


def _by_variant(listed: list[Sheet], day: dt.date) -> list[list[Sheet]]:
    found: dict[str, list[Sheet]] = {}
    for sheet in listed:
        if sheet.is_on(day):
            found.setdefault(sheet.variant, []).append(sheet)
    return list(found.values())
