"""What a real `serve` counts and logs while everything that a client can choose is chosen with bad intent.

Guarantee: no client adds a series or a label value to /metrics; no line of the log quotes one, and how many lines there
are does not depend on how much was sent. The log level is debug: the most that there can be.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import json
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from collector.receivers import status
from collector.spool_format import Record, encode_head
from collector.telemetry import COUNTERS, GAUGES, READ_COUNTERS, REASONS, Row
from semconv.faults import FAULT_KINDS
from tests.support import Collector, get_json, running, wait_until

TOKEN = "token-of-the-senders-0123456789"
METRICS_TOKEN = "token-of-the-operators-012345"
CONFIG = f"""
log_level: debug
tokens:
  - name: senders
    token: {TOKEN}
metrics_token:
  token: {METRICS_TOKEN}
alerts:
  every: 1h
  rules: {{daily_spend: [{{name: spend, above_usd: 5}}]}}
  channels: {{stdout: true}}
"""
# In every text below that a client may choose; nothing of ours contains it.
MARK = "pWn3d"
TEXTS = (MARK, f'{MARK}"}} 1\nspanledger_evil{{x="{MARK}', f"{MARK}\x1b[31m\x00ü\u2028", f"{MARK}" * 400)
ROUNDS = (TEXTS, TEXTS[1:2])
SIGNALS = {
    "traces": "trace.v1.TraceService",
    "logs": "logs.v1.LogsService",
    "metrics": "metrics.v1.MetricsService",
}
# Samples of rows that are counted by histograms and by prometheus_client itself.
OTHERS = ("spanledger_load_duration_seconds", "process_", "python_")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """It finds a request in its spool that no loader can load."""
    data_dir = tmp_path_factory.mktemp("telemetry") / "data"
    (data_dir / "spool").mkdir(parents=True, mode=0o700)
    data_dir.chmod(0o700)
    bad = Record(time.time_ns(), 1, "", None, "traces", "json", f'{{"{MARK}": {MARK}'.encode())
    (data_dir / "spool" / f"{1:020d}.spool").write_bytes(encode_head(bad) + bad.body)
    with running(data_dir, config=CONFIG) as collector:
        yield collector


def metrics(server: Collector) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()


def samples(server: Collector) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Value by name and labels."""
    families = text_string_to_metric_families(metrics(server))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(server: Collector, name: str, **labels: str) -> float:
    return samples(server)[name, tuple(sorted(labels.items()))]


def trace_body(name: str, trace_id: bytes | None = None) -> bytes:
    """One good span, everything about it called ``name``."""
    request = ExportTraceServiceRequest()
    text = name.replace("\x00", "")
    resource_spans = request.resource_spans.add(schema_url=text)
    resource_spans.resource.attributes.add(key="service.name").value.string_value = text
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = text
    span = scope_spans.spans.add(name=text, kind=3, trace_state=text)
    span.trace_id, span.span_id = uuid.uuid4().bytes if trace_id is None else trace_id, uuid.uuid4().bytes[:8]
    span.start_time_unix_nano = span.end_time_unix_nano = 1_795_000_000_000_000_000
    for key in ("gen_ai.request.model", "gen_ai.provider.name", "user.id", text):
        span.attributes.add(key=key).value.string_value = text
    span.status.code, span.status.message = 2, text
    return request.SerializeToString()


def send(port: int, head: bytes) -> None:
    """Raw bytes, and wait for an answer."""
    with (
        contextlib.suppress(OSError),  # hung up on: that is an answer, too
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
    ):
        connection.sendall(head)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1 << 16)


def post(server: Collector, body: bytes, path: str = "/v1/traces", **headers: str) -> tuple[int, bytes]:
    fields = {
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/x-protobuf",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", path, body, fields)
        answer = connection.getresponse()
        return answer.status, answer.read()


def raw_requests(text: str) -> Iterator[bytes]:
    """Requests whose method, path, headers or bytes are ``text``, as far as HTTP lets it through, and further."""
    word = "".join(c for c in text if c.isalnum())[:1000].encode("ascii", "ignore")
    raw = text.encode()
    token = f"Authorization: Bearer {TOKEN}\r\n".encode()
    for method, path in (
        (word, b"/v1/traces"),
        (b"PUT", b"/v1/traces"),
        (b"GET", b"/" + word),
        (b"POST", b"/v1/" + word + b"?a=%0a"),
    ):
        yield method + b" " + path + b" HTTP/1.1\r\nHost: " + word + b"\r\n" + token + b"\r\n"
    for header in (b"Content-Type", b"Content-Encoding", b"Authorization", b"User-Agent", b"Expect", word):
        for content in (word, b"Bearer " + word, raw):
            yield (
                b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n"
                + header
                + b": "
                + content
                + b"\r\nContent-Length: 0\r\n\r\n"
            )
    yield raw
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + raw
    yield b"\x16\x03\x01\x02\x00\x01\x00" + raw


def bad_bodies(text: str) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Bodies that are refused, in whole or in part, with ``text`` in the place that is to blame."""
    whole = trace_body(text)
    yield whole[:-3], {}
    yield whole, {"Content_Encoding": "gzip"}
    yield gzip.compress(whole)[:-5], {"Content_Encoding": "gzip"}
    yield trace_body(text, b"short"), {}
    yield trace_body(text, bytes(16)), {}
    span = {"traceId": text, "spanId": text, "name": text, "startTimeUnixNano": text}
    for fields in (span, span | {"startTimeUnixNano": "1"}, {text: text}, {**span, "traceId": [text]}):
        document = {"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}], text: text}
        yield json.dumps(document).encode(), {"Content_Type": "application/json"}
    yield f'{{"{MARK}": {text}'.encode(), {"Content_Type": "application/json"}


def call(server: Collector, method: str, message: bytes, **metadata: str) -> grpc.StatusCode:
    with grpc.insecure_channel(server.grpc) as channel:
        fields = {"authorization": f"Bearer {TOKEN}", **metadata}
        try:
            channel.unary_unary(method)(message, metadata=tuple(fields.items()), timeout=10)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def do_everything_that_is_hostile(server: Collector, text: str) -> None:
    word = "".join(c for c in text if c.isalnum() and c.isascii())[:1000]
    for request in raw_requests(text):
        for port in (server.http_port, server.admin_port):
            send(port, request)
        send(server.grpc_port, request[:200])
    for body, headers in bad_bodies(text):
        post(server, body, **headers)
    assert post(server, trace_body(text), Authorization=f"Bearer {word}")[0] == 401
    assert post(server, trace_body(text), User_Agent=word, Cookie=word)[0] == 200
    export = "/opentelemetry.proto.collector.{}/Export"
    for signal, service in SIGNALS.items():
        assert (
            call(server, export.format(service), b"\x0a\xff" + text.encode())
            is grpc.StatusCode.INVALID_ARGUMENT
        )
        assert post(server, b"\x0a\xff" + text.encode(), f"/v1/{signal}")[0] == 400
    traces = export.format(SIGNALS["traces"])
    assert call(server, traces, trace_body(text)) is grpc.StatusCode.OK
    assert call(server, traces, trace_body(text, b"short")) is grpc.StatusCode.OK
    assert call(server, traces, trace_body(text), authorization=word) is grpc.StatusCode.UNAUTHENTICATED
    assert call(server, f"/{word}.Service/{word}", b"") is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture(scope="module")
def rounds(server: Collector) -> tuple[Any, Any, list[int]]:
    """Series before and after two rounds, the second with one text alone, and the lines of the log after each."""
    assert post(server, trace_body("good"))[0] == 200
    wait_until(lambda: value(server, "otelcol_exporter_sent_spans_total", exporter="lake") == 1)
    # Of the alerts' gauges there is nothing to say before the first look.
    wait_until(lambda: ("spanledger_alerts_looked_at_seconds", ()) in samples(server))
    before, counts = set(samples(server)), []
    for texts in ROUNDS:
        for text in texts:
            do_everything_that_is_hostile(server, text)
        time.sleep(2)  # the watch looks once a second
        counts.append(len(server.log.read_text().splitlines()))
    return before, set(samples(server)), counts


def test_no_client_adds_a_series(rounds: tuple[Any, Any, list[int]]) -> None:
    before, after, _ = rounds
    assert after == before


def test_every_label_has_a_value_of_its_closed_list(server: Collector, rounds: Any) -> None:
    """The series of each row are exactly those that its table says, neither more nor fewer."""
    expected = {
        (f"{row.name}{suffix}", tuple(sorted(zip(row.labels, values, strict=True))))
        for rows, suffix in ((COUNTERS, "_total"), (GAUGES, ""), (READ_COUNTERS, "_total"))
        for row in rows
        for values in itertools.product(*row.labels.values())
    }
    shown = {series for series in samples(server) if not series[0].startswith(OTHERS)}
    assert shown == expected


def test_the_log_quotes_no_client(server: Collector, rounds: Any) -> None:
    """No payload, path, header or token, and no traceback, whatever was sent and over which transport."""
    log = server.log.read_text()
    for secret in (MARK, MARK.encode().hex(), TOKEN, METRICS_TOKEN, "Traceback"):
        assert secret.lower() not in log.lower(), [line for line in log.splitlines() if secret in line][:3]
    assert all(line.startswith("ts=") for line in log[log.index("event=ready") :].splitlines()[1:])


def test_the_log_says_how_much_was_refused_and_not_each_time(server: Collector, rounds: Any) -> None:
    """The first round leaves a line for each reason; the second leaves none, as a minute is not over."""
    first, last = rounds[2]
    log = server.log.read_text()
    for reason in ("unauthenticated", "malformed", "unknown_path", "method", "id_length"):
        assert log.count(f"reason={reason} ") == 1, reason
    assert last - first <= 3


def test_what_was_refused_is_counted_by_reason(server: Collector, rounds: Any) -> None:
    """Each time that a text was tried: what the log does not say is here."""
    times = float(sum(map(len, ROUNDS)))
    refused, rejected = "spanledger_refused_requests_total", "spanledger_rejected_items_total"
    assert value(server, refused, transport="grpc", reason="unauthenticated") == times
    assert value(server, refused, transport="grpc", reason="malformed") == times * 3
    assert value(server, refused, transport="http", reason="unauthenticated") >= times
    assert value(server, rejected, signal="spans", reason="id_zero") == times
    assert value(server, rejected, signal="spans", reason="id_length") == times * 2
    assert value(server, "otelcol_receiver_refused_spans_total", receiver="otlp", transport="grpc") == times
    assert value(server, "otelcol_receiver_accepted_spans_total", receiver="otlp", transport="grpc") == times


def test_every_fault_of_an_item_has_its_own_reason(server: Collector) -> None:
    """One log record with a time beyond int64 and spans with each kind of bad id, over both encodings."""
    before = {
        kind: value(server, "spanledger_rejected_items_total", signal="spans", reason=kind)
        for kind in FAULT_KINDS
    }
    for trace_id in (b"", bytes(16), b"short"):
        assert post(server, trace_body("good", trace_id))[0] == 200
    late = {"traceId": "5b" * 16, "spanId": "5b" * 8, "startTimeUnixNano": str(2**64 - 1)}
    for span in (late, late | {"traceId": "not hex, perhaps base64"}):
        document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
        assert post(server, json.dumps(document).encode(), Content_Type="application/json")[0] == 200
    after = {
        kind: value(server, "spanledger_rejected_items_total", signal="spans", reason=kind)
        for kind in FAULT_KINDS
    }
    assert {kind: after[kind] - before[kind] for kind in FAULT_KINDS} == dict.fromkeys(FAULT_KINDS, 1.0)
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=2**64 - 1)
    assert post(server, logs.SerializeToString(), "/v1/logs")[0] == 200
    assert (
        value(server, "spanledger_rejected_items_total", signal="log_records", reason="time_out_of_range")
        == 1
    )


def test_what_is_put_aside_is_counted_and_not_quoted(server: Collector) -> None:
    """A request that cannot be loaded: in the quarantine with its reason, in the metrics and /readyz as a number."""
    wait_until(lambda: value(server, "spanledger_quarantined_requests_total") == 1)
    assert value(server, "spanledger_quarantine_entries") == 1
    assert get_json(f"{server.admin}/readyz")[1]["loader"]["quarantined"] == 1
    (line,) = (line for line in server.log.read_text().splitlines() if 'event="request put aside"' in line)
    assert "error=DecodeError" in line
    assert MARK not in line


def test_the_processes_are_measured(server: Collector) -> None:
    """Memory of server and loader, time since the start, CPU time: otelcol's names and units."""
    assert 10e6 < value(server, "otelcol_process_memory_rss_bytes") < 1e9
    assert 10e6 < value(server, "spanledger_loader_memory_rss_bytes") < 1e9
    assert 0 < value(server, "otelcol_process_cpu_seconds_total") < 600
    uptime = value(server, "otelcol_process_uptime_seconds_total")
    assert 0 < uptime < value(server, "otelcol_process_uptime_seconds_total") < 600


def test_what_is_in_flight_is_measured(server: Collector) -> None:
    """A connection that is open, a request whose body is on its way, and both gone again."""
    connections, requests = "spanledger_http_connections", "spanledger_requests_in_flight"
    wait_until(lambda: value(server, connections, port="http") == 0)
    head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n"
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=5) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{{".encode())
        wait_until(lambda: value(server, requests, transport="http") == 1)
        wait_until(lambda: value(server, "spanledger_inflight_cost_bytes") > 0)
        assert value(server, connections, port="http") == 1
        assert value(server, connections, port="admin") >= 1
    wait_until(lambda: value(server, requests, transport="http") == 0)
    wait_until(lambda: value(server, connections, port="http") == 0)
    assert value(server, "spanledger_inflight_cost_bytes") == 0


def test_every_refusal_that_there_is_has_a_reason_in_the_closed_list() -> None:
    """A new one that is missing there would be counted as `other`."""

    def reasons(kind: type[status.Refusal]) -> Iterator[str]:
        for leaf in kind.__subclasses__():
            yield leaf.reason
            yield from reasons(leaf)

    assert set(reasons(status.Refusal)) <= set(REASONS)


# As opentelemetry-collector's end-to-end test of its names on a Prometheus endpoint has them.
@pytest.mark.parametrize(
    "name",
    [
        f"otelcol_{stem}_{items}_total"
        for stem in ("receiver_accepted", "receiver_refused", "exporter_sent", "exporter_send_failed")
        for items in ("spans", "log_records", "metric_points")
    ]
    + [
        "otelcol_exporter_queue_size",
        "otelcol_exporter_queue_capacity",
        "otelcol_process_uptime_seconds_total",
        "otelcol_process_cpu_seconds_total",
        "otelcol_process_memory_rss_bytes",
    ],
)
def test_otelcols_names_are_otelcols(server: Collector, name: str) -> None:
    assert name in {found for found, _ in samples(server)}


def test_the_table_has_a_sentence_for_each_metric_and_no_name_twice() -> None:
    rows: tuple[Row, ...] = (*COUNTERS, *GAUGES, *READ_COUNTERS)
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.help.endswith((".", "?")) or "1 " in row.help for row in rows)
