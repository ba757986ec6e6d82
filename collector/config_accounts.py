"""The section of the configuration that says who pays, and how: accounts, their plans, fees and quotas."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from collector.config_section import RuleBroken, Section, Text
from semconv.settings import AccountPlan, AccountRule, Fee

PlanTier = Literal["api", "pro", "max_5x", "max_20x", "plus", "team", "enterprise", "local"]

# The plans that an account may have on a usage-billed contract.
_USAGE_BILLED_PLANS: Final = ("team", "enterprise")
# A double, which is what YAML makes of 199.99, holds any decimal of 15 digits exactly.
_MAX_DIGITS: Final = 15


def _check_currency(code: str) -> str:
    if not re.fullmatch("[A-Z]{3}", code):
        raise ValueError("a currency is three capital letters (ISO 4217), such as USD or EUR")
    return code


Amount = Annotated[Decimal, Field(ge=0, max_digits=_MAX_DIGITS)]
Rate = Annotated[Decimal, Field(gt=0, max_digits=_MAX_DIGITS)]


class AccountMatch(Section):
    """Conditions on a record, all of which must hold."""

    provider: Text | None = None
    service: Text | None = None
    user: Text | None = None
    attributes: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _some_condition(self) -> Self:
        if not (self.provider or self.service or self.user or self.attributes):
            raise ValueError("match needs at least one of provider, service, user and attributes")
        return self


class FeeConfig(Section):
    """What the plan costs per billing cycle, however much is used."""

    amount: Amount
    currency: Annotated[str, AfterValidator(_check_currency)] = "USD"
    # US dollars for one unit of the currency.
    fx_to_usd: Rate | None = None

    @model_validator(mode="after")
    def _rate(self) -> Self:
        if self.currency == "USD" and self.fx_to_usd is not None:
            raise ValueError("fx_to_usd is for a fee in another currency than USD")
        return self


class Account(Section):
    """Which records an account pays for, and its plan; several entries of one name are a history."""

    name: Text
    match: AccountMatch | None = None
    plan_tier: PlanTier | None = None
    since: dt.date | None = None
    usage_billed: bool = False
    fee_per_month: FeeConfig | None = None
    cycle_start_day: Annotated[int, Field(ge=1, le=31)] = 1
    quota_tokens: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _plan(self) -> Self:
        if self.usage_billed and self.plan_tier not in _USAGE_BILLED_PLANS:
            raise ValueError("usage_billed can be declared for plan_tier team or enterprise only")
        if self.since and not self.plan_tier:
            raise ValueError("since is the first day of a plan and needs plan_tier")
        for name in ("fee_per_month", "quota_tokens"):
            if getattr(self, name) is not None and not self.plan_tier:
                raise ValueError(f"{name} belongs to a plan and needs plan_tier")
        return self

    def plan(self) -> AccountPlan | None:
        if self.plan_tier is None:
            return None
        fee = self.fee_per_month
        return AccountPlan(
            self.name,
            self.plan_tier,
            self.since,
            self.usage_billed,
            fee_per_month=Fee(fee.amount, fee.currency, fee.fx_to_usd) if fee else None,
            cycle_start_day=self.cycle_start_day,
            quota_tokens=self.quota_tokens,
        )


def account_rules(accounts: Sequence[Account]) -> tuple[AccountRule, ...]:
    """In the order of the file: the first that matches wins."""
    return tuple(AccountRule(one.name, **one.match.model_dump()) for one in accounts if one.match)


def account_plans(accounts: Sequence[Account]) -> tuple[AccountPlan, ...]:
    return tuple(_plans(accounts))


def _plans(accounts: Sequence[Account]) -> Iterator[AccountPlan]:
    for account in accounts:
        if plan := account.plan():
            yield plan


def check_plans(accounts: Sequence[Account]) -> None:
    """Raises RuleBroken where an account has two plans at a time."""
    plans: set[tuple[str, dt.date | None]] = set()
    for index, account in enumerate(accounts):
        plan = (account.name, account.since)
        if account.plan_tier and plan in plans:
            raise RuleBroken(
                ("accounts", index, "since"),
                f"account {account.name!r} has two plans from one day on; give one a date",
            )
        if account.plan_tier:
            plans.add(plan)


def check_matches(accounts: Sequence[Account], user_ids: str) -> None:
    """Raises RuleBroken for a rule that no record can meet."""
    for index, account in enumerate(accounts):
        if user_ids == "drop" and account.match and account.match.user:
            raise RuleBroken(
                ("accounts", index, "match", "user"),
                "no record has a user where redaction.user_ids is drop; hash them, or match by something else",
            )
