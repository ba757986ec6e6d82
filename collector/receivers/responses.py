"""The success answers: Export<Signal>ServiceResponse, with partial_success where items were rejected."""

from __future__ import annotations

from typing import Any, Final

import orjson
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from semconv.settings import Encoding, Signal

# Response type, and the names of the field that counts what was rejected in protobuf and in JSON.
_RESPONSES: Final[dict[Signal, tuple[Any, str, str]]] = {
    "traces": (trace_service_pb2.ExportTraceServiceResponse, "rejected_spans", "rejectedSpans"),
    "logs": (logs_service_pb2.ExportLogsServiceResponse, "rejected_log_records", "rejectedLogRecords"),
    "metrics": (
        metrics_service_pb2.ExportMetricsServiceResponse,
        "rejected_data_points",
        "rejectedDataPoints",
    ),
}


def success_body(signal: Signal, encoding: Encoding, rejected: int, reasons: tuple[str, ...]) -> bytes:
    """The answer to a request of which all but ``rejected`` items are stored; empty where that is all."""
    if not rejected:
        return b"" if encoding == "protobuf" else b"{}"
    response, field, json_field = _RESPONSES[signal]
    explanation = f"{rejected} rejected: {'; '.join(reasons)}"
    if encoding == "protobuf":
        partial_success = {field: rejected, "error_message": explanation}
        return bytes(response(partial_success=partial_success).SerializeToString())
    # 64-bit integers are strings in the protobuf JSON mapping.
    return orjson.dumps({"partialSuccess": {json_field: str(rejected), "errorMessage": explanation}})
