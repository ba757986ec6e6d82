"""What came of each input: counts by signal, and what was rejected with its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

SIGNALS: Final = ("spans", "log_records", "metric_points")
OUTCOMES: Final = ("read", "stored", "duplicate", "not_kept", "rejected")
# Reasons may quote places and so be all different; of more than these only the number is told.
_MOST_REASONS: Final = 50


@dataclass(slots=True)
class Problem:
    """One reason for rejecting, where it was met first, and how often in all."""

    reason: str
    where: str
    count: int = 0


@dataclass(slots=True)
class FileReport:
    """``counts`` has the names of the loads table; ``unreadable`` counts stretches (lines, messages) that
    are no records; ``error`` is why nothing, or no more, could be read."""

    name: str
    bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    problems: dict[str, Problem] = field(default_factory=dict)
    further_problems: int = 0
    error: str | None = None

    @property
    def rejected(self) -> bool:
        return bool(self.error or self.unreadable or any(self.counts[f"{s}_rejected"] for s in SIGNALS))

    def add_problem(self, where: str, reason: str, count: int = 1) -> None:
        if reason not in self.problems and len(self.problems) >= _MOST_REASONS:
            self.further_problems += count
            return
        self.problems.setdefault(reason, Problem(reason, where)).count += count

    def add_unreadable(self, where: str, reason: str) -> None:
        self.unreadable += 1
        self.add_problem(where, reason)

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.name,
            "bytes": self.bytes,
            **_by_signal(self.counts),
            "unreadable": self.unreadable,
            "problems": [
                {"where": problem.where, "reason": problem.reason, "count": problem.count}
                for problem in self.problems.values()
            ],
            "further_problems": self.further_problems,
            "error": self.error,
        }


def _by_signal(counts: Counter[str]) -> dict[str, dict[str, int]]:
    return {signal: {outcome: counts[f"{signal}_{outcome}"] for outcome in OUTCOMES} for signal in SIGNALS}


@dataclass(slots=True)
class Report:
    """All inputs of one run."""

    dry_run: bool
    files: list[FileReport] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rejected(self) -> bool:
        return any(file.rejected for file in self.files)

    def total(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for file in self.files:
            total.update(file.counts)
        return total

    def as_json(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run,
            "seconds": round(self.seconds, 3),
            "files": [file.as_json() for file in self.files],
            "total": {
                **_by_signal(self.total()),
                "calls_written": self.total()["calls_written"],
                "unreadable": sum(file.unreadable for file in self.files),
            },
        }


def table_rows(report: Report) -> Iterable[tuple[Any, ...]]:
    """(file, signal, read, stored, already there, not kept, rejected), a row for each signal that a file
    has."""
    for file in report.files:
        for signal in SIGNALS:
            if file.counts[f"{signal}_read"]:
                yield (file.name, *_row(file.counts, signal))
    if len(report.files) > 1:
        total = report.total()
        yield from (("TOTAL", *_row(total, signal)) for signal in SIGNALS if total[f"{signal}_read"])


def _row(counts: Counter[str], signal: str) -> tuple[Any, ...]:
    return (signal.replace("_", " "), *(counts[f"{signal}_{outcome}"] for outcome in OUTCOMES))


def problem_lines(file: FileReport) -> Iterable[str]:
    """One line for each reason, and one for what ended the reading."""
    for problem in file.problems.values():
        times = f" ({problem.count:,} in all)" if problem.count > 1 else ""
        yield f"{file.name}, {problem.where}: {problem.reason}{times}"
    if file.further_problems:
        yield f"{file.name}: {file.further_problems:,} more, for other reasons"
    if file.error:
        yield f"{file.name}: {file.error}"
