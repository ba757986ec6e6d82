"""What is whose: which rows an erasure takes from the lake, and that nothing else changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collector.config import Config, load_config
from collector.data_dir import CATALOG
from collector.erase import Erasure, erase, find, finish, forms
from collector.store.erase import Subject, SubjectKind
from semconv.request import Request
from semconv.settings import Settings
from tests.erase_support import files_with
from tests.otlp_data import logs_message, metrics_message
from tests.store_support import HOUR, NOON_NANOS, Store, call, span, store, traces

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


LOG_TIMES = [{"time_unix_nano": NOON_NANOS + at} for at in range(4)]
IN_HER_SPAN = {"trace_id": (31).to_bytes(16, "big"), "span_id": (31).to_bytes(8, "big")}
# Trace after trace; what is in doubt, Bob's or nobody's has an even number.
SPANS = (
    # An agent of hers with tools, and one of Bob's below it with a call of its own.
    *(span(1, 1, attributes=ALICE), call(1, 3, parent=1), span(1, 5, parent=3)),
    *(span(1, 4, parent=5, attributes=BOB), call(1, 6, parent=4, at=HOUR)),
    # Only she is named, by a leaf.
    *(span(2, 7), call(2, 9, parent=7, attributes=ALICE, at=2 * HOUR), span(2, 11, parent=7)),
    # Both are, by leaves, below a call that says nothing.
    *(
        call(3, 8, at=4 * HOUR),
        span(3, 13, parent=8, attributes=ALICE),
        span(3, 10, parent=8, attributes=BOB),
    ),
    # A call that a second library tells too, in a trace that names nobody; and another call of that library.
    call(11, 21, attributes=ALICE, response_id="resp-1", scope="one", at=6 * HOUR),
    call(12, 23, response_id="resp-1", scope="other", at=6 * HOUR),
    call(13, 14, response_id="resp-2", scope="other", at=6 * HOUR),
    # Somebody else's that name her; one whose id has hers in it; one under a key that goes before another.
    call(21, 16, attributes=BOB | {"asked": "say \n" + ALICE["user.id"] + ", please"}, at=8 * HOUR),
    call(22, 18, attributes={"user.id": "x" + ALICE["user.id"]}, at=8 * HOUR),
    call(23, 25, attributes={"user.id": "zed", "enduser.id": ALICE["user.id"]}, at=8 * HOUR),
    # The least and the greatest of many columns.
    call(31, 31, attributes=ALICE | {"gen_ai.usage.input_tokens": 7_777_777, "a": "aaa"}, at=-2 * HOUR),
    call(32, 33, attributes=ALICE | {"gen_ai.usage.input_tokens": 3, "z": "zzz"}, at=20 * HOUR),
)
OTHER_CALLS = (6, 8, 14, 16, 18)


class Erased(NamedTuple):
    lake: Store
    done: Erasure
    other_calls: list[tuple[Any, ...]]  # before
    told: dict[str, int]  # by a dry run


def calls_of(lake: Store, spans: tuple[int, ...]) -> list[tuple[Any, ...]]:
    ids = ", ".join(f"'{number:016x}'" for number in spans)
    return lake.ask(f"SELECT * FROM calls WHERE span_id IN ({ids}) ORDER BY ALL")


@pytest.fixture(scope="module")
def alices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erased]:
    """A lake after Alice was erased from it."""
    with store(tmp_path_factory.mktemp("erased") / "data", EVERYTHING) as lake:
        points = [
            Request(
                "metrics",
                "protobuf",
                metrics_message("x.y", attributes).SerializeToString(),
                NOON_NANOS + HOUR,
            )
            for attributes in (ALICE, {"gen_ai.system": "openai"})
        ]
        logs = logs_of(
            {**LOG_TIMES[0], "attributes": ALICE},
            {**LOG_TIMES[1], **IN_HER_SPAN, "attributes": {"tells": "nothing"}},
            {**LOG_TIMES[2], **IN_HER_SPAN, "attributes": BOB},
            {**LOG_TIMES[3], "attributes": {"tells": "nothing"}},
        )
        lake.load(traces(*SPANS), logs, *points)
        before = calls_of(lake, OTHER_CALLS)
        told = find(config_of(lake.data_dir), Subject("user", ("alice@example.com",))).rows
        assert lake.one("SELECT count(*) FROM spans") == len(SPANS)
        yield Erased(lake, erased(lake.data_dir, "alice@example.com"), before, told)


def test_what_inherits_her_goes_and_what_inherits_others_or_is_in_doubt_stays(alices: Erased) -> None:
    """From the nearest ancestor, else because a trace names nobody else; and all records of her calls."""
    assert spans_left(alices.lake) == {one["span"] for one in SPANS if one["span"] % 2 == 0}
    assert alices.done.rows["spans"] == sum(one["span"] % 2 for one in SPANS)
    assert alices.done.finished


def test_the_calls_of_others_are_as_they_were(alices: Erased) -> None:
    assert len(alices.other_calls) == len(OTHER_CALLS)
    assert calls_of(alices.lake, OTHER_CALLS) == alices.other_calls
    assert alices.lake.one("SELECT count(*) FROM calls") == len(OTHER_CALLS)


def test_log_records_and_data_points(alices: Erased) -> None:
    """A log record of hers and one in her span that says nothing go; Bob's in her span and one of nobody's stay."""
    assert (alices.done.rows["log_records"], alices.done.rows["metric_points"]) == (2, 1)
    assert {row[0] for row in alices.lake.ask("SELECT user_id FROM log_records")} == {"bob@example.com", None}
    assert alices.lake.one("SELECT count(*) FROM metric_points") == 1


def test_somebody_elses_record_that_names_her_stays_without_it(alices: Erased) -> None:
    """A whole word of a text is replaced; a longer name that holds the id is somebody else's."""
    assert alices.done.rows["mentions"] == 1
    names = alices.lake.ask(
        "SELECT coalesce(attributes ->> 'asked', user_id) FROM spans WHERE span_id IN ("
        "'0000000000000010', '0000000000000012') ORDER BY span_id"
    )
    assert names == [("say \nerased, please",), ("xalice@example.com",)]


def test_a_dry_run_counts_what_a_run_erases(alices: Erased) -> None:
    assert alices.told == {name: rows for name, rows in alices.done.rows.items() if name != "mentions"}


def test_the_statistics_of_the_catalog_are_those_of_what_is_left(alices: Erased) -> None:
    """Guarantee: the catalog knows what is there and no more, and what is loaded later is found."""
    lake = alices.lake
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
        assert known_extremes(lake, table, column) == truth, column
    lake.load(traces(call(40, 40, attributes={"user.id": "zoe@example.com"}, at=30 * HOUR)))
    late = "SELECT count(*) FROM spans WHERE user_id = 'zoe@example.com' AND start_time > '2026-03-11 16:00'"
    assert lake.one(late) == 1


def known_extremes(lake: Store, table: str, column: str) -> tuple[str, str]:
    with closing(sqlite3.connect(lake.data_dir / CATALOG)) as catalog:
        found: tuple[str, str] = catalog.execute(
            "SELECT min_value, max_value FROM ducklake_table_column_stats AS stats"
            " JOIN ducklake_table AS named USING (table_id)"
            " JOIN ducklake_column AS of_table USING (table_id, column_id)"
            " WHERE table_name = ? AND column_name = ? AND of_table.end_snapshot IS NULL",
            (table, column),
        ).fetchone()
    return found


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


def test_alerts_that_name_her_go_and_those_of_her_time_lose_their_text(lake: Store) -> None:
    """Guarantee: that the latter were raised and sent stays, so that they are not sent again; others stay whole."""
    lake.load(traces(call(1, 1, attributes=ALICE)))
    windows = {"hers": "2026-03-10", "of-her-time": "2026-03-10", "other": "2026-01-10"}
    for name, day in windows.items():
        text = f'{{"about": "{ALICE["user.id"] if name == "hers" else "all"}"}}'
        for state, channel, document in (("raised", "NULL", f"'{text}'"), ("sent", "'file'", "NULL")):
            lake.lake.connection.execute(
                "INSERT INTO lake.alerts (alert_id, rule, event_key, state, recorded_at, channel, window_start,"
                f" window_end, alert) VALUES ('{name}', 'rule', '{name}', '{state}', now()::TIMESTAMP, {channel},"
                f" TIMESTAMP '{day}', TIMESTAMP '{day}' + INTERVAL 1 DAY, {document})"
            )
    assert erased(lake.data_dir, ALICE["user.id"]).rows["alerts"] == 2
    assert lake.ask("SELECT alert_id, state, alert IS NULL FROM alerts ORDER BY ALL") == [
        ("of-her-time", "raised", True),
        ("of-her-time", "sent", True),
        ("other", "raised", False),
        ("other", "sent", True),
    ]
    assert files_with(lake.data_dir, ALICE["user.id"]) == {}


@pytest.mark.parametrize(("identifier", "tenant"), [("1", "a"), ("gpt-4.1-mini", None)])
def test_an_id_that_is_a_word_of_the_telemetry_or_short_changes_no_other_record(
    lake: Store, identifier: str, tenant: str | None
) -> None:
    """Nor does one of another tenant: ids of tenants have nothing to do with each other."""
    request = traces(call(1, 1, attributes={"user.id": identifier}), call(2, 2, attributes={"x": identifier}))
    lake.load(*(replace(request, tenant=name) for name in ("a", "b")))
    before = lake.ask("SELECT * FROM spans ORDER BY tenant, span_id")
    done = erased(lake.data_dir, identifier, tenant=tenant)
    gone = [(name, "0000000000000001") for name in ("a", "b") if name == tenant or tenant is None]
    assert (done.rows["spans"], done.rows["mentions"]) == (len(gone), 0)
    left = lake.ask("SELECT tenant, span_id FROM spans ORDER BY tenant, span_id")
    assert len(left) == 4 - len(gone)
    assert not set(left) & set(gone)
    assert set(lake.ask("SELECT * FROM spans")) < set(before)
    assert lake.ask("SELECT tenant, span_id FROM calls ORDER BY tenant, span_id") == left


def test_a_redacted_lake_is_asked_for_the_id_as_it_came(tmp_path: Path) -> None:
    """Scenario: user ids are stored as keyed hashes; later the configuration does not say so any more. Guarantee: the
    plain id erases what was hashed, for the key is there; a hash taken from the lake is an id itself.
    """
    plain = config_of(tmp_path / "data")
    config = plain.model_copy(update={"redaction": plain.redaction.model_copy(update={"user_ids": "hash"})})
    with store(tmp_path / "data") as laid:
        assert config.redaction.make_key(laid.data_dir)
    with store(tmp_path / "data", config.semconv_settings()) as lake:
        lake.load(traces(call(1, 1, attributes=ALICE), call(2, 2, attributes=BOB)))
        hashed = forms(config, BOB["user.id"])[1]
        assert lake.ask(f"SELECT count(*) FROM spans WHERE user_id = '{hashed}'") == [(1,)]
        assert forms(plain, BOB["user.id"]) == (BOB["user.id"], hashed)
        assert find(config, Subject("user", forms(config, hashed))).rows["spans"] == 1
        assert erased(lake.data_dir, ALICE["user.id"]).rows["spans"] == 1
        assert spans_left(lake) == {2}


def test_without_now_whoever_reads_goes_on_and_a_later_run_removes_the_files(
    lake: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.load(traces(call(1, 1, attributes=ALICE), call(2, 2, attributes=BOB)))
    files = set((lake.data_dir / "data").rglob("*.parquet"))
    first = erased(lake.data_dir, "alice@example.com", now=False)
    assert (first.rows["spans"], first.finished) == (1, False)
    assert spans_left(lake) == {2}
    assert all(file.exists() for file in files)
    assert not finish(config_of(lake.data_dir))
    lake.load(traces(call(3, 4, attributes=BOB)))  # the lake goes on
    monkeypatch.setattr("collector.erase.grace_seconds", lambda _seconds: 0)
    assert finish(config_of(lake.data_dir)) == 1
    assert not finish(config_of(lake.data_dir))
    assert files_with(lake.data_dir, "alice@example.com") == {}
    assert spans_left(lake) == {2, 4}
