"""What each account's calls were worth, beside the fee and the quota of its plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import duckdb

from analyzers import account_notes, honest
from analyzers.account_figures import Standing, standings
from analyzers.finding import Column, Finding, Report, Row, finding_id
from analyzers.registry import register
from analyzers.window import Window
from semconv.settings import AccountPlan

_COLUMNS: Final = (
    Column("account", "account", "text"),
    Column("plan_tier", "plan", "text"),
    Column("since", "since", "date"),
    honest.MODE,
    Column("calls", "calls", "count"),
    Column("input_tokens", "input tokens", "count"),
    Column("output_tokens", "output tokens", "count"),
    *honest.COLUMNS,
    honest.FEE_AMOUNT,
    Column("fee_currency", "currency", "text"),
    honest.FEE,
    Column("utilisation", "utilisation", "ratio"),
    honest.VALUE_LESS_FEE,
    Column("cheaper", "cheaper", "text"),
    Column("quota_tokens", "quota, tokens a cycle", "count"),
    Column("fullest_cycle", "fullest cycle from", "date"),
    Column("fullest_cycle_tokens", "its tokens", "count"),
    Column("quota_used", "quota used", "ratio"),
    Column("calls_without_usage", "calls without usage", "count"),
    Column("calls_without_cost", "calls without cost", "count"),
)


@register(
    "accounts",
    help="calls, tokens, spend or implied API value beside the fee and quota of each account's plan",
    needs=("account_plans",),
)
def accounts(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per account, plan that was in force and pricing mode; a plan without calls has its row too.

    ``settings["account_plans"]``: the declared plans (semconv.settings.AccountPlan). A fee counts by time, the value
    against it is the list price of the calls, and the quota is that of the fullest billing cycle, counted from the
    cycle's start even where the window begins later. ``cheaper``: plan or API, None where the figures do not decide it.
    """
    plans: Sequence[AccountPlan] = settings.get("account_plans", ())
    found = standings(connection, window, plans)
    return Report(
        columns=_COLUMNS,
        rows=tuple(_row(one) for one in found.rows),
        totals=tuple(_row(one) for one in found.totals),
        notes=tuple(account_notes.notes(connection, window, found)),
        findings=tuple(_crossed(found.rows)),
    )


def _row(one: Standing) -> Row:
    fullest = one.fullest_cycle
    return (
        one.account,
        one.plan_tier,
        one.plan.since if one.plan else None,
        one.pricing_mode,
        one.calls,
        one.input_tokens,
        one.output_tokens,
        *honest.amounts(one.pricing_mode, one.cost_usd),
        one.fee_amount,
        one.foreign_currency,
        one.fee_usd,
        one.utilisation,
        one.value_less_fee_usd,
        one.cheaper,
        one.quota_tokens,
        fullest.first_day if fullest else None,
        fullest.tokens if fullest else None,
        one.quota_used,
        one.calls_without_usage,
        one.calls_without_cost,
    )


def _crossed(rows: Iterable[Standing]) -> Iterator[Finding]:
    """One finding per billing cycle in which more was used than the plan's quota."""
    for one in rows:
        for cycle in one.cycles:
            if one.quota_tokens is not None and cycle.tokens > one.quota_tokens:
                about = {
                    "billing_account": one.account,
                    "plan_tier": one.plan_tier,
                    "cycle_from": cycle.first_day.isoformat(),
                }
                yield Finding(
                    finding_id("accounts", "quota", about, one.pricing_mode),
                    f"{honest.said(one.account or '(no account)')} used {cycle.tokens / one.quota_tokens:.0%} of"
                    f" the quota of its plan {one.plan_tier} in the billing cycle from {cycle.first_day}",
                    evidence={"tokens": cycle.tokens, "quota_tokens": one.quota_tokens},
                    caveats=("tokens are input, cached or not, and output; a provider may count others",),
                    dimension=about,
                    kind="quota",
                    action="look at what used them (otlp-analyze cost --by day,agent), or at a larger plan",
                )
