"""What the server tells the child that counts budgets, as JSON has it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from analyzers.budget_terms import Budget
from semconv.settings import AccountPlan


def told(
    data_dir: Path, timezone: str, log_level: str, budgets: Sequence[Budget], plans: Sequence[AccountPlan]
) -> dict[str, Any]:
    """What the child is told, as JSON has it."""
    return {
        "data_dir": str(data_dir),
        "timezone": timezone,
        "log_level": log_level,
        "budgets": [{name: _plain(getattr(one, name)) for name in one.__slots__} for one in budgets],
        "plans": [
            {
                "account": one.account,
                "plan_tier": one.plan_tier,
                "since": one.since and one.since.isoformat(),
                "cycle_start_day": one.cycle_start_day,
            }
            for one in plans
        ],
    }


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else value


def budget_of(given: Mapping[str, Any]) -> Budget:
    usd = given["usd"]
    return Budget(
        **{**given, "usd": None if usd is None else Decimal(usd), "warn_at": Decimal(given["warn_at"])}
    )


def plan_of(given: Mapping[str, Any]) -> AccountPlan:
    since = given["since"]
    return AccountPlan(**{**given, "since": since and dt.date.fromisoformat(since)})
