"""The price book: a price list, and what a deployment pays instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from semconv.prices.finder import Priced
from semconv.prices.price_list import PriceList
from semconv.settings import PriceOverride

# Model ids come from the network: what is remembered about them stays bounded.
_MOST_REMEMBERED: Final = 50_000


class PriceBook:
    """``rows``: all that `prices` must hold before calls priced by this book are stored."""

    def __init__(self, price_list: PriceList, overrides: Iterable[PriceOverride] = ()) -> None:
        self.price_list = price_list
        self.overrides = tuple(overrides)
        self._found: dict[tuple[str | None, str], Priced | None] = {}

    @property
    def rows(self) -> pa.Table:
        return self.price_list.rows

    def find(
        self,
        provider: str | None,
        response_model: str | None,
        request_model: str | None,
        billing_account: str | None = None,  # noqa: ARG002 (overrides read it)
    ) -> Priced | None:
        """The response's model if the list knows it, else the request's; None where neither is known."""
        for model in (response_model, request_model):
            if model and (priced := self._remembered(provider, model)):
                return priced
        return None

    def _remembered(self, provider: str | None, model: str) -> Priced | None:
        key = (provider, model)
        if key not in self._found:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            self._found[key] = self.price_list.finder.find(provider, model)
        return self._found[key]
