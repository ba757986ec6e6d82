"""Small OTLP requests for tests, in protobuf and in JSON from one description."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from semconv.extract import Extracted, extract
from semconv.request import Request
from semconv.settings import Encoding, Settings, Signal

RECEIVED_AT = 1_790_000_000_000_000_000
START = RECEIVED_AT - 5_000_000_000
END = START + 1_500_000_000
TRACE_ID = bytes(range(1, 17))
SPAN_ID = bytes(range(1, 9))
KEEP_ALL = Settings(keep_logs="all", keep_metrics="all")


def any_value(value: Any) -> AnyValue:
    """The AnyValue of a native value; None is the empty one."""
    if value is None:
        return AnyValue()
    if isinstance(value, list):
        array = AnyValue()
        array.array_value.SetInParent()
        array.array_value.values.extend(map(any_value, value))
        return array
    if isinstance(value, dict):
        kvlist = AnyValue()
        kvlist.kvlist_value.SetInParent()
        kvlist.kvlist_value.values.extend(key_values(value))
        return kvlist
    kinds = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}
    return AnyValue(**{kinds.get(type(value), "bytes_value"): value})


def key_values(attributes: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def any_json(value: Any) -> dict[str, Any]:
    """The OTLP/JSON AnyValue of a native value, integers as strings as Python's exporter writes them."""
    if value is None:
        return {}
    kind, spell = _JSON_KINDS[type(value)]
    return {kind: spell(value)}


def _double_json(value: float) -> float | str:
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(value), value)


_JSON_KINDS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    str: ("stringValue", str),
    bool: ("boolValue", bool),
    int: ("intValue", str),
    float: ("doubleValue", _double_json),
    bytes: ("bytesValue", lambda value: base64.b64encode(value).decode()),
    list: ("arrayValue", lambda value: {"values": [any_json(item) for item in value]}),
    dict: ("kvlistValue", lambda value: {"values": pairs_json(value)}),
}


def pairs_json(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": any_json(value)} for key, value in attributes.items()]


def span_json(own: dict[str, Any] | None = None, /, **fields: Any) -> dict[str, Any]:
    """A valid span as OTLP/JSON; ``fields`` replace its own."""
    return {
        "traceId": TRACE_ID.hex(),
        "spanId": SPAN_ID.hex(),
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(END),
        "attributes": pairs_json(own or {}),
        **fields,
    }


def traces_json(*spans: dict[str, Any], scope: str = "test") -> bytes:
    """A request with these spans as OTLP/JSON."""
    group = {"scope": {"name": scope}, "spans": list(spans)}
    sender = {"attributes": pairs_json({"service.name": "shop"})}
    return json.dumps({"resourceSpans": [{"resource": sender, "scopeSpans": [group]}]}).encode()


def traces_message(
    *attributes: dict[str, Any], scope: str = "test", resource: dict[str, Any] | None = None
) -> ExportTraceServiceRequest:
    """A request with one valid span for each dictionary of attributes."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.extend(key_values(resource or {"service.name": "shop"}))
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = scope
    for number, own in enumerate(attributes):
        scope_spans.spans.add(
            trace_id=TRACE_ID,
            span_id=SPAN_ID[:-1] + bytes([number + 8]),
            name="chat",
            kind=3,
            start_time_unix_nano=START,
            end_time_unix_nano=END,
            attributes=key_values(own),
        )
    return request


def logs_message(*records: dict[str, Any], scope: str = "test") -> ExportLogsServiceRequest:
    """A request with one log record per dictionary of LogRecord fields; body and attributes are native."""
    request = ExportLogsServiceRequest()
    scope_logs = request.resource_logs.add().scope_logs.add()
    scope_logs.scope.name = scope
    for record in records:
        fields = {"time_unix_nano": START, **record}
        fields["body"] = any_value(fields.get("body"))
        fields["attributes"] = key_values(fields.get("attributes", {}))
        scope_logs.log_records.add(**fields)
    return request


def metrics_message(name: str, attributes: dict[str, Any], value: float = 7) -> ExportMetricsServiceRequest:
    """A request with one gauge of one point."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name)
    point = metric.gauge.data_points.add(time_unix_nano=END, attributes=key_values(attributes))
    point.as_double = value
    return request


def read(
    body: Any, signal: Signal = "traces", encoding: Encoding | None = None, settings: Settings = KEEP_ALL
) -> Extracted:
    """Extract one request: a message, or the bytes of a JSON one."""
    raw = body if isinstance(body, bytes) else body.SerializeToString()
    chosen: Encoding = encoding or ("json" if isinstance(body, bytes) else "protobuf")
    return extract([Request(signal, chosen, raw, RECEIVED_AT)], settings)


def only_span(body: Any, settings: Settings = KEEP_ALL) -> dict[str, Any]:
    """The one span of a request as a row."""
    [row] = read(body, settings=settings).spans.to_pylist()
    return dict(row)


def span_of(attributes: dict[str, Any], settings: Settings = KEEP_ALL, **options: Any) -> dict[str, Any]:
    """The row of a span with these attributes."""
    return only_span(traces_message(attributes, **options), settings)
