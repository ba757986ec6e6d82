"""The same records end in the same `calls`, however they come: through the real write path, request by request.

Records of all kinds that make or change a call; their parts arrive shuffled, each in a request and a commit of its own,
children before parents, log records before spans and after, and parts an hour apart.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.store import call_logs
from collector.store.statements import sql
from semconv.request import Request
from tests.store_support import CHAT, HOUR, NOON_NANOS, SECOND, call, logs, span, store, traces
from tests.unit.semconv_records import seeded

CALLS = """
SELECT
    call_id, tenant, trace_id, span_id, members, signal, start_time, duration_ns, session_id, user_id, agent_name,
    tool_name, input_tokens, output_tokens, cache_read_tokens, status_code, possible_duplicate, cost_usd, notes
FROM calls
ORDER BY ALL
"""
MINUTE = 60 * SECOND


def log(at: int, attributes: dict[str, Any] | None = None, *, trace: int = 0, inside: int = 0) -> Request:
    """A request with one log record of a call that ended `at` nanoseconds after noon."""
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = resource.scope_logs.add()
    scope.scope.name = "test.events"
    record = scope.log_records.add(time_unix_nano=NOON_NANOS + at, event_name="gen_ai.api_request")
    if trace:
        record.trace_id, record.span_id = trace.to_bytes(16, "big"), inside.to_bytes(8, "big")
    for key, value in (CHAT | (attributes or {})).items():
        any_value = record.attributes.add(key=key).value
        if isinstance(value, int):
            any_value.int_value = value
        else:
            any_value.string_value = value
    return Request("logs", "protobuf", message.SerializeToString(), NOON_NANOS + HOUR)


def of_tenant(request: Request, tenant: str) -> Request:
    return Request(request.signal, request.encoding, request.body, request.received_at, tenant=tenant)


def families() -> list[list[Request]]:
    """Each request one record; what belongs to the same calls, or is told from them, stands together."""
    session = {"gen_ai.conversation.id": "s-1", "user.id": "u-1"}
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    related = [
        # a trace whose parts lie an hour apart, its root told last, a tool and a call inside it
        traces(span(1, 1, lasts=2 * HOUR, attributes=session | agent)),
        traces(span(1, 2, parent=1, at=SECOND, lasts=MINUTE, attributes=tool)),
        traces(call(1, 3, parent=2, at=2 * SECOND)),
        traces(call(1, 4, parent=1, at=HOUR, response_id="r-4")),
        # a log record beside it, one inside it, and one that no span reports
        log(
            HOUR + SECOND,
            {"gen_ai.response.id": "r-4", "gen_ai.usage.cache_read.input_tokens": 9},
            trace=1,
            inside=1,
        ),
        log(3 * SECOND, trace=1, inside=3),
        log(90 * MINUTE, {"gen_ai.usage.input_tokens": 7}, trace=1, inside=1),
        # the same call by id from another library in another trace, with a session of its own
        traces(call(2, 1, at=HOUR - SECOND // 2, lasts=2 * SECOND, response_id="r-4", scope="library.b")),
    ]
    twins = [
        # in two traces, and a log record outside any that is the third
        traces(call(3, 1, at=5 * MINUTE, scope="library.a", response_id="r-5")),
        traces(call(4, 1, at=5 * MINUTE + SECOND // 100, lasts=SECOND * 98 // 100, scope="library.b")),
        log(5 * MINUTE + SECOND + 1000),
    ]
    strangers = [
        # a log record alone; and one whose span is of another tenant
        log(9 * MINUTE, {"gen_ai.conversation.id": "s-9"}),
        of_tenant(traces(call(5, 1, at=9 * MINUTE - SECOND)), "other"),
    ]
    wrapped = [
        # a wrapper that repeats the sum of two
        traces(
            call(
                6,
                1,
                at=20 * MINUTE,
                lasts=10 * SECOND,
                attributes={"gen_ai.usage.input_tokens": 2007, "gen_ai.usage.output_tokens": 103},
            )
        ),
        traces(call(6, 2, parent=1, at=20 * MINUTE + SECOND)),
        traces(
            call(
                6,
                3,
                parent=1,
                at=20 * MINUTE + 3 * SECOND,
                attributes={"gen_ai.usage.input_tokens": 1007, "gen_ai.usage.output_tokens": 3},
            )
        ),
    ]
    return [related, twins, strangers, wrapped]


def records() -> list[Request]:
    return [record for family in families() for record in family]


def calls_of(data_dir: Path, batches: list[list[Request]]) -> list[tuple[Any, ...]]:
    with store(data_dir) as opened:
        for batch in batches:
            opened.load(*batch)
        return opened.ask(CALLS)


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    return calls_of(tmp_path_factory.mktemp("at-once") / "data", [records()])


def test_every_call_is_there_once(at_once: list[tuple[Any, ...]]) -> None:
    spans = sorted(
        (row[2][-1:] if row[2] else None, row[3][-1:] if row[3] else None) for row in at_once if row[3]
    )
    assert spans == [("1", "3"), ("1", "4"), ("3", "1"), ("5", "1"), ("6", "2"), ("6", "3")]
    assert sorted(row[12] for row in at_once if row[3] is None) == [7, 1000]
    assert [row[8] for row in at_once if row[12] == 7] == ["s-1"], "a log record has its trace's session"


@pytest.mark.parametrize("first", ["logs", pytest.param("traces", marks=pytest.mark.soak)])
def test_each_record_in_a_request_of_its_own(
    tmp_path: Path, at_once: list[tuple[Any, ...]], first: str
) -> None:
    """Parents before children and then the log records; log records first and then children before parents. With each
    comes one of every family: nothing of the others makes a difference to it."""
    orders = [
        sorted(family if first == "traces" else family[::-1], key=lambda request: request.signal != first)
        for family in families()
    ]
    batches = [[request for request in together if request] for together in zip_longest(*orders)]
    assert calls_of(tmp_path / "data", batches) == at_once


@pytest.mark.parametrize("seed", [2, pytest.param(3, marks=pytest.mark.soak)])
def test_any_batches(tmp_path: Path, at_once: list[tuple[Any, ...]], seed: int) -> None:
    pick = seeded(seed)
    requests = pick.sample(records(), len(records()))
    batches = []
    while requests:
        size = pick.randrange(1, 6)
        batches.append(requests[:size])
        del requests[:size]
    assert calls_of(tmp_path / "data", batches) == at_once


def test_a_log_record_before_its_span_and_again_changes_nothing(tmp_path: Path) -> None:
    """The call of the log record gives way to the span's; both sent again are known."""
    told, spanned = log(SECOND), traces(call(1, 1))
    with store(tmp_path / "data") as opened:
        opened.load(told)
        assert opened.ask("SELECT signal, trace_id, span_id FROM calls") == [("log", None, None)]
        opened.load(spanned)
        assert opened.ask("SELECT signal, json_array_length(members) FROM calls") == [("span", 2)]
        again = opened.load(told, spanned)
        assert (again.log_records_duplicate, again.spans_duplicate, again.calls_written) == (1, 1, 0)
        assert opened.one("SELECT count(*) FROM log_records") == 1


def test_a_span_sent_again_under_a_new_time_is_the_same_call(tmp_path: Path) -> None:
    """An exporter's retry with a clock that was set: the identity is the span's, the first one stays."""
    with store(tmp_path / "data") as opened:
        opened.load(traces(call(1, 1)))
        opened.load(traces(call(1, 1, at=HOUR // 2)))
        assert opened.ask("SELECT count(*), min(start_time)::VARCHAR FROM calls") == [
            (1, "2026-03-10 12:00:00")
        ]


def test_without_log_records_of_calls_nothing_looks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other log records do not make it dearer either."""

    def only_the_catalog(name: str) -> str:
        assert name == "sql/logs_of_calls.sql", "looked for partners among log records"
        return sql(name)

    monkeypatch.setattr(call_logs, "sql", only_the_catalog)
    with store(tmp_path / "data") as opened:
        opened.load(logs(0, 1), traces(call(1, 1)))
        opened.load(traces(call(1, 2), call(2, 1, at=MINUTE, scope="library.b")))
        assert opened.one("SELECT count(*) FROM calls") == 3


def test_a_rolled_back_batch_leaves_no_log_records_behind(tmp_path: Path) -> None:
    """A dry run between two real batches."""
    with store(tmp_path / "data") as opened:
        opened.load(log(SECOND))
        opened.load(traces(call(1, 1, at=HOUR)), dry_run=True)
        opened.load(traces(call(2, 1, at=2 * HOUR)))
        assert opened.one("SELECT count(*) FROM calls") == 2
        assert opened.one("SELECT count(*) FROM spans") == 1
