"""Some ten times more than the collector can load, from clients that never wait, over both transports.

Guarantee: what was accepted and what was refused is what was sent, and who is refused hears when to come back; the
spool keeps to its bound and all processes together to 600 MB; requests are accepted all the while as room comes back;
after the end (the long form: within seconds) there is room again, and all that was accepted is in the lake once.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from collector.spool_files import bytes_on_disk
from tests.faults.raw_clients import Requests, Senders, assert_stored_once, over_grpc, over_http
from tests.processes import PeakMemory
from tests.support import PATIENCE_SECONDS, Collector, get_json, running, wait_until

MOST_BYTES = 600_000_000
# The largest batch of an SDK, in some 0.5 MB.
REQUESTS = Requests(spans=512, padding=800)
RECOVERY_SECONDS = 15.0


class MostOnDisk(threading.Thread):
    """The most bytes that the spool had on disk while the block ran."""

    def __init__(self, spool: Path) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._ended = threading.Event()
        self._spool = spool

    def __enter__(self) -> MostOnDisk:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(0.01):
            self.bytes = max(self.bytes, bytes_on_disk(self._spool))


def test_more_than_can_be_loaded_is_refused_in_time(tmp_path: Path) -> None:
    overload(tmp_path, seconds=1.0, spool_bytes=12_000_000, recovery=PATIENCE_SECONDS)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_more_than_can_be_loaded_is_refused_for_a_minute(tmp_path: Path) -> None:
    overload(tmp_path, seconds=60.0, spool_bytes=128_000_000, recovery=RECOVERY_SECONDS)


def overload(folder: Path, seconds: float, spool_bytes: int, recovery: float) -> None:
    """``recovery``: the seconds within which there is room again."""
    connects = [over_http, over_grpc, over_http, over_grpc]
    with (
        running(folder / "data", "--spool-max-bytes", str(spool_bytes)) as server,
        PeakMemory(server.process.pid) as memory,
        MostOnDisk(server.data_dir / "spool") as most,
    ):
        with Senders(server, connects, REQUESTS) as senders:
            time.sleep(seconds)
            assert_some_get_through(senders)
        wait_until(lambda: get_json(f"{server.admin}/readyz")[0] == 200, recovery)
        assert_takes_one(server)
        assert_stored_once(server, senders, seconds=60 + 4 * seconds)
    assert not senders.failures() and not senders.traces(None)
    assert most.bytes <= spool_bytes
    assert memory.peak < MOST_BYTES


def assert_some_get_through(senders: Senders) -> None:
    """Room comes back while there is more than enough to fill it."""
    wait_until(lambda: senders.traces(False))
    accepted = len(senders.traces(True))
    wait_until(lambda: len(senders.traces(True)) > accepted)


def assert_takes_one(server: Collector) -> None:
    _, body = REQUESTS.make()
    with over_http(server) as send:
        assert send(body)
