"""Stored records read again with today's tables: what comes out is what a fresh load of the same requests gives."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collector.store.lock import writer_lock
from semconv.dialects import AllTables, compile_tables
from semconv.prompt_hashes import hash_key
from semconv.request import Request
from semconv.settings import CONTENT_CLASSES, RedactionRules, Settings
from tests.otlp_data import logs_message
from tests.renormalize_support import (
    captures,
    every_table_but,
    everything,
    loading_with,
    older_tables,
    renormalize,
    steps_of,
)
from tests.store_support import HOUR, NOON, NOON_NANOS, SECOND, Store, call, fingerprint, span, store, traces

ALL = Settings(keep_logs="all", keep_metrics="all")
HASHING = replace(ALL, prompt_hash_key=hash_key(b"k" * 32))
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4.1-mini",
    "llm.provider": "openai",
    "llm.token_count.prompt": 1000,
    "llm.token_count.completion": 100,
}


@contextmanager
def two_lakes(
    tmp_path: Path, settings: Settings, *requests: Request, older: AllTables | None = None
) -> Iterator[tuple[Store, Store]]:
    """The same requests in a lake that knew older tables, and in one that knows today's."""
    with store(tmp_path / "old", settings) as old, store(tmp_path / "fresh", settings) as fresh:
        with loading_with(older or older_tables()):
            old.load(*requests)
        fresh.load(*requests)
        yield old, fresh


@contextmanager
def one_lake(tmp_path: Path, *requests: Request, older: AllTables | None = None) -> Iterator[Store]:
    with store(tmp_path / "old", ALL) as old:
        with loading_with(older or older_tables()):
            old.load(*requests)
        yield old


def openinference(trace: int, number: int, **options: Any) -> dict[str, Any]:
    """A call that only a table older ones lack understands."""
    attributes = OPENINFERENCE | options.pop("attributes", {})
    return span(trace, number, scope="openinference.instrumentation.openai", attributes=attributes, **options)


def events(*attributes: dict[str, Any], scope: str = "test", **fields: Any) -> Request:
    """Log records a second apart."""
    records = [
        {"attributes": own, "time_unix_nano": NOON_NANOS + n * SECOND, **fields}
        for n, own in enumerate(attributes)
    ]
    return Request(
        "logs", "protobuf", logs_message(*records, scope=scope).SerializeToString(), NOON_NANOS + HOUR
    )


def agent_events(count: int) -> Request:
    """Claude Code's, which tell of calls that no span reports."""
    usage = {
        "event.name": "api_request",
        "model": "claude-sonnet-4-5",
        "duration_ms": "800",
        "session.id": "s",
    }
    own = [
        {**usage, "request_id": f"req_{n}", "input_tokens": "10", "output_tokens": "5"} for n in range(count)
    ]
    return events(*own, scope="com.anthropic.claude_code.events", body="claude_code.api_request")


# --- equal to a fresh load


@pytest.mark.parametrize(
    ("capture", "step_rows", "libraries"),
    [
        (
            frozenset(),
            2000,
            ("langfuse-openai", "strands", "openinference-langchain", "otel-genai-anthropic"),
        ),
        (frozenset(CONTENT_CLASSES), 30, ("strands", "openinference-langchain")),
    ],
    ids=["gated", "captured, in several steps"],
)
def test_captures_of_real_libraries_come_out_as_a_fresh_load_has_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capture: frozenset[Any],
    step_rows: int,
    libraries: tuple[str, ...],
) -> None:
    """Of unknown dialects and of half known ones, with roll-ups and calls reported twice, all signals; and the text
    that only today's tables know as content is where the fresh load has it: nowhere, or in `contents`. So it is where
    records of one call, trace and scope fall into different steps.
    """
    monkeypatch.setattr("collector.store.renormalize._STEP_ROWS", step_rows)
    settings = replace(ALL, capture=capture)
    with two_lakes(tmp_path, settings, *captures(*libraries)) as (old, fresh):
        before = everything(old)
        outcome = renormalize(old)
        assert outcome.changed("spans") > 40
        after, wanted = everything(old), everything(fresh)
        for rows in (*after["contents"], *wanted["contents"]):
            del rows["kind"]  # a text stays of the class for which it was stored
        assert sorted(map(str, after.pop("contents"))) == sorted(map(str, wanted.pop("contents")))
        assert after == wanted != before


def test_an_answer_under_a_key_that_no_table_looked_into_is_understood_later(tmp_path: Path) -> None:
    """The gate took its text; as it tells tokens, what tables claim of answers under other keys was kept."""
    answer = {
        "generations": [[{"text": "a secret"}]],
        "llm_output": {"id": "chatcmpl-1", "token_usage": {"prompt_tokens_details": {"cached_tokens": 400}}},
    }
    request = traces(call(1, 1, attributes={"gen_ai.completion": json.dumps(answer)}))
    older = compile_tables(every_table_but("langsmith"))
    with two_lakes(tmp_path, ALL, request, older=older) as (old, fresh):
        assert "a secret" not in old.one("SELECT evidence || attributes FROM spans")
        assert old.one("SELECT cache_read_tokens FROM calls") is None
        renormalize(old)
        assert old.ask("SELECT response_id, cache_read_tokens FROM calls") == [("chatcmpl-1", 400)]
        assert everything(old) == everything(fresh)


def test_a_prompt_that_is_only_now_known_as_one_is_hashed_as_a_fresh_load_does(tmp_path: Path) -> None:
    """Its text was an attribute as any other; of texts that were taken before nothing is left to hash."""
    prompt = {"llm.prompts.0.prompt.text": "Where are the atlases?"}
    older = compile_tables(every_table_but("openinference"))
    with two_lakes(tmp_path, HASHING, traces(call(1, 1, attributes=prompt)), older=older) as (old, fresh):
        assert old.one("SELECT evidence FROM spans") is None
        renormalize(old)
        assert old.one("SELECT evidence::VARCHAR LIKE '%\"prompt\":%' FROM spans")
        assert everything(old) == everything(fresh)


def test_a_second_run_and_a_dry_run_change_nothing(tmp_path: Path) -> None:
    """Both count the same rows; only the run that is none of the two writes a byte."""
    with one_lake(tmp_path, *captures("langfuse-openai")) as old:
        lake = fingerprint(old.data_dir)
        dry = renormalize(old, dry_run=True)
        assert (fingerprint(old.data_dir), dry.calls) == (lake, 0)
        real = renormalize(old)
        assert (real.read, real.changes) == (dry.read, dry.changes)
        lake = fingerprint(old.data_dir)
        again = renormalize(old)
        assert (again.read, again.changes, again.calls) == (real.read, {}, 0)
        assert fingerprint(old.data_dir) == lake


def test_what_was_loaded_with_todays_tables_stays_as_it_is(tmp_path: Path) -> None:
    """Evidence stands in for all that the gate took, whichever library sent it, cut documents included."""
    requests = captures(
        "langsmith-langchain", "mlflow-openai", "openllmetry-openai", "otel-genai-openai", "vercel-ai-v5"
    )
    long = "x" * 100_000
    taken = span(900, 1, attributes={"metadata.usage_object": f'{{"prompt_tokens":7,"text":"{long}"}}'})
    cut = span(901, 1, attributes={"metadata": f'{{"session_id":"s1","text":"{long}"}}'})
    with store(tmp_path / "data", HASHING) as lake:
        lake.load(*requests, traces(taken), traces(cut))
        assert lake.one("SELECT count(*) FROM spans WHERE evidence::VARCHAR LIKE '%\"prompt\":%'") > 50
        assert lake.one("SELECT session_id FROM spans WHERE list_contains(notes, 'value_cut')") == "s1"
        outcome = renormalize(lake)
        assert outcome.read["spans"] > 100
        assert not outcome.changes


def test_large_rows_make_small_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty spans of 5 KB and more, and a step is to have 20 KB."""
    monkeypatch.setattr("collector.store.renormalize._STEP_BYTES", 20_000)
    spans = [openinference(1, n + 1, at=n * SECOND, attributes={"note": "n" * 5000}) for n in range(20)]
    with one_lake(tmp_path, traces(*spans)) as old:
        steps = list(steps_of(old))
        counts = [old.one(f"SELECT count(*) FROM spans WHERE {step.condition()}") for step in steps]
    assert sum(counts) == 20
    assert max(counts) <= 4


# --- calls


MISTAKEN = {
    "name": "mistaken",
    "rank": 1,
    "keys": ["made.up"],
    "claims": [
        {"key": "made.up.id", "column": "response_id", "convert": "string", "precedence": 1},
        {"key": "made.up.count", "column": "output_tokens", "convert": "tokens", "precedence": 1},
    ],
}
ID = {"gen_ai.operation.name": "chat", "gen_ai.response.id": "chatcmpl-1"}
# Each is a tenant.
SCENARIOS = {
    "apart": [
        traces(
            call(1, 1, response_id="chatcmpl-1"),
            call(
                2, 2, scope="other", attributes={"made.up.id": "chatcmpl-1", "gen_ai.usage.input_tokens": 900}
            ),
        )
    ],
    "together": [
        traces(
            call(1, 1, response_id="chatcmpl-1"),
            openinference(2, 2, attributes={"output.value": '{"id":"chatcmpl-1"}'}),
        )
    ],
    "logs": [agent_events(5)],
    "fewer logs": [
        traces(call(1, 1, response_id="chatcmpl-1")),
        events(
            {**ID, "made.up.count": 100},
            {**ID, "gen_ai.response.id": "chatcmpl-2", "made.up.count": 5},
        ),
    ],
    "bound": [replace(traces(openinference(1, 1)), billing_account="team-a")],
    "derived": [traces(openinference(1, 1))],
}


class Lakes(NamedTuple):
    """What a lake held that had been loaded with older tables, what after reading it again, and a fresh one."""

    before: dict[str, list[dict[str, Any]]]
    after: dict[str, list[dict[str, Any]]]
    fresh: dict[str, list[dict[str, Any]]]

    def calls(self, tenant: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Before and after; which has to be as in a fresh lake, with all of the tenant's records."""
        for relation, rows in self.fresh.items():
            wanted = [row for row in rows if row["tenant"] == tenant]
            assert [row for row in self.after[relation] if row["tenant"] == tenant] == wanted
        before, after = (
            [row for row in lake["calls"] if row["tenant"] == tenant] for lake in (self.before, self.after)
        )
        return before, after


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    requests = [replace(request, tenant=name) for name, own in SCENARIOS.items() for request in own]
    path = tmp_path_factory.mktemp("scenarios")
    with two_lakes(path, ALL, *requests, older=older_tables(MISTAKEN)) as (old, fresh):
        before = everything(old)
        renormalize(old)
        return Lakes(before, everything(old), everything(fresh))


def test_a_call_of_two_records_comes_apart_where_todays_tables_see_two(lakes: Lakes) -> None:
    """An older table took something for the response's id. The record that does not change keeps a call."""
    before, after = lakes.calls("apart")
    assert (len(before), len(after)) == (1, 2)


def test_two_calls_become_one_where_todays_tables_see_the_id_of_both(lakes: Lakes) -> None:
    _, [one] = lakes.calls("together")
    assert len(json.loads(one["members"])) == 2


def test_log_records_become_calls(lakes: Lakes) -> None:
    """An agent's events of a dialect that older tables lack."""
    before, after = lakes.calls("logs")
    assert (len(before), len(after)) == (0, 5)


def test_a_log_record_that_reports_no_call_any_more_leaves_none(lakes: Lakes) -> None:
    """Neither alone nor beside another record of the same call."""
    before, after = lakes.calls("fewer logs")
    assert (len(before), len(after)) == (2, 1)
    assert len(json.loads(after[0]["members"])) == 1


def test_an_account_bound_to_a_token_stays_and_one_derived_follows_the_provider(lakes: Lakes) -> None:
    for tenant, account in (("bound", "team-a"), ("derived", "openai")):
        _, [one] = lakes.calls(tenant)
        assert one["billing_account"] == account


# --- beside others


@contextmanager
def before_the_lock(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> Iterator[None]:
    """Another process is quicker: it acts when a step has been worked out and waits for the lake."""
    todo = [act]

    def lock(data_dir: Path) -> Any:
        while todo:
            todo.pop()()
        return writer_lock(data_dir)

    with monkeypatch.context() as patched:
        patched.setattr("collector.store.transaction.writer_lock", lock)
        yield


def test_what_others_do_meanwhile_and_later_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each a tenant's. A child of the trace that is being replaced, inside of the span that came before, tells of its
    call once more, meanwhile; another when calls were built again; and what is deleted meanwhile stays deleted."""
    first, late = openinference(1, 1, lasts=3 * SECOND), call(1, 2, parent=1, at=SECOND)
    firsts, lates = (
        [replace(traces(one), tenant=tenant) for tenant in ("meanwhile", "later")] for one in (first, late)
    )
    others = replace(traces(openinference(1, 1), openinference(2, 2)), tenant="others")
    delete = "DELETE FROM lake.spans WHERE tenant = 'others' AND span_id = '0000000000000001'"

    with two_lakes(tmp_path, ALL, *firsts, others) as (old, fresh), store(old.data_dir, ALL) as loader:

        def act() -> None:
            loader.load(lates[0])
            loader.lake.connection.execute(delete)

        with before_the_lock(monkeypatch, act):
            renormalize(old)
        assert old.ask("SELECT span_id, dialect FROM spans WHERE tenant = 'others'") == [
            ("0000000000000002", "openinference")
        ]
        assert old.ask("SELECT span_id FROM calls WHERE tenant = 'others'") == [("0000000000000002",)]
        old.load(lates[1])
        fresh.load(*lates)
        members = "SELECT len(json_extract(members, '$[*]')) FROM calls WHERE tenant <> 'others'"
        assert fresh.ask(members) == [(2,), (2,)]
        found = everything(old)
        for relation, rows in everything(fresh).items():
            assert of_tenants(found[relation], "meanwhile", "later") == of_tenants(
                rows, "meanwhile", "later"
            ), relation


def of_tenants(rows: list[dict[str, Any]], *tenants: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["tenant"] in tenants]


# --- what stays


def test_what_was_redacted_stays_as_it_is(tmp_path: Path) -> None:
    """A hash is not hashed again, what was dropped does not come back; and a record whose dialect only a dropped
    attribute told stays of it.
    """
    rules = RedactionRules(
        drop=("openinference.*", "gen_ai.*"), hash=("team",), user_ids="hash", secret=b"s" * 32
    )
    settings = replace(ALL, redaction=rules)
    known = {"team": "blue", "user.id": "ann", "gen_ai.system": "openai"}
    with two_lakes(tmp_path, settings, traces(span(2, 2, attributes=known))) as (old, fresh):
        assert old.one("SELECT user_id FROM spans").startswith("hmac:")
        assert old.one("SELECT dialect FROM spans") == "otel_genai"
        assert not renormalize(old).changes
        assert everything(old) == everything(fresh)


def test_other_times_and_tenants_stay(tmp_path: Path) -> None:
    """Of two tenants with the same ids each has its own calls, and only those of the window change; load_id,
    received_at and source stay everywhere.
    """
    here, there = (
        replace(traces(openinference(1, 1), call(3, 3, at=9 * SECOND)), tenant=name) for name in ("a", "b")
    )
    later = traces(openinference(2, 2, at=HOUR))
    noon = NOON.replace(tzinfo=None)
    with one_lake(tmp_path, here, there, later) as old:
        came = "SELECT tenant, trace_id, load_id, received_at, source FROM spans ORDER BY ALL"
        before = old.ask(came)
        outcome = renormalize(old, since=noon, until=noon + dt.timedelta(minutes=5))
        assert (outcome.read["spans"], outcome.changed("spans"), outcome.calls) == (4, 2, 2)
        assert old.ask(came) == before
        assert old.one("SELECT dialect FROM spans WHERE tenant = ''") is None
        assert old.ask("SELECT tenant, count(*) FROM calls GROUP BY ALL ORDER BY ALL") == [("a", 2), ("b", 2)]


def test_what_was_cut_off_is_left_as_it_is(tmp_path: Path) -> None:
    """Attributes of it are gone: reading it again would only lose what was read when it came in."""
    many = {f"note.{n}": n for n in range(20)}
    settings = replace(ALL, max_attributes=3)
    with store(tmp_path / "old", settings) as old:
        with loading_with(older_tables()):
            old.load(traces(openinference(1, 1, attributes=many)))
        before = everything(old)
        outcome = renormalize(old)
        assert (outcome.left["spans"], outcome.changes) == (1, {})
        assert everything(old) == before


# --- crashes

KILLED = """
import os, signal, sys
from pathlib import Path
from collector.store import renormalize
from collector.store.durability import DataFiles
from semconv.prompt_hashes import hash_key
from semconv.settings import Settings
from tests.renormalize_support import renormalize as run
from tests.store_support import Store

renormalize._STEP_ROWS = 10
left = int(sys.argv[2])
sync_new = DataFiles.sync_new

def killed(files):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return sync_new(files)

DataFiles.sync_new = killed
run(Store(Path(sys.argv[1]), Settings(keep_logs="all", keep_metrics="all")))
"""


def test_killed_in_the_middle_it_leaves_a_lake_that_agrees_and_the_next_run_does_the_rest(
    tmp_path: Path,
) -> None:
    """Just before the second commit: every call's records are what they were when it was built."""
    with two_lakes(tmp_path, ALL, *captures("strands")) as (old, fresh):
        old.lake.close()
        answer = subprocess.run(
            [sys.executable, "-c", KILLED, str(old.data_dir), "2"], check=False, capture_output=True
        )
        assert answer.returncode == -9, answer.stderr
    with store(tmp_path / "old", ALL) as old, store(tmp_path / "fresh", ALL) as fresh:
        assert old.one("SELECT count(*) FROM spans") == fresh.one("SELECT count(*) FROM spans")
        disagreeing = old.ask(
            "SELECT call_id FROM calls JOIN spans USING (tenant, trace_id, span_id)"
            " WHERE calls.dialect <> spans.dialect"
        )
        assert disagreeing == []
        assert renormalize(old).changed("spans") > 0
        assert everything(old) == everything(fresh)
