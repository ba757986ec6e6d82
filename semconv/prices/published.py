"""The source's published form, a JSON list of providers, read into what compiling needs of it.

https://github.com/pydantic/genai-prices publishes it as ``prices/new_data/v2/data.json``; what the installed package
holds in objects is brought into the same form. Reading keeps: the ids, the clauses, the prices.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from genai_prices import data_snapshot

from semconv.prices.clauses import Matcher, matcher, readable, unexpected

# One price, or the price of each context tier: (start, price) in order, the first start 0.
Price = tuple[tuple[int, Decimal], ...]
Prices = Mapping[str, Price]  # by unit

_PROVIDER_KEYS: Final = ("id", "price_comments", "model_match", "provider_match", "fallback_model_providers")
_MODEL_KEYS: Final = ("id", "price_comments", "match", "prices", "price_variants")
# Where prices of regions differ the source says so in prose only, unless the regions have models of their own, whose
# ids begin with what they reach (AWS: global.…, regional.…).
_TELLS_OF_REGIONS: Final = re.compile(r"\bregion", re.IGNORECASE)
_TELLS_ITS_REACH: Final = ("global.", "regional.")


@dataclass(frozen=True, slots=True)
class Condition:
    """When a price holds: from a UTC date on, or in a window of the UTC day that may reach over midnight."""

    since: dt.date | None = None
    window: tuple[dt.time, dt.time] | None = None

    def holds(self, day: dt.date, time: dt.time) -> bool:
        if self.since is not None:
            return day >= self.since
        if self.window is None:
            return True
        start, end = self.window
        return time >= start or time < end if end < start else start <= time < end


@dataclass(frozen=True, slots=True)
class Variant:
    """Prices of some units that hold instead where the request's context has all that ``when`` names."""

    when: Mapping[str, str]
    condition: Condition
    prices: Prices


@dataclass(frozen=True, slots=True)
class Model:
    """The last of ``prices`` whose condition holds is the model's, else the first; of ``variants`` the first that
    holds, for each unit apart. ``match`` tells people which ids mean it. ``differs_by_region``: it costs something else
    in some regions, and how much the source does not say."""

    id: str
    match: str
    differs_by_region: bool
    matches: Matcher
    prices: tuple[tuple[Condition, Prices], ...]
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class Provider:
    id: str
    matches_model: Matcher | None
    matches_provider: Matcher | None
    fallbacks: tuple[str, ...]
    models: tuple[Model, ...]


def parse(text: str | bytes) -> Any:
    """JSON with its numbers as exact decimals. Raises ValueError."""
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


def dump(providers: list[dict[str, Any]]) -> str:
    """The same text for the same providers; decimals as texts, which `read` takes too."""
    return json.dumps(providers, default=str, sort_keys=True, separators=(",", ":"))


def kept(published: Any) -> list[dict[str, Any]]:
    """Of a published list, what `read` uses. Raises ValueError saying where something else stood."""
    return [
        _some_of(provider, _PROVIDER_KEYS, f"provider {number}")
        | {
            "models": [
                _some_of(model, _MODEL_KEYS, f"provider {number}, model {position}")
                for position, model in enumerate(_entries(provider, "models", f"provider {number}"))
            ]
        }
        for number, provider in enumerate(_list(published, "the document"))
    ]


def read(providers: list[dict[str, Any]]) -> tuple[Provider, ...]:
    """What `kept` left. Raises ValueError saying where what was expected."""
    read_providers = tuple(_provider(provider, number) for number, provider in enumerate(providers))
    if not any(provider.models for provider in read_providers):
        raise ValueError("no provider with a model, expected genai-prices' list of providers")
    _refuse_repeated(read_providers)
    return read_providers


def _refuse_repeated(providers: Iterable[Provider]) -> None:
    seen: set[tuple[str, str | None]] = set()
    for provider in providers:
        for key in ((provider.id, None), *((provider.id, model.id) for model in provider.models)):
            if key in seen:
                raise ValueError(f"{'/'.join(filter(None, key))} stands there twice")
            seen.add(key)


def _provider(raw: dict[str, Any], number: int) -> Provider:
    where = f"provider {_name(raw, f'provider {number}')}"
    comments = str(raw.get("price_comments"))
    return Provider(
        id=raw["id"],
        matches_model=_optional_matcher(raw, "model_match", where),
        matches_provider=_optional_matcher(raw, "provider_match", where),
        fallbacks=tuple(str(name) for name in _entries(raw, "fallback_model_providers", where)),
        models=tuple(_model(model, where, comments) for model in raw["models"]),
    )


def _model(raw: dict[str, Any], where: str, provider_comments: str) -> Model:
    where = f"{where}, model {_name(raw, where)}"
    matches = matcher(raw.get("match"), f"{where}, match")
    comments = f"{provider_comments} {raw.get('price_comments')}"
    return Model(
        id=raw["id"],
        match=readable(raw["match"]),
        differs_by_region=bool(_TELLS_OF_REGIONS.search(comments))
        and not raw["id"].startswith(_TELLS_ITS_REACH),
        matches=matches,
        prices=_dated_prices(raw.get("prices"), f"{where}, prices"),
        variants=tuple(
            _variant(variant, f"{where}, price_variants")
            for variant in _entries(raw, "price_variants", where)
        ),
    )


def _dated_prices(raw: Any, where: str) -> tuple[tuple[Condition, Prices], ...]:
    if isinstance(raw, Mapping):
        return ((Condition(), _prices(raw, where)),)
    entries = [_mapping(entry, where) for entry in _list(raw, where)]
    if not entries:
        raise ValueError(f"{where}: empty, expected prices")
    return tuple((_condition(entry, where), _prices(entry.get("prices"), where)) for entry in entries)


def _variant(raw: Any, where: str) -> Variant:
    entry = _mapping(raw, where)
    when = _mapping(entry.get("when"), f"{where}, when")
    return Variant(dict(when), _condition(entry, where), _prices(entry.get("prices"), where))


def _condition(entry: Mapping[str, Any], where: str) -> Condition:
    raw = entry.get("constraint")
    if raw is None:
        return Condition()
    constraint = _mapping(raw, f"{where}, constraint")
    try:
        if "start_date" in constraint:
            return Condition(since=dt.date.fromisoformat(constraint["start_date"]))
        return Condition(window=(_utc(constraint["start_time"]), _utc(constraint["end_time"])))
    except (KeyError, TypeError, ValueError) as error:
        raise unexpected(
            dict(constraint), f"{where}, constraint", "a start_date, or a time of day"
        ) from error


def _utc(text: str) -> dt.time:
    time = dt.time.fromisoformat(text)
    if time.tzinfo is None:
        return time
    return dt.datetime.combine(dt.date(2020, 1, 2), time).astimezone(dt.UTC).time()


def _prices(raw: Any, where: str) -> Prices:
    entries = _mapping(raw, where)
    return {
        unit: _price(price, f"{where}, {unit}")
        for unit, price in sorted(entries.items())
        if price is not None
    }


def _price(raw: Any, where: str) -> Price:
    if not isinstance(raw, Mapping):
        return ((0, _amount(raw, where)),)
    tiers = [_mapping(tier, where) for tier in _entries(raw, "tiers", where)]
    price = [(0, _amount(raw.get("base"), where))]
    for tier in tiers:
        start = tier.get("start")
        if not isinstance(start, int) or start <= price[-1][0]:
            raise unexpected(start, f"{where}, tiers", "starts that are rising counts of tokens")
        price.append((start, _amount(tier.get("price"), where)))
    return tuple(price)


def _amount(raw: Any, where: str) -> Decimal:
    try:
        amount = Decimal(raw)
    except (ArithmeticError, TypeError, ValueError):
        amount = Decimal("NaN")
    if isinstance(raw, bool) or not amount.is_finite() or amount < 0:
        raise unexpected(raw, where, "an amount in USD")
    return amount


def _name(raw: Mapping[str, Any], where: str) -> str:
    if not isinstance(raw.get("id"), str) or not raw["id"]:
        raise unexpected(raw.get("id"), f"{where}, id", "a name")
    return str(raw["id"])


def _optional_matcher(raw: Mapping[str, Any], key: str, where: str) -> Matcher | None:
    return None if raw.get(key) is None else matcher(raw[key], f"{where}, {key}")


def _some_of(raw: Any, keys: Iterable[str], where: str) -> dict[str, Any]:
    entry = _mapping(raw, where)
    return {key: entry[key] for key in keys if entry.get(key) is not None}


def _entries(raw: Mapping[str, Any], key: str, where: str) -> list[Any]:
    return _list(raw[key], f"{where}, {key}") if raw.get(key) is not None else []


def _mapping(raw: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise unexpected(raw, where, "an object")
    return raw


def _list(raw: Any, where: str) -> list[Any]:
    if not isinstance(raw, list):
        raise unexpected(raw, where, "a list")
    return raw


# --- the installed package


def of_package() -> list[dict[str, Any]]:
    """The installed genai-prices' providers as `kept` leaves a published list."""
    return [
        _without_none(
            id=provider.id,
            price_comments=provider.price_comments,
            model_match=provider.model_match and _published_clause(provider.model_match),
            provider_match=provider.provider_match and _published_clause(provider.provider_match),
            fallback_model_providers=provider.fallback_model_providers,
            models=[_published_model(model) for model in provider.models],
        )
        for provider in data_snapshot.get_snapshot().providers
    ]


def _published_model(model: Any) -> dict[str, Any]:
    return _without_none(
        id=model.id,
        price_comments=model.price_comments,
        match=_published_clause(model.match),
        prices=(
            [_published_entry(entry) for entry in model.prices]
            if isinstance(model.prices, list)
            else _published_prices(model.prices)
        ),
        price_variants=model.price_variants
        and [{"when": dict(variant.when)} | _published_entry(variant) for variant in model.price_variants],
    )


def _published_entry(entry: Any) -> dict[str, Any]:
    constraint = entry.constraint and {
        key: value.isoformat() for key, value in vars(entry.constraint).items()
    }
    return _without_none(constraint=constraint, prices=_published_prices(entry.prices))


def _published_prices(prices: Any) -> dict[str, Any]:
    return {
        unit: _published_price(price)
        for unit, price in vars(prices).items()
        if price is not None and not unit.startswith("_")
    }


def _published_price(price: Any) -> Any:
    if isinstance(price, Decimal):
        return price
    return {"base": price.base, "tiers": [{"start": tier.start, "price": tier.price} for tier in price.tiers]}


def _published_clause(clause: Any) -> dict[str, Any]:
    [(kind, operand)] = vars(clause).items()
    if isinstance(operand, list):
        return {kind.rstrip("_"): [_published_clause(inner) for inner in operand]}
    return {kind: operand}


def _without_none(**given: Any) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None}
