"""Chunks → rows, and what is wrong with them. Pure, so that it can run in other processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from collector.backfill.parts import Chunk, Rejected
from collector.backfill.reader import one_by_one
from collector.backfill.steps import RECORDS
from semconv.extract import Extracted, extract
from semconv.request import Request
from semconv.settings import Settings
from semconv.validity import DecodeError, check


@dataclass(frozen=True, slots=True)
class Job:
    """What all chunks of one input have in common; ``received_at`` in Unix nanoseconds."""

    settings: Settings
    source: str
    received_at: int

    def request(self, chunk: Chunk) -> Request:
        return Request(chunk.signal, chunk.encoding, chunk.body, self.received_at, source=self.source)


@dataclass(slots=True)
class Group:
    """What came of some chunks. ``problems`` are (where, reason, records); ``unreadable`` are no records."""

    extracted: list[Extracted] = field(default_factory=list)
    requests: int = 0
    bytes: int = 0
    problems: list[tuple[str, str, int]] = field(default_factory=list)
    unreadable: list[Rejected] = field(default_factory=list)


def read_group(job: Job, chunks: list[Chunk]) -> Iterator[Group]:
    """Extracts the chunks together, or one by one where one of them cannot be decoded; yields one group."""
    group = Group()
    _extract(job, chunks, group)
    yield group


def _extract(job: Job, chunks: list[Chunk], group: Group) -> None:
    try:
        extracted = extract(map(job.request, chunks), job.settings)
    except DecodeError as error:
        _extract_apart(job, chunks, str(error.__cause__ or error), group)
        return
    if any(extracted.counts[f"{signal}_rejected"] for signal in RECORDS):
        group.problems.extend(_problems(job, chunks))
    group.extracted.append(extracted)
    group.requests += len(chunks)
    group.bytes += sum(len(chunk.body) for chunk in chunks)


def _extract_apart(job: Job, chunks: list[Chunk], problem: str, group: Group) -> None:
    """One of the chunks cannot be decoded: find it, and of its records keep the sound ones."""
    if len(chunks) > 1:
        for chunk in chunks:
            _extract(job, [chunk], group)
        return
    records = list(one_by_one(chunks[0], None))
    if len(records) < 2:
        group.unreadable.append(Rejected(chunks[0].where, problem))
        return
    for record in records:
        if isinstance(record, Rejected):
            group.unreadable.append(record)
        else:
            _extract(job, [record], group)


def _problems(job: Job, chunks: list[Chunk]) -> Iterator[tuple[str, str, int]]:
    """Why single records were rejected: the judgement that a live request would have got."""
    for chunk in chunks:
        verdict = check(chunk.signal, chunk.encoding, chunk.body, job.received_at)
        apart = list(one_by_one(chunk, None)) if len(verdict.reasons) > 1 else []
        if len(apart) > 1:
            yield from _problems(job, [record for record in apart if isinstance(record, Chunk)])
            continue
        # Only data points of one metric can still have several reasons; the first one gets the rest.
        for reason in verdict.reasons[1:]:
            yield chunk.where, reason, 1
        for reason in verdict.reasons[:1]:
            yield chunk.where, reason, verdict.rejected - len(verdict.reasons) + 1
