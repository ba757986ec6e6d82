"""Runs: their windows, their limits, and what of them stands in the lake."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analyzers.finding import Column, Finding, Report
from analyzers.registry import Analyzer
from analyzers.window import BadWindow, Window, iso
from collector import erasure_log, runs
from collector.runs import Occasion, execute, record, scheduled_window
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from tests.calls_table import call, insert_calls, lake_with_calls

SLOT = dt.datetime(2026, 3, 11, 6, 0, tzinfo=dt.UTC)
DAY = Window(SLOT - dt.timedelta(days=1), SLOT)
ON_TIME = Occasion("schedule", SLOT)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake of the test's own, opened for reading."""
    with Lake.open(lake_with_calls(tmp_path / "data"), read_only=True) as opened:
        yield opened


def analyzer(
    function: Callable[..., Report], name: str = "probe", settings: tuple[str, ...] = ()
) -> Analyzer:
    return Analyzer(name, "for a test", settings, function)


def empty(*arguments: Any) -> Report:
    return Report((), ())


def run(lake: Lake, entry: Analyzer, occasion: Occasion = ON_TIME, seconds: float = 60) -> runs.Run:
    return execute(lake, entry, DAY, {}, seconds, occasion)


def rows(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    return lake.connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("options", "timezone", "start", "end"),
    [
        ({}, "UTC", "2026-03-10T06:00:00Z", "2026-03-11T06:00:00Z"),
        ({"since": "7d"}, "UTC", "2026-03-04T06:00:00Z", "2026-03-11T06:00:00Z"),
        ({"days": 1}, "UTC", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"),
        ({"days": 7}, "Europe/Berlin", "2026-03-03T23:00:00Z", "2026-03-10T23:00:00Z"),
    ],
)
def test_the_window_of_a_scheduled_run(options: dict[str, Any], timezone: str, start: str, end: str):
    window = scheduled_window(options, SLOT, timezone)
    assert (iso(window.start), iso(window.end), window.timezone) == (start, end, timezone)


@pytest.mark.parametrize(
    "options",
    [{"since": "soon"}, {"since": 7}, {"days": 0}, {"days": "1"}, {"days": True}, {"days": 1, "since": "1d"}],
)
def test_a_window_that_cannot_be_is_refused(options: dict[str, Any]):
    with pytest.raises(BadWindow):
        scheduled_window(options, SLOT, "UTC")


def test_a_run_over_its_time_is_stopped_and_recorded(lake: Lake):
    """A query that would take hours ends."""

    def endless(connection: Any, *arguments: Any) -> Report:
        connection.execute("SELECT sum(a.range * b.range) FROM range(10_000_000) a, range(10_000_000) b")
        return Report((), ())

    stopped = run(lake, analyzer(endless), seconds=0.3)
    record(lake, [stopped])
    assert rows(lake, "SELECT status, error FROM lake.runs") == [
        ("timeout", "the run was stopped at its time limit")
    ]


def test_the_connection_is_usable_after_a_run_in_time(lake: Lake):
    """The deadline of one run does not interrupt the next."""
    assert run(lake, analyzer(empty), seconds=0.2).outcome.status == "ok"
    time.sleep(0.4)
    assert rows(lake, "SELECT 1") == [(1,)]


def test_all_that_a_run_reads_is_of_one_moment(tmp_path: Path):
    """Between two statements of an analyzer another process stores a call: the second statement does not see it, the
    next run does."""
    counted: list[int] = []

    def count(connection: Any) -> None:
        counted.append(connection.execute("SELECT count(*) FROM calls").fetchone()[0])

    def counts_twice(connection: Any, *rest: Any) -> Report:
        count(connection)
        with Lake.open(tmp_path / "data") as other, writer_lock(tmp_path / "data"):
            insert_calls(other.connection, "lake.calls", [call()])
        count(connection)
        return empty()

    with Lake.open(lake_with_calls(tmp_path / "data", call()), read_only=True) as lake:
        assert run(lake, analyzer(counts_twice)).outcome.status == "ok"
        count(lake.connection)
    assert counted == [1, 1, 2]


def test_after_a_statement_that_fails_other_analyzers_run(lake: Lake):
    """A failure ends the transaction of its own run alone."""

    def fails(connection: Any, *rest: Any) -> Report:
        connection.execute("SELECT 'a'::INTEGER")
        return empty()

    def reads(connection: Any, *rest: Any) -> Report:
        connection.execute("SELECT count(*) FROM calls").fetchall()
        return empty()

    assert run(lake, analyzer(fails)).outcome.status == "failed"
    assert run(lake, analyzer(reads)).outcome.status == "ok"


# --- families


def of_family(function: Callable[..., Report], name: str) -> Analyzer:
    return Analyzer(name, "for a test", (), function, family="alike")


def test_analyzers_of_a_family_read_once_what_they_share_and_of_one_moment(tmp_path: Path):
    """Another process stores a call after each read. The second of a family sees the state of the first and reads
    nothing; who runs alone sees the next. The runs come in the order in which they were asked for."""
    found: dict[str, int] = {}

    def count(connection: Any) -> int:
        ((calls,),) = connection.execute("SELECT count(*) FROM calls").fetchall()
        with Lake.open(tmp_path / "data") as other, writer_lock(tmp_path / "data"):
            insert_calls(other.connection, "lake.calls", [call(call_id=f"c-{calls}")])
        return int(calls)

    def alone(connection: Any, *rest: Any) -> Report:
        found["alone"] = count(connection)
        return empty()

    def member(name: str) -> Analyzer:
        def shares(connection: Any, window: Window, settings: Any) -> Report:
            found[name] = settings["shared"].once(count, connection)
            ((now,),) = connection.execute("SELECT count(*) FROM calls").fetchall()
            assert now == found[name]
            return empty()

        return of_family(shares, name)

    with Lake.open(lake_with_calls(tmp_path / "data", call()), read_only=True) as lake:
        wanted = [(one, {}) for one in (member("first"), analyzer(alone, "alone"), member("second"))]
        done = runs.execute_all(lake, wanted, DAY, 60)
    assert [(one.analyzer, one.outcome.error) for one in done] == [
        ("first", None),
        ("alone", None),
        ("second", None),
    ]
    assert found == {"first": 1, "second": 1, "alone": 2}


def test_after_a_failure_the_rest_of_a_family_reads_anew(lake: Lake):
    """The statement that fails ends the transaction, and what was read in it is of another moment."""
    reads: list[int] = []

    def read() -> int:
        reads.append(len(reads))
        return reads[-1]

    def fails(connection: Any, window: Window, settings: Any) -> Report:
        settings["shared"].once(read)
        connection.execute("SELECT 'a'::INTEGER")
        return empty()

    def works(connection: Any, window: Window, settings: Any) -> Report:
        settings["shared"].once(read)
        connection.execute("SELECT count(*) FROM calls").fetchall()
        return empty()

    wanted = [
        (of_family(one, name), {})
        for one, name in ((works, "a"), (works, "b"), (fails, "c"), (works, "d"), (works, "e"))
    ]
    done = runs.execute_all(lake, wanted, DAY, 60)
    assert [one.outcome.status for one in done] == ["ok", "ok", "failed", "ok", "ok"]
    assert len(reads) == 2


def test_a_bug_in_an_analyzer_is_a_failed_run(lake: Lake):
    def buggy(*arguments: Any) -> Report:
        return Report((), rows=[1 / 0])  # type: ignore[arg-type]

    assert run(lake, analyzer(buggy)).outcome.error == "ZeroDivisionError: division by zero"


def test_an_analyzer_cannot_write(lake: Lake):
    def write(connection: Any, *arguments: Any) -> Report:
        connection.execute("DELETE FROM lake.calls")
        return Report((), ())

    assert "read-only" in str(run(lake, analyzer(write)).outcome.error)


def test_a_recorded_run_has_its_findings_and_result(lake: Lake):
    finding = Finding("f-1", "too dear", {"calls": 3}, ("a guess",))
    report = Report((Column("n", "n", "count"),), ((1,),), findings=(finding,))
    done = run(lake, analyzer(lambda *arguments: report))
    record(lake, [done])
    ((run_id, slot, start, end, result),) = rows(
        lake, "SELECT run_id, scheduled_at, window_start, window_end, result FROM lake.runs"
    )
    assert (run_id, slot) == (done.run_id, dt.datetime(2026, 3, 11, 6, 0))
    assert (start, end) == (dt.datetime(2026, 3, 10, 6, 0), dt.datetime(2026, 3, 11, 6, 0))
    assert json.loads(result)["rows"] == [{"n": 1}]
    ((*columns, document),) = rows(
        lake, "SELECT run_id, finding_id, analyzer, title, finding FROM lake.findings"
    )
    assert columns == [run_id, "f-1", "probe", "too dear"]
    assert json.loads(document)["caveats"] == ["a guess"]


def test_a_run_that_began_before_something_was_erased_does_not_tell_of_it(lake: Lake):
    """Scenario: an analyzer reads the lake, a user is erased, the analyzer's result is recorded. Guarantee: the run
    stands in the lake without a result, findings and settings; one that began afterwards has them.
    """
    finding = Finding("f-1", "alice spends most", {})
    report = Report((Column("n", "n", "count"),), ((1,),), findings=(finding,))
    before = run(lake, analyzer(lambda *arguments: report))
    erasure_log.note(lake.data_dir, "begun", "user", "hmac:0")
    after = run(lake, analyzer(lambda *arguments: report))
    record(lake, [before, after])
    found = dict(rows(lake, "SELECT run_id, result IS NULL FROM lake.runs"))
    assert found == {before.run_id: True, after.run_id: False}
    assert rows(lake, "SELECT run_id FROM lake.findings") == [(after.run_id,)]


def test_a_long_result_is_bounded_in_the_lake(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    """Only the stored copy is; the count of what it leaves out stands in it."""
    monkeypatch.setattr(runs, "MAX_RECORDED_ROWS", 2)
    report = Report((Column("n", "n", "count"),), ((1,), (2,), (3,)))
    record(lake, [run(lake, analyzer(lambda *arguments: report))])
    ((result,),) = rows(lake, "SELECT result FROM lake.runs")
    assert json.loads(result)["rows"] == [{"n": 1}, {"n": 2}]
    assert json.loads(result)["rows_left_out"] == 1


def test_a_scheduled_run_fills_its_slot_whatever_came_of_it(lake: Lake):
    """A failed one too, or it would be caught up for ever; a run by hand fills none."""

    def broken(*arguments: Any) -> Report:
        raise ValueError("broken")

    later = Occasion("catch-up", SLOT + dt.timedelta(hours=1))
    done = [(empty, ON_TIME), (broken, later), (empty, runs.BY_HAND)]
    record(lake, [run(lake, analyzer(function), occasion) for function, occasion in done])
    assert rows(lake, "SELECT trigger, status, scheduled_at FROM lake.runs ORDER BY started_at") == [
        ("schedule", "ok", dt.datetime(2026, 3, 11, 6, 0)),
        ("catch-up", "failed", dt.datetime(2026, 3, 11, 7, 0)),
        ("cli", "ok", None),
    ]
