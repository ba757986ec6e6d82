"""Rows that are older than a deployment wants to keep them, deleted in short steps, the oldest first.

A day is deleted as a whole once it is old enough, so that the same files are not cut into again and again. Calls go
with the records that reported them, those of spans with the spans, those that only log records reported with the log
records, unless they have days of their own: then they stay for longer, as sums of money are asked for when nobody wants
to see spans any more. Records that are loaded once more after that go again, and are counted once in any case.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from analyzers.window import midnight, naive_utc
from collector.store import missing_records
from collector.store.lake import Lake
from collector.store.statements import sql
from collector.store.transaction import Writer

# Of a table in one step, which takes about a second.
_STEP_ROWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of a relation that go once their time is before `cutoff`, naive UTC; `only`: which of them.

    `leaves_calls`: those that they reported stay.
    """

    relation: str
    time: str
    cutoff: dt.datetime
    only: str = "true"
    leaves_calls: bool = False

    def condition(self, end: dt.datetime | None = None) -> str:
        """SQL with a literal, which prunes files. `end`: of a step that ends before the cutoff."""
        return f"{self.time} < TIMESTAMP '{end or self.cutoff}' AND {self.only}"


def rules(days: Mapping[str, int | None], timezone: str, now: dt.datetime) -> list[Rule]:
    """The rules of a configuration: days by class (spans, logs, contents, metrics, calls), None = for ever, and of
    calls as long as their records.

    Kept are so many whole days before today, as `timezone` has them. Contents, the most private of all, never outlive
    spans. Calls are last: whoever reads meanwhile finds a record without its call less surprising than the reverse.
    """
    cutoffs = {name: _cutoff(number, timezone, now) for name, number in days.items() if number is not None}
    found = []
    if contents := [cutoffs[name] for name in ("contents", "spans") if name in cutoffs]:
        found.append(Rule("contents", "start_time", max(contents)))
    if "metrics" in cutoffs:
        found.append(Rule("metric_points", "time", cutoffs["metrics"]))
    for name, relation, time, signal in (
        ("logs", "log_records", "time", "log"),
        ("spans", "spans", "start_time", "span"),
    ):
        if name in cutoffs:
            of_calls = min(cutoffs[name], cutoffs.get("calls", cutoffs[name]))
            leaves_calls = of_calls < cutoffs[name]
            found.append(Rule(relation, time, cutoffs[name], leaves_calls=leaves_calls))
            found.append(Rule("calls", "start_time", of_calls, f"signal = '{signal}'"))
    return found


class Retention:
    """Not thread-safe: one thread, one connection."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._connection = lake.connection
        self._writer = Writer(lake)

    def count(self, rule: Rule) -> int:
        """How many rows are due."""
        found = self._connection.execute(
            f"SELECT count(*) FROM lake.{rule.relation} WHERE {rule.condition()}"
        ).fetchone()
        return int(found[0]) if found else 0

    def steps(self, rule: Rule) -> Iterator[int]:
        """Delete them, a step each time the next number is asked for; how many rows it deleted."""
        while (end := self._end_of_step(rule)) is not None:
            yield self._delete(rule, end)

    def _end_of_step(self, rule: Rule) -> dt.datetime | None:
        """Before which time there are about as many rows as a step deletes; None where nothing is left. Rows of one
        time are never parted.
        """
        statement = sql("sql/end_of_step.sql").format(
            table=rule.relation, time=rule.time, within=rule.condition(), rows=_STEP_ROWS
        )
        count, last = self._connection.execute(statement).fetchall()[0]
        if not count:
            return None
        return rule.cutoff if count < _STEP_ROWS else min(rule.cutoff, last + dt.timedelta(microseconds=1))

    def _delete(self, rule: Rule, end: dt.datetime) -> int:
        if rule.leaves_calls:
            missing_records.note(self._lake.data_dir)
        with self._writer.transaction():
            deleted = self._connection.execute(
                f"DELETE FROM lake.{rule.relation} WHERE {rule.condition(end)}"
            ).fetchone()
        return int(deleted[0]) if deleted else 0


def _cutoff(days: int, timezone: str, now: dt.datetime) -> dt.datetime:
    """The midnight that began the day so many days before today, naive UTC."""
    zone = zoneinfo.ZoneInfo(timezone)
    day = now.astimezone(zone).date() - dt.timedelta(days=days)
    return naive_utc(midnight(day, zone))
