"""The write path: everything once, calls with their spans, nothing half-written. Real lakes, real OTLP bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from collector.store import commit, durability, new_files
from collector.store.load_row import Origin
from semconv.extract import TABLES
from semconv.request import Request
from semconv.settings import Settings
from tests.store_support import HOUR, SECOND, Span, Store, call, extracted, logs, span, store, traces

DAY = 24 * HOUR
CALLS = "SELECT trace_id, span_id, session_id, members, possible_duplicate FROM calls ORDER BY ALL"
CALLS_OF = CALLS.replace("ORDER BY ALL", "WHERE tenant =")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path / "data") as opened:
        yield opened


def test_a_batch_is_stored_with_its_calls_and_its_load(lake: Store) -> None:
    row = lake.load(traces(call(1, 1), span(1, 2, name="GET /")), logs(0, 1), position=(3, 700))
    assert (row.spans_stored, row.log_records_stored, row.calls_written) == (2, 2, 1)
    assert lake.ask("SELECT input_tokens, output_tokens, service_name FROM calls") == [(1000, 100, "shop")]
    assert lake.ask("SELECT spool_segment, spool_offset, spans_stored, requests FROM loads") == [
        (3, 700, 2, 2)
    ]
    assert lake.one("SELECT count(*) FROM spans JOIN loads USING (load_id)") == 2
    assert lake.committer.spool_position() == (3, 700)


def test_the_same_batch_again_stores_nothing(lake: Store) -> None:
    batch = [traces(call(1, 1), call(2, 1)), logs(0, 1)]
    lake.load(*batch)
    before = lake.ask(CALLS)
    row = lake.load(*batch)
    assert (row.spans_stored, row.spans_duplicate) == (0, 2)
    assert (row.log_records_stored, row.log_records_duplicate) == (0, 2)
    assert row.calls_written == 0
    assert lake.one("SELECT count(*) FROM spans") == 2
    assert lake.one("SELECT count(*) FROM log_records") == 2
    assert lake.ask(CALLS) == before


def test_of_twins_within_a_batch_the_first_wins(lake: Store) -> None:
    row = lake.load(
        traces(call(1, 1, name="first"), call(1, 2)), traces(call(1, 1, name="second")), logs(0, 0)
    )
    assert (row.spans_stored, row.spans_duplicate) == (2, 1)
    assert (row.log_records_stored, row.log_records_duplicate) == (1, 1)
    assert lake.one("SELECT name FROM spans WHERE span_id = '0000000000000001'") == "first"


def test_a_stored_twin_wins_over_a_new_one(lake: Store) -> None:
    lake.load(traces(call(1, 1, name="first")))
    row = lake.load(traces(call(1, 1, name="second", at=HOUR // 2), call(1, 2)))
    assert (row.spans_stored, row.spans_duplicate) == (1, 1)
    assert lake.one("SELECT name FROM spans WHERE span_id = '0000000000000001'") == "first"


def test_a_dry_run_counts_the_same_and_leaves_nothing(lake: Store) -> None:
    lake.load(traces(call(1, 1)))
    batch = traces(call(1, 1), call(1, 2))
    files = sorted(lake.data_dir.rglob("*.parquet"))
    counted = lake.load(batch, dry_run=True)
    assert (counted.spans_stored, counted.spans_duplicate) == (1, 1)
    assert lake.one("SELECT count(*) FROM spans") == 1
    assert lake.one("SELECT count(*) FROM loads") == 1
    assert sorted(lake.data_dir.rglob("*.parquet")) == files
    assert lake.load(batch, dry_run=True).spans_duplicate == 2, "the second batch of a file, run dry"
    with store(lake.data_dir) as real:
        stored = real.load(batch)
    assert (stored.spans_stored, stored.calls_written) == (counted.spans_stored, counted.calls_written)


TEXT = {"gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"secret"}]}]'}


def of_tenant(tenant: str, *spans: Span) -> Request:
    return replace(traces(*spans), tenant=tenant)


def test_parts_of_a_trace_in_any_order_and_any_batches_give_the_same_calls(lake: Store) -> None:
    """A session named on the root reaches calls below it, whichever comes first; batches do not matter. Each order is
    a tenant's, which have nothing to do with each other."""
    parts = [
        span(1, 1, name="invoke_agent", lasts=600 * SECOND, attributes={"gen_ai.conversation.id": "s-1"}),
        call(1, 2, parent=1, at=SECOND),
        call(1, 3, parent=1, at=300 * SECOND),
        span(2, 9, attributes={"session.id": "other"}),
    ]
    lake.load(of_tenant("at once", *parts))
    tenants = range(len(parts))  # of the 24 orders those in which each part is first once, and last
    for turn in tenants:
        lake.load(*(of_tenant(str(first), parts[(first + turn) % len(parts)]) for first in tenants))
    results: dict[str, list[tuple[Any, ...]]] = {}
    for tenant, *row in lake.ask(CALLS.replace("SELECT", "SELECT tenant,")):
        results.setdefault(tenant, []).append(tuple(row))
    assert results.keys() == {"at once", *map(str, tenants)}
    assert all(result == results["at once"] for result in results.values())
    assert [row[2] for row in results["at once"]] == ["s-1", "s-1"]


def test_a_late_parent_of_days_ago_still_reaches_its_calls(lake: Store) -> None:
    """The workflow span starts three days before the call and is exported last; and the other way round."""
    workflow = {"name": "workflow", "at": -3 * DAY, "lasts": 3 * DAY + HOUR}
    session = {"gen_ai.conversation.id": "long"}
    lake.load(traces(call(1, 2, parent=1), span(2, 1, attributes=session, **workflow)))
    lake.load(traces(span(1, 1, attributes=session, **workflow), call(2, 2, parent=1)))
    assert lake.ask("SELECT session_id FROM calls") == [("long",), ("long",)]


def test_records_of_two_traces_are_one_call_by_their_response_id(lake: Store) -> None:
    """Two libraries report one call in traces of their own, in separate batches: one row, with both members."""
    lake.load(traces(call(1, 1, response_id="resp-1", scope="library.a", lasts=2 * SECOND)))
    assert lake.one("SELECT count(*) FROM calls") == 1
    row = lake.load(traces(call(2, 1, response_id="resp-1", scope="library.b", at=SECOND // 2)))
    assert row.calls_written == 1
    assert lake.one("SELECT count(*) FROM calls") == 1
    assert lake.one("SELECT json_array_length(members) FROM calls") == 2


def test_calls_that_come_out_the_same_are_not_written_again(lake: Store) -> None:
    """A trace grows by one call per commit: each commit writes that one call."""
    for number in range(1, 4):
        assert lake.load(traces(call(1, number, at=number * SECOND * 10))).calls_written == 1
    assert lake.one("SELECT count(*) FROM calls") == 3
    assert not list(lake.data_dir.rglob("*-delete.parquet"))


def test_spans_without_model_calls_do_no_work_on_calls(lake: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(self: object) -> None:
        raise AssertionError("built calls of traces that hold none")

    monkeypatch.setattr(commit.Resolver, "build_calls", unexpected)
    assert lake.load(traces(span(1, 1, name="GET /"), span(1, 2, parent=1))).spans_stored == 2


def test_a_failing_batch_leaves_nothing_and_the_next_one_loads(
    lake: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step fails: no span, no call, no load; the same committer goes on."""

    def fail(*_: object, **__: object) -> None:
        raise duckdb.ConversionException("a value that cannot be")

    for owner, name in ((new_files, "write"), (new_files.NewFiles, "register"), (commit, "insert_load")):
        with monkeypatch.context() as patch, pytest.raises(duckdb.ConversionException):
            patch.setattr(owner, name, fail)
            lake.load(traces(call(1, 1)))
        assert not list(lake.data_dir.joinpath("data/main").glob("*/*/*/*.parquet"))
        assert lake.one("SELECT count(*) FROM spans") == 0
        assert lake.one("SELECT count(*) FROM calls") == 0
    assert lake.load(traces(call(1, 1))).spans_stored == 1
    assert lake.one("SELECT count(*) FROM calls") == 1


def test_a_spoilt_connection_is_replaced(lake: Store) -> None:
    """After an internal error DuckDB refuses everything on that connection; the committer opens another."""
    lake.lake.connection.close()
    with pytest.raises(duckdb.Error):
        lake.load(traces(call(1, 1)))
    assert lake.load(traces(call(1, 1))).spans_stored == 1


def test_files_are_synced_before_the_commit(lake: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync sees every new Parquet file and directory while no reader sees the rows yet; nothing twice."""
    synced: list[Path] = []

    def watched(path: str) -> None:
        assert lake.one("SELECT count(*) FROM spans") == 0, "committed before the files were synced"
        synced.append(Path(path))

    monkeypatch.setattr(durability, "sync", watched)
    before = set(lake.data_dir.rglob("*"))
    lake.load(traces(call(1, 1)))
    new = {path for path in lake.data_dir.joinpath("data").rglob("*") if path not in before}
    assert {path.parts[-4] for path in new if path.suffix == ".parquet"} == {"spans", "calls"}
    assert new | {path.parent for path in new} == set(synced)
    synced.clear()
    assert lake.load(traces(call(1, 1))).spans_duplicate == 1
    assert not synced


def in_pieces_of(max_bytes: int, lake: Store) -> commit.Committer:
    with lake.lends_resolver(commit):
        return commit.Committer(lake.lake, Settings(), max_bytes)


def test_a_batch_over_many_years_is_stored_in_pieces(lake: Store) -> None:
    """26 months: more partitions than a commit may have. The position stands with the last piece alone."""
    batch = traces(*(call(1, 1 + month, at=-month * 31 * DAY) for month in range(26)))
    row = lake.load(batch, position=(1, 10))
    assert (row.spans_read, row.spans_stored, row.requests) == (26, 26, 1)
    assert lake.one("SELECT count(*) FROM calls") == 26
    assert lake.one("SELECT count(*) FROM loads") == 2
    assert lake.ask("SELECT spool_offset FROM loads WHERE spool_segment IS NOT NULL") == [(10,)]


def test_a_large_batch_is_stored_in_pieces_as_if_it_were_in_one(lake: Store) -> None:
    """Traces lie across the cuts, calls and the counts come out the same, the position stands with the last piece."""
    parts = [call(n % 7 + 1, n, parent=max(n - 7, 0), at=n * SECOND) for n in range(1, 41)]
    batch = [of_tenant("pieces", *parts), replace(logs(*range(10)), tenant="pieces")]
    size = sum(getattr(extracted(*batch), name).nbytes for name in TABLES)
    at_once, lake.committer = lake.committer, in_pieces_of(size // 3, lake)
    row = lake.load(*batch, position=(1, 10))
    assert lake.one("SELECT count(*) FROM loads") > 2
    assert lake.ask("SELECT spool_offset FROM loads WHERE spool_segment IS NOT NULL") == [(10,)]
    again = lake.load(*batch)
    assert (again.spans_duplicate, again.log_records_duplicate) == (40, 10)
    before, lake.committer = lake.one("SELECT count(*) FROM loads"), at_once
    assert lake.load(of_tenant("whole", *parts)).spans_stored == row.spans_stored == 40
    assert lake.one("SELECT count(*) FROM loads") == before + 1
    assert lake.ask(f"{CALLS_OF} 'whole' ORDER BY ALL") == lake.ask(f"{CALLS_OF} 'pieces' ORDER BY ALL")


def test_a_large_batch_that_ends_between_two_pieces_is_completed_by_the_next_attempt(
    lake: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after kill -9: the first pieces are there, the position is not, and nothing is stored twice."""
    batch = traces(*(call(1, n, at=n * SECOND) for n in range(1, 21)))
    lake.committer = in_pieces_of(extracted(batch).spans.nbytes // 3, lake)
    pieces = itertools.count()
    insert = commit.insert_load

    def fail_at_the_third(*arguments: Any) -> None:
        if next(pieces) == 2:
            raise RuntimeError("killed")
        insert(*arguments)

    monkeypatch.setattr(commit, "insert_load", fail_at_the_third)
    with pytest.raises(RuntimeError):
        lake.load(batch, position=(1, 10))
    assert 0 < lake.one("SELECT count(*) FROM spans") < 20
    assert lake.committer.spool_position() is None
    row = lake.load(batch, position=(1, 10))
    assert row.spans_stored + row.spans_duplicate == 20
    assert lake.one("SELECT count(*) FROM spans") == 20
    assert lake.one("SELECT count(*) FROM calls") == 20
    assert lake.committer.spool_position() == (1, 10)


def test_texts_are_stored_once_and_only_where_switched_on(lake: Store, tmp_path: Path) -> None:
    batch = traces(call(1, 1, attributes=TEXT))
    lake.load(batch)
    assert lake.one("SELECT count(*) FROM contents") == 0
    with store(tmp_path / "on", Settings(capture=frozenset({"prompts"}))) as opened:
        for _ in range(2):
            opened.load(batch)
        assert opened.ask("SELECT kind, span_id FROM contents") == [("prompts", "0000000000000001")]


def test_a_configured_dimension_is_a_column_of_calls(tmp_path: Path) -> None:
    with store(tmp_path, Settings(dimensions={"lead": "app.lead_id"})) as opened:
        opened.load(traces(call(1, 1, attributes={"app.lead_id": "L-7"}), call(2, 1)))
        assert opened.ask("SELECT lead FROM calls ORDER BY trace_id") == [("L-7",), (None,)]
        assert opened.ask("SELECT dimension, value, calls FROM units ORDER BY value") == [
            ("lead", "L-7", 1),
            ("lead", None, 1),
        ]


def test_two_committers_of_one_lake_do_not_disturb_each_other(lake: Store) -> None:
    """A backfill beside the loader: both hold connections, the writer lock orders their transactions."""
    other = Store(lake.data_dir, Settings())
    try:
        for number in range(1, 3):
            lake.load(traces(call(number, 1)))
            assert other.load(traces(call(number, 1), call(number + 10, 1))).spans_duplicate == 1
    finally:
        other.lake.close()
    assert lake.one("SELECT count(*) FROM calls") == 4


def test_an_empty_batch_moves_the_position(lake: Store) -> None:
    lake.committer.commit(extracted(), Origin("otlp", (2, 5)))
    lake.committer.commit(extracted(), Origin("backfill:x"))
    assert lake.committer.spool_position() == (2, 5)
