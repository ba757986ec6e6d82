"""What is used of each budget in the period that is now, kept up to date beside a lake that grows.

Calls that started lately are counted again whenever the lake has something new. Sums of those before are kept, and
counted again where the catalog says that any of them came or may have gone.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import resources
from typing import Final, NamedTuple

from analyzers.budget_cells import cells_sql, used_sql
from analyzers.budget_terms import Budget, Span, spans
from analyzers.window import naive_utc
from collector.store.lake import Lake
from semconv.settings import AccountPlan
from semconv.sqltext import literal

# A call is reported within minutes of its start. What the sums of that time cost is small beside a commit.
_RECENT: Final = dt.timedelta(hours=1)
# Counting everything again takes at most a fifth of the time where calls of before are loaded...
_REST_PER_COST: Final = 4.0
# ...and a fiftieth where they may only have become fewer, as each merge of files looks from here.
_REST_PER_COST_GONE: Final = 49.0
_LEAST_REST_GONE: Final = 60.0

_BOTH: Final = "SELECT * FROM memory.settled UNION ALL SELECT * FROM memory.recent"

Wanted = tuple[int, str]


class Use(NamedTuple):
    """Of one budget's part in its period; ``amount`` in its unit."""

    amount: Decimal
    calls: int
    calls_unknown: int
    subscription_calls: int
    local_calls: int
    undeclared_calls: int


NOTHING: Final = Use(Decimal(0), 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Periods:
    """Those of all budgets at one moment, by the budgets' order and by value (None: all others)."""

    of: Sequence[Mapping[str | None, Span]]

    @property
    def every(self) -> list[Span]:
        return [span for by_value in self.of for span in by_value.values()]

    @property
    def start(self) -> dt.datetime:
        return min(span.start for span in self.every)

    @property
    def first_end(self) -> dt.datetime:
        return min(span.end for span in self.every)

    @property
    def end(self) -> dt.datetime:
        return max(span.end for span in self.every)

    def of_value(self, number: int, value: str) -> Span:
        return self.of[number].get(value) or self.of[number][None]

    @property
    def edges(self) -> list[dt.datetime]:
        """Where any begins or ends. Between two of them lies a stretch, numbered by how many are before it."""
        return sorted({edge for span in self.every for edge in (span.start, span.end)})

    def stretch(self) -> str:
        """That of a call, in SQL."""
        return " + ".join(f"(start_time >= TIMESTAMP '{naive_utc(edge)}')::INTEGER" for edge in self.edges)

    def values(self) -> Iterator[str]:
        """The rows of `periods` in sums.sql."""
        place = {edge: number for number, edge in enumerate(self.edges, start=1)}
        for number, by_value in enumerate(self.of):
            for value, span in by_value.items():
                name = "CAST(NULL AS VARCHAR)" if value is None else literal(value)
                yield f"({number}, {name}, {place[span.start]}, {place[span.end]})"


@dataclass(slots=True)
class _Lacks:
    """What of the settled calls is not in the sums yet."""

    new: bool = False
    gone: bool = False


@dataclass(slots=True)
class Sums:
    """`refresh` belongs to one thread; `used` may be asked from another meanwhile. `periods` change with a refresh."""

    lake: Lake
    budgets: Sequence[Budget]
    plans: Sequence[AccountPlan]
    timezone: str
    periods: Periods | None = None
    # Everything that was stored by then is counted (seconds since the epoch); 0: nothing is.
    as_of: float = 0.0
    _snapshot: int = -1
    _settled_until: dt.datetime = dt.datetime.min
    _lacks: _Lacks = field(default_factory=_Lacks)
    _counted_all_at: float = 0.0
    _cost: float = 0.0

    def refresh(self, now: dt.datetime) -> None:
        """Count what is new as of ``now`` (aware). Raises duckdb.Error; asked again, it goes on from where it was."""
        looked_at = time.time()
        connection = self.lake.connection
        connection.begin()
        try:
            self._refresh(now)
            connection.commit()
        except BaseException:
            connection.rollback()
            self._snapshot = -1
            raise
        if not self._lacks.new:
            self.as_of = looked_at

    def is_waiting(self, now: dt.datetime) -> bool:
        """Whether there is something to count though nothing new came."""
        return self._lacks.new or self._lacks.gone or self.periods is None or now >= self.periods.first_end

    def used(self, wanted: Sequence[Wanted]) -> dict[Wanted, Use]:
        """Of these budgets' parts, NOTHING left out."""
        if not wanted:
            return {}
        listed = ", ".join(f"({number}, {literal(value)})" for number, value in wanted)
        with self.lake.connection.cursor() as cursor:
            rows = cursor.execute(_used(_BOTH, f"(budget, value) IN ({listed})")).fetchall()
        return {(number, value): Use(*figures) for number, value, *figures in rows}

    def _refresh(self, now: dt.datetime) -> None:
        latest = self._latest()
        is_first = self.periods is None or self._snapshot < 0 or now >= self.periods.first_end
        is_new = latest != self._snapshot
        if is_new and not is_first:
            self._look_for_changes()
        if is_first or self._is_due():
            self._count_all(now)
        elif is_new:
            self._settle(now)
            self._count_recent()
        self._snapshot = latest

    def _latest(self) -> int:
        row = self.lake.connection.execute(
            "SELECT max(snapshot_id) FROM __ducklake_metadata_lake.ducklake_snapshot"
        ).fetchone()
        return int(row[0]) if row else 0

    def _look_for_changes(self) -> None:
        """Among the settled calls, since the snapshot that was looked at last."""
        row = self.lake.connection.execute(
            _sql("changes.sql").format(since=self._snapshot, settled=self._settled_until)
        ).fetchone()
        are_new, may_be_gone = row or (True, True)
        self._lacks.new |= are_new
        self._lacks.gone |= may_be_gone

    def _is_due(self) -> bool:
        """Whether it is time to count everything again."""
        rested = time.monotonic() - self._counted_all_at
        if self._lacks.new and rested >= self._cost * _REST_PER_COST:
            return True
        return self._lacks.gone and rested >= max(_LEAST_REST_GONE, self._cost * _REST_PER_COST_GONE)

    def _count_all(self, now: dt.datetime) -> None:
        began = time.monotonic()
        self.periods = Periods([spans(budget, now, self.timezone, self.plans) for budget in self.budgets])
        self._settled_until = naive_utc(now - _RECENT)
        start = naive_utc(self.periods.start)
        self._count("CREATE OR REPLACE TABLE memory.settled AS", start, self._settled_until)
        self._count_recent()
        self._lacks = _Lacks()
        self._counted_all_at = time.monotonic()
        self._cost = self._counted_all_at - began

    def _settle(self, now: dt.datetime) -> None:
        """Keep the sums of what has become old."""
        until = naive_utc(now - _RECENT)
        if until - self._settled_until >= _RECENT:
            self._count("INSERT INTO memory.settled", self._settled_until, until)
            together = _used("SELECT * FROM memory.settled")
            self.lake.connection.execute(f"CREATE OR REPLACE TABLE memory.settled AS {together}")
            self._settled_until = until

    def _count_recent(self) -> None:
        assert self.periods is not None  # noqa: S101 - everything was counted before
        end = naive_utc(self.periods.end)
        self._count("CREATE OR REPLACE TABLE memory.recent AS", self._settled_until, end)

    def _count(self, into: str, start: dt.datetime, end: dt.datetime) -> None:
        assert self.periods is not None  # noqa: S101 - as above
        select = _sql("sums.sql").format(
            cells=cells_sql(self.budgets, f"{self.periods.stretch()} AS stretch"),
            used=used_sql(dict(enumerate(self.budgets)), ("stretch",)),
            periods=", ".join(self.periods.values()),
        )
        self.lake.connection.execute(f"{into} {select}", {"start": start, "end": end})


def _used(tables: str, wanted: str = "true") -> str:
    return _sql("used.sql").format(tables=tables, wanted=wanted)


def _sql(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
