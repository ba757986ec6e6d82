"""What a router would have cost that sends simple calls to a cheaper model; and what the callers' own router saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import cheaper_calls, honest, sql
from analyzers.cheaper_calls import PARTS, Looked, who, whose, without_price
from analyzers.fields import Field, money
from analyzers.finding import Candidate, Column, Finding, Report
from analyzers.frame import MOST_CANDIDATES
from analyzers.registry import register
from analyzers.repricing import repricer_for
from analyzers.routing_modes import routers
from analyzers.setting import Setting, count, share, text
from analyzers.window import Window
from semconv.planned import relation
from semconv.prices import PriceBook
from semconv.prices.stored import active

_PARTS: Final = PARTS | {"is_short": "calls.input_tokens < $max_input_tokens"}
_LOOKED: Final = Looked(
    traits=f"{_PARTS['is_short']} AS is_short",
    figures="count(*) FILTER (is_known AND is_short) AS short_calls",
    having="sum(short_calls) >= greatest($least_calls, $least_share::DOUBLE * sum(calls))",
    of_calls=("max_input_tokens",),
    of_groups=("least_share", "least_calls"),
)
_FIRST_USED: Final = "min(tools.start_time) AS first_used"


class _Routed(NamedTuple):
    """A row of routing_savings.sql: of all calls of an agent to a model, those that a router would send elsewhere."""

    number: int
    agent: str | None
    service: str | None
    provider: str | None
    model: str
    cheaper: str
    pricing_mode: str
    all_calls: int
    share: float
    calls: int
    sure_calls: int
    input_tokens: int
    cache_read_tokens: int | None
    output_tokens: int
    cost_usd: Decimal
    routed_usd: Decimal
    low_usd: Decimal

    @property
    def key(self) -> str:
        """As routing_claims.sql has it."""
        return f"route-{self.number}"


@register(
    "routing",
    help="what a router that sends simple calls to a cheaper model would have cost, and what your own saved",
    settings=(
        Setting("max_input_tokens", "a simple call has less input, cache included", count, 5_000),
        Setting("max_output_tokens", "a simple call turned out to be one with less output", count, 500),
        Setting(
            "least_share",
            "an agent of whose calls a smaller part is simple, or a smaller part is not, needs no router",
            share,
            Decimal("0.1"),
        ),
        Setting("least_calls", "fewer calls of an agent are passed over", count, 10),
        Setting(
            "complexity", "dimension or attribute in which callers record what they choose the model by", text
        ),
    ),
    needs=("price_overrides",),
)
def routing(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per agent (service where no agent is known), model and pricing mode: what all calls cost, and what they
    would have cost had those that look simple before they are answered (routing.sql) gone to the model one step cheaper
    in its family, each at its own time and with its own tokens. Savings are claimed call by call.

    With ``complexity`` a finding for each agent that chooses its model by it: what that saved. Raises BadSetting.
    """
    book = PriceBook(active(connection), settings.get("price_overrides", ()))
    own = routers(connection, book, window, settings)
    groups, notes = cheaper_calls.groups(connection, book, window, settings, _LOOKED)
    notes += own.notes
    found, claims, more = _routed(connection, book, window, settings, groups)
    if any(one.pricing_mode == "unknown" for one in found):
        notes += honest.undeclared_plans(connection, window)
    return _report(found, claims, (*notes, *more), own.findings)


def _routed(
    connection: duckdb.DuckDBPyConnection,
    book: PriceBook,
    window: Window,
    settings: Mapping[str, Any],
    groups: pa.Table | None,
) -> tuple[list[_Routed], pa.Table | None, tuple[str, ...]]:
    """What saves most first, the claims of all of it, and notes."""
    if groups is None:
        return [], None, ()
    with relation(connection, "routing_groups", groups):
        calls = _calls(connection, window, settings)
        repricer = repricer_for(connection, book)
        prices = repricer.price(calls)
        claims = _claims(connection, calls, prices, repricer.price_uncached(calls))
        found = _savings(connection, claims, settings)
    most = 1 - settings["least_share"]
    mixed = [one for one in found if one.share <= most]
    return mixed, claims, (*without_price(prices), *_hardly_mixed(len(found) - len(mixed)))


def _hardly_mixed(groups: int) -> Iterator[str]:
    if groups:
        yield (
            f"agents and models of whose calls nearly all are simple: {groups}; a router has nothing to choose there, "
            "downsize looks at whether the cheaper model may serve all of them"
        )


def _calls(connection: duckdb.DuckDBPyConnection, window: Window, settings: Mapping[str, Any]) -> pa.Table:
    tools = sql.read("run_tools.sql").format(figures=_FIRST_USED)
    thresholds = {name: settings[name] for name in ("max_input_tokens", "max_output_tokens")}
    return connection.execute(
        sql.read("routing.sql").format(**_PARTS, run_tools=tools), window.parameters() | thresholds
    ).to_arrow_table()


def _claims(
    connection: duckdb.DuckDBPyConnection, calls: pa.Table, prices: pa.Table, uncached: pa.Table
) -> pa.Table:
    with (
        relation(connection, "routing_calls", calls),
        relation(connection, "routing_prices", prices),
        relation(connection, "routing_uncached", uncached),
    ):
        return connection.execute(sql.read("routing_claims.sql")).to_arrow_table()


def _savings(
    connection: duckdb.DuckDBPyConnection, claims: pa.Table, settings: Mapping[str, Any]
) -> list[_Routed]:
    """What saves most first."""
    thresholds = {name: settings[name] for name in ("least_share", "least_calls")}
    with relation(connection, "routing_claims", claims):
        return [
            _Routed(*row)
            for row in connection.execute(sql.read("routing_savings.sql"), thresholds).fetchall()
        ]


def _report(
    found: Sequence[_Routed], claims: pa.Table | None, notes: Sequence[str], own: Sequence[Finding]
) -> Report:
    shown = found[:MOST_CANDIDATES]
    more = len(found) - len(shown)
    fields = [*_fields()]
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(one) for _, read in fields) for one in shown),
        notes=(
            *dict.fromkeys(notes),
            *([f"{more} more agents and models that would save less are not shown"] if more else []),
        ),
        findings=tuple(own),
        # What may cost more, as cached input would be sent anew, is no finding.
        candidates=tuple(_candidate(one) for one in shown if one.low_usd > 0),
        claims=claims,
    )


def _fields() -> Iterator[Field]:
    for name in ("agent", "service", "provider", "model", "cheaper"):
        yield Column(name, "cheaper model" if name == "cheaper" else name, "text"), attrgetter(name)
    yield honest.MODE, attrgetter("pricing_mode")
    for name, label in (
        ("all_calls", "calls"),
        ("calls", "simple calls"),
        ("sure_calls", "simple in hindsight"),
    ):
        yield Column(name, label, "count"), attrgetter(name)
    yield Column("share", "simple", "ratio"), attrgetter("share")
    yield from money(honest.COLUMNS, attrgetter("cost_usd"))
    yield from money(honest.columns("{}_with_router", "{} with a router"), attrgetter("routed_usd"))


def _candidate(one: _Routed) -> Candidate:
    return Candidate(
        key=one.key,
        kind="simple",
        dimension={**whose(one.agent, one.service), "provider": one.provider, "model": one.model},
        pricing_mode=one.pricing_mode,
        title=(
            f"{who(one.agent, one.service)}: {one.calls} of {one.all_calls} calls to {honest.said(one.model)} look "
            f"simple before they are answered; {one.cheaper} costs less"
        ),
        method=(
            "each call with little input, before a tool was used in its run, priced again by the cheaper model's "
            "prices at its own time; low: calls that turned out simple, with nothing read from a cache, high: all of "
            "them, with the cache as it was"
        ),
        action=(
            f"let a router send such calls to {one.cheaper} for a part of the traffic, and judge its answers by your "
            "own measure before all of them go there"
        ),
        evidence={
            "cheaper_model": one.cheaper,
            "all_calls": one.all_calls,
            "share": round(one.share, 4),
            "simple_in_hindsight": one.sure_calls,
            "input_tokens": one.input_tokens,
            "cache_read_tokens": one.cache_read_tokens,
            "output_tokens": one.output_tokens,
            "cost_of_all_calls": honest.Amount(one.pricing_mode, one.cost_usd),
            "cost_with_router": honest.Amount(one.pricing_mode, one.routed_usd),
        },
        caveats=(
            f"prices are compared, not answers: nothing here says that {one.cheaper} answers as well, nor that short "
            "prompts are easy",
            "the same tokens are assumed: another model may answer at greater length, think more or need another try",
            "models share no cache: calls that stay may find less in it where a routed one would have filled it",
            "what the router itself costs, such as a model that classifies prompts, is not taken off",
        ),
    )
