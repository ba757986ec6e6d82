"""What a deployment pays instead of list prices, as sheets like those of the list."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

import pyarrow as pa

from semconv.prices import sheets
from semconv.prices.finder import Finder, Priced, source_id
from semconv.prices.price_list import PriceList
from semconv.prices.sheets import GPU_HOUR, SMALLEST, STANDARD, Sheet, Units
from semconv.settings import PriceOverride

SOURCE: Final = "config"
_ANY: Final = "*"
_FREE: Final = {"requests_kcount": Decimal(0)}

BySheet = Mapping[Priced, list[Sheet]]


class Override:
    """One configured price, compiled. ``snapshot_id`` is a hash of its account and sheets, whose ids begin with it."""

    def __init__(self, given: PriceOverride, price_list: PriceList) -> None:
        self.given = given
        self.since, self.until = given.since or dt.date.min, given.until or dt.date.max
        unnamed = (
            list(_discounted(given, price_list, 1 - given.discount))
            if given.discount is not None
            else [_sheet(given, _units(given))]
        )
        # Two accounts may pay the same by the same name.
        content = repr((given.billing_account, unnamed))
        self.snapshot_id = hashlib.sha256(content.encode()).hexdigest()[:16]
        self.sheets = [dataclasses.replace(each, id=f"{self.snapshot_id}/{each.id}") for each in unnamed]
        self._of_listed = sheets.by_model(self.sheets)
        self._model = (given.model or "").lower()

    @property
    def specificity(self) -> tuple[bool, bool, int, bool]:
        """Of several that hold the greatest wins: for an account, for exactly a model, for more of its id, for a
        provider."""
        is_exact = bool(self._model) and not self._model.endswith(_ANY)
        return (
            self.given.billing_account is not None,
            is_exact,
            len(self._model),
            self.given.provider is not None,
        )

    def is_for(self, provider: str | None, names: Iterable[str], billing_account: str | None) -> bool:
        """Whether it can hold for calls of a provider that go by any of these names, in lower case."""
        given = self.given
        if given.provider is not None and given.provider != provider:
            return False
        if given.billing_account is not None and given.billing_account != billing_account:
            return False
        if self._model.endswith(_ANY):
            return any(name.startswith(self._model[:-1]) for name in names)
        return not self._model or self._model in names

    def sheets_on(self, day: dt.date, variant: str, priced: Priced | None) -> list[Sheet]:
        """Those that hold for a variant on a day; of a discount, for the model that the list prices it as."""
        is_for_all = self.given.free or self.given.gpu_hour_usd is not None
        is_variant = self.given.variant == variant or (is_for_all and self.given.variant == STANDARD)
        if not is_variant or not self.since <= day < self.until:
            return []
        if self.given.discount is None:
            return self.sheets
        return [sheet for sheet in self._of_listed.get(priced, ()) if sheet.is_on(day)] if priced else []

    def rows(self) -> pa.Table:
        return sheets.table(
            self.sheets,
            snapshot_id=self.snapshot_id,
            source=SOURCE,
            source_version=self.given.name,
            data_as_of=None,
        )


def _units(given: PriceOverride) -> Units:
    if given.free:
        return _FREE
    if given.gpu_hour_usd is not None:
        return {GPU_HOUR: _rounded(given.gpu_hour_usd)}
    return {unit: _rounded(price) for unit, price in sorted((given.prices or {}).items())}


def _sheet(given: PriceOverride, units: Units) -> Sheet:
    provider, model = given.provider or _ANY, given.model or _ANY
    return Sheet(
        id=f"{given.name}/{provider}/{model}/{given.variant}/{given.since or 'always'}",
        provider=provider,
        model=model,
        model_match=model,
        variant=given.variant,
        since=given.since,
        until=given.until,
        time_from=None,
        time_to=None,
        tiers=((0, units),),
    )


def _discounted(given: PriceOverride, price_list: PriceList, paid: Decimal) -> Iterator[Sheet]:
    """The list's sheets, of which the part ``paid`` is paid."""
    reached = _reached(given, price_list.finder)
    for sheet in price_list.sheets:
        if sheet.variant == given.variant and (sheet.provider, sheet.model) in reached:
            since = max(sheet.since or dt.date.min, given.since or dt.date.min)
            until = min(sheet.until or dt.date.max, given.until or dt.date.max)
            if since < until:
                yield dataclasses.replace(
                    sheet,
                    id=f"{given.name}/{sheet.id.partition('/')[2]}",
                    since=None if since == dt.date.min else since,
                    until=None if until == dt.date.max else until,
                    tiers=tuple(
                        (
                            start,
                            {unit: _rounded(price * paid) for unit, price in units.items()},
                        )
                        for start, units in sheet.tiers
                    ),
                )


def _reached(given: PriceOverride, finder: Finder) -> set[Priced]:
    """The listed models that calls of the override's model can be priced as."""
    in_scope = finder.models_at(source_id(given.provider))
    if given.model is None or given.model.endswith(_ANY):
        return in_scope
    named = {given.model.lower(), *(model for _, model in in_scope if model.lower() == given.model.lower())}
    providers = [given.provider] if given.provider else [provider for provider, _ in in_scope]
    found = {finder.find(provider, name) for provider in dict.fromkeys(providers) for name in named}
    return {priced for priced in found if priced} & in_scope or in_scope


def _rounded(price: Decimal) -> Decimal:
    return price.quantize(SMALLEST, ROUND_HALF_EVEN)
