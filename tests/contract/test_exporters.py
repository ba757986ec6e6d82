"""Unmodified OpenTelemetry SDK exporters against a running collector.

Guarantee: every span is found exactly once, every attribute outside the content classes is kept as sent, and times
are exact to the nanosecond, over both transports, compressed or not.
"""

from __future__ import annotations

import json
import urllib.request
import uuid
from typing import Any

import pytest
from grpc import Compression as GrpcCompression
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.support import Collector, wait_until

SPANS = 60
START = 1_795_000_000_123_456_789
ATTRIBUTES: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-mini",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 80,
    "app.text": "Grüße, 世界 \U0001f600",
    "app.flag": True,
    "app.big": 2**63 - 1,
    "app.float": 0.1,
    "app.whole": 3.0,
    "app.list": ["a", "b"],
    "app.numbers": [1, 2, 3],
    "app.empty": "",
}


def exporter_of(collector: Collector, transport: str, gzip: bool) -> SpanExporter:
    if transport == "grpc":
        compression = GrpcCompression.Gzip if gzip else GrpcCompression.NoCompression
        return GrpcExporter(endpoint=collector.grpc, insecure=True, compression=compression)
    compression = Compression.Gzip if gzip else Compression.NoCompression
    return HttpExporter(endpoint=f"{collector.http}/v1/traces", compression=compression)


def send(exporter: SpanExporter, service: str) -> list[dict[str, Any]]:
    """Send spans through the SDK's own pipeline; returns what was sent."""
    provider = TracerProvider(resource=Resource({"service.name": service, "app.version": 7}))
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=16))
    tracer = provider.get_tracer("tests.exporters", "1.2.3")
    sent = []
    for number in range(SPANS):
        span = tracer.start_span(f"chat {number}", kind=SpanKind.CLIENT, start_time=START + number)
        span.set_attributes({**ATTRIBUTES, "app.number": number})
        span.add_event("tick", {"n": number}, timestamp=START + number + 1)
        span.set_status(StatusCode.ERROR, "late") if number % 10 == 0 else span.set_status(StatusCode.OK)
        span.end(end_time=START + number + 1_000_000_007)
        context = span.get_span_context()
        sent.append(
            {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}", "n": number}
        )
    assert provider.force_flush(30_000)
    provider.shutdown()
    return sent


@pytest.mark.parametrize("transport", ["http", "grpc"])
@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_every_span_of_an_sdk_is_stored_once_and_whole(
    collector: Collector, transport: str, gzip: bool
) -> None:
    service = f"exporter-{uuid.uuid4().hex[:8]}"
    sent = send(exporter_of(collector, transport, gzip), service)
    rows = wait_for_service(collector, service, SPANS)
    assert sorted((row["trace_id"], row["span_id"]) for row in rows) == sorted(
        (span["trace_id"], span["span_id"]) for span in sent
    )
    by_span = {row["span_id"]: row for row in rows}
    for span in sent:
        row, number = by_span[span["span_id"]], span["n"]
        assert json.loads(row["attributes"]) == {**ATTRIBUTES, "app.number": number}
        assert (row["start_unix_nano"], row["end_unix_nano"]) == (
            START + number,
            START + number + 1_000_000_007,
        )
        assert (row["name"], row["kind"], row["scope_name"]) == (
            f"chat {number}",
            "CLIENT",
            "tests.exporters",
        )
        assert row["status_code"] == ("ERROR" if number % 10 == 0 else "OK")
        assert json.loads(row["events"])[0]["attributes"] == {"n": number}
        assert json.loads(row["resource_attributes"])["app.version"] == 7


def wait_for_service(collector: Collector, service: str, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def arrived() -> bool:
        nonlocal rows
        rows = collector.sql(f"SELECT * FROM spans WHERE service_name = '{service}'")
        return len(rows) >= count

    wait_until(arrived)
    return rows


def test_json_by_hand_gives_the_same_row_as_protobuf(collector: Collector) -> None:
    """OTLP/JSON with hex ids and string integers, posted as a JavaScript exporter would."""
    service = f"json-{uuid.uuid4().hex[:8]}"
    trace_id, span_id = uuid.uuid4().hex, uuid.uuid4().hex[:16]
    span = {
        "traceId": trace_id.upper(),
        "spanId": span_id,
        "parentSpanId": "",
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 5),
        "status": {"code": 2, "message": "late"},
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "12"}},
            {"key": "app.nan", "value": {"doubleValue": "NaN"}},
            {"key": "app.bytes", "value": {"bytesValue": "AAE="}},
            {"key": "app.none", "value": {}},
        ],
    }
    body = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeSpans": [{"scope": {"name": "by-hand"}, "spans": [span], "unknownField": 1}],
            }
        ]
    }
    request = urllib.request.Request(
        f"{collector.http}/v1/traces",
        json.dumps(body).encode(),
        {"Content-Type": "application/json; charset=utf-8"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert (answer.status, answer.headers["Content-Type"], json.load(answer)) == (
            200,
            "application/json",
            {},
        )
    (row,) = wait_for_service(collector, service, 1)
    assert (row["trace_id"], row["span_id"], row["parent_span_id"]) == (trace_id, span_id, None)
    assert (row["input_tokens"], row["status_code"], row["kind"]) == (12, "ERROR", "CLIENT")
    attributes = json.loads(row["attributes"])
    assert attributes["app.nan"] == {"$double": "NaN"}
    assert attributes["app.bytes"] == {"$bytes": "AAE="}
    assert attributes["app.none"] is None


def test_a_call_is_priced_within_seconds_of_its_acknowledgement(collector: Collector) -> None:
    """Each call of 1,200 input and 80 output tokens of a model with a known price carries its cost."""
    service = f"priced-{uuid.uuid4().hex[:8]}"
    send(exporter_of(collector, "http", gzip=False), service)
    wait_for_service(collector, service, SPANS)
    (row,) = collector.sql(
        "SELECT count(*) AS calls, min(cost_usd) AS low, max(cost_usd) AS high"
        f" FROM calls WHERE service_name = '{service}'"
    )
    # gpt-4.1-mini: 0.40 USD a million input tokens, 1.60 USD a million output tokens.
    assert row == {"calls": SPANS, "low": 0.000608, "high": 0.000608}
