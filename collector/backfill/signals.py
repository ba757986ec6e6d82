"""Which signal a protobuf message carries: the three are alike but for their records; nothing names them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from semconv.settings import Signal

_SAMPLE: Final = 64


def possible_signals(body: bytes) -> set[Signal]:
    """The signals as which most of the first records make sense: none where it cannot be OTLP at all, all
    three where there is no record to tell by."""
    readings: dict[Signal, list[bool]] = {}
    for signal in ("traces", "logs", "metrics"):
        try:
            readings[signal] = list(islice(_sense(signal, body), _SAMPLE))
        except DecodeError:
            continue
    return {signal for signal, sense in readings.items() if 2 * sum(sense) >= len(sense)}


def _sense(signal: Signal, body: bytes) -> Iterator[bool]:
    match signal:
        case "traces":
            spans = TracesData.FromString(body).resource_spans
            return (_is_span(span) for part in spans for scope in part.scope_spans for span in scope.spans)
        case "logs":
            logs = LogsData.FromString(body).resource_logs
            return (_is_log(log) for part in logs for scope in part.scope_logs for log in scope.log_records)
        case "metrics":
            metrics = MetricsData.FromString(body).resource_metrics
            return (
                _is_metric(item) for part in metrics for scope in part.scope_metrics for item in scope.metrics
            )


# A field sent with another signal's wire type is unknown to the parser and stays unset, so what a record
# has in a right place decides. Names and keys read as messages, or ids read as text, mostly fail to parse
# at all.


def _is_span(span: Span) -> bool:
    return (len(span.span_id) == 8 and len(span.trace_id) == 16) or bool(span.start_time_unix_nano)


def _is_log(log: LogRecord) -> bool:
    timed = log.time_unix_nano or log.observed_time_unix_nano
    return bool(timed or log.severity_number or log.body.WhichOneof("value"))


def _is_metric(metric: Metric) -> bool:
    return bool(metric.name and metric.WhichOneof("data"))
