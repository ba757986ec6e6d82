"""Extraction in other processes, where there is enough to do: it takes most of the time, and one core
each."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from collector.backfill.extraction import Group, Job, read_group
from collector.backfill.parts import Chunk
from collector.limited import step_back
from collector.worker import Worker

# A worker takes a second to start: what is read in less is extracted here. However many files it is in.
_OWN_BYTES: Final = 12 << 20
_MOST_WORKERS: Final = 4
# Groups under way for each worker: enough to last while a commit keeps this process busy.
_AHEAD: Final = 3


class Workers:
    """Groups come back in the order in which they were given. Raises WorkerEnded where a process dies."""

    def __init__(self, cores: int | None = None) -> None:
        self._count = min(cores or len(os.sched_getaffinity(0)), _MOST_WORKERS)
        self._own = _OWN_BYTES
        # One entry for each group, of the worker that has it.
        self._under_way: deque[Worker[Group]] = deque()
        self._started: list[Worker[Group]] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._started:
            worker.close()

    def give(self, job: Job, chunks: list[Chunk]) -> Iterator[Group]:
        """Starts on the chunks; yields groups that are done, so that no more than a few are under way."""
        if self._own > 0 or self._count < 2:
            self._own -= sum(len(chunk.body) for chunk in chunks)
            yield from read_group(job, chunks)
            return
        worker = self._next()
        worker.give(job, chunks)
        self._under_way.append(worker)
        while self._under_way and (
            self._under_way[0].is_done() or len(self._under_way) > _AHEAD * self._count
        ):
            yield from self._under_way.popleft().take()

    def finish(self) -> Iterator[Group]:
        """Yields the groups that are still under way."""
        while self._under_way:
            yield from self._under_way.popleft().take()

    def _next(self) -> Worker[Group]:
        """Each in turn."""
        if len(self._started) < self._count:
            self._started.append(Worker(read_group))
            step_back(self._started[-1].pid)  # live data goes first
            return self._started[-1]
        self._started.append(self._started.pop(0))
        return self._started[-1]
