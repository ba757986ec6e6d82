"""OTLP requests for the conformance tests: small ones, one with every field, and how OTLP/JSON spells them.

Written from the specification and nothing else: the product's own reader of OTLP/JSON is what these requests judge.
"""

from __future__ import annotations

import base64
import json
import math
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb2

from tests.otlp_data import any_value, key_values

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MEDIA = (PROTOBUF, JSON)
START = 1_795_000_000_123_456_789
_SERVICE = "/opentelemetry.proto.collector.{}Service/Export"


@dataclass(frozen=True)
class Signal:
    """One of the three signals, with the names that the specification gives its parts."""

    name: str
    method: str
    request: type[Message]
    response: type[Message]
    rejected: str
    table: str
    fields: tuple[str, str, str]  # resource group, scope group, records

    @property
    def path(self) -> str:
        return f"/v1/{self.name}"

    def __str__(self) -> str:
        return self.name


TRACES = Signal(
    "traces",
    _SERVICE.format("trace.v1.Trace"),
    trace_pb2.ExportTraceServiceRequest,
    trace_pb2.ExportTraceServiceResponse,
    "rejected_spans",
    "spans",
    ("resource_spans", "scope_spans", "spans"),
)
LOGS = Signal(
    "logs",
    _SERVICE.format("logs.v1.Logs"),
    logs_pb2.ExportLogsServiceRequest,
    logs_pb2.ExportLogsServiceResponse,
    "rejected_log_records",
    "log_records",
    ("resource_logs", "scope_logs", "log_records"),
)
METRICS = Signal(
    "metrics",
    _SERVICE.format("metrics.v1.Metrics"),
    metrics_pb2.ExportMetricsServiceRequest,
    metrics_pb2.ExportMetricsServiceResponse,
    "rejected_data_points",
    "metric_points",
    ("resource_metrics", "scope_metrics", "metrics"),
)
SIGNALS = (TRACES, LOGS, METRICS)


def marker() -> str:
    """A name that no other request has; as service.name it stands in every row of a request."""
    return f"m-{uuid.uuid4().hex[:12]}"


def request_of(signal: Signal, service: str, records: int = 1) -> Message:
    """A valid request of ``service`` with so many records, each of its own."""
    message = signal.request()
    scope = add_scope(message, signal, service)
    for number in range(records):
        add_record(scope, signal, number)
    return message


def add_scope(message: Message, signal: Signal, service: str) -> Any:
    """An empty scope group below a new resource called ``service``."""
    resource, scope, _ = signal.fields
    group = getattr(message, resource).add()
    group.resource.attributes.add(key="service.name").value.string_value = service
    return getattr(group, scope).add()


def add_record(scope: Any, signal: Signal, number: int = 0, *, time: int | None = None) -> Any:
    """A span, a log record or a gauge of one data point, at ``time`` (default: START and ``number`` ns)."""
    at = START + number if time is None else time
    if signal is TRACES:
        ids = {"trace_id": os.urandom(16), "span_id": os.urandom(8)}
        return scope.spans.add(name="op", start_time_unix_nano=at, end_time_unix_nano=at, **ids)
    if signal is LOGS:
        record = scope.log_records.add(time_unix_nano=at)
        record.body.string_value = f"record {number}"
        return record
    metric = scope.metrics.add(name="tests.gauge")
    metric.gauge.data_points.add(time_unix_nano=at, as_int=number)
    return metric


Spell = Callable[[Any, Any], Any]

_HEX_FIELDS = frozenset({"trace_id", "span_id", "parent_span_id"})
_INT64_TYPES = frozenset({3, 4, 6, 16, 18})  # FieldDescriptor.TYPE_INT64, UINT64, FIXED64, SFIXED64, SINT64
_INT32_TYPES = frozenset({5, 7, 13, 15, 17})
_DOUBLE, _BYTES = 1, 12


def is_hex(field: Any) -> bool:
    """Whether a field holds an id, which OTLP/JSON spells in hex."""
    return field.name in _HEX_FIELDS


def is_integer(field: Any) -> bool:
    return field.type in _INT64_TYPES or field.type in _INT32_TYPES


def is_double(field: Any) -> bool:
    return field.type == _DOUBLE


def spell(field: Any, value: Any) -> Any:
    """A scalar as exporters write it: hex ids, numbers for enums, 64-bit integers as text."""
    if field.type == _BYTES:
        return value.hex() if is_hex(field) else base64.b64encode(value).decode()
    if field.type in _INT64_TYPES:
        return str(value)
    if field.type == _DOUBLE and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value


def otlp_json(message: Message, spelled: Spell = spell) -> dict[str, Any]:
    """A message by the rules of OTLP/JSON, its scalars as ``spelled`` writes them."""
    document: dict[str, Any] = {}
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        written = [
            otlp_json(item, spelled) if field.message_type else spelled(field, item) for item in values
        ]
        document[field.json_name] = written if field.is_repeated else written[0]
    return document


def body_of(message: Message, media: str) -> bytes:
    """The message as the body of an HTTP request."""
    return json.dumps(otlp_json(message)).encode() if media == JSON else message.SerializeToString()


def padded(signal: Signal, media: str, size: int, service: str = "") -> bytes:
    """A request of exactly so many bytes, most of them in a field that nobody knows; one record of ``service``."""
    body = body_of(request_of(signal, service), media) if service else b"{}" if media == JSON else b""
    if media == JSON:
        ends = b'{"padding":"', b'",' if service else b'"', body[1:]
        return ends[0] + b" " * (size - sum(map(len, ends))) + ends[1] + ends[2]
    tag = b"\xba\x3e"  # field 999, length-delimited
    length = size - len(body) - len(tag) - 4
    sevens = [length >> shift & 0x7F for shift in (0, 7, 14, 21)]
    return body + tag + bytes([*(seven | 0x80 for seven in sevens[:3]), sevens[3]]) + bytes(length)


# What attributes may hold, and how each value stands in the JSON columns of the lake.
VALUES: dict[str, tuple[Any, Any]] = {
    "text": ("Grüße, 世界 \U0001f600 \x00 \x7f", "Grüße, 世界 \U0001f600 \x00 \x7f"),
    "no text": ("", ""),
    "true": (True, True),
    "false": (False, False),
    "zero": (0, 0),
    "least": (-(2**63), -(2**63)),
    "most": (2**63 - 1, 2**63 - 1),
    "double": (0.1, 0.1),
    "whole": (3.0, 3.0),
    "huge": (1.7976931348623157e308, 1.7976931348623157e308),
    "tiny": (5e-324, 5e-324),
    "minus zero": (-0.0, -0.0),
    "nan": (math.nan, {"$double": "NaN"}),
    "inf": (math.inf, {"$double": "Infinity"}),
    "-inf": (-math.inf, {"$double": "-Infinity"}),
    "bytes": (b"\x00\xff\x80", {"$bytes": "AP+A"}),
    "no bytes": (b"", {"$bytes": ""}),
    "empty": (None, None),
    "empty list": ([], []),
    "empty map": ({}, {}),
    "mixed": (["a", 1, 2.0, True, None, b"\x01"], ["a", 1, 2.0, True, None, {"$bytes": "AQ=="}]),
    "nested lists": ([[1, [2, []]], [[]]], [[1, [2, []]], [[]]]),
    "map": ({"a": {"b": [1, {"c": None}]}, "": 1}, {"a": {"b": [1, {"c": None}]}, "": 1}),
    "": ("no key", "no key"),
}
# Of a model call; the product reads them into columns of their own and into a row of `calls`.
GENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-mini",
    "gen_ai.response.model": "gpt-4.1-mini-2025-04-14",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.conversation.id": "session-1",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 80,
}


def full_request(signal: Signal, service: str) -> Message:
    """A request in which every field of the signal is set to something else than its default."""
    message = signal.request()
    scope = add_scope(message, signal, service)
    scope.schema_url = "https://example.com/scope"
    scope.scope.name, scope.scope.version, scope.scope.dropped_attributes_count = "tests.full", "1.2.3", 3
    scope.scope.attributes.extend(key_values({"scope": [1, 2.5, "x"]}))
    group = getattr(message, signal.fields[0])[0]
    group.schema_url = "https://example.com/resource"
    group.resource.dropped_attributes_count = 4
    group.resource.attributes.extend(key_values({"service.version": "7", "host": {"cpus": 2}}))
    _FILL[signal.name](scope)
    return message


def _fill_spans(scope: Any) -> None:
    span = add_record(scope, TRACES)
    span.name, span.kind, span.flags, span.trace_state = "chat gpt-4.1-mini", 3, 0x101, "vendor=1"
    span.parent_span_id, span.end_time_unix_nano = os.urandom(8), START + 1_500_000_001
    span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count = 5, 6, 7
    span.status.code, span.status.message = 2, "too late"
    span.attributes.extend(key_values({**GENAI, **{key: value for key, (value, _) in VALUES.items()}}))
    event = span.events.add(name="retry", time_unix_nano=START + 1, dropped_attributes_count=8)
    event.attributes.extend(key_values({"attempt": 2, "wait": 0.5}))
    link = span.links.add(trace_id=os.urandom(16), span_id=os.urandom(8), trace_state="a=b")
    link.flags, link.dropped_attributes_count = 0x201, 9
    link.attributes.extend(key_values({"why": "retried", "times": 3}))


def _fill_logs(scope: Any) -> None:
    record = add_record(scope, LOGS)
    record.observed_time_unix_nano, record.severity_number, record.severity_text = START + 9, 17, "ERROR"
    record.trace_id, record.span_id, record.flags = os.urandom(16), os.urandom(8), 1
    record.event_name, record.dropped_attributes_count = "app.happened", 2
    record.body.CopyFrom(any_value({"count": 3, "share": 0.25, "list": [None, True]}))
    record.attributes.extend(key_values({"app.n": 2**40, "app.share": 1.0, "app.raw": b"\x00"}))


def _fill_metrics(scope: Any) -> None:
    whole = scope.metrics.add(name="app.gauge", unit="1", description="as it is")
    whole.metadata.extend(key_values({"origin": 1}))
    _fill_point(whole.gauge.data_points.add(as_int=-(2**40)))
    total = scope.metrics.add(name="app.sum", unit="By").sum
    total.aggregation_temporality, total.is_monotonic = 2, True
    _fill_point(total.data_points.add(as_double=0.1))
    histogram = scope.metrics.add(name="app.histogram", unit="s").histogram
    histogram.aggregation_temporality = 1
    bounds = {"explicit_bounds": [0.5, 2.0], "bucket_counts": [1, 2**33, 3]}
    _fill_point(histogram.data_points.add(count=2**33 + 4, sum=1.5, min=0.25, max=4.0, **bounds))
    exponential = scope.metrics.add(name="app.exponential").exponential_histogram
    exponential.aggregation_temporality = 2
    point = exponential.data_points.add(count=10, sum=2.5, scale=-3, zero_count=2, min=-1.0, max=8.0)
    point.zero_threshold = 0.001
    point.positive.offset, point.negative.offset = 4, -5
    point.positive.bucket_counts.extend([1, 0, 2**33])
    point.negative.bucket_counts.append(5)
    _fill_point(point)
    point = scope.metrics.add(name="app.summary").summary.data_points.add(count=7, sum=9.5)
    point.quantile_values.add(quantile=0.5, value=1.25)
    point.quantile_values.add(quantile=0.99, value=3.0)
    _fill_point(point)


def _fill_point(point: Any) -> None:
    point.start_time_unix_nano, point.time_unix_nano, point.flags = START - 1, START, 1
    point.attributes.extend(key_values({"app.region": "eu", "app.shard": 3}))
    if "exemplars" in point.DESCRIPTOR.fields_by_name:
        exemplar = point.exemplars.add(
            time_unix_nano=START - 5, trace_id=os.urandom(16), span_id=os.urandom(8)
        )
        exemplar.as_double = 0.75
        exemplar.filtered_attributes.extend(key_values({"app.user": 12}))


_FILL: dict[str, Callable[[Any], None]] = {
    TRACES.name: _fill_spans,
    LOGS.name: _fill_logs,
    METRICS.name: _fill_metrics,
}
