"""What the configured rules find in the lake now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import duckdb

from analyzers import alerts, frame, registry
from analyzers.alerts import Event
from analyzers.finding import Finding
from analyzers.setting import BadSetting
from analyzers.window import Window, parse_length
from collector import config_alerts as rules
from collector.config_alerts import AlertRule
from collector.log import Log
from collector.store.deadline import deadline
from collector.store.lake import Lake

if TYPE_CHECKING:
    from collector.config import Config

log = Log("alerts")

# Of any length: a budget's period is the one in which it ends.
_BUDGET_WINDOW: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Found:
    """``events`` in the order of the rules; ``failed``: why a rule could not be looked at, by its name."""

    events: list[tuple[AlertRule, Event]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def evaluate(config: Config, lake: Lake, now: dt.datetime) -> Found:
    """Each rule within the time that one query may take. ``now``: aware."""
    found = Found()
    look = _Look(config, lake.connection, now)
    for _, _, rule in config.alerts.rules.by_kind():
        try:
            with deadline(lake.connection, config.sql.time_limit_seconds):
                found.events.extend((rule, event) for event in look.events(rule))
        except (BadSetting, registry.UnknownAnalyzer) as error:
            found.failed[rule.name] = str(error)
        except Exception as error:
            # An analyzer's bug is one failed rule, whatever it is.
            log.failed("rule cannot be looked at", error, rule=rule.name)
            found.failed[rule.name] = f"{type(error).__name__}: {error}"
    thresholds = [_threshold(rule) for _, _, rule in config.alerts.rules.by_kind()]
    notes = alerts.notes(lake.connection, thresholds, now, config.timezone)
    return Found(found.events, found.failed, notes)


class _Look:
    """At one moment; an analyzer runs once for all rules that want the same of it."""

    def __init__(self, config: Config, connection: duckdb.DuckDBPyConnection, now: dt.datetime) -> None:
        self._config = config
        self._connection = connection
        self._now = now
        self._findings: dict[tuple[str, Window], tuple[Finding, ...]] = {}

    def events(self, rule: AlertRule) -> list[Event]:
        if isinstance(rule, rules.BudgetRule):
            return self._of_budgets(rule)
        if isinstance(rule, rules.AnomalyRule):
            window = self._window(parse_length(rule.window))
            found = self._found("anomaly", window)
            return [
                alerts.of_finding(rule.name, "anomaly", one, window) for one in found[: alerts.MOST_EVENTS]
            ]
        threshold = _threshold(rule)
        assert threshold is not None  # noqa: S101 - of all other rules
        return list(threshold.events(self._connection, self._now, self._config.timezone))

    def _of_budgets(self, rule: rules.BudgetRule) -> list[Event]:
        """Budgets look at periods of their own; the findings say when those began."""
        wanted = [
            one
            for one in self._found("budget", self._window(_BUDGET_WINDOW))
            if one.kind in rule.events and (rule.budgets is None or one.dimension["budget"] in rule.budgets)
        ]
        return [
            alerts.of_finding(rule.name, "budget", one, self._since(str(one.evidence["period_start"])))
            for one in wanted[: alerts.MOST_EVENTS]
        ]

    def _found(self, name: str, window: Window) -> tuple[Finding, ...]:
        if (name, window) not in self._findings:
            config = self._config
            analyzer = registry.get(name).bind({**config.analyzer_facts(), "now": self._now})
            report = analyzer.run(self._connection, window, config.analyzers.get(name, {}))
            settled = frame.settle(self._connection, window, self._now, {name: report})
            self._findings[name, window] = settled[name].findings
        return self._findings[name, window]

    def _window(self, length: dt.timedelta) -> Window:
        return Window(self._now - length, self._now, self._config.timezone)

    def _since(self, moment: str) -> Window:
        return Window(dt.datetime.fromisoformat(moment), self._now, self._config.timezone)


def _threshold(rule: AlertRule) -> alerts.Rule | None:
    """The rule of analyzers/alerts.py; None where the rule waits for findings."""
    make = _THRESHOLDS.get(type(rule))
    return make(rule) if make else None


_THRESHOLDS: Final[Mapping[type[AlertRule], Callable[[Any], alerts.Rule]]] = {
    rules.DailySpendRule: lambda rule: alerts.DailySpend(rule.name, rule.above_usd, rule.each),
    rules.UnitCostRule: lambda rule: alerts.UnitCost(
        rule.name, rule.above_usd, rule.by, parse_length(rule.window)
    ),
    rules.CacheShareRule: lambda rule: alerts.CacheShare(
        rule.name, rule.below, parse_length(rule.window), rule.each, rule.least_input_tokens
    ),
    rules.ErrorRateRule: lambda rule: alerts.ErrorRate(
        rule.name, rule.above, parse_length(rule.window), rule.each, rule.least_calls
    ),
}
