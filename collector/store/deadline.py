"""A limit on how long a DuckDB connection may work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb

# DuckDB forgets an interrupt that finds no query running, so it is repeated until the work has ended.
_INTERRUPT_SECONDS: Final = 0.1


@contextmanager
def deadline(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[threading.Event]:
    """Interrupt the connection once `seconds` are over; the event tells whether that happened."""
    expired, done = threading.Event(), threading.Event()

    def watch() -> None:
        if done.wait(seconds):
            return
        expired.set()
        while not done.wait(_INTERRUPT_SECONDS):
            connection.interrupt()

    watcher = threading.Thread(target=watch, name="deadline", daemon=True)
    watcher.start()
    try:
        yield expired
    finally:
        done.set()
        watcher.join()
