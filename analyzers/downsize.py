"""Calls that a cheaper model of the same family may serve: small ones, and long contexts read again by a dear model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import cheaper_calls, honest, sql
from analyzers.cheaper_calls import PARTS, Looked, who, whose, without_price
from analyzers.fields import Field, money
from analyzers.finding import Candidate, Column, Report
from analyzers.frame import MOST_CANDIDATES
from analyzers.registry import register
from analyzers.repricing import repricer_for
from analyzers.setting import Setting, count, share
from analyzers.window import Window
from semconv.planned import relation
from semconv.prices import PriceBook
from semconv.prices.stored import active

# Parts of several of the statements; parameters are settings.
_PARTS: Final = PARTS | {
    "is_little": "calls.input_tokens < $max_input_tokens AND calls.output_tokens < $max_output_tokens",
    "is_long": "calls.input_tokens >= $long_context_tokens AND coalesce(calls.cost_input_usd, 0)"
    " + coalesce(calls.cost_cache_read_usd, 0) + coalesce(calls.cost_cache_write_usd, 0)"
    " >= calls.cost_usd * $context_share",
}
_OF_CALLS: Final = ("max_input_tokens", "max_output_tokens", "long_context_tokens", "context_share")
_LOOKED: Final = Looked(
    traits="{is_little} AS is_little, {is_long} AS is_long".format(**_PARTS),
    figures="count(*) FILTER (is_known AND is_little) AS little_calls,"
    " count(*) FILTER (is_known AND is_long) AS long_calls, sum(cost_usd) FILTER (is_known AND is_long) AS long_usd",
    having="sum(little_calls) >= greatest($least_calls, $least_share::DOUBLE * sum(calls))"
    " OR (sum(long_calls) >= $least_calls"
    " AND sum(long_usd)::DOUBLE >= $least_share::DOUBLE * sum(cost_usd)::DOUBLE)",
    of_calls=_OF_CALLS,
    of_groups=("least_share", "least_calls"),
)
_TOOL_CALLS: Final = "greatest(count(*) FILTER (is_log), count(*) FILTER (NOT is_log)) AS tool_calls"


class _Saving(NamedTuple):
    """A row of downsize_savings.sql."""

    number: int
    kind: Literal["small", "context"]
    agent: str | None
    service: str | None
    provider: str | None
    model: str
    cheaper: str
    pricing_mode: str
    share: float
    calls: int
    runs: int
    sure_calls: int
    input_tokens: int
    cache_read_tokens: int | None
    output_tokens: int
    most_input_tokens: int
    cost_usd: Decimal
    cheaper_usd: Decimal

    @property
    def key(self) -> str:
        """As downsize_claims.sql has it."""
        return f"{self.kind}-{self.number}"


@register(
    "downsize",
    help="calls that a cheaper model of the same family may serve: small ones, and long contexts read again",
    settings=(
        Setting("max_input_tokens", "a small call has less input, cache included", count, 5_000),
        Setting("max_output_tokens", "a small call, or a brief answer, has less output", count, 500),
        Setting("max_tool_calls", "a run of small calls has at most so many tool calls", count, 5),
        Setting("long_context_tokens", "a long context has at least so much input", count, 20_000),
        Setting(
            "context_share", "least part of such a call's cost that is its context", share, Decimal("0.7")
        ),
        Setting(
            "least_share",
            "least part of an agent's calls that are small, or of its cost that is long context",
            share,
            Decimal("0.5"),
        ),
        Setting("least_calls", "fewer such calls of an agent are passed over", count, 10),
    ),
    needs=("price_overrides",),
)
def downsize(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per kind, agent (service where no agent is known), model and pricing mode: what such calls cost, and what
    they would have cost by the model one step cheaper in its family (cheaper_models.toml), each at its own time and
    with its own tokens. Savings are claimed call by call.
    """
    book = PriceBook(active(connection), settings.get("price_overrides", ()))
    groups, notes = cheaper_calls.groups(connection, book, window, settings, _LOOKED)
    if groups is None:
        return _report([], None, notes)
    with relation(connection, "downsize_groups", groups):
        calls = _calls(connection, window, settings)
        prices = repricer_for(connection, book).price(calls)
        savings, claims = _savings(connection, calls, prices, settings)
    if any(saving.pricing_mode == "unknown" for saving in savings):
        notes += honest.undeclared_plans(connection, window)
    notes += tuple(without_price(prices))
    return _report(savings, claims, notes)


def _calls(connection: duckdb.DuckDBPyConnection, window: Window, settings: Mapping[str, Any]) -> pa.Table:
    tools = sql.read("run_tools.sql").format(figures=_TOOL_CALLS)
    thresholds = {name: settings[name] for name in (*_OF_CALLS, "max_tool_calls")}
    return connection.execute(
        sql.read("downsize.sql").format(**_PARTS, run_tools=tools), window.parameters() | thresholds
    ).to_arrow_table()


def _savings(
    connection: duckdb.DuckDBPyConnection, calls: pa.Table, prices: pa.Table, settings: Mapping[str, Any]
) -> tuple[list[_Saving], pa.Table]:
    """What saves most first, and the claims of all of it."""
    thresholds = {name: settings[name] for name in ("least_share", "least_calls")}
    with (
        relation(connection, "downsize_calls", calls),
        relation(connection, "downsize_prices", prices),
    ):
        found = connection.execute(sql.read("downsize_savings.sql"), thresholds).fetchall()
        savings = [_Saving(*row) for row in found]
        keys = {"candidates": [saving.key for saving in savings]}
        return savings, connection.execute(sql.read("downsize_claims.sql"), keys).to_arrow_table()


def _report(savings: Sequence[_Saving], claims: pa.Table | None, notes: Sequence[str]) -> Report:
    shown = savings[:MOST_CANDIDATES]
    fields = [*_fields()]
    more = len(savings) - len(shown)
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(saving) for _, read in fields) for saving in shown),
        notes=(
            *notes,
            *([f"{more} more agents and models that would save less are not shown"] if more else []),
        ),
        candidates=tuple(map(_candidate, shown)),
        claims=claims,
    )


def _fields() -> Iterator[Field]:
    for name in ("kind", "agent", "service", "provider", "model", "cheaper"):
        yield Column(name, "cheaper model" if name == "cheaper" else name, "text"), attrgetter(name)
    yield honest.MODE, attrgetter("pricing_mode")
    yield Column("calls", "calls", "count"), attrgetter("calls")
    yield Column("share", "share", "ratio"), attrgetter("share")
    for name in ("input_tokens", "cache_read_tokens", "output_tokens"):
        yield Column(name, name.replace("_", " "), "count"), attrgetter(name)
    yield from money(honest.COLUMNS, attrgetter("cost_usd"))
    yield from money(honest.columns("{}_by_cheaper", "{} by the cheaper model"), attrgetter("cheaper_usd"))


def _candidate(saving: _Saving) -> Candidate:
    words = _SMALL if saving.kind == "small" else _CONTEXT
    return Candidate(
        key=saving.key,
        kind=saving.kind,
        dimension={**whose(saving.agent, saving.service), "provider": saving.provider, "model": saving.model},
        pricing_mode=saving.pricing_mode,
        title=(
            f"{who(saving.agent, saving.service)}: {words.title} {honest.said(saving.model)}; "
            f"{saving.cheaper} costs less"
        ),
        method=words.method,
        action=(
            f"try {saving.cheaper} on a sample of these calls and judge its answers by your own measure; then switch "
            "what passes"
        ),
        evidence=_evidence(saving),
        caveats=(
            f"prices are compared, not answers: nothing here says that {saving.cheaper} answers as well",
            "the same tokens are assumed: another model may answer at greater length, think more or need another try",
            *words.caveats,
        ),
    )


def _evidence(saving: _Saving) -> dict[str, object]:
    return {
        "cheaper_model": saving.cheaper,
        "share": round(saving.share, 4),
        "runs": saving.runs,
        "sure_calls": saving.sure_calls,
        "input_tokens": saving.input_tokens,
        "cache_read_tokens": saving.cache_read_tokens,
        "output_tokens": saving.output_tokens,
        "most_input_tokens": saving.most_input_tokens,
        "cost": honest.Amount(saving.pricing_mode, saving.cost_usd),
        "cost_by_cheaper_model": honest.Amount(saving.pricing_mode, saving.cheaper_usd),
    }


class _Words(NamedTuple):
    title: str
    method: str
    caveats: tuple[str, ...]


_SMALL: Final = _Words(
    "small calls on",
    "each call priced again by the cheaper model's prices at its own time; low: calls of runs in which every call is "
    "small, high: all small calls",
    ("tool calls are those that were recorded; a run with more of them may be less simple than it looks",),
)
_CONTEXT: Final = _Words(
    "long contexts sent again and again to",
    "each call priced again by the cheaper model's prices at its own time; low: calls with a brief answer, high: all "
    "calls with a long context",
    (
        "cache reads are taken over as they were: models share no cache, so that this holds where the agent is "
        "switched as a whole",
        "the cheaper model may have a smaller context window than the longest input here",
    ),
)
