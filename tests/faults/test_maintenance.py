"""Maintenance never hurts: it changes no total while others load and read, no reader misses a file, and a trickle that
never ends leaves a lake that is as small and quick as after an hour.
"""

from __future__ import annotations

import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest

from collector.data_dir import CATALOG
from collector.store import maintenance
from collector.store.lake import Lake
from collector.store.maintenance import Done, Maintenance
from tests.store_support import SECOND, Store, call, store, traces, traces_body
from tests.support import Collector, run, running, wait_until

SPANS = 20
# Longer than any query of these tests takes on a busy machine, and short enough to be over while they run.
GRACE_SECONDS = 5
# A thousand tokens in and a hundred out at 0.40 and 1.60 USD a million.
COST_OF_A_CALL = Decimal("0.00056")
# Spans, calls and what they cost, of one state of the lake.
TOTALS = """
    SELECT
        (SELECT count(*) FROM spans), (SELECT count(DISTINCT (trace_id, span_id)) FROM spans),
        (SELECT count(*) FROM calls), (SELECT sum(cost_usd) FROM calls)
"""


class Together:
    """Threads that work until told to stop; the first thing that goes wrong in one of them fails the test."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.wrong: list[BaseException] = []

    @contextmanager
    def work(self, *loops: Callable[[], None]) -> Iterator[None]:
        threads = [threading.Thread(target=self._repeat, args=[loop]) for loop in loops]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(30)

    def _repeat(self, loop: Callable[[], None]) -> None:
        try:
            while not self.stop.is_set():
                loop()
        except BaseException as error:  # reported by the test
            self.wrong.append(error)
            self.stop.set()


class Sender:
    """Sends one trace of so many calls at a time, all different."""

    def __init__(self, collector: Collector) -> None:
        self._url = f"{collector.http}/v1/traces"
        self._numbers = count(1)
        self.acknowledged = 0

    def __call__(self) -> None:
        trace = next(self._numbers)
        body = traces_body([call(trace, span, at=trace * SECOND) for span in range(1, SPANS + 1)])
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/x-protobuf"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200
        self.acknowledged += SPANS
        time.sleep(0.15)


class Reader:
    """Asks again and again on one connection, without a second attempt."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.spans = 0

    def __call__(self) -> None:
        (row,) = self._lake.connection.execute(TOTALS).fetchall()
        spans, distinct, calls, cost = row
        assert spans == distinct == calls
        assert spans >= self.spans, "what was there is gone"
        assert (cost is None) == (calls == 0)
        assert cost is None or cost == calls * COST_OF_A_CALL
        self.spans = spans
        time.sleep(0.3)


def test_maintenance_while_loading_and_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: a sender, a reader, the loader, and maintenance without a pause that merges whatever there is and
    removes what it replaced after a short grace. Guarantee: every state that a reader sees adds up, no reader fails,
    and in the end everything acknowledged is there once, in fewer files than commits.
    """
    monkeypatch.setattr(maintenance, "_WORTH_MERGING_TINY", 4)
    data_dir, done = tmp_path / "data", list[Done]()
    config = "loader: {max_wait_seconds: 0.3}\nretention: {spans: 36500, logs: 1, metrics: 1, contents: 1}\n"
    with running(data_dir, config=config) as collector:
        together, sender = Together(), Sender(collector)
        sender()
        collector.wait_for_spans(SPANS)
        with (
            Lake.open(data_dir, threads=1, memory_limit="256MB") as lake,
            Lake.open(data_dir, read_only=True, threads=1) as read,
        ):
            keeper = Maintenance(lake, GRACE_SECONDS)

            def keep() -> None:
                made = keeper.step()
                if made is None:
                    time.sleep(0.2)
                else:
                    done.append(made)

            reader = Reader(read)
            with together.work(sender, reader, keep):
                wait_until(lambda: together.wrong or removed(done), 90)
                answer = run(
                    "otlp-collector", "maintain", "--data-dir", data_dir, "--config", f"{data_dir}.yaml"
                )
        assert together.wrong == []
        assert answer.returncode == 0, answer.stderr
        assert reader.spans > SPANS
        collector.wait_for_spans(sender.acknowledged)
        (totals,) = collector.sql(TOTALS.replace("sum(cost_usd)", "sum(cost_usd)::DOUBLE"))
        assert list(totals.values())[:3] == [sender.acknowledged] * 3
        (files,) = collector.sql(
            "SELECT (SELECT count(*) FROM ducklake_list_files('lake', 'spans')) AS files,"
            " (SELECT count(*) FROM loads) AS loads"
        )
        assert files["files"] < files["loads"]


def removed(done: list[Done]) -> bool:
    return any(made.action == "remove" and made.count for made in done)


@pytest.mark.parametrize(
    "commits",
    [
        pytest.param(24, id="short"),
        pytest.param(1500, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_a_trickle_that_never_ends(tmp_path: Path, commits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: one small commit after the other, with the loader's own maintenance between them.

    A day of one commit every 2 s is 43,200 of them. What maintenance does repeats: a merge for every 30 commits, and
    states and files that go an hour, or 1,800 commits, after they were replaced. Here the hour is so short that it is
    over many times, and a merge comes after fewer commits. Guarantee: from the first third to the last neither files
    nor the catalog grow; in the long form, a commit takes as long as before.
    """
    is_long = commits > 100
    monkeypatch.setattr(maintenance, "TOO_MANY_TINY", 30 if is_long else 5)
    monkeypatch.setattr(maintenance, "_WORTH_FLUSHING", 100 if is_long else 8)
    monkeypatch.setattr(maintenance, "_OVERDUE_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(maintenance, "_IDLE_LOOK_SECONDS", 5.0 if is_long else 0.5)
    seconds, sizes = list[float](), list[tuple[int, int]]()
    with store(tmp_path / "data") as lake:
        keeper = Maintenance(lake.lake, grace_seconds=5 if is_long else 1)
        for number in range(1, commits + 1):
            started = time.process_time()
            lake.load(traces(call(number, 1, at=2 * number * SECOND)), position=(1, number))
            seconds.append(time.process_time() - started)
            for _ in range(5):
                if not keeper.step_if_due(idle=True):
                    break
            sizes.append(size(lake))
        assert lake.ask(TOTALS)[0][:3] == (commits, commits, commits)
        assert lake.one("SELECT count(*) FROM loads") == commits
    third = commits // 3
    files, catalog = zip(*sizes, strict=True)
    assert max(files[-third:]) <= 1.2 * max(files[:third]) + 10
    assert max(catalog[-third:]) <= 1.2 * max(catalog[:third])
    if is_long:
        assert statistics.median(seconds[-third:]) <= 1.5 * statistics.median(seconds[:third])


def size(lake: Store) -> tuple[int, int]:
    """Parquet files, and the catalog's bytes."""
    return len(list(lake.data_dir.rglob("*.parquet"))), (lake.data_dir / CATALOG).stat().st_size
