"""What a unit of work costs: a user, a session, an agent, a job, a lead, whatever a call's records name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

import duckdb

from analyzers import honest
from analyzers.fields import Field, Reader, money
from analyzers.finding import Column, Report, Row
from analyzers.month import Month, month_of, until
from analyzers.registry import register
from analyzers.unit_figures import STATISTICS, Unit, units
from analyzers.unit_notes import unit_notes
from analyzers.unit_settings import SETTINGS, Asked, asked
from analyzers.window import Window

_SHORTEST_ID: Final = 8
_LLM: Final = honest.columns("llm_{}", "{} of LLM calls")
_EMBEDDINGS: Final = honest.columns("embeddings_{}", "{} of embeddings")
_SUCCESSFUL: Final = honest.columns("{}_per_successful_unit", "{} per successful unit")
_THIS_MONTH: Final = honest.columns("{}_this_month", "{} this month so far")
_PROJECTED: Final = honest.columns("projected_{}_this_month", "{} of this month at this pace")


@register(
    "unit-cost",
    help="what a user, session, agent, job, lead or any other unit costs, and how many more a budget allows",
    settings=SETTINGS,
    needs=("now",),
)
def unit_cost(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per unit and pricing mode, the dearest first; one total per pricing mode with what a unit costs there.

    ``by``: a dimension as `cost` has them, else the key of an attribute of the calls' records (call_attribute.sql says
    whose it is); default session. ``top``: most units shown of each mode, 0 = all; default 20. ``unit_budget``: USD
    that a unit may cost. ``budget``: USD that may be spent in a month. ``success_attr``: KEY or KEY=VALUE, a unit
    succeeded where a call has that value (KEY alone: any but false); without it, where every failed call was followed
    by a success of the same agent. ``short_ids``: cut units to what tells them apart. Raises BadSetting.

    A unit with calls in several pricing modes has a row in each. Statistics are of the units with any known cost,
    latencies of successful calls. ``now`` is the clock's time, for windows that end later.
    """
    chosen = asked(connection, window, settings)
    found = units(connection, window, chosen)
    totals = [one for one in found if one.is_total]
    over = until(window, settings.get("now"))
    month = next(
        (month_of(connection, over, one.cost_usd) for one in totals if one.pricing_mode == "api"), None
    )
    fields = [*_fields(chosen, {one.pricing_mode for one in totals}), *_month_fields(chosen, month)]
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(_rows(fields, [one for one in found if not one.is_total], chosen.short_ids)),
        totals=tuple(_rows(fields, totals)),
        notes=tuple(unit_notes(connection, window, chosen, found, month)),
    )


def _rows(fields: Sequence[Field], found: Sequence[Unit], short_ids: bool = False) -> Iterator[Row]:
    width = _telling_width([str(one.unit) for one in found if one.unit is not None]) if short_ids else None
    for one in found:
        unit = one.unit if width is None or one.unit is None else str(one.unit)[:width]
        yield (unit, *(read(one) for _, read in fields[1:]))


def _telling_width(ids: Collection[str]) -> int:
    """How many characters tell all apart; a unit in two modes is one."""
    several = set(ids)
    width = _SHORTEST_ID
    while len({one[:width] for one in several}) < len(several):
        width += 1
    return width


def _fields(chosen: Asked, modes: Collection[str]) -> Iterator[Field]:
    """Each column with what stands in it, of units first, then what totals alone have."""
    name = chosen.by.name
    yield Column(name, name.replace("_", " "), "date" if name == "day" else "text"), attrgetter("unit")
    yield honest.MODE, attrgetter("pricing_mode")
    for column, label in (("calls", "calls"), ("failed_calls", "failed")):
        yield Column(column, label, "count"), attrgetter(column)
    yield Column("input_tokens", "input tokens", "count"), attrgetter("input_tokens")
    yield Column("cache_read_tokens", "cache read", "count"), attrgetter("cache_read_tokens")
    yield Column("output_tokens", "output tokens", "count"), attrgetter("output_tokens")
    yield from money(honest.COLUMNS, attrgetter("cost_usd"))
    yield from money(_LLM, attrgetter("llm_cost_usd"))
    yield from money(_EMBEDDINGS, attrgetter("embeddings_cost_usd"))
    yield Column("calls_without_cost", "calls without cost", "count"), attrgetter("calls_without_cost")
    yield Column("latency_p95_ms", "p95, ms", "milliseconds"), attrgetter("latency_p95_ms")
    yield Column("cache_share", "cache share", "ratio"), attrgetter("cache_share")
    yield Column("agents", "agents", "count"), lambda one: len(one.agents or ())
    yield Column("agent_names", "agents used", "text"), lambda one: ", ".join(one.agents or ()) or None
    yield Column("succeeded", "succeeded", "text"), attrgetter("succeeded")
    if chosen.unit_budget is not None:
        yield Column("under_budget", "under budget", "text"), attrgetter("under_budget")
        yield Column("all_under_budget", "all under budget", "text"), attrgetter("all_under_budget")
    for column in ("units", "successful_units", "incomplete_units"):
        yield Column(column, column.replace("_", " "), "count"), attrgetter(column)
    for at, statistic in enumerate(STATISTICS):
        yield from money(honest.per_unit(statistic), _statistic(at), modes)
    yield from money(_SUCCESSFUL, attrgetter("per_success_usd"), modes)


def _month_fields(chosen: Asked, month: Month | None) -> Iterator[Field]:
    """Only what is paid per use can be projected onto a month's bill, and only as a whole."""
    if month is None:
        return
    yield from money(_THIS_MONTH, _of_total(month.spend), {"api"})
    yield from money(_PROJECTED, _of_total(month.projected), {"api"})
    if (budget := chosen.budget) is not None:
        yield (
            Column("headroom_units", "more units this month", "count"),
            lambda one: month.units_left(budget, one.mean_usd) if one.pricing_mode == "api" else None,
        )


def _statistic(at: int) -> Reader:
    return lambda one: one.statistics()[at]


def _of_total(amount: object) -> Reader:
    return lambda one: amount if one.is_total else None
