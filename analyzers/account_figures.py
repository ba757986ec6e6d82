"""The figures of `accounts`: calls per plan that was in force, beside its fee and quota."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from operator import add
from typing import Literal, NamedTuple, TypedDict, TypeVar

import duckdb

from analyzers import billing, honest, sql
from analyzers.billing import Period
from analyzers.window import Window, naive_utc
from semconv.settings import AccountPlan

Number = TypeVar("Number", int, Decimal)
Cheaper = Literal["plan", "API"]


class _Counted(NamedTuple):
    """One row of accounts.sql."""

    account: str | None
    plan_tier: str | None
    pricing_mode: str
    period: int | None
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal | None
    cost_low_usd: Decimal | None
    cost_high_usd: Decimal | None
    calls_without_cost: int
    calls_of_unknown_cost: int
    calls_without_usage: int
    cycle_tokens: int
    cycle_calls_without_usage: int


class Cycle(NamedTuple):
    """A billing cycle: tokens since it began, or since the plan did, until the window's end."""

    first_day: dt.date
    tokens: int
    calls_without_usage: int


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's calls of one plan and pricing mode in the window; None is unknown.

    ``plan`` is the declared plan that was in force, ``declared`` whether it is what these calls were stored with: the
    fee and the quota belong to them. ``fee_amount`` is in the fee's currency.
    """

    account: str | None
    plan_tier: str | None
    pricing_mode: str
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal | None
    cost_low_usd: Decimal | None
    cost_high_usd: Decimal | None
    calls_without_cost: int
    calls_of_unknown_cost: int  # but for those that failed without usage, which nobody bills
    calls_without_usage: int
    plan: AccountPlan | None = None
    declared: bool = False
    undeclared_calls: int = 0  # of the account while it was on this plan, which may belong here
    cycles: tuple[Cycle, ...] = ()
    fee: Decimal | None = None
    fee_usd: Decimal | None = None

    @property
    def fee_amount(self) -> Decimal | None:
        """In a currency other than USD."""
        return self.fee if self.foreign_currency else None

    @property
    def foreign_currency(self) -> str | None:
        declared = self.plan.fee_per_month if self.plan and self.declared else None
        return declared.currency if declared and declared.currency != "USD" else None

    @property
    def utilisation(self) -> float | None:
        """The implied API value as a part of the fee."""
        if self.pricing_mode != "subscription" or self.cost_usd is None or not self.fee_usd:
            return None
        return float(Fraction(self.cost_usd) / Fraction(self.fee_usd))

    @property
    def value_less_fee_usd(self) -> Decimal | None:
        if self.pricing_mode != "subscription" or self.cost_usd is None or self.fee_usd is None:
            return None
        return self.cost_usd - self.fee_usd

    @property
    def cheaper(self) -> Cheaper | None:
        """None where calls of unknown cost, or the two ends of a known one, leave it open, or both cost the same."""
        if self.value_less_fee_usd is None or self.fee_usd is None:
            return None
        if self.cost_low_usd is not None and self.cost_low_usd > self.fee_usd:
            return "plan"
        if self.calls_of_unknown_cost or self.undeclared_calls:
            return None
        return "API" if self.cost_high_usd is not None and self.cost_high_usd < self.fee_usd else None

    @property
    def quota_tokens(self) -> int | None:
        return self.plan.quota_tokens if self.plan and self.declared else None

    @property
    def fullest_cycle(self) -> Cycle | None:
        """Quotas of two cycles are never added."""
        return max(self.cycles, key=lambda cycle: cycle.tokens) if self.cycles and self.quota_tokens else None

    @property
    def quota_used(self) -> float | None:
        fullest = self.fullest_cycle
        return fullest.tokens / self.quota_tokens if fullest and self.quota_tokens else None


class Standings(NamedTuple):
    """``totals`` has one per pricing mode; ``prorated`` is whether some fee is of a part of a cycle."""

    rows: tuple[Standing, ...]
    totals: tuple[Standing, ...]
    prorated: bool


def standings(
    connection: duckdb.DuckDBPyConnection, window: Window, plans: Sequence[AccountPlan]
) -> Standings:
    """Of every account with calls in the window or a plan in force in it."""
    periods = billing.periods(plans, window)
    counted = _counted(connection, window, periods)
    found = (row for row in _rows(counted, periods, window) if row.calls or row.declared)
    rows = sorted(found, key=_order)
    return Standings(
        tuple(rows),
        tuple(_totals(rows)),
        any(one.plan.fee_per_month is not None and one.share(window) != 1 for one in periods),
    )


def _counted(
    connection: duckdb.DuckDBPyConnection, window: Window, periods: Sequence[Period]
) -> list[_Counted]:
    with_quota = [one.start for one in periods if one.plan.quota_tokens is not None]
    parameters = window.parameters() | {
        "accounts": [one.plan.account for one in periods],
        "numbers": list(range(len(periods))),
        "starts": [naive_utc(one.start) for one in periods],
        "ends": [naive_utc(one.end) for one in periods],
        "first": naive_utc(min([window.start, *with_quota])),
    }
    return [_Counted(*row) for row in connection.execute(sql.read("accounts.sql"), parameters).fetchall()]


_Key = tuple[str | None, str | None, str, AccountPlan | None]


def _rows(counted: Iterable[_Counted], periods: Sequence[Period], window: Window) -> Iterator[Standing]:
    """Calls by plan; then the plans that no call was stored with."""
    groups: dict[_Key, list[_Counted]] = defaultdict(list)
    for one in counted:
        plan = None if one.period is None else periods[one.period].plan
        groups[one.account, one.plan_tier, one.pricing_mode, plan].append(one)
    for plan in dict.fromkeys(period.plan for period in periods):
        groups.setdefault((plan.account, plan.plan_tier, plan.pricing_mode, plan), [])
    for (account, tier, mode, plan), group in groups.items():
        standing = _standing(account, tier, mode, group)
        if plan is None or (plan.plan_tier, plan.pricing_mode) != (tier, mode):
            yield replace(standing, plan=plan)
        else:
            undeclared = groups.get((account, "unknown", "unknown", plan), ())
            yield replace(
                standing,
                plan=plan,
                declared=True,
                undeclared_calls=sum(one.calls for one in undeclared),
                cycles=_cycles(group, periods),
                **_fees(plan, periods, window),
            )


def _standing(account: str | None, tier: str | None, mode: str, group: Sequence[_Counted]) -> Standing:
    """Without calls the sums are known, and nothing."""
    none = 0 if not any(one.calls for one in group) else None
    no_cost = None if none is None or mode == "local" else Decimal(0)
    return Standing(
        account=account,
        plan_tier=tier,
        pricing_mode=mode,
        **_sums(group, none, no_cost),
    )


class _Sums(TypedDict):
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal | None
    cost_low_usd: Decimal | None
    cost_high_usd: Decimal | None
    calls_without_cost: int
    calls_of_unknown_cost: int
    calls_without_usage: int


def _sums(rows: Sequence[_Counted] | Sequence[Standing], none: int | None, no_cost: Decimal | None) -> _Sums:
    """``none`` and ``no_cost``: the sums of what no row knows."""
    return {
        "calls": sum(row.calls for row in rows),
        "input_tokens": _sum((row.input_tokens for row in rows), none),
        "output_tokens": _sum((row.output_tokens for row in rows), none),
        "cost_usd": _sum((row.cost_usd for row in rows), no_cost),
        "cost_low_usd": _sum((row.cost_low_usd for row in rows), no_cost),
        "cost_high_usd": _sum((row.cost_high_usd for row in rows), no_cost),
        "calls_without_cost": sum(row.calls_without_cost for row in rows),
        "calls_of_unknown_cost": sum(row.calls_of_unknown_cost for row in rows),
        "calls_without_usage": sum(row.calls_without_usage for row in rows),
    }


def _sum(values: Iterable[Number | None], of_none: Number | None) -> Number | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return reduce(add, known) if known else of_none


def _cycles(group: Iterable[_Counted], periods: Sequence[Period]) -> tuple[Cycle, ...]:
    return tuple(
        Cycle(periods[one.period].cycle, one.cycle_tokens, one.cycle_calls_without_usage)
        for one in sorted(group, key=lambda one: one.period or 0)
        if one.period is not None
    )


class _Fees(TypedDict):
    fee: Decimal | None
    fee_usd: Decimal | None


def _fees(plan: AccountPlan, periods: Sequence[Period], window: Window) -> _Fees:
    fee = billing.fee([one for one in periods if one.plan == plan], window)
    rate = plan.fee_per_month.dollars_for_one if plan.fee_per_month else None
    dollars = None if fee is None or rate is None else honest.rounded(Fraction(fee) * Fraction(rate))
    return {"fee": fee, "fee_usd": dollars}


def _totals(rows: Sequence[Standing]) -> Iterator[Standing]:
    for mode in honest.MODES:
        of_mode = [row for row in rows if row.pricing_mode == mode]
        if of_mode:
            yield _total(mode, of_mode)


def _total(mode: str, rows: Sequence[Standing]) -> Standing:
    """A subscription without a known fee leaves the fees of all unknown; who pays per use may have none."""
    fees = [row.fee_usd for row in rows]
    known = mode != "subscription" or None not in fees
    return Standing(
        account=None,
        plan_tier=None,
        pricing_mode=mode,
        **_sums(rows, None, None),
        fee_usd=_sum(fees, None) if known else None,
    )


def _order(row: Standing) -> tuple[object, ...]:
    since = row.plan.since if row.plan else None
    return (
        honest.MODES.index(row.pricing_mode),
        row.account is None,
        row.account or "",
        since or dt.date.min,
        row.plan_tier or "",
    )
