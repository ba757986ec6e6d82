"""Days, models, users and sessions that cost far more than their own history lets expect."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.anomaly_split import Split, Wanted, splits
from analyzers.fields import Field, money
from analyzers.finding import Column, Finding, Report, finding_id
from analyzers.outliers import LEAST_SCALE, MOST_EXTREME, Distance, Tail, distances, tail
from analyzers.registry import register
from analyzers.setting import Setting, count, usd
from analyzers.window import Window, naive_utc

_SETTINGS: Final = (
    Setting("history", "days before the first that is judged", count, 56),
    Setting("least_history", "days that there must be, history and judged ones together", count, 21),
    Setting("least_days", "of these, days on which a model or a user must have cost something", count, 14),
    Setting("least_sessions", "sessions that an agent must have had in these", count, 30),
    Setting("least_usd", "USD that something costs, and costs more than usual", usd, Decimal(1)),
)
_KINDS: Final = ("day", "model", "user", "session")
# The chance of any at all where nothing is out of line: each is judged as one of all that were looked at (Bonferroni).
_SURE: Final = 0.02
# What cost most is looked at, so many of a kind; chance is reckoned as if all had been.
_MOST_THINGS: Final = 100
# A shorter one says less of how days differ than judged days themselves, each beside all others.
_LONG_HISTORY: Final = 28
# A history further away says little of today.
_MOST_DAYS: Final = 31
_WEEK: Final = 7
_WEEKS_COMPARED: Final = 4
_USUAL: Final = honest.columns("usual_{}", "usual {}")
_OVERLAP: Final = "findings of the same days may be one event seen from several sides: their amounts overlap"
_OF_DAYS: Final = (
    "what is usual is the median of the same weekdays along their trend; holidays and launches are not known"
)
_OF_SESSIONS: Final = "what is usual is the median of the agent's sessions, whatever they were about"
# By the effect that is largest.
_ACTIONS: Final = {
    "volume": "find out what makes more calls: a loop, a new job, a busier customer",
    "mix": "find out why calls go to other models or agents",
    "size": "find out why calls have more tokens: longer context, longer answers",
    "rate": "find out why a token costs more: less from the cache, a longer-context tier, more output, a new price",
}


class _Thing(NamedTuple):
    """A row of anomaly_days.sql: days that count from the start of the history, and what they cost."""

    kind: str
    name: str | None
    pricing_mode: str
    days: list[int]
    costs: list[Decimal]


@dataclass(frozen=True, slots=True)
class _Period:
    """The calendar days of the history and of what is judged. ``first``: which is the first of the latter. ``known``:
    before which they make up what chance does; all of them where the history is short.
    """

    window: Window
    end: dt.datetime
    first: int
    known: int

    def parameters(self, *names: str) -> dict[str, object]:
        """Its ends, and these of its own."""
        edges = {"start": naive_utc(self.window.start), "end": naive_utc(self.end)}
        return {**edges, **{name: getattr(self, name) for name in names}}

    def date(self, day: int) -> dt.date:
        return self.window.local(self.window.start).date() + dt.timedelta(days=day)


@dataclass(frozen=True, slots=True)
class _Judged:
    """``chance``: that of any as far out among all that were looked at."""

    kind: str
    name: str | None
    pricing_mode: str
    day: int
    cost_usd: Decimal
    usual_usd: float
    chance: float
    history: int
    before: tuple[int, ...] = ()
    agent: str | None = None

    @property
    def times(self) -> float:
        return float(self.cost_usd) / self.usual_usd


@register(
    "anomaly",
    help="days, models, users and sessions that cost far more than their own history lets expect, and what made it so",
    settings=_SETTINGS,
)
def anomaly(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per day and pricing mode; a finding for each day, model, user or session that cost `least_usd` and far
    more than usual. Judged are calendar days of the window, the last 31; a day that is not over is
    judged by what it cost so far. What costs less than usual is no anomaly here.

    Chance: a finding's p-value is that of any as far out among everything that was looked at, so that in 20 runs over
    lakes where nothing happened at most one has findings.
    """
    period = _period(connection, window, settings)
    if isinstance(period, str):
        return Report((), (), notes=(period,))
    of_days, counts = _days(connection, period, settings)
    of_sessions, sessions = _sessions(connection, period, settings)
    out = [
        one
        for one in (*of_days, *of_sessions)
        if one.chance <= _SURE
        and one.cost_usd >= settings["least_usd"]
        and one.cost_usd - _decimal(one.usual_usd) >= settings["least_usd"]
    ]
    out.sort(key=lambda one: (one.chance, one.kind, one.name or "", one.day, one.pricing_mode))
    wanted = [Wanted(one.kind, one.name, one.pricing_mode, one.day, one.before, one.agent) for one in out]
    made_so = splits(connection, period.window.day_sql(), period.parameters("known"), wanted)
    rows = [one for one in of_days if one.kind == "day"]
    fields = list(_fields(period, {one.pricing_mode for one in rows}))
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(row) for _, read in fields) for row in rows),
        notes=tuple(_notes(connection, period, settings, counts, sessions)),
        findings=tuple(_finding(one, split, period) for one, split in zip(out, made_so, strict=True)),
    )


def _period(
    connection: duckdb.DuckDBPyConnection, window: Window, settings: Mapping[str, Any]
) -> _Period | str:
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
    return _Period(window.at(*midnights), window.end, history, known)


# --- days


class _Counts(NamedTuple):
    """Of one kind: days of things that were looked at, and things with too short a history."""

    examined: int
    without_history: int


def _days(
    connection: duckdb.DuckDBPyConnection, period: _Period, settings: Mapping[str, Any]
) -> tuple[list[_Judged], dict[str, _Counts]]:
    least = {name: settings[name] for name in ("least_days", "least_usd")}
    found = connection.execute(
        sql.read("anomaly_days.sql").format(day=period.window.day_sql()),
        period.parameters("first") | least | {"most": _MOST_THINGS},
    ).fetchall()
    counts = {kind: _Counts(*rest) for kind, _, _, days, _, *rest in found if days is None}
    things = [_Thing(*row[:5]) for row in found if row[3] is not None]
    judged: list[_Judged] = []
    for kind in _KINDS:
        known = [(one, distances(_logarithms(one))) for one in things if one.kind == kind]
        scores = [its[day].score for _, its in known for day in its if day < period.known]
        tests = len(_KINDS) * counts[kind].examined if known else 0
        for thing, its in known:
            judged += _judge(thing, its, tail(scores), tests, period)
    return judged, counts


def _logarithms(thing: _Thing) -> dict[int, float]:
    return {day: math.log(cost) for day, cost in zip(thing.days, thing.costs, strict=True)}


def _judge(
    thing: _Thing, its: Mapping[int, Distance], reference: Tail, tests: int, period: _Period
) -> Iterator[_Judged]:
    for day, cost in zip(thing.days, thing.costs, strict=True):
        if day < period.first:
            continue
        expected, score = its[day]
        others = reference.without(score) if day < period.known else reference
        chance = min(1.0, tests * others.p_value(score))
        before = _compared(thing.days, day)
        yield _Judged(
            thing.kind,
            thing.name,
            thing.pricing_mode,
            day,
            cost,
            math.exp(expected),
            chance,
            len(its) - 1,
            before,
        )


def _compared(days: Sequence[int], day: int) -> tuple[int, ...]:
    """The nearest four of the same weekday, or the nearest seven days where it has fewer than three."""
    nearest = sorted((one for one in days if one != day), key=lambda one: (abs(day - one), one))
    same = [one for one in nearest if (day - one) % _WEEK == 0]
    return tuple(same[:_WEEKS_COMPARED] if len(same) >= _WEEKS_COMPARED - 1 else nearest[:_WEEK])


# --- sessions


def _sessions(
    connection: duckdb.DuckDBPyConnection, period: _Period, settings: Mapping[str, Any]
) -> tuple[list[_Judged], int]:
    """And how many there were to look at."""
    limits = {"most": _MOST_THINGS, "most_extreme": MOST_EXTREME + 1, "least_scale": LEAST_SCALE}
    least = {name: settings[name] for name in ("least_sessions", "least_usd")}
    found = connection.execute(
        sql.read("anomaly_sessions.sql").format(day=period.window.day_sql()),
        period.parameters("first", "known") | limits | least,
    ).fetchall()
    tails = {row[1]: Tail(row[7], tuple(row[9] or ())) for row in found if row[0] is None}
    examined = sum(row[8] for row in found if row[0] is None)
    tests = len(_KINDS) * examined
    judged = []
    for name, mode, agent, day, cost, middle, score, history, *_ in found:
        if name is not None:
            others = tails[mode].without(score) if day < period.known else tails[mode]
            chance = min(1.0, tests * others.p_value(score))
            judged.append(
                _Judged("session", name, mode, day, cost, math.exp(middle), chance, history, agent=agent)
            )
    return judged, examined


# --- what is shown


def _finding(one: _Judged, split: Split, period: _Period) -> Finding:
    date = period.date(one.day)
    dimension = {"day": date.isoformat()} if one.kind != "session" else {}
    if one.kind != "day":
        dimension[one.kind] = str(one.name)
    change, mode = split.change, one.pricing_mode
    effects = {name: getattr(change, name) for name in ("volume", "mix", "price", "size", "rate")}
    largest = max(_ACTIONS, key=lambda name: effects[name])
    return Finding(
        finding_id("anomaly", one.kind, dimension, mode),
        f"{honest.label(mode)} of {_called(one)} on {date}: {one.times:.1f} times the usual",
        {
            "cost": honest.Amount(mode, change.after),
            "usual": honest.Amount(mode, _decimal(one.usual_usd)),
            "times": round(one.times, 2),
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
        action=_ACTIONS[largest],
        kind=one.kind,
    )


def _called(one: _Judged) -> str:
    return "all calls" if one.kind == "day" else f"{one.kind} {honest.said(str(one.name))}"


def _caveats(one: _Judged, period: _Period) -> Iterator[str]:
    yield _OF_SESSIONS if one.kind == "session" else _OF_DAYS
    yield _OVERLAP
    if period.window.local(period.end).date() == period.date(one.day):
        yield f"the day is judged by what was known of it until {period.window.local(period.end):%H:%M}"


def _decimal(value: float) -> Decimal:
    return Decimal(value).quantize(Decimal("0.000001"))


def _fields(period: _Period, modes: set[str]) -> Iterator[Field]:
    yield Column("day", "day", "date"), lambda one: period.date(one.day)
    yield honest.MODE, attrgetter("pricing_mode")
    yield from money(honest.COLUMNS, attrgetter("cost_usd"), modes)
    yield from money(_USUAL, lambda one: _decimal(one.usual_usd), modes)
    yield Column("times", "times the usual", "ratio"), attrgetter("times")
    yield Column("chance", "chance", "ratio"), attrgetter("chance")


def _notes(
    connection: duckdb.DuckDBPyConnection,
    period: _Period,
    settings: Mapping[str, Any],
    counts: Mapping[str, _Counts],
    sessions: int,
) -> Iterator[str]:
    local = period.window.local
    judged = period.window.at(local(period.window.start) + dt.timedelta(days=period.first), local(period.end))
    yield (
        f"judged are the days from {period.date(period.first)} on, beside those from {period.date(0)} on: "
        f"{_examined(counts, 'day')} days, {_examined(counts, 'model')} of single models, "
        f"{_examined(counts, 'user')} of single users, {sessions} sessions"
    )
    for kind in ("model", "user"):
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
