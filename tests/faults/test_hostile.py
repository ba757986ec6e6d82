"""The hostile matrix: everything that may reach a port, thrown at one real server.

Guarantee, after each attack: the answer is a clear one of those allowed or the end of the connection, which comes
though the client never ends it; a good request on another connection is answered and stored; no process has died; the
log has no traceback and no line for each bad request.
"""

from __future__ import annotations

import itertools
import json
import re
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from google.rpc import status_pb2

from tests.faults import hostile_bodies, hostile_grpc, hostile_http
from tests.faults.hostile_bodies import BIG, BODIES, PROTOBUF, TOKENS, TRACE_ID, Body, span, wrapped
from tests.faults.hostile_http import CLOSED, Answers
from tests.otlp_data import traces_message
from tests.processes import family
from tests.support import Collector, running, wait_until

CONFIG = f"""
limits:
  header_timeout_seconds: {hostile_http.HEADER_TIMEOUT}
  body_timeout_seconds: {hostile_http.BODY_TIMEOUT}
  idle_timeout_seconds: {hostile_http.IDLE_TIMEOUT}
# A good request comes after each attack: rather few batches.
loader: {{max_wait_seconds: 3}}
"""
GOOD_TRACE = b"good neighbour.."
# Of what is refused the log has sums: a line a minute for each reason.
SUMMARY = 'event="refused '
REASONS = 24

# What gRPC does not compress by, and the bodies that are JSON, it does not send.
GRPC_BODIES = [body for body in BODIES if body.media == PROTOBUF and body.coding in ("", "gzip")]
CODES = {200: hostile_grpc.OK, 400: hostile_grpc.INVALID, 413: hostile_grpc.EXHAUSTED}

numbers = itertools.count(1)
good_spans: dict[str, str] = {}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with running(tmp_path_factory.mktemp("hostile") / "data", config=CONFIG) as process:
        yield process


@pytest.fixture(autouse=True)
def _unharmed(collector: Collector, request: pytest.FixtureRequest) -> Iterator[None]:
    """What must hold after every attack."""
    before, lines = processes(collector), log_lines(collector)
    yield
    send_good_request(collector, request.node.name)
    assert processes(collector) == before
    assert [line for line in log_lines(collector)[len(lines) :] if SUMMARY not in line] == []


def processes(collector: Collector) -> set[int]:
    """The supervisor and its children."""
    return set(family(collector.process.pid)) if collector.process.poll() is None else set()


def log_lines(collector: Collector) -> list[str]:
    return collector.log.read_text().splitlines()


def send_good_request(collector: Collector, name: str) -> None:
    number = next(numbers)
    body = wrapped(span(number=number).replace(TRACE_ID, GOOD_TRACE))
    assert hostile_http.post(collector, body)[0] == 200
    good_spans[f"{number:016x}"] = name
    assert hostile_grpc.call(collector, hostile_grpc.message(body)) == hostile_grpc.OK


def check_status(status: int, media: str, body: bytes, expected_media: str | None = None) -> None:
    """An answer that is no success is a google.rpc.Status, in the encoding of the request."""
    if status == 200:
        return
    assert expected_media is None or media == expected_media
    if media == hostile_bodies.JSON:
        message = json.loads(body)["message"]
    else:
        assert media == PROTOBUF
        message = status_pb2.Status.FromString(body).message
    assert message


@pytest.mark.parametrize("body", BODIES, ids=[body.name for body in BODIES])
def test_a_hostile_body_is_answered_clearly(collector: Collector, body: Body) -> None:
    content = body.make()
    status, media, answer = hostile_http.post(collector, content, body)
    assert status in body.allowed, answer[:300]
    check_status(status, media, answer, body.media)


@pytest.mark.parametrize("name", hostile_http.ATTACKS)
def test_a_hostile_connection_is_answered_or_closed(collector: Collector, name: str) -> None:
    allowed, attack = hostile_http.ATTACKS[name]
    answers = attack(collector)
    check_answers(answers, allowed)
    if name in hostile_http.FRAMINGS:
        assert answers.closed


def check_answers(answers: Answers, allowed: set[int]) -> None:
    assert set(answers.statuses or [CLOSED]) <= allowed, answers
    for status, (media, body) in zip(answers.statuses, answers.bodies, strict=True):
        check_status(status, media, body)


def test_slow_clients_are_cut_off_while_others_are_served(collector: Collector) -> None:
    """All of them at a time."""
    with ThreadPoolExecutor(len(hostile_http.SLOW) + len(hostile_grpc.SLOW)) as pool:
        http_ones = {name: pool.submit(attack, collector) for name, (_, attack) in hostile_http.SLOW.items()}
        grpc_ones = {name: pool.submit(attack, collector) for name, (_, attack) in hostile_grpc.SLOW.items()}
        time.sleep(hostile_http.HEADER_TIMEOUT / 2)
        send_good_request(collector, "beside the slow")
    for name, attack in http_ones.items():
        check_answers(attack.result(), hostile_http.SLOW[name][0])
    for name, attack in grpc_ones.items():
        assert attack.result() <= hostile_grpc.SLOW[name][0], name


@pytest.mark.parametrize("body", GRPC_BODIES, ids=[body.name for body in GRPC_BODIES])
def test_a_hostile_message_is_answered_clearly(collector: Collector, body: Body) -> None:
    outcome = hostile_grpc.call_with(collector, body, body.make())
    assert outcome in {CODES[status] for status in body.allowed}


@pytest.mark.parametrize("name", hostile_grpc.ATTACKS)
def test_a_hostile_call_is_answered_or_closed(collector: Collector, name: str) -> None:
    allowed, attack = hostile_grpc.ATTACKS[name]
    assert attack(collector) <= allowed


NAMES = {
    "quotes": """it's "quoted", `so` and $$so$$""",
    "injection": "'); DROP TABLE spans; --",
    "comment": "/* */ -- \\",
    "nul": "a\0b",
    "right to left": "gpt\u202e4o-txt",
    "formula": '=HYPERLINK("http://127.0.0.1","x")',
    "markup": "<script>alert(1)</script>{{7*7}}${env:HOME}",
    "terminal": "\x1b[31mred\x1b[0m\r\n\x07",
    "path": "../../etc/passwd",
    "format": "%s%n{0}{name!r}",
    "astral": "\U0001f600\U00010ffff\ufeff\ufffe",
    "marker": '{"$double": "NaN"}',
    "long": "x" * 2000,
}
IDENTIFIERS = {
    "request_model": "gen_ai.request.model",
    "provider": "gen_ai.provider.name",
    "user_id": "user.id",
    "session_id": "session.id",
    "agent_name": "gen_ai.agent.name",
    "tool_name": "gen_ai.tool.name",
}


def test_hostile_names_are_kept_to_the_letter(collector: Collector) -> None:
    """As values of columns, as keys and values of attributes, as names of spans, scopes and services."""
    trace = uuid.uuid4().hex
    for number, name in enumerate(NAMES.values(), 1):
        request = traces_message(
            {**dict.fromkeys(IDENTIFIERS.values(), name), f"app.{name}": name},
            scope=name,
            resource={"service.name": name},
        )
        send_named(collector, request, trace, number, name)
    rows = stored(collector, f"trace_id = '{trace}'", len(NAMES))
    assert len(rows) == len(NAMES)
    columns = ("name", "scope_name", "service_name", *(set(IDENTIFIERS) - {"provider"}))
    for row in rows:
        name = list(NAMES.values())[int(row["span_id"], 16) - 1]
        assert {column: row[column] for column in columns} == dict.fromkeys(columns, name)
        attributes = json.loads(row["attributes"])
        assert attributes == {**dict.fromkeys(IDENTIFIERS.values(), name), f"app.{name}": name}


def send_named(collector: Collector, request: Any, trace: str, number: int, name: str) -> None:
    [span] = request.resource_spans[0].scope_spans[0].spans
    span.name, span.trace_id, span.span_id = name, bytes.fromhex(trace), number.to_bytes(8, "big")
    assert hostile_http.post(collector, request.SerializeToString())[0] == 200


def test_a_big_span_is_cut_and_what_it_cost_is_counted(collector: Collector) -> None:
    """No span is rejected for being big: its tokens are read, its texts are cut, its other attributes dropped."""
    trace = uuid.uuid4().bytes
    for number, (name, make) in BIG.items():
        body = wrapped(make().replace(TRACE_ID, trace))
        if number % 2:
            assert hostile_grpc.call(collector, hostile_grpc.message(body), within=30) == hostile_grpc.OK, (
                name
            )
        else:
            assert hostile_http.post(collector, body)[0] == 200, name
    rows = {
        int(row["span_id"], 16): row for row in stored(collector, f"trace_id = '{trace.hex()}'", len(BIG))
    }
    for number, (name, _) in BIG.items():
        row = rows[number]
        assert row["input_tokens"] == TOKENS, name
        assert len(row["name"]) < 100_000, name
        assert len(row["attributes"]) < 1_000_000, name
        assert row["notes"] or row["evidence"], name
    for number in (1, 2):
        assert len(json.loads(rows[number]["attributes"])) == 10_000  # limits.max_attributes


def test_texts_of_64_kib_are_kept_whole(collector: Collector) -> None:
    trace, name = uuid.uuid4().hex, "n" * (64 << 10)
    send_named(collector, traces_message({"app.name": name}, scope=name), trace, 1, name)
    [row] = stored(collector, f"trace_id = '{trace}'", 1)
    assert (row["name"], row["scope_name"], row["notes"]) == (name, name, None)
    assert json.loads(row["attributes"]) == {"app.name": name}


def test_the_log_only_sums_up(collector: Collector) -> None:
    sums = sum(SUMMARY in line for line in log_lines(collector))
    assert 0 < sums <= REASONS * (1 + counted(collector, "otelcol_process_uptime_seconds") / 60)


def test_memory_stayed_within_its_bound(collector: Collector) -> None:
    """The most that each process ever held, all added up, though they held it at different times."""
    peaks = [re.search(r"VmHWM:\s+(\d+) kB", status(pid)) for pid in processes(collector)]
    assert sum(int(peak[1]) for peak in peaks if peak) < 900_000, peaks


def status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def test_what_was_sent_between_the_attacks_is_stored_and_nothing_that_was_smuggled(
    collector: Collector,
) -> None:
    traces = f"'{GOOD_TRACE.hex()}', '{hostile_http.SMUGGLED_TRACE.hex()}'"
    rows = stored(collector, f"trace_id IN ({traces})", len(good_spans))
    found = {row["span_id"] for row in rows if row["trace_id"] == GOOD_TRACE.hex()}
    assert {span_id: name for span_id, name in good_spans.items() if span_id not in found} == {}
    assert len(rows) == len(found)
    assert counted(collector, "spanledger_quarantined_requests_total") == 0


def stored(collector: Collector, where: str, count: int) -> list[dict[str, Any]]:
    """Spans, once there are so many of them."""
    rows: list[dict[str, Any]] = []

    def arrived() -> bool:
        rows[:] = collector.sql(f"SELECT * FROM spans WHERE {where}")
        return len(rows) >= count

    accepted = counted(collector, "otelcol_receiver_accepted_spans_total")
    names = "otelcol_exporter_sent_spans_total", 'spanledger_duplicate_items_total{signal="spans"'
    wait_until(lambda: sum(counted(collector, name) for name in names) >= accepted)
    # Of a call that was given up, spans may be stored that were never counted as accepted.
    wait_until(arrived, pause=1.0)
    return rows


def counted(collector: Collector, series: str) -> float:
    """The sum of the series whose names begin so."""
    lines = collector.metrics().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))
