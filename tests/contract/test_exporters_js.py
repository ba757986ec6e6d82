"""Unmodified OpenTelemetry JavaScript exporters against a running collector, set up by their environment alone.

Guarantee: JSON and protobuf over HTTP and protobuf over gRPC, compressed or not, each store every span exactly once,
with every attribute outside the content classes as sent and times exact to the nanosecond; logs and metrics arrive
too. A collector that is busy is asked again, and one that wants a token gets it from the variable that `serve` prints.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import Collector, running, wait_until

JS = Path(__file__).parent / "js"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    not NODE or not (JS / "node_modules" / ".ready").exists(),
    reason="needs Node.js with npm; `make test` then installs the exporters",
)

TOKEN = "js-token-0123456789"
CONFIG = f"""
tokens: [{{name: js, token: {TOKEN}}}]
keep: {{logs: all, metrics: all}}
limits: {{max_inflight_bytes: 16MiB}}
"""
# A byte of protobuf takes 4 of the budget above: one slow sender fills it.
HELD_BYTES = 5 << 20
# Small requests would take the slow one's place.
LARGE_BYTES = 3 << 19
SPANS = 40
SECONDS, NANOSECONDS = 1_795_000_000, 123_456_789
START = SECONDS * 10**9 + NANOSECONDS
ATTRIBUTES: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4.1-mini",
    "gen_ai.usage.input_tokens": 1200,
    "app.text": "Grüße, 世界 \U0001f600 \u202e",
    "app.nul": "a\0b",
    "app.empty": "",
    "app.flag": False,
    "app.safe": 2**53 - 1,  # the largest integer that JavaScript tells from its neighbours
    "app.negative": -(2**53) + 1,
    "app.float": 0.1,
    "app.small": 5e-324,
    "app.list": ["a", "", "世"],
    "app.numbers": [1, -2, 3],
    "app.floats": [1.5, -0.25],
    "app.flags": [True, False],
}
LOG: dict[str, Any] = {
    "eventName": "app.event",
    "severityNumber": 9,
    "severityText": "INFO",
    "timestamp": [SECONDS, NANOSECONDS],
    "body": {"nested": [1, {"deep": "ja"}, None], "n": 2.5},
    "attributes": {"app.text": "世", "app.map": {"a": [True]}},
}
COUNTER: dict[str, Any] = {"name": "app.calls", "value": 3, "attributes": {"app.kind": "js"}}
EXPORTERS = ("http", "proto", "grpc")
each_exporter = pytest.mark.parametrize("exporter", EXPORTERS)


@dataclass
class Application:
    """What an application sends, what it printed in the end, and what the collector has of it."""

    exporter: str
    spans: list[dict[str, Any]]
    variables: dict[str, str] = field(default_factory=dict)
    service: str = field(default_factory=lambda: f"js-{uuid.uuid4().hex[:8]}")
    ids: list[tuple[str, str]] = field(default_factory=list)
    error: str | None = None
    stored: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def start(self, collector: Collector, directory: Path) -> subprocess.Popen[str]:
        data = {
            "resource": {"service.name": self.service, "app.version": 7},
            "spans": self.spans,
            "logs": [LOG],
            "metrics": [COUNTER],
        }
        path = directory / f"{self.service}.json"
        path.write_text(json.dumps(data))
        port = collector.grpc_port if self.exporter == "grpc" else collector.http_port
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
            **self.variables,
        }
        command = [str(NODE), str(JS / "send.mjs"), self.exporter]
        with path.open() as description:
            return subprocess.Popen(
                command, stdin=description, stdout=subprocess.PIPE, env=environment, text=True
            )

    def finish(self, process: subprocess.Popen[str]) -> None:
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        answer = json.loads(printed)
        self.ids, self.error = [(trace, span) for trace, span in answer["ids"]], answer["error"]

    def row(self, number: int) -> dict[str, Any]:
        """The stored span of that place in ``spans``."""
        [row] = [row for row in self.stored["spans"] if row["span_id"] == self.ids[number][1]]
        return row


def span(number: int, **attributes: Any) -> dict[str, Any]:
    return {
        "name": f"chat {number}",
        "start": [SECONDS, NANOSECONDS + number],
        "end": [SECONDS + 1, NANOSECONDS + number + 7],
        "attributes": {**ATTRIBUTES, "app.number": number, **attributes},
        "events": [{"name": "tick", "attributes": {"n": number}, "time": [SECONDS, NANOSECONDS + 1]}],
        "status": {"code": 2, "message": "late"} if number % 10 == 0 else {"code": 1},
    }


def collect(collector: Collector, applications: list[Application]) -> None:
    """Wait until all that was acknowledged is stored, and hand it out."""
    expected = sum(len(one.spans) for one in applications if one.error is None)
    services = ", ".join(f"'{one.service}'" for one in applications)
    where = f"WHERE service_name IN ({services})"
    wait_until(
        lambda: collector.sql(f"SELECT count(*) AS n FROM spans {where}")[0]["n"] >= expected, pause=0.5
    )
    for relation in ("spans", "log_records", "metric_points"):
        rows = collector.sql(f"SELECT * FROM {relation} {where}")
        for one in applications:
            one.stored[relation] = [row for row in rows if row["service_name"] == one.service]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with running(tmp_path_factory.mktemp("js") / "data", config=CONFIG) as process:
        yield process


@pytest.fixture(scope="module")
def sent(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Application]:
    """By exporter and scenario: every application has sent, and what was acknowledged is stored."""
    scenarios: dict[str, tuple[list[dict[str, Any]], dict[str, str]]] = {
        "plain": ([span(number) for number in range(SPANS)], {}),
        "gzip": ([span(number) for number in range(SPANS)], {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}),
        # JavaScript cuts strings into halves of surrogate pairs, which no UTF-8 can hold.
        "cut": ([span(0, **{"app.cut": "so \ud83d"}), span(1)], {}),
        "no token": ([span(0)], {"OTEL_EXPORTER_OTLP_HEADERS": ""}),
    }
    applications = {
        (exporter, name): Application(exporter, *scenario)
        for exporter in EXPORTERS
        for name, scenario in scenarios.items()
    }
    directory = tmp_path_factory.mktemp("data")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: one.finish(one.start(collector, directory)), applications.values()))
    collect(collector, list(applications.values()))
    return applications


@each_exporter
@pytest.mark.parametrize("compression", ["plain", "gzip"])
def test_every_record_of_an_application_is_stored_once_and_whole(
    sent: dict[tuple[str, str], Application], exporter: str, compression: str
) -> None:
    application = sent[exporter, compression]
    assert application.error is None
    found = [(row["trace_id"], row["span_id"]) for row in application.stored["spans"]]
    assert sorted(found) == sorted(application.ids)
    assert len(set(found)) == SPANS
    for number in range(SPANS):
        check_span(application.row(number), number)
    check_log(*application.stored["log_records"])
    check_point(*application.stored["metric_points"])


def check_span(row: dict[str, Any], number: int) -> None:
    stored = json.loads(row["attributes"])
    expected = {**ATTRIBUTES, "app.number": number}
    assert stored == expected
    # 1 == True == 1.0 in Python: the types say what they were sent as.
    assert {key: type(stored[key]) for key in stored} == {key: type(expected[key]) for key in expected}
    times = START + number, START + 10**9 + number + 7
    assert (row["start_unix_nano"], row["end_unix_nano"]) == times
    names = row["name"], row["kind"], row["scope_name"], row["scope_version"]
    assert names == (f"chat {number}", "CLIENT", "tests.js", "1.2.3")
    assert row["status_code"] == ("ERROR" if number % 10 == 0 else "OK")
    [event] = json.loads(row["events"])
    assert (event["name"], event["attributes"]) == ("tick", {"n": number})
    assert event["time_unix_nano"] == START + 1
    assert json.loads(row["resource_attributes"])["app.version"] == 7
    assert row["notes"] is None


def check_log(record: dict[str, Any]) -> None:
    assert record["time_unix_nano"] == START
    texts = record["event_name"], record["severity_number"], record["severity_text"]
    assert texts == ("app.event", 9, "INFO")
    assert json.loads(record["body"]) == LOG["body"]
    assert json.loads(record["attributes"]) == LOG["attributes"]


def check_point(point: dict[str, Any]) -> None:
    assert (point["metric_name"], point["metric_type"]) == ("app.calls", "sum")
    assert (point["value_int"] or point["value_double"]) == COUNTER["value"]
    assert json.loads(point["attributes"]) == COUNTER["attributes"]


@each_exporter
def test_a_text_cut_in_the_middle_of_an_emoji_costs_no_span(
    sent: dict[tuple[str, str], Application], exporter: str
) -> None:
    application = sent[exporter, "cut"]
    assert application.error is None
    check_span(application.row(1), 1)
    cut = application.row(0)
    assert json.loads(cut["attributes"])["app.cut"].startswith("so ")
    assert cut["input_tokens"] == ATTRIBUTES["gen_ai.usage.input_tokens"]


@each_exporter
def test_an_application_without_the_token_is_told_so(
    sent: dict[tuple[str, str], Application], exporter: str
) -> None:
    application = sent[exporter, "no token"]
    assert any(word in str(application.error) for word in ("Unauthorized", "UNAUTHENTICATED"))
    assert application.stored == {"spans": [], "log_records": [], "metric_points": []}


def test_an_exporter_comes_back_when_the_collector_was_busy(collector: Collector, tmp_path: Path) -> None:
    """Over HTTP; the exporter over gRPC never tries again, whatever it is answered."""
    large = span(0, **{"app.text": "x" * LARGE_BYTES})
    applications = [Application(exporter, [large]) for exporter in ("http", "proto")]
    with socket.create_connection(("127.0.0.1", collector.http_port)) as slow:
        slow.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (TOKEN.encode(), HELD_BYTES + 1)
        )
        slow.sendall(bytes(HELD_BYTES))
        processes = [one.start(collector, tmp_path) for one in applications]
        wait_until(lambda: refused_as_busy(collector) >= len(applications))
    for one, process in zip(applications, processes, strict=True):
        one.finish(process)
        assert one.error is None
    collect(collector, applications)
    for one in applications:
        [row] = one.stored["spans"]
        assert (row["span_id"], row["input_tokens"]) == (one.ids[0][1], 1200)


def refused_as_busy(collector: Collector) -> float:
    authorization = {"Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"{collector.admin}/metrics", headers=authorization)
    with urllib.request.urlopen(request, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("spanledger_refused_requests_total{") and 'reason="unavailable"' in line
    )
