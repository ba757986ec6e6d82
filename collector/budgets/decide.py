"""What a caller needs to know before it spends: whether it may, which budget says so, and what is left."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from analyzers.budget_terms import Budget, Span, State
from analyzers.window import iso

_BLOCKING: Final = ("fail", "skip")
_STATES: Final[tuple[State, ...]] = ("ok", "warn", "exceeded")
_ACTIONS: Final = ("warn", "skip", "fail")


@dataclass(frozen=True, slots=True)
class Applying:
    """A budget, or the part of one value, that a call would use; ``not_counted``: calls by why they are in no sum."""

    budget: Budget
    value: str
    span: Span
    used: Decimal
    calls: int
    not_counted: Mapping[str, int]

    @property
    def state(self) -> State:
        return self.budget.state(self.used)

    @property
    def is_known(self) -> bool:
        """Not where all that its calls used is unknown; where some is, more is used than is said."""
        return bool(self.used) or not any(
            self.not_counted.get(why) for why in ("cost_unknown", "tokens_unknown")
        )

    @property
    def blocks(self) -> bool:
        return self.state == "exceeded" and self.budget.action in _BLOCKING

    @property
    def weight(self) -> tuple[int, int, Decimal]:
        """Of several the largest decides: the worst state, the strictest action, the largest share used."""
        action = _ACTIONS.index(self.budget.action)
        return _STATES.index(self.state), action, self.used / self.budget.limit

    def as_dict(self) -> dict[str, Any]:
        budget = self.budget
        return {
            "budget": budget.name,
            "of": budget.about(self.value),
            "state": self.state,
            "action": budget.action,
            "unit": budget.unit,
            "limit": _number(budget.limit),
            "used": _number(self.used),
            "left": _number(budget.limit - self.used),
            "warn_at": float(budget.warn_at),
            "period": budget.period,
            "period_start": iso(self.span.start),
            "period_end": iso(self.span.end),
            "calls": self.calls,
            "calls_not_counted": {why: count for why, count in self.not_counted.items() if count},
        }


def applying(budgets: Sequence[Budget], asked: Mapping[str, str]) -> list[tuple[int, str]]:
    """The budgets, by their place, and the values of ``each`` of them, that a call of this description uses."""
    return [
        (number, asked[budget.each] if budget.each else "")
        for number, budget in enumerate(budgets)
        if all(asked.get(name) == value for name, value in budget.scope.items())
        and (budget.each is None or budget.each in asked)
    ]


def undescribed(budgets: Iterable[Budget], asked: Mapping[str, str]) -> list[str]:
    """What would have to be said of the call to know whether the other budgets are for it."""
    return sorted(
        {
            name
            for budget in budgets
            if all(asked.get(name, value) == value for name, value in budget.scope.items())
            for name in budget.dimensions
            if name not in asked
        }
    )


def decision(found: Sequence[Applying], now: dt.datetime) -> dict[str, Any]:
    """The answer; without any budget that applies, nothing speaks against the call."""
    ordered = sorted(found, key=lambda one: one.weight, reverse=True)
    first = ordered[0] if ordered else None
    blocking = [one.span.end for one in ordered if one.blocks]
    return {
        "allowed": not blocking,
        "state": first.state if first else "ok",
        "action": first.budget.action if first and first.state != "ok" else None,
        "decided_by": first.budget.name if first else None,
        "retry_after_seconds": _seconds(max(blocking) - now) if blocking else None,
        "budgets": [one.as_dict() for one in ordered],
    }


def _seconds(length: dt.timedelta) -> int:
    return max(1, math.ceil(length.total_seconds()))


def _number(amount: Decimal | int) -> float | int:
    """As JSON has it: whole ones exactly."""
    return int(amount) if amount == int(amount) else float(amount)
