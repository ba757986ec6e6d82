"""A trickle of small commits must not make the lake slow, and tidying up must not disturb anyone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store import maintenance
from collector.store.lake import Lake
from collector.store.maintenance import Maintenance
from tests.store_support import HOUR, SECOND, Store, call, copy_of, span, store, traces

ROWS = "SELECT * EXCLUDE (load_id) FROM spans ORDER BY trace_id, span_id"
CALLS = "SELECT * FROM calls ORDER BY call_id"
DAY = 24 * HOUR
LIVE = "SELECT count(*) FROM __ducklake_metadata_lake.ducklake_data_file WHERE end_snapshot IS NULL"


@pytest.fixture(scope="module")
def trickled_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six commits of one call each, and a root that makes them all outdated afterwards."""
    data_dir = tmp_path_factory.mktemp("trickled") / "data"
    with store(data_dir) as opened:
        for number in range(2, 8):
            opened.load(traces(call(1, number, parent=1, at=number * SECOND)), position=(1, number))
        opened.load(traces(span(1, 1, attributes={"gen_ai.conversation.id": "s"}, lasts=60 * SECOND)))
    return data_dir


@pytest.fixture
def trickled(trickled_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """What it holds is worth a merge."""
    monkeypatch.setattr(maintenance, "_WORTH_MERGING_TINY", 5)
    with store(copy_of(trickled_lake, tmp_path / "data")) as opened:
        yield opened


def test_steps_end_with_few_files_and_the_same_rows(trickled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_WORTH_REWRITING", 1)
    monkeypatch.setattr(maintenance, "_WORTH_FLUSHING", 5)
    before = trickled.ask(ROWS), trickled.ask(CALLS), trickled.ask("SELECT * FROM loads ORDER BY load_id")
    assert len(before[1]) == 6
    keeper = Maintenance(trickled.lake, grace_seconds=0)
    steps = 0
    while keeper.step():
        steps += 1
        assert steps < 50
    live = {files.table: files.tiny for files in keeper.files()}
    assert live["spans"] == live["calls"] == 1
    assert all(not files.holed for files in keeper.files())
    after = trickled.ask(ROWS), trickled.ask(CALLS), trickled.ask("SELECT * FROM loads ORDER BY load_id")
    assert after == before
    on_disk = len(list(trickled.data_dir.rglob("*.parquet")))
    assert on_disk == trickled.one(LIVE)
    assert trickled.load(traces(call(1, 2, parent=1, at=2 * SECOND))).spans_duplicate == 1


def test_a_reader_in_the_middle_of_its_query_keeps_its_files(trickled: Store) -> None:
    """Files that a merge replaced stay for an hour, longer than any query runs."""
    with Lake.open(trickled.data_dir, read_only=True) as reader:
        reader.connection.begin()
        assert reader.connection.execute("SELECT count(*) FROM calls").fetchall() == [(6,)]
        keeper = Maintenance(trickled.lake)
        while keeper.step():
            pass
        assert reader.connection.execute("SELECT count(*), count(session_id) FROM calls").fetchall() == [
            (6, 6)
        ]


def test_many_tiny_files_are_merged_even_without_a_pause(
    trickled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "TOO_MANY_TINY", 5)
    monkeypatch.setattr(maintenance, "_OVERDUE_LOOK_SECONDS", 0.0)
    keeper = Maintenance(trickled.lake)
    assert keeper.step_if_due(idle=False)
    spans = next(files for files in keeper.files() if files.table == "spans")
    assert spans.tiny == 1


def test_nothing_is_done_before_its_time(trickled: Store) -> None:
    keeper = Maintenance(trickled.lake)
    assert not keeper.step_if_due(idle=False)
    assert not keeper.step_if_due(idle=True)


def test_merged_files_are_synced_before_the_commit(trickled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The merged file is the only copy once the old ones are gone."""
    synced: list[str] = []
    monkeypatch.setattr("collector.store.durability.sync", synced.append)
    before = {str(path) for path in trickled.data_dir.rglob("*.parquet")}
    assert Maintenance(trickled.lake).step()
    new = {str(path) for path in trickled.data_dir.rglob("*.parquet")} - before
    assert new
    assert new <= set(synced)


def test_files_that_cannot_be_merged_are_let_be(trickled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: one small file in each of many months, of which no two can be merged. Guarantee: an idle loader does
    not try it again and again.
    """
    monkeypatch.setattr(maintenance, "_WORTH_MERGING_TINY", 3)
    monkeypatch.setattr(maintenance, "_IDLE_LOOK_SECONDS", 0.0)
    keeper = Maintenance(trickled.lake)
    while keeper.step():
        pass
    trickled.load(*(traces(call(month, 1, at=month * 31 * DAY)) for month in range(2, 6)))
    assert not keeper.step_if_due(idle=True)
    # Nor where there seem to be some and DuckLake finds none.
    monkeypatch.setattr(maintenance, "_WORTH_MERGING_TINY", 1)
    assert not keeper.step_if_due(idle=True)
    monkeypatch.setattr(Maintenance, "_run", lambda *_: pytest.fail("tried again"))
    assert not keeper.step_if_due(idle=True)


def test_room_is_made_before_files_are_merged(trickled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guarantee: a lake that always has something to merge is rid of old states and files all the same."""
    monkeypatch.setattr(maintenance, "_WORTH_MERGING_TINY", 2)
    keeper = Maintenance(trickled.lake, grace_seconds=0)
    done = [keeper.step() for _ in range(3)]
    assert [made.action if made else None for made in done] == ["expire", "remove", "merge"]


def test_a_step_ends_with_its_rows_however_few_bytes_they_take(
    trickled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: seven files of one row, and a file may have three. Guarantee: a step merges no more, what it made is
    let be, the rows are the same, and the table's own target is as it was.
    """
    monkeypatch.setattr(maintenance, "_LARGE_ROWS", 3)
    spans = (
        "FROM __ducklake_metadata_lake.ducklake_data_file AS file"
        " JOIN __ducklake_metadata_lake.ducklake_table AS named USING (table_id)"
        " WHERE file.end_snapshot IS NULL AND named.table_name = 'spans'"
    )
    before = trickled.ask(ROWS)
    keeper = Maintenance(trickled.lake)
    while keeper.step():
        pass
    assert 2 <= trickled.one(f"SELECT max(record_count) {spans}") <= 4  # a file more than fits ends a step
    assert trickled.ask(ROWS) == before
    options = "SELECT value FROM ducklake_options('lake') WHERE option_name = 'target_file_size'"
    assert trickled.one(f"{options} AND scope_entry = 'main.spans'") == "16000000"
