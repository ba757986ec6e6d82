"""What a router of the callers' own saved: they record what they choose the model by, their mode or a complexity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import honest, sql
from analyzers.cheaper_calls import PARTS, who, whose
from analyzers.finding import Finding, finding_id
from analyzers.repricing import Repricer, repricer_for
from analyzers.unit_key import unit_key
from analyzers.window import Window
from semconv.planned import relation
from semconv.prices import PriceBook

# Each model is a price for every call.
_MOST_MODELS: Final = 3
_MOST_ROUTERS: Final = 20
_VALUES_SHOWN: Final = 10
_EXAMPLES: Final = 5


class Routers(NamedTuple):
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


class _Mode(NamedTuple):
    """A row of routing_mix.sql."""

    number: int
    agent: str | None
    service: str | None
    pricing_mode: str
    mode: str
    calls: int
    cost_usd: Decimal
    models: list[str]
    examples: list[dict[str, Any]]


class _Instead(NamedTuple):
    """A row of routing_instead.sql: all calls by one model."""

    number: int
    model: str
    calls: int
    cost_usd: Decimal
    instead_usd: Decimal

    @property
    def saved_usd(self) -> Decimal:
        return self.instead_usd - self.cost_usd


def routers(
    connection: duckdb.DuckDBPyConnection, book: PriceBook, window: Window, settings: Mapping[str, Any]
) -> Routers:
    """A fact for each agent that chooses between models by what ``complexity`` names; nothing where that names nothing.
    Raises BadSetting."""
    if not settings["complexity"]:
        return Routers()
    key = unit_key(connection, window, settings["complexity"])
    statement = sql.read("routing_modes.sql").format(**_parts(), mode=key.expression, join=key.join)
    parameters = window.parameters() | {
        "least_calls": settings["least_calls"],
        "most_routers": _MOST_ROUTERS,
    }
    calls = connection.execute(statement, parameters).to_arrow_table()
    if not calls.num_rows:
        return Routers(notes=(f"no agent chooses between several models by {honest.said(key.name)}",))
    with relation(connection, "routing_modes", calls):
        mix = [_Mode(*row) for row in connection.execute(sql.read("routing_mix.sql")).fetchall()]
        repricer = repricer_for(connection, book)
        places = range(1, _MOST_MODELS + 1)
        instead = [one for place in places for one in _instead(connection, repricer, place)]
    by_router = (list(modes) for _, modes in groupby(mix, key=lambda one: one.number))
    found = tuple(_findings(key.name, by_router, instead))
    modes = {one.pricing_mode for one in mix}
    return Routers(found, honest.undeclared_plans(connection, window) if "unknown" in modes else ())


def _parts() -> dict[str, str]:
    return {name: PARTS[name] for name in ("is_known", "priced_by")}


def _instead(connection: duckdb.DuckDBPyConnection, repricer: Repricer, place: int) -> list[_Instead]:
    calls: pa.Table = connection.execute(sql.read("routing_models.sql"), {"place": place}).to_arrow_table()
    if not calls.num_rows:
        return []
    with (
        relation(connection, "routing_instead", calls),
        relation(connection, "routing_prices", repricer.price(calls)),
    ):
        return [_Instead(*row) for row in connection.execute(sql.read("routing_instead.sql")).fetchall()]


def _findings(name: str, by_router: Iterator[list[_Mode]], instead: Sequence[_Instead]) -> Iterator[Finding]:
    for modes in by_router:
        known = [one for one in instead if one.number == modes[0].number]
        if known:
            yield _finding(name, modes, known)


def _finding(name: str, modes: Sequence[_Mode], instead: Sequence[_Instead]) -> Finding:
    first = modes[0]
    dearest = max(instead, key=lambda one: (one.saved_usd, one.model))
    about = {**whose(first.agent, first.service), "complexity": name}
    return Finding(
        finding_id("routing", "own-router", about, first.pricing_mode),
        (
            f"{who(first.agent, first.service)}: the choice by {honest.said(name)} cost "
            f"{_compared(dearest)} all of it by {honest.said(dearest.model)}"
        ),
        _evidence(modes, instead, dearest),
        (
            "prices are compared, not answers: nothing here says that the cheaper models answered as well, nor that a "
            "call which failed was not sent again to a dearer one",
            "the same tokens are assumed: another model may have answered at greater length or thought more",
            "caches are taken as they were, though models share none",
            "what the router itself costs is not taken off",
        ),
        about,
        tuple(one["call_id"] for mode in modes for one in mode.examples)[:_EXAMPLES],
        kind="own-router",
    )


def _compared(one: _Instead) -> str:
    share = abs(one.saved_usd) / one.instead_usd if one.instead_usd else Decimal(0)
    return f"{share:.1%} {'less' if one.saved_usd >= 0 else 'more'} than"


def _evidence(modes: Sequence[_Mode], instead: Sequence[_Instead], dearest: _Instead) -> dict[str, object]:
    def amount(usd: Decimal) -> honest.Amount:
        return honest.Amount(modes[0].pricing_mode, usd)

    return {
        "calls": dearest.calls,
        "cost": amount(dearest.cost_usd),
        "saved_against_dearest": amount(dearest.saved_usd),
        "all_by_one_model": {one.model: amount(one.instead_usd) for one in instead},
        "most_used_model": instead[0].model,
        "by_mode": {
            one.mode: {"calls": one.calls, "cost": amount(one.cost_usd), "models": ", ".join(one.models)}
            for one in modes[:_VALUES_SHOWN]
        },
    }
