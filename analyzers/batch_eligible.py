"""Calls that run like clockwork, which no person starts, at the prices of a batch or of the tier that may wait."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import honest, sql
from analyzers.cheaper_calls import PARTS, who, whose
from analyzers.fields import Field, money
from analyzers.finding import Candidate, Column, Report
from analyzers.frame import MOST_CANDIDATES
from analyzers.registry import register
from analyzers.repricing import replaced, repricer_for
from analyzers.setting import Setting, count, length, share
from analyzers.window import Window
from semconv.planned import relation
from semconv.prices import PriceBook
from semconv.prices.stored import active

# Microseconds: a job's calls follow each other at once, every few minutes, or every half hour.
_PAUSES: Final = [30_000_000, 5 * 60_000_000, 30 * 60_000_000]
# An office's day is a third of 24 hours, and begins every morning as if by the clock.
_MOST_BUSY: Final = Decimal("0.25")
_MODEL: Final = "coalesce(calls.request_model, calls.response_model)"
_PARTS: Final = {
    **{name: PARTS[name] for name in ("run", "asks_for_tool", "priced_by")},
    "model": _MODEL,
    # As pyarrow has no comparison with what needs all 64 bits.
    "job": "(hash(calls.agent_name, CASE WHEN calls.agent_name IS NULL THEN calls.service_name END,"
    f" calls.provider, {_MODEL}, calls.pricing_mode) >> 1)::BIGINT",
    # What is in a batch already may wait; what pays for speed may not.
    "may_wait": "calls.pricing_mode <> 'local' AND calls.batch IS NOT TRUE"
    " AND coalesce(lower(calls.service_tier), '') IN ('', 'default', 'standard', 'auto', 'on_demand')"
    " AND coalesce(lower(calls.speed), '') IN ('', 'standard', 'normal')",
}
_NAMES: Final = ["provider", "response_model", "request_model"]
_MICROSECOND: Final = dt.timedelta(microseconds=1)


class _Job(NamedTuple):
    """A row of batch_savings.sql."""

    tier: Literal["flex", "batch"]
    job: int
    agent: str | None
    service: str | None
    provider: str | None
    model: str | None
    pricing_mode: str
    all_calls: int
    lone_calls: int
    chained_calls: int
    input_tokens: int | None
    cache_read_tokens: int | None
    output_tokens: int | None
    calls: int
    runs: int
    period_seconds: int
    variation: float
    cost_usd: Decimal
    tier_usd: Decimal
    low_usd: Decimal

    @property
    def key(self) -> str:
        """As batch_claims.sql has it."""
        return f"{self.tier}-{self.job}"


@register(
    "batch-eligible",
    help="calls that run like clockwork, at the prices of a batch or of the tier that may wait",
    settings=(
        Setting(
            "max_variation",
            "runs are regular whose periods differ less: standard deviation by mean",
            share,
            Decimal("0.15"),
        ),
        Setting(
            "max_drift", "nine of ten runs begin no more off their time", length, dt.timedelta(minutes=10)
        ),
        Setting("least_runs", "fewer runs show no regularity", count, 6),
    ),
    needs=("price_overrides",),
)
def batch_eligible(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per regular group (batch_jobs.sql), which is of one agent or service, model and pricing mode: what its
    calls cost, and what they would have cost in the cheaper one of the tiers that the price list knows for the model at
    the time: `batch`, answered within a day, for calls that do not wait for each other, and `flex`, answered late.
    Savings are claimed call by call.
    """
    book = PriceBook(active(connection), settings.get("price_overrides", ()))
    jobs = _arrow(connection, "batch_jobs.sql", _job_parameters(window, settings), _job_parts(window))
    if not jobs.num_rows:
        return _report([], None, _nothing(connection, window))
    with relation(connection, "batch_jobs", jobs):
        calls = _arrow(connection, "batch_calls.sql", window.parameters(), {})
        with relation(connection, "batch_calls", calls):
            claims = _claims(connection, book, calls)
            with relation(connection, "batch_claims", claims):
                rows = connection.execute(sql.read("batch_savings.sql")).fetchall()
    found = [_Job(*row) for row in rows]
    notes = [*_left_out(calls, claims)]
    if any(one.pricing_mode == "unknown" for one in found):
        notes += honest.undeclared_plans(connection, window)
    return _report(found, claims, notes)


def _job_parameters(window: Window, settings: Mapping[str, Any]) -> dict[str, Any]:
    return window.parameters() | {
        "least_runs": settings["least_runs"],
        "max_variation": settings["max_variation"],
        "max_drift": settings["max_drift"] // _MICROSECOND,
        "most_busy": _MOST_BUSY,
    }


def _job_parts(window: Window) -> dict[str, str]:
    """Jobs go by the clock on the wall."""
    return {"pauses": str(_PAUSES), "local_time": window.local_time_sql()}


def _arrow(
    connection: duckdb.DuckDBPyConnection, name: str, parameters: Mapping[str, Any], parts: Mapping[str, str]
) -> pa.Table:
    return connection.execute(sql.read(name).format(**_PARTS, **parts), dict(parameters)).to_arrow_table()


def _claims(connection: duckdb.DuckDBPyConnection, book: PriceBook, calls: pa.Table) -> pa.Table:
    """batch_claims.sql, whose `batch_calls` the connection has."""
    batch = replaced(_offered(book, calls, "batch"), batch=True, service_tier=None, speed=None)
    flex = replaced(_offered(book, calls, "flex"), batch=False, service_tier="flex", speed=None)
    repricer = repricer_for(connection, book)
    with (
        relation(connection, "batch_prices", repricer.price(batch)),
        relation(connection, "batch_uncached", repricer.price_uncached(batch)),
        relation(connection, "flex_prices", repricer.price(flex)),
    ):
        return connection.execute(sql.read("batch_claims.sql")).to_arrow_table()


def _offered(book: PriceBook, calls: pa.Table, tier: str) -> pa.Table:
    """The calls; none, where no model of theirs has a price in the tier: call by call that takes longest to find."""
    names = calls.select(_NAMES).group_by(_NAMES).aggregate([]).to_pylist()
    sheets = (sheet for name in names for sheet in book.sheets(name["provider"], book.listed(**name)))
    return calls if book.overrides or any(sheet.variant == tier for sheet in sheets) else calls.slice(0, 0)


def _nothing(connection: duckdb.DuckDBPyConnection, window: Window) -> list[str]:
    (calls,) = connection.execute(
        "SELECT count(*) FROM calls WHERE start_time >= $start AND start_time < $end", window.parameters()
    ).fetchall()[0]
    return [] if calls else [f"no calls from {window}"]


def _left_out(calls: pa.Table, claims: pa.Table) -> Iterator[str]:
    if unknown := calls["cost_usd"].null_count:
        yield f"{unknown} calls that run like clockwork are left out, of which cost or usage is not known"
    if unpriced := calls.num_rows - unknown - len(claims["node"].unique()):
        yield (
            f"{unpriced} calls that run like clockwork are left out: for their model, provider and time the list has "
            "no price of a batch or of a tier that may wait, or of a batch alone, which cannot serve them as they need "
            "each other's answers"
        )


def _report(found: Sequence[_Job], claims: pa.Table | None, notes: Sequence[str]) -> Report:
    shown = found[:MOST_CANDIDATES]
    more = len(found) - len(shown)
    fields = [*_fields()]
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(one) for _, read in fields) for one in shown),
        notes=(*notes, *([f"{more} more groups that would save less are not shown"] if more else [])),
        # What may cost more, as cached input would be sent anew, is no finding.
        candidates=tuple(_candidate(one) for one in shown if one.low_usd >= 0),
        claims=claims,
    )


def _fields() -> Iterator[Field]:
    for name in ("agent", "service", "provider", "model", "tier"):
        yield Column(name, "cheaper tier" if name == "tier" else name, "text"), attrgetter(name)
    yield honest.MODE, attrgetter("pricing_mode")
    yield Column("runs", "runs", "count"), attrgetter("runs")
    yield Column("period_seconds", "every, s", "count"), attrgetter("period_seconds")
    yield Column("variation", "variation", "ratio"), attrgetter("variation")
    yield Column("all_calls", "calls", "count"), attrgetter("all_calls")
    yield Column("calls", "calls that may go there", "count"), attrgetter("calls")
    yield from money(honest.COLUMNS, attrgetter("cost_usd"))
    yield from money(honest.columns("{}_in_tier", "{} in the cheaper tier"), attrgetter("tier_usd"))


def _candidate(one: _Job) -> Candidate:
    words = _WORDS[one.tier]
    return Candidate(
        key=one.key,
        kind=one.tier,
        dimension={**whose(one.agent, one.service), "provider": one.provider, "model": one.model},
        pricing_mode=one.pricing_mode,
        title=(
            f"{who(one.agent, one.service)}: {one.runs} runs, one every {_every(one.period_seconds)}, with "
            f"{one.all_calls} calls to {honest.said(one.model or 'no model')}; {words.title}"
        ),
        method=words.method,
        action=words.action,
        evidence={
            "tier": one.tier,
            "runs": one.runs,
            "period_seconds": one.period_seconds,
            "variation_of_periods": round(one.variation, 4),
            "all_calls": one.all_calls,
            "calls_alone_in_their_session_or_trace": one.lone_calls,
            "calls_beside_others_that_ask_for_tools": one.chained_calls,
            "input_tokens": one.input_tokens,
            "cache_read_tokens": one.cache_read_tokens,
            "output_tokens": one.output_tokens,
            "cost": honest.Amount(one.pricing_mode, one.cost_usd),
            "cost_in_tier": honest.Amount(one.pricing_mode, one.tier_usd),
        },
        caveats=(
            *words.caveats,
            "that calls come by the clock says that no person starts them, not that nobody waits for what they answer",
        ),
    )


def _every(seconds: int) -> str:
    for unit, length_of_unit in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length_of_unit:
            return f"{seconds / length_of_unit:.3g} {unit}"
    return f"{seconds} seconds"


class _Words(NamedTuple):
    title: str
    method: str
    action: str
    caveats: tuple[str, ...]


_WORDS: Final[Mapping[str, _Words]] = {
    "flex": _Words(
        "the flex tier costs less",
        "each call priced again by the flex prices of its model at its own time, with the cache as it was",
        'ask for service_tier "flex" in one of these runs, with a longer time-out and another try without it',
        # developers.openai.com/api/docs/guides/flex-processing, ai.google.dev/gemini-api/docs/flex-inference
        (
            "answers come late, by minutes, and requests are refused while the provider is busy; what is then sent "
            "again in the standard tier saves nothing",
        ),
    ),
    "batch": _Words(
        "a batch costs less",
        "each call priced again by the batch prices of its model at its own time; low: only calls that are alone in "
        "their session or trace, with nothing read from a cache, high: all but those of conversations in which a tool "
        "is asked for, with the cache as it was",
        "hand the calls of one run over as a batch, and see when its answers come",
        # developers.openai.com/api/docs/guides/batch, platform.claude.com/docs/en/build-with-claude/batch-processing
        (
            "a batch is answered within a day, by most providers' promise, often sooner: not for what is needed soon",
            "calls of a batch run apart from each other: it does not serve calls that need each other's answers, which "
            "telemetry shows only where tools are asked for",
        ),
    ),
}
