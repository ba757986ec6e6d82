"""Rows of one or several inputs until there are enough to sort and store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import pyarrow.compute as pc

from collector.backfill.extraction import Group, Job
from collector.backfill.report import FileReport
from collector.backfill.steps import RECORDS, TIMES, rows
from collector.store.load_row import Origin
from semconv.extract import Extracted

# A commit of more than 24 months is several transactions: inputs that are further apart are stored apart.
_TOGETHER_DAYS: Final = 700


@dataclass(slots=True)
class Share:
    """What one input has in a batch."""

    job: Job
    report: FileReport
    parts: list[Extracted] = field(default_factory=list)
    requests: int = 0
    bytes: int = 0


class Batch:
    """Small inputs share a batch: a commit for each file would cost more than all of their rows."""

    def __init__(self) -> None:
        self.shares: dict[str, Share] = {}
        self.rows = 0
        self.bytes = 0

    def open(self, job: Job, report: FileReport) -> None:
        """What is added from now on is of this input. Its source must not be in the batch yet."""
        self._share = self.shares[job.source] = Share(job, report)

    def add(self, group: Group) -> None:
        share = self._share
        for where, reason, count in group.problems:
            share.report.add_problem(where, reason, count)
        for part in group.unreadable:
            share.report.add_unreadable(part.where, part.reason)
        for extracted in group.extracted:
            share.report.counts.update(extracted.counts)
            self.rows += rows(extracted)
            self.bytes += sum(getattr(extracted, name).nbytes for name in TIMES)
        share.parts.extend(group.extracted)
        share.requests += group.requests
        share.bytes += group.bytes

    def unions(self) -> list[list[Share]]:
        """The shares that are stored together; those without rows are left out."""
        shares = [share for share in self.shares.values() if share.parts]
        apart = [[share] for share in shares]
        return apart if len(shares) < 2 or self._days() > _TOGETHER_DAYS else [shares]

    def _days(self) -> int:
        columns = [
            getattr(part, name).column(TIMES[name])
            for share in self.shares.values()
            for part in share.parts
            for name in RECORDS
        ]
        bounds = [pc.min_max(column).as_py() for column in columns if len(column)]
        if not bounds:
            return 0
        return int((max(each["max"] for each in bounds) - min(each["min"] for each in bounds)).days)


def origin_of(shares: list[Share]) -> Origin:
    """Where a union of shares comes from, as its row in `loads` says it."""
    received = [share.job.received_at for share in shares]
    return Origin(
        source=shares[0].job.source if len(shares) == 1 else f"backfill:{len(shares)} files",
        requests=sum(share.requests for share in shares),
        bytes=sum(share.bytes for share in shares),
        first_received_at=min(received),
        last_received_at=max(received),
    )
