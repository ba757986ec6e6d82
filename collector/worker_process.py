"""The child's side of collector/worker.py: ``python -m collector.worker_process``, a Unix socket as standard input."""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from collector.handover import Message, receive
from collector.memory import give_back, look_for_garbage_rarely
from collector.worker import Raised

# Without work for so long, it returns what memory it does not need.
_IDLE_SECONDS: Final = 0.5

Orders = queue.SimpleQueue[tuple[Any, ...]]
Work = Callable[..., Iterable[object]]


def main() -> None:
    """Work until the parent closes its end or is gone."""
    os.umask(0o077)
    # Whoever stops a server stops its process group or control group; the parent knows what is still to be done.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    channel = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    (work,) = receive(channel)
    look_for_garbage_rarely()
    orders: Orders = queue.SimpleQueue()
    threading.Thread(target=_listen, args=[channel, orders], daemon=True).start()
    with suppress(ConnectionError):  # nobody is left to answer
        _work_on(work, orders, channel)


def _listen(channel: socket.socket, orders: Orders) -> None:
    """In a thread, so that the parent's end is noticed in the middle of work."""
    with suppress(EOFError):
        while True:
            (arguments,) = receive(channel)
            orders.put(arguments)
    os._exit(0)


def _work_on(work: Work, orders: Orders, channel: socket.socket) -> None:
    is_tidy = True
    while True:
        try:
            arguments = orders.get(timeout=None if is_tidy else _IDLE_SECONDS)
        except queue.Empty:
            give_back()
            is_tidy = True
        else:
            _answer(work, arguments).send(channel)
            is_tidy = False


def _answer(work: Work, arguments: tuple[Any, ...]) -> Message:
    try:
        return Message(work(*arguments))
    except Exception:
        return Message([Raised(traceback.format_exc())])


if __name__ == "__main__":
    main()
