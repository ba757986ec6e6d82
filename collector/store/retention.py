"""Rows that are older than a deployment wants to keep them, deleted in short steps, the oldest first.

A day is deleted as a whole once it is old enough, so that the same files are not cut into again and again. Calls go
with the records that reported them: those of spans with the spans, those that only log records reported with the log
records. So records that are loaded once more after that make their calls once more, and go again with them.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from collector.store.lake import Lake
from collector.store.statements import sql
from collector.store.transaction import Writer

# Of a table in one step, which takes about a second.
_STEP_ROWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of a relation that go once their time is before `cutoff`, naive UTC; `only`: which of them."""

    relation: str
    time: str
    cutoff: dt.datetime
    only: str = "true"

    def condition(self, end: dt.datetime | None = None) -> str:
        """SQL with a literal, which prunes files. `end`: of a step that ends before the cutoff."""
        return f"{self.time} < TIMESTAMP '{end or self.cutoff}' AND {self.only}"


def rules(days: Mapping[str, int | None], timezone: str, now: dt.datetime) -> list[Rule]:
    """The rules of a configuration: days by class (spans, logs, contents, metrics), None = for ever.

    Kept are so many whole days before today, as `timezone` has them. Contents, the most private of all, never outlive
    spans. Calls are last: whoever reads meanwhile finds a record without its call less surprising than the reverse.
    """
    cutoffs = {name: _cutoff(number, timezone, now) for name, number in days.items() if number is not None}
    contents = [cutoffs[name] for name in ("contents", "spans") if name in cutoffs]
    wanted = [
        ("contents", "start_time", max(contents, default=None), "true"),
        ("metric_points", "time", cutoffs.get("metrics"), "true"),
        ("log_records", "time", cutoffs.get("logs"), "true"),
        ("calls", "start_time", cutoffs.get("logs"), "signal = 'log'"),
        ("spans", "start_time", cutoffs.get("spans"), "true"),
        ("calls", "start_time", cutoffs.get("spans"), "signal = 'span'"),
    ]
    return [Rule(name, time, cutoff, only) for name, time, cutoff, only in wanted if cutoff is not None]


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
        with self._writer.transaction():
            deleted = self._connection.execute(
                f"DELETE FROM lake.{rule.relation} WHERE {rule.condition(end)}"
            ).fetchone()
        return int(deleted[0]) if deleted else 0


def _cutoff(days: int, timezone: str, now: dt.datetime) -> dt.datetime:
    """The midnight that began the day so many days before today, naive UTC."""
    zone = zoneinfo.ZoneInfo(timezone)
    day = now.astimezone(zone).date() - dt.timedelta(days=days)
    return dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC).replace(tzinfo=None)
