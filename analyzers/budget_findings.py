"""What of the budgets is worth acting on: exceeded, nearly used up, or likely to be exceeded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import count
from typing import Final

import duckdb

from analyzers import budget_projection, honest, sql
from analyzers.budget_cells import expression
from analyzers.budget_projection import WILL_EXCEED_BELOW
from analyzers.budget_standing import Standing
from analyzers.finding import Finding, finding_id
from analyzers.statistics import discoveries
from analyzers.window import naive_utc
from semconv.sqltext import literal

_ANALYZER: Final = "budget"
_KINDS: Final = {"exceeded": "exceeded", "warn": "warning"}
_ACTIONS: Final = {
    "warn": "callers are warned",
    "fail": "callers that ask before they spend are told to fail",
    "skip": "callers that ask before they spend are told to skip what can wait",
}
# Of further findings no example calls are looked for, as each takes a scan.
_WITH_EXAMPLES: Final = 20
_UNITS: Final = {"usd": "cost_usd", "tokens": "coalesce(input_tokens, 0) + coalesce(output_tokens, 0)"}


def findings(connection: duckdb.DuckDBPyConnection, every: Sequence[Standing]) -> Iterator[Finding]:
    """Facts first. What will be exceeded is told from chance over all budgets together."""
    numbers = count()
    for one in every:
        if one.state != "ok":
            examples = _examples(connection, one) if next(numbers) < _WITH_EXAMPLES else ()
            yield _finding(one, _KINDS[one.state], examples)
    for one, is_told in zip(every, discoveries([one.will_exceed for one in every]), strict=True):
        if is_told and (one.will_exceed or 0.0) <= WILL_EXCEED_BELOW:
            yield _finding(one, "will_exceed", ())


def _finding(one: Standing, kind: str, examples: tuple[str, ...]) -> Finding:
    dimension = {"budget": one.budget.name, "period_start": str(one.span.first_day), **one.about}
    return Finding(
        finding_id(_ANALYZER, kind, dimension, one.pricing_mode),
        _title(one, kind),
        _evidence(one, kind),
        _caveats(one, kind),
        dimension,
        examples,
        p_value=one.will_exceed if kind == "will_exceed" else None,
        action=_ACTIONS[one.budget.action],
        kind=kind,
    )


def _title(one: Standing, kind: str) -> str:
    about = ", ".join(f"{name} {value}" for name, value in one.about.items())
    name = f"budget {one.budget.name}" + (f" of {about}" if about else "")
    period = f"the {one.budget.period} from {one.span.first_day}"
    if kind == "will_exceed" and one.rest:
        low, high = (_said(one, one.projected(end)) for end in (one.rest.low, one.rest.high))
        return f"{name}, {_limit(one)}, will be exceeded in {period} at this pace: {low} to {high}"
    word = "is exceeded" if kind == "exceeded" else f"is used to {one.used_share:.0%}"
    return f"{name} {word} in {period}: {_said(one, one.amount)}, {_limit(one)} allowed"


def _said(one: Standing, amount: Decimal | int | None) -> str:
    if amount is None:
        return "unknown"
    return f"spend of {amount:,.2f} USD" if one.budget.unit == "usd" else f"{amount:,.0f} tokens"


def _limit(one: Standing) -> str:
    return f"{one.budget.limit:,.2f} USD" if one.budget.unit == "usd" else f"{one.budget.limit:,} tokens"


def _evidence(one: Standing, kind: str) -> dict[str, object]:
    """`used`, `budget` and so on are amounts, or whole tokens."""
    found: dict[str, object] = {
        "unit": one.budget.unit,
        "used": _amount(one, one.amount),
        "budget": _amount(one, one.budget.limit),
        "used_share": one.used_share,
        "warn_at": float(one.budget.warn_at),
        "action": one.budget.action,
        "period": one.budget.period,
        "period_start": one.span.start.isoformat(),
        "period_end": one.span.end.isoformat(),
        "calls": one.calls,
        "per_day": _amount(one, one.per_day),
        "trend": one.trend,
        "used_up_on": str(one.used_up_on) if one.used_up_on else None,
        "models": one.models,
        "agents": one.agents,
    }
    if kind == "will_exceed" and one.rest:
        ends = {name: one.projected(getattr(one.rest, name)) for name in ("low", "expected", "high")}
        found |= {f"projected_{name}": _amount(one, end) for name, end in ends.items()}
        found["method"] = budget_projection.method()
    return found


def _amount(one: Standing, amount: Decimal | int | None) -> honest.Amount | int | None:
    if one.pricing_mode is None:
        return None if amount is None else int(amount)
    return honest.Amount(one.pricing_mode, None if amount is None else Decimal(amount))


def _caveats(one: Standing, kind: str) -> tuple[str, ...]:
    return (
        *left_out([one]),
        *(
            ("a projection: growth, holidays and what is planned are not in it",)
            if kind == "will_exceed"
            else ()
        ),
    )


def left_out(those: Sequence[Standing]) -> Iterator[str]:
    """What the figures of one budget do not hold, of all of its values that are given."""
    unknown = sum(one.calls_unknown for one in those)
    if those[0].budget.unit == "tokens":
        if unknown:
            yield f"{unknown} calls did not report all their tokens: what is used is more"
        return
    others = {
        "on a subscription": sum(one.subscription_calls for one in those),
        "of local models": sum(one.local_calls for one in those),
        "without a declared plan": sum(one.undeclared_calls for one in those),
    }
    if any(others.values()):
        listed = ", ".join(f"{calls} calls {whose}" for whose, calls in others.items() if calls)
        yield f"counts spend alone: {listed} are not in it"
    if unknown:
        yield f"{unknown} calls have no known cost: what is spent is more"


def _examples(connection: duckdb.DuckDBPyConnection, one: Standing) -> tuple[str, ...]:
    conditions = [f"{expression(name)} = {literal(str(value))}" for name, value in one.about.items()]
    if one.pricing_mode is not None:
        conditions.append(f"pricing_mode = {literal(one.pricing_mode)}")
    found = connection.execute(
        sql.read("budget_examples.sql").format(
            unit=_UNITS[one.budget.unit], condition=" AND ".join(conditions) or "true"
        ),
        {"start": naive_utc(one.span.start), "end": naive_utc(one.moment.now)},
    ).fetchall()
    return tuple(call_id for (call_id,) in found)
