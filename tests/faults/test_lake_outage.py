"""The lake takes nothing: never, for a while, at random, until somebody mends it. Its disk fails every sync then.

Guarantee: what was accepted and what was refused is what was sent; all that was accepted is in the lake once, when it
takes data again, and nothing that was refused. Until then requests are accepted as far as the spool's bound allows, and
the loader tries again less and less often.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.faults.raw_clients import Requests, Senders, assert_stored_once, over_grpc, over_http
from tests.support import Collector, get_json, start_collector, wait_until

PAUSE_SECONDS = 0.02
SPOOL_BYTES = 1_000_000
# What the file holds is how likely a sync of a file of the lake fails; when one did is written down.
FAILING_LAKE = """
import errno, os, pathlib, random, time
sync, fault, chance = os.fsync, pathlib.Path({fault!r}), random.Random(20260314)
def fsync(fd):
    likely = float(fault.read_text())
    if likely and "/data/data/" in os.readlink(f"/proc/self/fd/{{fd}}") and chance.random() < likely:
        with fault.with_suffix(".log").open("a") as log:
            log.write(f"{{time.monotonic()}}\\n")
        raise OSError(errno.EIO, "Input/output error")
    sync(fd)
os.fsync = fsync
"""


class Fault:
    """Of the disk that the lake is on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0.0)

    def set(self, likely: float) -> None:
        """Whoever reads it meanwhile finds all of it."""
        draft = self.path.with_suffix(".new")
        draft.write_text(str(likely))
        draft.rename(self.path)

    def times(self) -> list[float]:
        """When a sync failed."""
        log = self.path.with_suffix(".log")
        return [float(line) for line in log.read_text().split()] if log.exists() else []


@pytest.fixture(scope="module")
def fault(tmp_path_factory: pytest.TempPathFactory) -> Fault:
    return Fault(tmp_path_factory.mktemp("fault") / "fault")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fault: Fault) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("outage")
    (folder / "sitecustomize.py").write_text(FAILING_LAKE.format(fault=str(fault.path)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        collector = start_collector(folder / "data", "--spool-max-bytes", str(SPOOL_BYTES))
    try:
        yield collector
    finally:
        assert collector.stop() == 0


@contextmanager
def four_senders(server: Collector) -> Iterator[Senders]:
    """Two over each transport; whatever happens, what was accepted and what was refused is all that was sent."""
    with Senders(server, [over_http, over_grpc, over_http, over_grpc], Requests(), PAUSE_SECONDS) as senders:
        yield senders
    assert not senders.failures()
    assert not senders.traces(None)
    assert senders.traces(True)


def test_a_lake_that_never_fails_lets_nothing_be_refused(server: Collector) -> None:
    with four_senders(server) as senders:
        time.sleep(1.0)
    assert not senders.traces(False)
    assert_stored_once(server, senders)


def test_a_lake_that_fails_at_random_delays_some(server: Collector, fault: Fault) -> None:
    failed = len(fault.times())
    fault.set(0.3)
    with four_senders(server) as senders:
        time.sleep(1.5)
    wait_until(lambda: len(fault.times()) > failed)
    fault.set(0.0)
    assert_stored_once(server, senders)


def test_a_lake_that_fails_for_a_while_is_made_up_for(server: Collector, fault: Fault) -> None:
    with four_senders(server) as senders:
        time.sleep(0.3)
        fault.set(1.0)
        time.sleep(1.0)
        fault.set(0.0)
        time.sleep(0.5)
    assert_stored_once(server, senders)


def test_a_lake_that_fails_for_good_is_waited_for(server: Collector, fault: Fault) -> None:
    """Accepted up to the bound, refused with the time to come back; the loader tries again after longer and longer."""
    before = len(fault.times())
    fault.set(1.0)
    with four_senders(server) as senders:
        report = wait_until(lambda: senders.traces(False) and outage(server))
    assert (report["spool"]["state"], report["loader"]["state"]) == ("full", "running")
    assert "Input/output error" in report["lake"]["error"]
    assert SPOOL_BYTES / 2 < report["spool"]["used_bytes"] <= SPOOL_BYTES
    wait_until(lambda: len(fault.times()) >= before + 4)
    waits = [later - earlier for earlier, later in pairwise(fault.times()[before:])]
    assert all(wait >= least for wait, least in zip(waits, (0.5, 1.0, 2.0), strict=False)), waits
    fault.set(0.0)
    assert_stored_once(server, senders)
    wait_until(lambda: get_json(f"{server.admin}/readyz")[0] == 200)


def outage(server: Collector) -> dict[str, Any] | None:
    """What /readyz says, once it is of a full spool."""
    status, report = get_json(f"{server.admin}/readyz")
    return report if status == 503 and report["lake"]["error"] else None
