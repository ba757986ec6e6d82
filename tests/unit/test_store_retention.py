"""What is older than its retention goes, all of it and nothing else; nobody is disturbed meanwhile."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store import retention
from collector.store.lake import Lake
from collector.store.maintenance import Maintenance
from collector.store.retention import Retention, Rule, rules
from semconv.settings import Settings
from tests.store_support import HOUR, NOON, SECOND, Store, call, copy_of, logs, span, store, traces

DAY = 24 * HOUR
DAYS = 6
CAPTURING = Settings(capture=frozenset({"prompts"}))
CLASSES: dict[str, int | None] = {"spans": None, "logs": None, "contents": None, "metrics": None}
PROMPT = {"gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hello"}]}]'}
COUNTS = """
    SELECT
        (SELECT count(*) FROM spans), (SELECT count(*) FROM calls),
        (SELECT count(*) FROM log_records), (SELECT count(*) FROM contents)
"""


@pytest.fixture(scope="module")
def six_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One commit: at noon of each of six days an agent with a call that has a prompt, and a log record."""
    data_dir = tmp_path_factory.mktemp("six") / "data"
    requests = []
    for day in range(DAYS):
        at = day * DAY
        answer = call(day + 1, 2, parent=1, at=at, attributes=PROMPT)
        requests += [traces(span(day + 1, 1, at=at, lasts=60 * SECOND), answer), logs(at)]
    with store(data_dir, CAPTURING) as opened:
        opened.load(*requests)
    return data_dir


@pytest.fixture
def lake(six_days: Path, tmp_path: Path) -> Iterator[Store]:
    with store(copy_of(six_days, tmp_path / "data"), CAPTURING) as opened:
        yield opened


def now(hour: int = 12) -> dt.datetime:
    """So late on the day of the last records."""
    return NOON.replace(hour=hour) + dt.timedelta(days=DAYS - 1)


def apply(opened: Store, wanted: list[Rule]) -> int:
    keeper = Retention(opened.lake)
    return sum(sum(keeper.steps(rule)) for rule in wanted)


@pytest.mark.parametrize(
    ("days", "left"),
    [
        ({}, (12, 6, 6, 6)),
        ({"spans": 2}, (6, 3, 6, 3)),
        ({"logs": 1}, (12, 6, 2, 6)),
        ({"contents": 3}, (12, 6, 6, 4)),
        ({"contents": 3, "spans": 1}, (4, 2, 6, 2)),
        ({"metrics": 1}, (12, 6, 6, 6)),
        ({"spans": 400, "logs": 400, "contents": 400, "metrics": 400}, (12, 6, 6, 6)),
    ],
    ids=str,
)
def test_each_class_goes_by_its_own_days(lake: Store, days: dict[str, int], left: tuple[int, ...]) -> None:
    """Guarantee: kept are so many days and today; calls go with their spans, contents never outlive them."""
    apply(lake, rules(CLASSES | days, "UTC", now()))
    assert lake.ask(COUNTS) == [left]
    assert lake.one("SELECT count(*) FROM calls ANTI JOIN spans USING (trace_id, span_id)") == 0


def test_days_are_those_of_the_configured_time_zone(lake: Store) -> None:
    """At 20:00 UTC it is tomorrow in Tokyo, and a day more is over."""
    days = CLASSES | {"logs": 1}
    assert [rule.cutoff.hour for rule in rules(days, "Asia/Tokyo", now())] == [15, 15]
    apply(lake, rules(days, "UTC", now(hour=20)))
    assert lake.one("SELECT count(*) FROM log_records") == 2
    apply(lake, rules(days, "Asia/Tokyo", now(hour=20)))
    assert lake.one("SELECT count(*) FROM log_records") == 1


def test_it_goes_in_small_steps_and_again_finds_nothing(lake: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guarantee: the writer lock is held for a bounded number of rows; a run that was ended goes on where it was."""
    monkeypatch.setattr(retention, "_STEP_ROWS", 2)
    (rule,) = (rule for rule in rules(CLASSES | {"spans": 1}, "UTC", now()) if rule.relation == "spans")
    keeper = Retention(lake.lake)
    steps = keeper.steps(rule)
    assert (next(steps), keeper.count(rule)) == (2, 6)
    assert (list(steps), keeper.count(rule), list(keeper.steps(rule))) == ([2, 2, 2], 0, [])
    assert lake.one("SELECT count(*) FROM spans") == 4


def test_calls_that_only_log_records_reported_go_with_these() -> None:
    """Guarantee: a call goes by the age of the class that reported it."""
    found = rules(CLASSES | {"logs": 5, "spans": 2}, "UTC", now())
    assert [(rule.only, rule.cutoff.day) for rule in found if rule.relation == "calls"] == [
        ("signal = 'log'", 10),
        ("signal = 'span'", 13),
    ]


def test_what_is_loaded_once_more_is_stored_once_and_goes_again(lake: Store) -> None:
    """A file is backfilled again after its records went: they and their calls are there once, until the next run."""
    wanted = rules(CLASSES | {"spans": 2}, "UTC", now())
    apply(lake, wanted)
    again = traces(span(1, 1, lasts=60 * SECOND), call(1, 2, parent=1))
    assert lake.load(again).spans_stored == 2
    assert lake.load(again).spans_stored == 0
    assert lake.ask("SELECT count(*) FROM calls") == [(4,)]
    apply(lake, wanted)
    assert lake.ask(COUNTS) == [(6, 3, 6, 3)]


def test_calls_can_stay_for_longer_than_their_records(lake: Store) -> None:
    """Guarantee: sums of calls are as before though their spans went; and are so when the spans come again, and when a
    late span of such a trace comes.
    """
    wanted = rules(CLASSES | {"spans": 2, "calls": 4}, "UTC", now())
    apply(lake, wanted)
    assert lake.ask(COUNTS) == [(6, 5, 6, 3)]
    stored = "SELECT * FROM calls WHERE span_id <> '0000000000000009' ORDER BY call_id"
    kept = lake.ask(stored)
    assert lake.load(traces(span(2, 7, parent=1, at=DAY, name="late"))).spans_stored == 1
    late = call(2, 9, parent=1, at=DAY + 2 * SECOND, response_id="late")
    assert lake.load(traces(late)).calls_written == 1
    assert lake.ask(stored) == kept
    again = traces(span(2, 1, at=DAY, lasts=60 * SECOND), call(2, 2, parent=1, at=DAY, attributes=PROMPT))
    assert lake.load(again).spans_stored == 2
    apply(lake, wanted)
    assert lake.ask(stored) == kept
    assert lake.ask(COUNTS) == [(6, 6, 6, 3)]


def test_a_reader_goes_on_and_the_bytes_leave_the_disk(lake: Store) -> None:
    """Guarantee: who began before still reads all; once the grace is over no file has a row that was deleted."""
    with Lake.open(lake.data_dir, read_only=True) as reader:
        reader.connection.begin()
        assert reader.connection.execute("SELECT count(*) FROM spans").fetchall() == [(12,)]
        apply(lake, rules(CLASSES | {"spans": 2}, "UTC", now()))
        keeper = Maintenance(lake.lake)
        while keeper.step(thorough=True):
            pass
        assert reader.connection.execute("SELECT count(DISTINCT span_id) FROM spans").fetchall() == [(2,)]
        reader.connection.rollback()
    keeper = Maintenance(lake.lake, grace_seconds=0)
    while keeper.step(thorough=True):
        pass
    (path,) = lake.data_dir.glob("data/main/spans/**/*.parquet")
    found = lake.lake.connection.execute(f"SELECT count(*), min(start_time) FROM '{path}'").fetchall()
    assert found == [(6, (NOON + dt.timedelta(days=3)).replace(tzinfo=None))]
