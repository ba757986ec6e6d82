"""What is whose: which rows an erasure takes from the lake, and that nothing else changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from collector.config import Config, load_config
from collector.erase import Erasure, erase, find, forms
from collector.store import erase_files
from collector.store.erase import Subject, SubjectKind
from collector.store.lake import CATALOG
from semconv.request import Request
from semconv.settings import Settings
from tests.erase_support import files_with
from tests.otlp_data import logs_message, metrics_message
from tests.store_support import HOUR, NOON_NANOS, SECOND, Store, call, span, store, traces

ALICE, BOB = {"user.id": "alice@example.com"}, {"user.id": "bob@example.com"}
EVERYTHING = Settings(keep_logs="all", keep_metrics="all", keep_spans="all")


def config_of(data_dir: Path, **options: Any) -> Config:
    return load_config(None, {"data_dir": str(data_dir)}, environ={}).model_copy(update=options)


def erased(
    data_dir: Path,
    identifier: str,
    kind: SubjectKind = "user",
    tenant: str | None = None,
    *,
    now: bool = True,
) -> Erasure:
    config = config_of(data_dir)
    subject = Subject(kind, forms(config, identifier), tenant)
    return erase(config, subject, identifier, now=now, tell=lambda _doing: None)


def spans_left(lake: Store) -> set[int]:
    """The numbers of the spans that are there."""
    return {int(row[0], 16) for row in lake.ask("SELECT span_id FROM spans")}


def logs_of(*records: dict[str, Any], tenant: str = "") -> Request:
    return Request("logs", "protobuf", logs_message(*records).SerializeToString(), NOON_NANOS + HOUR, tenant)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path / "data", EVERYTHING) as opened:
        yield opened


def test_spans_that_say_nothing_go_with_their_nearest_ancestor_or_their_trace(lake: Store) -> None:
    """Scenario: an agent of Alice's with tools; one of Bob's below it with a tool of its own; a trace in which only
    Alice is named, by a leaf; one in which both are, by leaves, with a root that says nothing.
    Guarantee: what inherits Alice goes, what inherits Bob and what is in doubt stays, and so do its calls.
    """
    lake.load(
        traces(
            *(span(1, 1, attributes=ALICE), call(1, 2, parent=1), span(1, 3, parent=2)),
            *(span(1, 4, parent=3, attributes=BOB), call(1, 5, parent=4, at=HOUR)),
            *(span(2, 6), call(2, 7, parent=6, attributes=ALICE, at=2 * HOUR), span(2, 8, parent=6)),
            *(
                call(3, 9, at=4 * HOUR),
                span(3, 10, parent=9, attributes=ALICE),
                span(3, 11, parent=9, attributes=BOB),
            ),
        )
    )
    stays = "SELECT * FROM calls WHERE span_id IN ('0000000000000005', '0000000000000009') ORDER BY ALL"
    before = lake.ask(stays)
    assert len(before) == 2
    done = erased(lake.data_dir, "alice@example.com")
    assert (done.rows["spans"], done.rows["calls"], done.finished) == (7, 2, True)
    assert spans_left(lake) == {4, 5, 9, 11}
    assert lake.ask("SELECT * FROM calls ORDER BY ALL") == before


def test_a_calls_other_records_go_with_it(lake: Store) -> None:
    """Scenario: one call, told by a span of Alice's and, in another trace and by another library, by a span that names
    nobody. Guarantee: both go, for both tell of her call; a call with another response id stays.
    """
    lake.load(
        traces(
            call(1, 1, attributes=ALICE, response_id="resp-1", scope="one"),
            call(2, 2, response_id="resp-1", scope="other"),
            call(3, 3, response_id="resp-2", scope="other"),
        )
    )
    assert lake.one("SELECT max(len(from_json(members, '[\"JSON\"]'))) FROM calls") == 2
    erased(lake.data_dir, "alice@example.com")
    assert spans_left(lake) == {3}
    assert lake.one("SELECT count(*) FROM calls") == 1


def test_a_session_is_erased_by_whichever_key_it_came(lake: Store) -> None:
    """Scenario: a session under two keys of different libraries, and once beside another one that goes before it."""
    lake.load(
        traces(
            call(1, 1, attributes={"session.id": "session-1"}),
            call(2, 2, attributes={"gen_ai.conversation.id": "session-1"}),
            call(
                3, 3, attributes={"gen_ai.conversation.id": "session-2", "langfuse.session.id": "session-1"}
            ),
            call(4, 4, attributes={"session.id": "session-10"}),
        )
    )
    assert erased(lake.data_dir, "session-1", "session").rows["spans"] == 3
    assert spans_left(lake) == {4}
    assert files_with(lake.data_dir / "data", "session-2") == {}


def test_of_one_tenant_alone(lake: Store) -> None:
    """Ids of tenants have nothing to do with each other."""
    for tenant in ("a", "b"):
        request = traces(call(1, 1, attributes={"user.id": "1"}))
        lake.load(Request(request.signal, request.encoding, request.body, request.received_at, tenant))
    assert erased(lake.data_dir, "1", tenant="a").rows["spans"] == 1
    assert lake.ask("SELECT tenant FROM spans UNION ALL SELECT tenant FROM calls") == [("b",), ("b",)]


def test_log_records_and_data_points(lake: Store) -> None:
    """Scenario: a log record of Alice's, one in her span that says nothing, one of Bob's in her trace, one outside any
    trace; a data point of hers and one of all. Guarantee: the first two and her point go.
    """
    lake.load(traces(call(1, 1, attributes=ALICE)))
    place = {"trace_id": (1).to_bytes(16, "big"), "span_id": (1).to_bytes(8, "big")}
    times = {name: {"time_unix_nano": NOON_NANOS + at} for at, name in enumerate("abcd")}
    lake.load(
        logs_of(
            {**times["a"], "attributes": ALICE},
            {**times["b"], **place, "attributes": {"tells": "nothing"}},
            {**times["c"], **place, "attributes": BOB},
            {**times["d"], "attributes": {"tells": "nothing"}},
        )
    )
    for attributes in (ALICE, {"gen_ai.system": "openai"}):
        body = metrics_message("gen_ai.client.token.usage", attributes).SerializeToString()
        lake.load(Request("metrics", "protobuf", body, NOON_NANOS + HOUR))
    assert lake.one("SELECT count(*) FROM log_records") == 4
    done = erased(lake.data_dir, "alice@example.com")
    assert (done.rows["log_records"], done.rows["metric_points"]) == (2, 1)
    assert {row[0] for row in lake.ask("SELECT user_id FROM log_records")} == {"bob@example.com", None}
    assert lake.one("SELECT count(*) FROM metric_points") == 1


def test_somebody_elses_record_that_names_the_id_stays_without_it(lake: Store) -> None:
    """A whole word of a text is replaced; a longer name that holds the id is somebody else's."""
    lake.load(
        traces(
            call(1, 1, attributes=BOB | {"asked": "say \n" + ALICE["user.id"] + ", please"}),
            call(2, 2, attributes={"user.id": "x" + ALICE["user.id"]}),
            call(3, 3, attributes=ALICE),
        )
    )
    before = lake.ask("SELECT * FROM calls WHERE user_id <> 'alice@example.com' ORDER BY ALL")
    assert erased(lake.data_dir, "alice@example.com").rows["mentions"] == 1
    assert lake.ask("SELECT * FROM calls ORDER BY ALL") == before
    assert (
        lake.one("SELECT attributes ->> 'asked' FROM spans WHERE user_id = 'bob@example.com'")
        == "say \nerased, please"
    )


@pytest.mark.parametrize("identifier", ["user-1", "gpt-4.1-mini"])
def test_an_id_that_is_a_word_of_the_telemetry_or_short_changes_no_other_record(
    lake: Store, identifier: str
) -> None:
    lake.load(
        traces(call(1, 1, attributes={"user.id": identifier}), call(2, 2, attributes={"x": identifier}))
    )
    before = lake.ask("SELECT * FROM spans WHERE user_id IS NULL")
    done = erased(lake.data_dir, identifier)
    assert (done.rows["spans"], done.rows["mentions"]) == (1, 0)
    assert lake.ask("SELECT * FROM spans") == before


def test_the_statistics_of_the_catalog_are_those_of_what_is_left(lake: Store) -> None:
    """Scenario: Alice's values are the least and the greatest of many columns; her calls are the only ones of log
    records. Guarantee: the catalog knows what is there and no more, and what is loaded later is found.
    """
    lake.load(
        traces(
            call(1, 1, attributes=ALICE | {"gen_ai.usage.input_tokens": 7_777_777, "a": "aaa"}, at=-HOUR),
            call(2, 2, attributes=ALICE | {"gen_ai.usage.input_tokens": 3, "z": "zzz"}, at=HOUR),
            *(call(9, 10 + n, attributes=BOB, at=n * SECOND) for n in range(3)),
        )
    )
    erased(lake.data_dir, "alice@example.com")
    for column in (
        "start_time",
        "input_tokens",
        "user_id",
        "attributes",
        "duration_ns",
        "trace_id",
        "cost_usd",
    ):
        table = "calls" if column == "cost_usd" else "spans"
        truth = lake.ask(f"SELECT min({column})::VARCHAR, max({column})::VARCHAR FROM {table}")[0]
        with closing(sqlite3.connect(lake.data_dir / CATALOG)) as catalog:
            known = catalog.execute(
                "SELECT min_value, max_value FROM ducklake_table_column_stats AS stats"
                " JOIN ducklake_table AS named USING (table_id)"
                " JOIN ducklake_column AS of_table USING (table_id, column_id)"
                " WHERE table_name = ? AND column_name = ? AND of_table.end_snapshot IS NULL",
                (table, column),
            ).fetchone()
        assert known == truth, column
    lake.load(traces(call(5, 5, attributes={"user.id": "zoe@example.com"}, at=5 * HOUR)))
    assert (
        lake.one(
            "SELECT count(*) FROM spans WHERE user_id = 'zoe@example.com' AND start_time > '2026-03-10 16:00'"
        )
        == 1
    )


def test_a_redacted_lake_is_asked_for_the_id_as_it_came(tmp_path: Path) -> None:
    """Scenario: user ids are stored as keyed hashes. Guarantee: the plain id erases them, and so does the hash."""
    config = load_config(None, {"data_dir": str(tmp_path / "data")}, environ={})
    config = config.model_copy(update={"redaction": config.redaction.model_copy(update={"user_ids": "hash"})})
    with store(tmp_path / "data") as laid:
        assert config.redaction.make_key(laid.data_dir)
    with store(tmp_path / "data", config.semconv_settings()) as lake:
        lake.load(traces(call(1, 1, attributes=ALICE), call(2, 2, attributes=BOB)))
        hashed = forms(config, BOB["user.id"])[1]
        assert lake.ask(f"SELECT count(*) FROM spans WHERE user_id = '{hashed}'") == [(1,)]
        for identifier in (ALICE["user.id"], hashed):
            subject = Subject("user", forms(config, identifier))
            assert erase(config, subject, identifier, now=True, tell=lambda _doing: None).rows["spans"] == 1
        assert lake.one("SELECT count(*) FROM spans") == 0


def test_without_now_whoever_reads_goes_on_and_a_later_run_removes_the_files(
    lake: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.load(traces(call(1, 1, attributes=ALICE), call(2, 2, attributes=BOB)))
    files = set((lake.data_dir / "data").rglob("*.parquet"))
    first = erased(lake.data_dir, "alice@example.com", now=False)
    assert (first.rows["spans"], first.finished) == (1, False)
    assert spans_left(lake) == {2}
    assert all(file.exists() for file in files)
    monkeypatch.setattr(erase_files, "GRACE_SECONDS", 0)
    assert erased(lake.data_dir, "alice@example.com", now=False).finished
    assert files_with(lake.data_dir, "alice@example.com") == {}
    assert spans_left(lake) == {2}


def test_a_dry_run_counts_what_a_run_erases(lake: Store) -> None:
    lake.load(traces(call(1, 1, attributes=ALICE), span(1, 2, parent=1), call(2, 3, attributes=BOB)))
    config = config_of(lake.data_dir)
    told = find(config, Subject("user", ("alice@example.com",))).rows
    assert spans_left(lake) == {1, 2, 3}
    done = erased(lake.data_dir, "alice@example.com").rows
    assert told == {name: number for name, number in done.items() if name != "mentions"}
