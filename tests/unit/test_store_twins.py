"""One identity is one row, also where its copies lie further apart than a commit looks."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from collector.store import twins
from collector.store.twins import TwinRemover, Twins, checked_now
from tests.store_support import HOUR, SECOND, Store, call, copy_of, span, store, traces

DAY = 24 * HOUR
SPANS = "SELECT * FROM spans ORDER BY trace_id, span_id, start_time"
CALLS = "SELECT * FROM calls ORDER BY call_id, start_time"


@pytest.fixture(scope="module")
def two_traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("twins") / "data"
    agent = span(1, 1, attributes={"gen_ai.conversation.id": "s"}, lasts=60 * SECOND)
    with store(data_dir) as opened:
        opened.load(traces(agent, call(1, 2, parent=1), call(1, 3, parent=1, at=SECOND)), traces(call(2, 2)))
    return data_dir


def remove(opened: Store, since: str = twins.EVER) -> int:
    with opened.lends_resolver(twins):
        remover = TwinRemover(opened.lake, opened.settings)
    return sum(remover.remove(found) for found in Twins(opened.lake).find(since))


def test_the_later_twin_goes_and_calls_are_as_if_it_had_never_come(two_traces: Path, tmp_path: Path) -> None:
    """Scenario: spans come again with times weeks away, later and earlier, with other children. First wins."""
    with store(copy_of(two_traces, tmp_path / "data")) as opened:
        before = opened.ask(SPANS), opened.ask(CALLS)
        assert [row.count("s") for row in before[1]].count(1) == 2
        opened.load(traces(call(1, 2, parent=1, at=50 * DAY)))
        opened.load(traces(call(2, 2, at=-50 * DAY)))
        opened.load(traces(call(1, 3, at=100 * DAY)))
        assert opened.one("SELECT count(*) FROM calls") == 6
        assert remove(opened) == 3
        assert (opened.ask(SPANS), opened.ask(CALLS)) == before
        assert remove(opened) == 0


def test_what_else_came_with_the_twin_stays_with_its_calls(two_traces: Path, tmp_path: Path) -> None:
    """Scenario: of the later part of a trace one span is a twin, the other is not."""
    with store(copy_of(two_traces, tmp_path / "data")) as opened:
        opened.load(traces(call(1, 2, at=50 * DAY), call(1, 9, at=50 * DAY)))
        assert remove(opened) == 1
        found = opened.ask(
            "SELECT span_id, session_id FROM calls WHERE trace_id LIKE '%1' ORDER BY start_time"
        )
        assert [span_id[-1] for span_id, _ in found] == ["2", "3", "9"]
        assert opened.one("SELECT count(*) FROM spans") == 5


def test_only_what_was_loaded_since_the_last_check_is_compared(
    two_traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store(copy_of(two_traces, tmp_path / "data")) as opened:
        opened.load(traces(call(2, 2, at=50 * DAY)))
        assert list(Twins(opened.lake).find(checked_now())) != []  # loads overlap: an hour is looked at again
        monkeypatch.setattr(twins, "_LONGEST_LOAD_NS", 0)
        checked = checked_now()
        assert list(Twins(opened.lake).find(checked)) == []
        opened.load(traces(call(2, 2, at=100 * DAY)))
        assert remove(opened, checked) == 2


def test_it_is_found_in_whatever_part_it_is_compared(
    two_traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guarantee: comparing in parts, for the sake of memory, finds the same."""
    with store(copy_of(two_traces, tmp_path / "data")) as opened:
        opened.load(traces(*(call(*ids, at=50 * DAY) for ids in ((1, 2), (1, 3), (2, 2)))))
        whole = pa.concat_tables(Twins(opened.lake).find())
        monkeypatch.setattr(twins, "_BUCKET_SPANS", 2)
        monkeypatch.setattr(twins, "_STEP_IDENTITIES", 1)
        parts = list(Twins(opened.lake).find())
        assert (whole.num_rows, [part.num_rows for part in parts]) == (6, [2, 2, 2])
        assert remove(opened) == 3


def test_a_failure_in_the_middle_changes_nothing(
    two_traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guarantee: span and calls go in one transaction."""
    with store(copy_of(two_traces, tmp_path / "data")) as opened:
        opened.load(traces(call(2, 2, at=50 * DAY)))
        before = opened.ask(SPANS), opened.ask(CALLS)
        with monkeypatch.context() as patched:
            patched.setattr(TwinRemover, "_build_calls", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                remove(opened)
        assert (opened.ask(SPANS), opened.ask(CALLS)) == before
        assert remove(opened) == 1
