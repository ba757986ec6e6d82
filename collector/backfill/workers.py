"""Extraction in other processes, where there is enough to do: it takes most of the time, and one core
each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.process import parent_process
from types import TracebackType
from typing import Final

from collector.backfill.extraction import Group, Job, read_group
from collector.backfill.parts import Chunk
from collector.memory import look_for_garbage_rarely

# A worker takes a second to start: what is read in less is extracted here.
_OWN_GROUPS: Final = 3
_MOST_WORKERS: Final = 4
# Groups under way for each worker: enough to last while a commit keeps this process busy.
_AHEAD: Final = 4


class Workers:
    """Groups come back in the order in which they were given."""

    def __init__(self, cores: int | None = None) -> None:
        self._count = min(cores or len(os.sched_getaffinity(0)), _MOST_WORKERS)
        self._own = _OWN_GROUPS
        self._pool: ProcessPoolExecutor | None = None
        self._under_way: deque[Future[Group]] = deque()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def give(self, job: Job, chunks: list[Chunk]) -> Iterator[Group]:
        """Starts on the chunks; yields groups that are done, so that no more than a few are under way."""
        if self._own > 0 or self._count < 2:
            self._own -= 1
            yield read_group(job, chunks)
            return
        self._under_way.append(self._started().submit(read_group, job, chunks))
        while self._under_way and (self._under_way[0].done() or len(self._under_way) > _AHEAD * self._count):
            yield self._under_way.popleft().result()

    def finish(self) -> Iterator[Group]:
        """Yields the groups that are still under way."""
        while self._under_way:
            yield self._under_way.popleft().result()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, context, initializer=_start)
        return self._pool


def _start() -> None:
    """In a worker: Ctrl-C is the parent's business, and nobody outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    look_for_garbage_rarely()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
