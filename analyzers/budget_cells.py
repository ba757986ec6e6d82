"""SQL over `calls` that counts what budgets count, all in one scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from analyzers import sql
from analyzers.budget_terms import DIMENSIONS, Budget
from semconv.sqltext import literal, quoted

_UNKNOWN: Final = {"usd": "calls_without_cost", "tokens": "calls_without_usage"}


def cells_sql(budgets: Sequence[Budget], time: str, further: Sequence[str] = ()) -> str:
    """What was used by ``time`` (expressions over start_time, with their names) and by each dimension that a budget is
    for, and the ``further`` ones. Its parameters are $start and $end, and those of ``time``.
    """
    names = dict.fromkeys([*(name for budget in budgets for name in budget.dimensions), *further])
    return sql.read("budget_cells.sql").format(
        time=time,
        dimensions="".join(f"{column(name)}, " for name in names),
        sources="".join(f"CAST({expression(name)} AS VARCHAR) AS {column(name)}, " for name in names),
    )


def used_sql(numbered: Mapping[int, Budget], carried: Sequence[str], condition: str = "") -> str:
    """What each budget, by its number, counts of the relation `cells`; ``carried``: columns of the cells that go along.

    ``condition`` is a further one, with {number} for the budget's.
    """
    return "\nUNION ALL\n".join(
        sql.read("budget_used.sql").format(
            number=number,
            value=column(budget.each) if budget.each else "''",
            carried=", ".join(carried),
            unit=budget.unit,
            unknown=_UNKNOWN[budget.unit],
            condition=" AND ".join(
                [
                    *(f"{column(name)} = {literal(value)}" for name, value in budget.scope.items()),
                    condition.format(number=number) or "true",
                ]
            ),
        )
        for number, budget in numbered.items()
    )


def column(name: str) -> str:
    """What the cells call a dimension: no name of theirs, whatever is configured."""
    return quoted(f"of_{name}")


def expression(name: str) -> str:
    return DIMENSIONS.get(name) or quoted(name)
