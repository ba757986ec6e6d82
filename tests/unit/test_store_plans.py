"""Accounts and plans that are declared after the calls: reading the records again gives them to the stored calls."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from collector.config_accounts import PlanTier
from collector.store.prices import active
from collector.store.reprice import Repricer
from semconv.settings import AccountPlan, AccountRule, Settings
from tests.renormalize_support import SINCE, UNTIL, renormalize
from tests.store_support import SECOND, call, store, traces

DAY = 86_400 * SECOND
# From an account's first plan to its next on 16 March, in the middle of a month.
HISTORY = Settings(
    account_rules=(AccountRule("coding", service="shop"),),
    account_plans=(
        AccountPlan("coding", "pro"),
        AccountPlan("coding", "max_20x", since=dt.date(2026, 3, 16)),
    ),
)
PLANS = "SELECT start_time::DATE, billing_account, plan_tier, pricing_mode, cost_usd FROM calls ORDER BY 1"


def days(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(f"{row[0]:%d}", *row[1:4]) for row in rows]


def test_what_is_declared_later_counts_from_its_day_for_stored_calls_too(tmp_path: Path) -> None:
    """A plan change in the middle of the month: the calls before it stay on the plan of then; their list price does
    not depend on it. What a record itself says of its account or plan wins over the configuration, as at its load.
    """
    said = {"billing_account": "own", "plan_tier": "api"}
    spans = [
        call(1, 1),  # 10 March
        call(2, 2, at=5 * DAY + 11 * 3600 * SECOND),  # 15 March, 23:00 UTC
        call(3, 3, at=5 * DAY + 12 * 3600 * SECOND),  # 16 March, 00:00 UTC
        call(4, 4, at=10 * DAY, attributes=said),  # 20 March
    ]
    data = tmp_path / "data"
    with store(data) as before:
        before.load(traces(*spans))
        loaded = before.ask(PLANS)
    assert days(loaded) == [
        ("10", "openai", "unknown", "unknown"),
        ("15", "openai", "unknown", "unknown"),
        ("16", "openai", "unknown", "unknown"),
        ("20", "own", "api", "api"),
    ]
    with store(data, HISTORY) as declared:
        renormalize(declared)
        again = declared.ask(PLANS)
    assert days(again) == [
        ("10", "coding", "pro", "subscription"),
        ("15", "coding", "pro", "subscription"),
        ("16", "coding", "max_20x", "subscription"),
        ("20", "own", "api", "api"),
    ]
    assert [row[4] for row in again] == [row[4] for row in loaded]


def test_only_the_calls_of_the_time_asked_for_are_read_again(tmp_path: Path) -> None:
    """What the note of undeclared plans tells to type begins with the window's start."""
    data = tmp_path / "data"
    with store(data) as before:
        before.load(traces(call(1, 1), call(2, 2, at=10 * DAY)))
    with store(data, HISTORY) as declared:
        renormalize(declared, since=dt.datetime(2026, 3, 16))
        assert days(declared.ask(PLANS)) == [
            ("10", "openai", "unknown", "unknown"),
            ("20", "coding", "max_20x", "subscription"),
        ]


def test_a_contract_declared_usage_billed_later_is_billed_so_from_its_day(tmp_path: Path) -> None:
    """The plan stands with the record, and stays; what its calls' costs are called changes where they are priced."""
    seats = AccountPlan("openai", "enterprise")
    metered = replace(seats, since=dt.date(2026, 3, 16), usage_billed=True)
    data = tmp_path / "data"
    with store(data, Settings(account_plans=(seats,))) as before:
        before.load(traces(call(1, 1), call(2, 2, at=10 * DAY)))
        loaded = before.ask(PLANS)
    with store(data, Settings(account_plans=(seats, metered))) as declared:
        repricer = Repricer(declared.lake, declared.settings, active(declared.lake.connection))
        repricer.reprice(SINCE, UNTIL, lambda _: None)
        again = declared.ask(PLANS)
    assert days(again) == [
        ("10", "openai", "enterprise", "subscription"),
        ("20", "openai", "enterprise", "api"),
    ]
    assert [row[4] for row in again] == [row[4] for row in loaded]


def test_the_mode_of_a_plan_is_that_of_its_calls(tmp_path: Path) -> None:
    """Reports say what a plan without calls would be; the loader says what its calls are."""
    tiers = get_args(PlanTier)
    plans = [AccountPlan(tier, tier) for tier in tiers]
    plans += [AccountPlan(f"{tier}-metered", tier, usage_billed=True) for tier in ("team", "enterprise")]
    spans = [
        call(number, number, attributes={"billing_account": plan.account})
        for number, plan in enumerate(plans, start=1)
    ]
    with store(tmp_path / "data", Settings(account_plans=tuple(plans))) as lake:
        lake.load(traces(*spans))
        stored = dict(lake.ask("SELECT billing_account, pricing_mode FROM calls"))
    assert stored == {plan.account: plan.pricing_mode for plan in plans}
    assert set(stored.values()) == {"api", "subscription", "local"}
