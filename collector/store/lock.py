"""The locks of a data directory. They are flocks: the kernel lets go when a process dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final

WRITER_LOCK: Final = "lake.lock"
# Held by the one that has the writer's lock next.
NEXT_WRITER_LOCK: Final = "lake.lock.next"
LOADER_LOCK: Final = "loader.lock"
# The kernel has no flock with a timeout. A commit holds the lock for a tenth of a second and more.
_POLL_SECONDS: Final = 0.005


class LockTimeout(TimeoutError):  # noqa: N818 - the name says what is the case
    """Another process held the lock for longer than the caller would wait."""


@contextmanager
def file_lock(path: Path, timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold ``path`` exclusively; None waits for ever, else LockTimeout. No child inherits it (O_CLOEXEC)."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, timeout_seconds)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def writer_lock(data_dir: Path, timeout_seconds: float | None = None) -> Iterator[None]:
    """The one lock for everything that writes to the lake: hold it per transaction, BEGIN after it.

    Who commits one transaction after the other would have it again before anybody who waits is awake: the kernel hands
    it to the first that asks. So whoever waits keeps the others from asking. A timeout counts for both waits alike.
    """
    with ExitStack() as next_in_line, ExitStack() as holding:
        next_in_line.enter_context(file_lock(data_dir / NEXT_WRITER_LOCK, timeout_seconds))
        holding.enter_context(file_lock(data_dir / WRITER_LOCK, timeout_seconds))
        next_in_line.close()
        yield


def loader_lock(data_dir: Path, timeout_seconds: float | None = 10.0) -> AbstractContextManager[None]:
    """One loader per lake. The wait lets a successor start while its predecessor is still being killed."""
    return file_lock(data_dir / LOADER_LOCK, timeout_seconds)


def _acquire(descriptor: int, path: Path, timeout_seconds: float | None) -> None:
    if timeout_seconds is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockTimeout(f"{path} is held by another process") from None
            time.sleep(_POLL_SECONDS)
        else:
            return
