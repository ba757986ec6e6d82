"""May a request be accepted? The receivers ask before anything is stored, for every request.

A pure function of the bytes: can they be decoded, and how many of their records are acceptable
(:mod:`semconv.faults`). Extraction drops the same records by the same predicates. Everything else that may be
wrong with a record is repaired there, with a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from semconv.faults import Fault, FaultKind, log_record_fault, point_fault, span_fault
from semconv.otlp import DecodeError
from semconv.otlp_json import envelope, identifier, time
from semconv.otlp_json_metrics import data_points
from semconv.otlp_protobuf import parse
from semconv.settings import Encoding, Signal

__all__ = ["DecodeError", "Verdict", "check"]

_REASONS_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many records (spans, log records, data points) a request holds, and which of them are refused.

    ``reasons`` are the first few distinct ones, for ``partial_success.error_message``; they quote nothing of
    the request. ``faults`` counts the refused ones by what is wrong with them.
    """

    items: int
    rejected: int
    reasons: tuple[str, ...]
    faults: Mapping[FaultKind, int] = field(default_factory=dict)


def check(signal: Signal, encoding: Encoding, body: bytes, received_at: int) -> Verdict:  # noqa: ARG001
    """Judge a request; DecodeError (one sentence: what, where, what was expected) if it cannot be decoded.

    ``received_at`` (Unix nanoseconds) is part of the contract, though no rule of today rejects by it: a
    skewed clock is noted, never refused.
    """
    items = 0
    reasons: list[str] = []
    faults: Counter[FaultKind] = Counter()
    for fault in _FAULTS[signal, encoding](body):
        items += 1
        if fault is not None:
            faults[fault.kind] += 1
            if fault.reason not in reasons and len(reasons) < _REASONS_SHOWN:
                reasons.append(fault.reason)
    return Verdict(items, faults.total(), tuple(reasons), faults)


Faults = Iterator[Fault | None]


def _protobuf_traces(body: bytes) -> Faults:
    for resource_spans in parse(ExportTraceServiceRequest, body).resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield span_fault(
                    span.trace_id, span.span_id, span.start_time_unix_nano, span.end_time_unix_nano
                )


def _protobuf_logs(body: bytes) -> Faults:
    for resource_logs in parse(ExportLogsServiceRequest, body).resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield log_record_fault(record.time_unix_nano, record.observed_time_unix_nano)


def _protobuf_metrics(body: bytes) -> Faults:
    for resource_metrics in parse(ExportMetricsServiceRequest, body).resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                yield from map(_point_fault, _protobuf_points(metric))


def _protobuf_points(metric: Any) -> Any:
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else ()


def _point_fault(point: Any) -> Fault | None:
    return point_fault(point.time_unix_nano, point.start_time_unix_nano)


def _json_traces(body: bytes) -> Faults:
    for _, _, spans in envelope(body, "Spans", "spans"):
        for _, span in spans:
            yield span_fault(
                identifier(span, "traceId"),
                identifier(span, "spanId"),
                time(span, "startTimeUnixNano"),
                time(span, "endTimeUnixNano"),
            )


def _json_logs(body: bytes) -> Faults:
    for _, _, records in envelope(body, "Logs", "logRecords"):
        for _, record in records:
            yield log_record_fault(time(record, "timeUnixNano"), time(record, "observedTimeUnixNano"))


def _json_metrics(body: bytes) -> Faults:
    for _, _, metrics in envelope(body, "Metrics", "metrics"):
        for place, metric in metrics:
            for point in data_points(metric, place):
                yield point_fault(time(point, "timeUnixNano"), time(point, "startTimeUnixNano"))


_FAULTS: Final[dict[tuple[Signal, Encoding], Callable[[bytes], Faults]]] = {
    ("traces", "protobuf"): _protobuf_traces,
    ("logs", "protobuf"): _protobuf_logs,
    ("metrics", "protobuf"): _protobuf_metrics,
    ("traces", "json"): _json_traces,
    ("logs", "json"): _json_logs,
    ("metrics", "json"): _json_metrics,
}
