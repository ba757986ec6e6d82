"""What is drawn over time is computed beside what was asked for, and recorded nowhere."""

from __future__ import annotations

from typing import Any, Final

from analyzers import registry
from analyzers.cost import DAY
from analyzers.window import Window
from collector import runs
from collector.cli.options import CliError
from collector.store.lake import Lake

_DIMENSIONS: Final = ("model", "agent")


def daily_costs(lake: Lake, window: Window, time_limit_seconds: float) -> dict[str, dict[str, Any]]:
    """The result of `cost` by day and each of the dimensions, under the dimension's name. Raises CliError."""
    costs = {}
    for dimension in _DIMENSIONS:
        by = {"by": [DAY, dimension]}
        run = runs.execute(lake, registry.get("cost"), window, by, time_limit_seconds)
        if (result := run.result()) is None:
            raise CliError(f"cost by {DAY} and {dimension}: {run.outcome.error}")
        costs[dimension] = result
    return costs
