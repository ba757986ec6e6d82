"""The rows of unit_cost.sql."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.unit_key import UnitKey
from analyzers.unit_settings import Asked
from analyzers.window import Window
from semconv.sqltext import literal

STATISTICS: Final = ("mean", "median", "p95", "max", "min")


class _Outcome(NamedTuple):
    """Parts of unit_cost.sql: which calls say how a unit ended (``tells``), what those of one agent say of it, how that
    is put together, and how a unit ended of which none says anything."""

    tells: str
    succeeded: str
    of_agents: str
    otherwise: str


# A call that failed is made good by a later success of the same agent.
_NO_FAILURE_LEFT: Final = _Outcome(
    "unit IN (SELECT unit FROM unit_figures WHERE failed_calls > 0)",
    "coalesce(max(start_time) FILTER (NOT failed) > max(start_time) FILTER (failed), NOT bool_or(failed))",
    "bool_and",
    "TRUE",
)


class Unit(NamedTuple):
    """A unit in one pricing mode, the calls without a unit, or a mode's total. What follows ``under_budget`` is known
    of totals alone."""

    unit: object
    pricing_mode: str
    is_total: bool
    calls: int
    failed_calls: int
    input_tokens: int | None
    cache_read_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal | None
    llm_cost_usd: Decimal | None
    embeddings_cost_usd: Decimal | None
    cost_low_usd: Decimal | None
    cost_high_usd: Decimal | None
    calls_without_cost: int
    latency_p95_ms: float | None
    cache_share: float | None
    agents: list[str] | None
    succeeded: bool | None
    under_budget: bool | None
    units: int | None
    successful_units: int | None
    incomplete_units: int | None
    units_with_cost: int | None
    cost_of_units_usd: Decimal | None
    min_usd: Decimal | None
    max_usd: Decimal | None
    median_below_usd: Decimal | None
    median_above_usd: Decimal | None
    p95_below_usd: Decimal | None
    p95_above_usd: Decimal | None
    all_under_budget: bool | None

    @property
    def mean_usd(self) -> Decimal | None:
        """Of the units with a known cost."""
        return _divided(self.cost_of_units_usd, self.units_with_cost)

    @property
    def per_success_usd(self) -> Decimal | None:
        """What all units cost, those that failed too, for each that succeeded."""
        return _divided(self.cost_of_units_usd, self.successful_units)

    def statistics(self) -> tuple[Decimal | None, ...]:
        """In the order of STATISTICS."""
        median = self._between(self.median_below_usd, self.median_above_usd, 50)
        p95 = self._between(self.p95_below_usd, self.p95_above_usd, 95)
        return self.mean_usd, median, p95, self.max_usd, self.min_usd

    def _between(self, below: Decimal | None, above: Decimal | None, percent: int) -> Decimal | None:
        """Interpolated between neighbours, as latencies are."""
        if below is None or above is None or not self.units_with_cost:
            return None
        share = Fraction(percent * (self.units_with_cost - 1) % 100, 100)
        return honest.rounded(Fraction(below) + (Fraction(above) - Fraction(below)) * share)


def units(connection: duckdb.DuckDBPyConnection, window: Window, asked: Asked) -> list[Unit]:
    """The rows in the report's order, totals last."""
    parameters = {**window.parameters(), "top": asked.top, "unit_budget": asked.unit_budget}
    return [Unit(*record) for record in connection.execute(_sql(asked), parameters).fetchall()]


def _sql(asked: Asked) -> str:
    success = asked.success or UnitKey("", "NULL::VARCHAR")
    outcome = _says_so(asked.success_value) if asked.success else _NO_FAILURE_LEFT
    return sql.read("unit_cost.sql").format(
        unit=asked.by.expression,
        unit_calls=asked.by.join,
        success=success.expression,
        success_calls=success.join,
        **outcome._asdict(),
        # To read a few columns twice takes less than to keep them; a join takes more.
        materialized="MATERIALIZED" if asked.by.join or success.join else "NOT MATERIALIZED",
        modes="[" + ", ".join(map(literal, honest.MODES)) + "]",
    )


def _says_so(value: str | None) -> _Outcome:
    said = "lower(success) <> 'false'" if value is None else f"success = {literal(value)}"
    return _Outcome("success IS NOT NULL", f"bool_or({said})", "bool_or", "FALSE")


def _divided(amount: Decimal | None, count: int | None) -> Decimal | None:
    return honest.rounded(Fraction(amount) / count) if amount is not None and count else None
