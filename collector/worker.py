"""A child process that does one kind of work, for what takes a core.

It is given the work (anything that can be pickled and called), then arguments again and again, and answers each time,
in order, with what the work yields: part by part, so that it need not hold all of a large result. It ends as soon as
its parent does, kill -9 included. Its side of this is collector/worker_process.py.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from collector.handover import Message, receive

_PROGRAM: Final = (sys.executable, "-m", "collector.worker_process")

Part = TypeVar("Part")


class WorkerEnded(Exception):  # noqa: N818 - says what is the case
    """The process died, or the work raised what it must not: the message says which."""


@dataclass(frozen=True, slots=True)
class Raised:
    """In place of the parts."""

    traceback: str


class Worker(Generic[Part]):
    """The parent's end. One thread gives, the same or another one takes."""

    def __init__(self, work: Callable[..., Iterable[Part]]) -> None:
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
        """Whether the next answer is there."""
        return bool(select.select([self._channel], [], [], 0)[0])

    def take(self) -> list[Part]:
        """Wait for the next answer. Raises WorkerEnded."""
        try:
            parts = receive(self._channel)
        except EOFError:
            raise self._ended() from None
        for part in parts:
            if isinstance(part, Raised):
                raise WorkerEnded(part.traceback)
        return parts

    def check(self) -> None:
        """Raises WorkerEnded where it is gone, for who has nothing to give it."""
        if self._process.poll() is not None:
            raise self._ended()

    def close(self) -> None:
        """End it, whatever it is doing; safe to call twice."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _send(self, message: object) -> None:
        try:
            Message([message]).send(self._channel)
        except ConnectionError:
            raise self._ended() from None

    def _ended(self) -> WorkerEnded:
        return WorkerEnded(f"a worker process ended with exit code {self._process.wait()}")
