"""The section of the configuration that says how much may be used: budgets in dollars or in tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from analyzers.budget_terms import Action, BadBudget, Budget, Length, check
from collector.config_section import RuleBroken, Section, Text


class BudgetConfig(Section):
    """Of one budget; analyzers/budget_terms.py says what the keys mean."""

    name: Text
    usd: Annotated[Decimal, Field(gt=0, max_digits=15)] | None = None
    tokens: Annotated[int, Field(gt=0)] | None = None
    scope: dict[str, Text] = Field(default_factory=dict)
    each: Text | None = None
    period: Length = "month"
    action: Action = "warn"
    warn_at: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.8")

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.usd is None) == (self.tokens is None):
            raise ValueError("a budget is in dollars or in tokens: give one of usd and tokens")
        return self

    def budget(self) -> Budget:
        return Budget(**{name: getattr(self, name) for name in type(self).model_fields})


def budgets_of(entries: Sequence[BudgetConfig]) -> tuple[Budget, ...]:
    return tuple(entry.budget() for entry in entries)


def check_budgets(entries: Sequence[BudgetConfig], dimensions: Iterable[str], user_ids: str) -> None:
    """Raises RuleBroken; ``dimensions``: the names of those that are configured."""
    for index, entry in enumerate(entries):
        if user_ids == "drop" and (entry.each == "user" or "user" in entry.scope):
            raise RuleBroken(
                ("budgets", index, "each" if entry.each == "user" else "scope"),
                "no call has a user where redaction.user_ids is drop; hash them, or budget something else",
            )
    try:
        check(budgets_of(entries), dimensions)
    except BadBudget as problem:
        raise RuleBroken(("budgets", problem.index, problem.key), str(problem)) from None
