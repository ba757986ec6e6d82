"""A child process that does one kind of work, for what takes a core.

It is given the work (anything that can be pickled and called), then arguments again and again, and answers each time
with the result, in order. It ends as soon as its parent does, kill -9 included. Its side of this is
collector/worker_process.py.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from collector.handover import receive, send

_PROGRAM: Final = (sys.executable, "-m", "collector.worker_process")

Result = TypeVar("Result")


class WorkerEnded(Exception):  # noqa: N818 - says what is the case
    """The process died, or the work raised what it must not: the message says which."""


@dataclass(frozen=True, slots=True)
class Raised:
    """In place of a result."""

    traceback: str


class Worker(Generic[Result]):
    """The parent's end. One thread gives, the same or another one takes."""

    def __init__(self, work: Callable[..., Result]) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(_PROGRAM, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
        self._send(work)

    @property
    def pid(self) -> int:
        return self._process.pid

    def give(self, *arguments: object) -> None:
        """Have the work done with these arguments; what comes of it is to be taken. Raises WorkerEnded."""
        self._send(arguments)

    def is_done(self) -> bool:
        """Whether the next result is there."""
        return bool(select.select([self._channel], [], [], 0)[0])

    def take(self) -> Result:
        """Wait for the next result. Raises WorkerEnded."""
        try:
            result = receive(self._channel)
        except EOFError:
            raise self._ended() from None
        if isinstance(result, Raised):
            raise WorkerEnded(result.traceback)
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """End it, whatever it is doing; safe to call twice."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _send(self, message: object) -> None:
        try:
            send(self._channel, message)
        except ConnectionError:
            raise self._ended() from None

    def _ended(self) -> WorkerEnded:
        return WorkerEnded(f"a worker process ended with exit code {self._process.wait()}")
