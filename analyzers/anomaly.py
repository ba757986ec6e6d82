"""What costs far more than its own history lets expect, and days on which far less came in."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.anomaly_falls import falls
from analyzers.anomaly_judged import SHARES, SIDES, SURE, Judged, Period, Thing, compared
from analyzers.anomaly_split import Split, Wanted, splits
from analyzers.fields import Field, money
from analyzers.finding import Column, Finding, Report, finding_id
from analyzers.outliers import (
    LEAST_SCALE,
    MOST_EXTREME,
    Distance,
    Tail,
    chances_of_counts,
    chances_of_means,
    distances,
    tail,
)
from analyzers.registry import register
from analyzers.setting import Setting, count, usd
from analyzers.window import Window
from semconv.planned import relation

_SETTINGS: Final = (
    Setting("history", "days before the first that is judged", count, 56),
    Setting("least_history", "days that there must be, history and judged ones together", count, 21),
    Setting(
        "least_days", "of these, days on which an agent, model or user must have cost something", count, 14
    ),
    Setting("least_sessions", "sessions that an agent must have had in these", count, 30),
    Setting("least_usd", "USD that something costs, and costs more than usual", usd, Decimal(1)),
)
# What is said of a cost because of what it is made of: if these are out of line together, it is by so many times.
_LEAST_TIMES: Final = 1.5
# What cost most is looked at, so many of a kind; chance is reckoned as if all had been.
_MOST_THINGS: Final = 100
# A shorter one says less of how days differ than judged days themselves, each beside all others.
_LONG_HISTORY: Final = 28
# A history further away says little of today.
_MOST_DAYS: Final = 31
_USUAL: Final = honest.columns("usual_{}", "usual {}")
_OVERLAP: Final = "findings of the same days may be one event seen from several sides: their amounts overlap"
_OF_DAYS: Final = (
    "what is usual is the median of the same weekdays along their trend; holidays and launches are not known"
)
_OF_SESSIONS: Final = "what is usual is the median of the agent's sessions, whatever they were about"
_FELL: Final = (
    "holidays, work that ended, senders that do not reach the collector, calls that tell no tokens: all look the same",
    "what is stored later than the day after is missing until then",
)
_FELL_ACTION: Final = (
    "check that everything still sends its telemetry, and calls have a cost; else find out what stopped"
)
# By the effect that is largest.
_ACTIONS: Final = {
    "volume": "find out what makes more calls: a loop, a new job, a busier customer",
    "mix": "find out why calls go to other models or agents",
    "size": "find out why calls have more tokens: longer context, longer answers",
    "rate": "find out why a token costs more: less from the cache, a longer-context tier, more output, a new price",
}


@register(
    "anomaly",
    help="days, agents, models, users and sessions that cost far more than their history lets expect, and what made "
    "it so; days on which far less came in",
    settings=_SETTINGS,
)
def anomaly(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per day and pricing mode; a finding for each day, day of an agent, model or user, or session that cost
    `least_usd` and far more than usual; and for each day from which on far fewer sessions than usual came in, of all or
    of an agent. Judged are calendar days of the window, the last 31; a day that is not over is judged by what it cost
    so far, and has not fallen.

    Chance: a finding's p-value is that of any as far out among everything that was looked at, so that in 20 runs over
    lakes where nothing happened at most one has findings.
    """
    period = _period(connection, window, settings)
    if isinstance(period, str):
        return Report((), (), notes=(period,))
    statement = sql.read("anomaly_parts.sql").format(day=period.window.day_sql())
    parts = connection.execute(statement, period.parameters()).to_arrow_table()
    with relation(connection, "anomaly_parts", parts):
        of_days, counts = _days(connection, period, settings)
        of_sessions, sessions = _sessions(connection, period, settings)
    out = [
        one
        for one in (*of_days, *of_sessions)
        if one.chance <= SURE and one.apart_usd >= settings["least_usd"]
    ]
    out.sort(key=lambda one: (one.chance, one.kind, one.name or "", one.day, one.pricing_mode))
    wanted = [Wanted(one.kind, one.name, one.pricing_mode, one.day, one.before, one.agent) for one in out]
    made_so = splits(connection, period.window.day_sql(), period.parameters("known"), wanted)
    rows = [one for one in of_days if one.kind == "day" and not one.fell]
    fields = list(_fields(period, {one.pricing_mode for one in rows}))
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(row) for _, read in fields) for row in rows),
        notes=tuple(_notes(connection, period, settings, counts, sessions)),
        findings=tuple(_finding(one, split, period) for one, split in zip(out, made_so, strict=True)),
    )


def _period(
    connection: duckdb.DuckDBPyConnection, window: Window, settings: Mapping[str, Any]
) -> Period | str:
    """Or why nothing can be judged. The lake's first day may be half a day: it is left out."""
    row = connection.execute("SELECT min(start_time) FROM calls").fetchone()
    if row is None or row[0] is None:
        return f"no calls from {window}"
    begun = window.local(row[0].replace(tzinfo=dt.UTC)).date() + dt.timedelta(days=1)
    start, end = window.local(window.start), window.local(window.end)
    last = (end - dt.timedelta(microseconds=1)).date()
    whole = start.date() if start.time() == dt.time() else start.date() + dt.timedelta(days=1)
    first = max(min(whole, last), last - dt.timedelta(days=_MOST_DAYS - 1), begun)
    since = max(begun, first - dt.timedelta(days=settings["history"]))
    if (last - since).days < settings["least_history"] - 1 or first > last:
        return (
            f"nothing can be judged from {window}: the lake begins on {begun - dt.timedelta(days=1)}, and a day is "
            f"judged beside {settings['least_history']} days or more"
        )
    midnights = (dt.datetime.combine(day, dt.time()) for day in (since, last + dt.timedelta(days=1)))
    history = (first - since).days
    known = history if history >= _LONG_HISTORY else (last - since).days + 1
    return Period(window.at(*midnights), window.end, history, known)


# --- days


class _Counts(NamedTuple):
    """Of one kind: days of things that were looked at, and things with too short a history."""

    examined: int
    without_history: int


def _days(
    connection: duckdb.DuckDBPyConnection, period: Period, settings: Mapping[str, Any]
) -> tuple[list[Judged], dict[str, _Counts]]:
    least = {name: settings[name] for name in ("least_days", "least_usd")}
    found = connection.execute(
        sql.read("anomaly_days.sql"), {"first": period.first, "most": _MOST_THINGS} | least
    ).fetchall()
    counts = {kind: _Counts(*rest) for kind, _, _, days, _, _, _, _, *rest in found if days is None}
    things = [Thing(*row[:8]) for row in found if row[3] is not None]
    judged: list[Judged] = []
    for kind in SHARES:
        known = [(one, distances(_logarithms(one))) for one in things if one.kind == kind]
        scores = [its[day].score for _, its in known for day in its if day < period.known]
        reference = tail(scores)
        for thing, its in known:
            judged += _judge(thing, its, reference, counts[kind].examined / SHARES[kind], period)
    can_fall = [one for one in things if one.kind in ("day", "agent")]
    judged += (one for thing in can_fall for one in falls(thing, period, len(can_fall)))
    return judged, counts


def _logarithms(thing: Thing) -> dict[int, float]:
    return {day: math.log(cost) for day, cost in zip(thing.days, thing.costs, strict=True)}


def _judge(
    thing: Thing, its: Mapping[int, Distance], reference: Tail, tests: float, period: Period
) -> Iterator[Judged]:
    sides = _sides(thing)
    for day, cost in zip(thing.days, thing.costs, strict=True):
        if day < period.first:
            continue
        expected, score = its[day]
        others = reference.without(score) if day < period.known else reference
        chances = {"cost": others.p_value(score)}
        if float(cost) >= _LEAST_TIMES * math.exp(expected):
            chances |= {name: of_days[day] for name, of_days in sides.items()}
        chances = {name: min(1.0, chance * tests / SIDES[name]) for name, chance in chances.items()}
        before = compared(thing.days, day)
        yield Judged(
            thing.kind,
            thing.name,
            thing.pricing_mode,
            day,
            cost,
            math.exp(expected),
            min(chances.values()),
            len(its) - 1,
            before,
            unusual=tuple(name for name, chance in chances.items() if chance <= SURE),
        )


def _sides(thing: Thing) -> dict[str, dict[int, float]]:
    """By what a cost is made of, and by day: how likely chance is to make it as large."""

    def by_day(values: list[Any]) -> dict[int, Any]:
        return dict(zip(thing.days, values, strict=True))

    parts = by_day(thing.parts)
    return {
        "sessions": chances_of_counts(parts),
        "calls_per_session": chances_of_means(by_day(thing.length), parts),
        "cost_per_call": chances_of_means(by_day(thing.dearness), parts),
    }


# --- sessions


def _sessions(
    connection: duckdb.DuckDBPyConnection, period: Period, settings: Mapping[str, Any]
) -> tuple[list[Judged], int]:
    """And how many there were to look at."""
    limits = {"most": _MOST_THINGS, "most_extreme": MOST_EXTREME + 1, "least_scale": LEAST_SCALE}
    least = {name: settings[name] for name in ("least_sessions", "least_usd")}
    found = connection.execute(
        sql.read("anomaly_sessions.sql"), {"first": period.first, "known": period.known} | limits | least
    ).fetchall()
    tails = {row[1]: Tail(row[7], tuple(row[9] or ())) for row in found if row[0] is None}
    examined = sum(row[8] for row in found if row[0] is None)
    tests = examined / SHARES["session"]
    judged = []
    for name, mode, agent, day, cost, middle, score, history, *_ in found:
        if name is not None:
            others = tails[mode].without(score) if day < period.known else tails[mode]
            chance = min(1.0, tests * others.p_value(score))
            judged.append(
                Judged("session", name, mode, day, cost, math.exp(middle), chance, history, agent=agent)
            )
    return judged, examined


# --- what is shown


def _finding(one: Judged, split: Split, period: Period) -> Finding:
    date = period.date(one.day)
    dimension = {"day": date.isoformat()} if one.kind != "session" else {}
    if one.kind != "day":
        dimension[one.kind] = str(one.name)
    change, mode = split.change, one.pricing_mode
    effects = {name: getattr(change, name) for name in ("volume", "mix", "price", "size", "rate")}
    kind = "fall" if one.fell else one.kind
    only = "only " if one.fell else ""
    return Finding(
        finding_id("anomaly", kind, dimension, mode),
        f"{honest.label(mode)} of {_called(one)} on {date}: {only}{one.times:.1f} times the usual",
        {
            "cost": honest.Amount(mode, change.after),
            "usual": honest.Amount(mode, _decimal(one.usual_usd)),
            "times": round(one.times, 2),
            "unusual": list(one.unusual),
            "history": one.history,
            "compared_with": split.compared,
            "compared": honest.Amount(mode, change.before),
            "calls": split.calls,
            "compared_calls": round(split.usual_calls, 2),
            **{f"{name}_effect": honest.Amount(mode, amount) for name, amount in effects.items()},
        },
        tuple(_caveats(one, period)),
        dimension,
        split.examples,
        p_value=one.chance,
        action=_FELL_ACTION if one.fell else _ACTIONS[max(_ACTIONS, key=lambda name: effects[name])],
        kind=kind,
    )


def _called(one: Judged) -> str:
    return "all calls" if one.kind == "day" else f"{one.kind} {honest.said(str(one.name))}"


def _caveats(one: Judged, period: Period) -> Iterator[str]:
    yield _OF_SESSIONS if one.kind == "session" else _OF_DAYS
    yield _OVERLAP
    if one.fell:
        yield from _FELL
    if period.window.local(period.end).date() == period.date(one.day):
        yield f"the day is judged by what was known of it until {period.window.local(period.end):%H:%M}"


def _decimal(value: float) -> Decimal:
    return Decimal(value).quantize(Decimal("0.000001"))


def _fields(period: Period, modes: set[str]) -> Iterator[Field]:
    yield Column("day", "day", "date"), lambda one: period.date(one.day)
    yield honest.MODE, attrgetter("pricing_mode")
    yield from money(honest.COLUMNS, attrgetter("cost_usd"), modes)
    yield from money(_USUAL, lambda one: _decimal(one.usual_usd), modes)
    yield Column("times", "times the usual", "ratio"), attrgetter("times")
    yield Column("chance", "chance", "ratio"), attrgetter("chance")


def _notes(
    connection: duckdb.DuckDBPyConnection,
    period: Period,
    settings: Mapping[str, Any],
    counts: Mapping[str, _Counts],
    sessions: int,
) -> Iterator[str]:
    local = period.window.local
    judged = period.window.at(local(period.window.start) + dt.timedelta(days=period.first), local(period.end))
    yield (
        f"judged are the days from {period.date(period.first)} on, beside those from {period.date(0)} on: "
        f"{_examined(counts, 'day')} days, {_examined(counts, 'agent')} of single agents, "
        f"{_examined(counts, 'model')} of models, {_examined(counts, 'user')} of users, {sessions} sessions"
    )
    for kind in ("agent", "model", "user"):
        if young := counts[kind].without_history if kind in counts else 0:
            yield (
                f"{young} {kind}s cost something on fewer than {settings['least_days']} of these days: they are not "
                "judged by themselves"
            )
    row = connection.execute(sql.read("anomaly_gaps.sql"), judged.parameters()).fetchone()
    if row and row[0]:
        yield f"{row[0]} calls of these days have no known cost: they are in no sum"
    yield from honest.undeclared_plans(connection, judged)


def _examined(counts: Mapping[str, _Counts], kind: str) -> int:
    return counts[kind].examined if kind in counts else 0
