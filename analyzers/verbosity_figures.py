"""What is counted of the lengths of answers, and which of it chance does not explain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple

from analyzers import honest
from analyzers.chances import as_many_marked, leaning
from analyzers.finding import Dimension

# In this part of the runs over lakes on which nothing is out of line there may be an alarm, all tests together.
_ALARMS: Final = 0.02


class Cohort(NamedTuple):
    """A row of verbosity_cohorts.sql."""

    cohort: int
    agent: str | None
    service: str | None
    model: str | None
    operation: str | None
    asks_for_tool: bool
    pricing_mode: str
    calls: int
    answer_tokens: int
    reasoning_tokens: int | None
    median_tokens: float
    p90_tokens: float
    near_tokens: float
    output_usd: Decimal | None
    far_tokens: float

    @property
    def kind(self) -> str:
        return "tool request" if self.asks_for_tool else "answer"

    @property
    def dimension(self) -> Dimension:
        whose = {"service": self.service} if self.agent is None else {"agent": self.agent}
        return {**whose, "model": self.model, "operation": self.operation, "kind": self.kind}

    @property
    def who(self) -> str:
        name = self.agent or self.service
        return "calls without an agent" if name is None else honest.said(name)


class Part(NamedTuple):
    """A row of verbosity_parts.sql."""

    cohort: int
    part: str | None
    is_whole: bool
    calls: int
    long_calls: int
    cut_off_calls: int
    sessions: int
    long_sessions: int
    surplus_tokens: int | None
    surplus_usd: Decimal | None
    input_per_call: float | None
    tests: int


class Tail(NamedTuple):
    """A row of verbosity_tails.sql."""

    cohort: int
    above: int
    below: int
    sessions: int
    lean: int
    squares: int
    cut_off_calls: int
    surplus_tokens: float

    @property
    def excess(self) -> float:
        """What part of those far above has nothing as far below."""
        return (self.above - self.below) / self.above


class Lengths:
    """All cohorts of a run with their parts. ``least_share``: least part of its cohort's answers that a surplus is."""

    def __init__(self, cohorts: Sequence[Cohort], parts: Sequence[Part], least_share: Decimal) -> None:
        self._cohorts = {one.cohort: one for one in cohorts}
        self._parts = [one for one in parts if not one.is_whole]
        self._least_share = float(least_share)
        self.wholes: Mapping[int, Part] = {one.cohort: one for one in parts if one.is_whole}
        # Every cohort is looked at once more, for its tail.
        self._likely = _ALARMS / max(1, len(cohorts) + max((one.tests for one in parts), default=0))

    def by_surplus(self) -> list[tuple[Cohort, Part]]:
        """Every cohort with its figures as a whole, the dearest surplus first."""
        return sorted(((self._cohorts[one.cohort], one) for one in self.wholes.values()), key=_order)

    def long_parts(self) -> Iterator[tuple[Cohort, Part]]:
        """Parts most of whose answers are long, and whose sessions are so more often than they would be by chance."""
        for one in sorted(self._parts, key=attrgetter("cohort", "part")):
            whole = self.wholes[one.cohort]
            chance = as_many_marked(one.long_sessions, one.sessions, whole.long_sessions, whole.sessions)
            if chance < self._likely and self._matters(one.cohort, one.surplus_tokens or 0):
                yield self._cohorts[one.cohort], one

    def tails(self, tails: Sequence[Tail]) -> Iterator[tuple[Cohort, Tail]]:
        """Cohorts with more sessions that lean to far above than would by chance."""
        for one in sorted(tails, key=attrgetter("cohort")):
            chance = leaning(one.lean, one.squares)
            if chance < self._likely and self._matters(one.cohort, one.surplus_tokens * one.excess):
                yield self._cohorts[one.cohort], one

    def _matters(self, cohort: int, surplus_tokens: float) -> bool:
        return surplus_tokens >= self._least_share * self._cohorts[cohort].answer_tokens


def _order(row: tuple[Cohort, Part]) -> tuple[Any, ...]:
    cohort, whole = row
    names = (cohort.agent, cohort.service, cohort.model, cohort.operation, cohort.kind, cohort.pricing_mode)
    return (-(whole.surplus_usd or 0), -(whole.surplus_tokens or 0), *(name or "" for name in names))
