"""OTLP messages made and spelt without the project's code: filled from their descriptors, and as OTLP/JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from semconv.settings import Signal

REQUESTS: dict[Signal, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}

# Every id of OTLP/JSON is hex where the protobuf JSON mapping has base64.
_IDS = {"traceId", "spanId", "parentSpanId"}
_SAMPLES = {
    FieldDescriptor.CPPTYPE_STRING: "wörd",
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.5,
    FieldDescriptor.CPPTYPE_ENUM: 1,
}
# A message may hold messages of its own type: values do.
_DEEPEST = 12


def filled(message: Any, pick: int = 0, depth: int = 0) -> Any:
    """The message with every field set, one element in each list and the ``pick``-th member of each oneof."""
    for field in message.DESCRIPTOR.fields:
        members = field.containing_oneof.fields if field.containing_oneof else (field,)
        if members[pick % len(members)].number != field.number:
            continue
        if field.message_type is None:
            value = _sample(field)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif depth < _DEEPEST:
            inner = getattr(message, field.name)
            filled(inner.add() if field.is_repeated else inner, pick, depth + 1)
    return message


def _sample(field: FieldDescriptor) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes(range(1, 17 if field.name == "trace_id" else 9))
    if field.name.endswith("unix_nano"):
        return 1_789_999_999_123_456_789
    return _SAMPLES.get(field.cpp_type, 7)


def json_body(message: Any) -> bytes:
    """A request as OTLP/JSON: the protobuf JSON mapping with hex ids and enums as numbers."""
    mapped = json_format.MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(_with_hex_ids(mapped)).encode()


def _with_hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_hex_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(item).hex() if key in _IDS else _with_hex_ids(item)
        for key, item in value.items()
    }
