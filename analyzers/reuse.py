"""The same plan computed again: sessions that begin with a call which others began with."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import duckdb

from analyzers import honest, sql
from analyzers.fields import Field
from analyzers.finding import Candidate, Column, Report
from analyzers.registry import register
from analyzers.repeats import (
    CAVEATS,
    FAMILY,
    HIT_ATTRIBUTES,
    METHOD,
    Repeated,
    asked,
    fields,
    notes,
    repeats,
    report,
)
from analyzers.setting import Setting, count
from analyzers.window import Window

# Of a prompt's hash that is enough to tell it from all others.
_SHORT: Final = 12
_FIELDS: Final[Sequence[Field]] = (
    (Column("prompt", "prompt", "text"), lambda one: one.prompt[:_SHORT]),
    *fields(("calls", "sessions"), ("repeats", "repeats"), ("same_answers", "answered as long")),
)


@register(
    "reuse",
    help="sessions that begin with the same call: the same plan computed again",
    settings=(
        Setting("least_sessions", "how many sessions begin with a call that is told of", count, 3),
        HIT_ATTRIBUTES,
        Setting("top", "most rows shown, 0 = all", count, 20),
    ),
    family=FAMILY,
)
def reuse(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per prompt, agent (service where none is known), model and pricing mode with which enough sessions begin
    (traces where there are none), the dearest first. Claimed are the first calls of all sessions but the first.
    Raises BadSetting.
    """
    with asked(connection, window, settings["hit_attributes"], settings["shared"]) as known:
        calls = connection.execute(
            sql.read("reuse.sql"),
            window.parameters() | {"least_sessions": max(2, settings["least_sessions"])},
        ).to_arrow_table()
    found, claims = repeats(connection, calls, 1, Decimal(0))
    return report(
        _FIELDS,
        found,
        [*map(_candidate, found)],
        claims,
        settings["top"],
        [*notes(connection, window, known, found)],
    )


def _candidate(one: Repeated) -> Candidate:
    prompt = one.prompt[:_SHORT]
    return Candidate(
        key=one.candidate,
        kind="same-plan",
        dimension={**one.dimension, "prompt": prompt},
        pricing_mode=one.pricing_mode,
        title=(
            f"{one.calls} sessions of {one.who} begin with the same call (prompt {prompt}): {one.repeats} of them "
            "after it had been answered"
        ),
        method=METHOD,
        action=(
            "keep what the first call answered, a plan or a list of steps, and begin with it as long as what it rests "
            "on is the same"
        ),
        evidence={
            "sessions": one.calls,
            "repeats": one.repeats,
            "answered_as_long": one.same_answers,
            "for_other_users": one.for_others,
            "cost_of_all": honest.Amount(one.pricing_mode, one.cost_usd),
        },
        caveats=CAVEATS,
    )
