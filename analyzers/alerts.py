"""From rules to what is worth telling somebody at once. Pure: the collector sends it, and knows what it sent before."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.cost import dimensions
from analyzers.finding import Dimension, Finding, finding_id
from analyzers.setting import BadSetting, chosen
from analyzers.unit_figures import units
from analyzers.unit_settings import SETTINGS, asked
from analyzers.window import Window, whole_days

# Of one rule; those that are worse come first.
MOST_EVENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a rule asks for. ``about``: what tells it from the rule's other events, as far as it is shown.

    ``once``: it is about a stretch of time that does not come again, such as a day; else it holds for as long as it
    holds. Money in ``evidence`` is an honest.Amount. Raises honest.UnnamedMoney.
    """

    rule: str
    kind: str
    about: Dimension
    title: str
    window: Window
    once: bool
    evidence: Mapping[str, object] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    action: str | None = None

    def __post_init__(self) -> None:
        honest.check_texts((self.title, *self.caveats, *([self.action] if self.action else [])))
        honest.check_evidence(self.evidence)

    @property
    def key(self) -> str:
        """The same for the same thing, whenever it is looked at."""
        return finding_id(f"alert {self.rule}", self.kind, self.about)

    def as_dict(self) -> dict[str, object]:
        return {
            "rule": self.rule,
            "kind": self.kind,
            "title": self.title,
            "about": dict(self.about),
            "window": self.window.as_dict(),
            "evidence": {name: honest.plain(value) for name, value in self.evidence.items()},
            "caveats": list(self.caveats),
            "examples": list(self.examples),
            "action": self.action,
        }


class _Figures(NamedTuple):
    """A row of alert_figures.sql."""

    key: object
    calls: int
    failed_calls: int
    input_tokens: int | None
    cache_read_tokens: int | None
    calls_without_cache: int
    spend_usd: Decimal | None
    calls_without_cost: int
    calls_not_spend: int


class Rule(ABC):
    """A threshold on figures of calls."""

    @abstractmethod
    def events(
        self, connection: duckdb.DuckDBPyConnection, now: dt.datetime, timezone: str
    ) -> Iterator[Event]:
        """What holds at ``now`` (aware), at most MOST_EVENTS. Raises BadSetting for a dimension that calls lack."""


class _FiguresRule(Rule):
    """Looks at the sums of a window's calls, for each value of a dimension or of all together."""

    kind: ClassVar[str]
    # Over the columns of alert_figures.sql and the parameters of the rule.
    condition: ClassVar[str]
    worst: ClassVar[str]
    name: str
    each: str | None

    @abstractmethod
    def _parameters(self) -> dict[str, object]: ...

    @abstractmethod
    def _event(self, found: _Figures, of: str, window: Window) -> Event: ...

    def _events_in(self, connection: duckdb.DuckDBPyConnection, window: Window) -> Iterator[Event]:
        statement = sql.read("alert_figures.sql").format(
            key=_expression(connection, window, self.each), condition=self.condition, worst=self.worst
        )
        parameters = {**window.parameters(), **self._parameters(), "most": MOST_EVENTS}
        for row in connection.execute(statement, parameters).fetchall():
            found = _Figures(*row)
            yield self._event(found, f", {self._of(found)}" if self.each else "", window)

    def _of(self, found: _Figures) -> str:
        return f"no {self.each}" if found.key is None else f"{self.each} {found.key}"

    def _about(self, found: _Figures) -> dict[str, str | None]:
        return {self.each: None if found.key is None else str(found.key)} if self.each else {}


class _SlidingRule(_FiguresRule):
    """Of the calls of the last while."""

    over: dt.timedelta

    def events(
        self, connection: duckdb.DuckDBPyConnection, now: dt.datetime, timezone: str
    ) -> Iterator[Event]:
        return self._events_in(connection, Window(now - self.over, now, timezone))


@dataclass(frozen=True, slots=True)
class DailySpend(_FiguresRule):
    """Spend (pricing mode api) of a calendar day: of today so far, and of yesterday, as calls may come late."""

    kind = "daily_spend"
    condition = "spend_usd > $limit"
    worst = "spend_usd"

    name: str
    above_usd: Decimal
    each: str | None = None

    def events(
        self, connection: duckdb.DuckDBPyConnection, now: dt.datetime, timezone: str
    ) -> Iterator[Event]:
        yesterday = whole_days(1, now, timezone)
        # No day has more than 25 hours.
        today = whole_days(1, yesterday.end + dt.timedelta(hours=26), timezone)
        for day in (today, yesterday):
            yield from self._events_in(connection, day)

    def _parameters(self) -> dict[str, object]:
        return {"limit": self.above_usd}

    def _event(self, found: _Figures, of: str, window: Window) -> Event:
        day = f"{window.local(window.start):%Y-%m-%d}"
        spend = honest.Amount("api", found.spend_usd)
        return Event(
            self.name,
            self.kind,
            {**self._about(found), "day": day},
            f"{spend} on {day}{of}, above {self.above_usd:,f} USD",
            window,
            once=True,
            evidence={"spend": spend, "limit": honest.Amount("api", self.above_usd), "calls": found.calls},
            caveats=tuple(_not_in_spend(found)),
        )


@dataclass(frozen=True, slots=True)
class UnitCost(Rule):
    """The mean spend (pricing mode api) of a unit: a dimension, or an attribute's value."""

    kind = "unit_cost"

    name: str
    above_usd: Decimal
    by: str
    over: dt.timedelta

    def events(
        self, connection: duckdb.DuckDBPyConnection, now: dt.datetime, timezone: str
    ) -> Iterator[Event]:
        window = Window(now - self.over, now, timezone)
        unit = asked(connection, window, chosen(SETTINGS, {"by": self.by, "top": 1}))
        for total in units(connection, window, unit):
            if total.is_total and total.pricing_mode == "api" and (total.mean_usd or 0) > self.above_usd:
                mean = honest.Amount("api", total.mean_usd)
                without = total.calls_without_cost
                yield Event(
                    self.name,
                    self.kind,
                    {"by": self.by},
                    f"{mean} per unit of {self.by} in the last {_length(self.over)}, "
                    f"above {self.above_usd:,f} USD",
                    window,
                    once=False,
                    evidence={
                        "spend_per_unit": mean,
                        "limit": honest.Amount("api", self.above_usd),
                        "units": total.units,
                        "units_with_cost": total.units_with_cost,
                        "calls": total.calls,
                    },
                    caveats=(_without_cost(without),) if without else (),
                )


@dataclass(frozen=True, slots=True)
class CacheShare(_SlidingRule):
    """What part of the input tokens was read from a cache, over the calls that say so."""

    kind = "cache_share"
    condition = "input_tokens >= $least AND cache_read_tokens < $limit * input_tokens"
    # What more of a cache could reach.
    worst = "input_tokens - cache_read_tokens"

    name: str
    below: Decimal
    over: dt.timedelta
    each: str | None = None
    least_input_tokens: int = 1

    def _parameters(self) -> dict[str, object]:
        return {"limit": self.below, "least": self.least_input_tokens}

    def _event(self, found: _Figures, of: str, window: Window) -> Event:
        assert found.input_tokens and found.cache_read_tokens is not None  # noqa: S101 - the condition
        share = found.cache_read_tokens / found.input_tokens
        silent = found.calls_without_cache
        return Event(
            self.name,
            self.kind,
            self._about(found),
            f"{share:.1%} of {found.input_tokens:,} input tokens came from a cache in the last "
            f"{_length(self.over)}{of}, below {self.below:.1%}",
            window,
            once=False,
            evidence={
                "cache_share": share,
                "limit": float(self.below),
                "input_tokens": found.input_tokens,
                "cache_read_tokens": found.cache_read_tokens,
            },
            caveats=(f"calls that do not say what they read from a cache, and are left out: {silent}",)
            if silent
            else (),
        )


@dataclass(frozen=True, slots=True)
class ErrorRate(_SlidingRule):
    """What part of the calls failed."""

    kind = "error_rate"
    condition = "calls >= $least AND failed_calls > $limit * calls"
    worst = "failed_calls"

    name: str
    above: Decimal
    over: dt.timedelta
    each: str | None = None
    least_calls: int = 1

    def _parameters(self) -> dict[str, object]:
        return {"limit": self.above, "least": self.least_calls}

    def _event(self, found: _Figures, of: str, window: Window) -> Event:
        rate = found.failed_calls / found.calls
        return Event(
            self.name,
            self.kind,
            self._about(found),
            f"{found.failed_calls:,} of {found.calls:,} calls failed ({rate:.1%}) in the last "
            f"{_length(self.over)}{of}, above {self.above:.1%}",
            window,
            once=False,
            evidence={
                "error_rate": rate,
                "limit": float(self.above),
                "failed_calls": found.failed_calls,
                "calls": found.calls,
            },
        )


def of_finding(rule: str, analyzer: str, finding: Finding, window: Window) -> Event:
    """A finding about a stretch of time, which its dimension names, as an event of a rule."""
    return Event(
        rule,
        f"{analyzer} {finding.kind}".strip(),
        {**finding.dimension, "finding_id": finding.finding_id},
        finding.title,
        window,
        once=True,
        evidence=finding.evidence,
        caveats=finding.caveats,
        examples=finding.examples,
        action=finding.action,
    )


def _expression(connection: duckdb.DuckDBPyConnection, window: Window, each: str | None) -> str:
    if each is None:
        return "NULL::VARCHAR"
    known = dimensions(connection, window)
    if each not in known:
        raise BadSetting(f"calls have no dimension {each!r}; allowed: {', '.join(known)}")
    return known[each]


def _not_in_spend(found: _Figures) -> Iterator[str]:
    if found.calls_without_cost:
        yield _without_cost(found.calls_without_cost)
    if found.calls_not_spend:
        yield (
            f"calls that are no spend, and not counted: {found.calls_not_spend} "
            "(on a subscription, local, or of a plan that is not declared)"
        )


def _without_cost(calls: int) -> str:
    return f"calls whose cost is not known: {calls}; the spend is at least this"


def _length(length: dt.timedelta) -> str:
    """168 hours -> 7d, as people write it."""
    minutes = length // dt.timedelta(minutes=1)
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"


def notes(
    connection: duckdb.DuckDBPyConnection, rules: Iterable[object], now: dt.datetime, timezone: str
) -> tuple[str, ...]:
    """What keeps rules about spend from seeing calls of the last two days: plans that nobody declared."""
    if not any(isinstance(rule, DailySpend | UnitCost) for rule in rules):
        return ()
    return honest.undeclared_plans(connection, Window(now - dt.timedelta(days=2), now, timezone))
