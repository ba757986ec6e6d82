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

from semconv.faults import Fault, FaultKind, log_record_fault, point_fault, span_fault
from semconv.json_document import Document, Object, check_depth, envelope
from semconv.otlp import DecodeError
from semconv.otlp_json import identifier, time
from semconv.otlp_json_metrics import data_points
from semconv.pieces import GROUPS, pieces
from semconv.protobuf_depth import parse_to_depth
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


def check(
    signal: Signal,
    encoding: Encoding,
    body: bytes,
    received_at: int,  # noqa: ARG001
    max_depth: int | None = None,
) -> Verdict:
    """Judge a request; DecodeError (one sentence: what, where, what was expected) if it cannot be decoded.

    ``received_at`` (Unix nanoseconds) is part of the contract, though no rule of today rejects by it: a
    skewed clock is noted, never refused. ``max_depth`` is how deep values may nest, a scalar being 1 deep and
    what stands in n lists and maps n + 1; None is as deep as can be parsed. TooDeep, a DecodeError, beyond it.
    """
    items = 0
    reasons: list[str] = []
    faults: Counter[FaultKind] = Counter()
    for fault in _FAULTS[signal, encoding](body, max_depth):
        items += 1
        if fault is not None:
            faults[fault.kind] += 1
            if fault.reason not in reasons and len(reasons) < _REASONS_SHOWN:
                reasons.append(fault.reason)
    return Verdict(items, faults.total(), tuple(reasons), faults)


Faults = Iterator[Fault | None]


def _groups(signal: Signal, body: bytes, max_depth: int | None) -> Iterator[Any]:
    """The groups of items that have a resource in common."""
    for piece in pieces(body):
        yield from getattr(parse_to_depth(signal, piece, max_depth), GROUPS[signal])


def _protobuf_traces(body: bytes, max_depth: int | None) -> Faults:
    for resource_spans in _groups("traces", body, max_depth):
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield span_fault(
                    span.trace_id, span.span_id, span.start_time_unix_nano, span.end_time_unix_nano
                )


def _protobuf_logs(body: bytes, max_depth: int | None) -> Faults:
    for resource_logs in _groups("logs", body, max_depth):
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield log_record_fault(record.time_unix_nano, record.observed_time_unix_nano)


def _protobuf_metrics(body: bytes, max_depth: int | None) -> Faults:
    for resource_metrics in _groups("metrics", body, max_depth):
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                yield from map(_point_fault, _protobuf_points(metric))


def _protobuf_points(metric: Any) -> Any:
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else ()


def _point_fault(point: Any) -> Fault | None:
    return point_fault(point.time_unix_nano, point.start_time_unix_nano)


def _json(signal: str, item: str, faults: Callable[[Object], list[Fault | None]]) -> _Judge:
    """Judges JSON: ``faults`` are those of the items in one record."""

    def judge(body: bytes, max_depth: int | None) -> Faults:
        document = Document(body)
        if max_depth is not None:
            check_depth(body, document, max_depth)
        for _, _, records in envelope(document, signal, item):
            for record in records:
                yield from document.read(faults, record)

    return judge


def _span_faults(span: Object) -> list[Fault | None]:
    ids = identifier(span, "traceId"), identifier(span, "spanId")
    return [span_fault(*ids, time(span, "startTimeUnixNano"), time(span, "endTimeUnixNano"))]


def _log_record_faults(record: Object) -> list[Fault | None]:
    return [log_record_fault(time(record, "timeUnixNano"), time(record, "observedTimeUnixNano"))]


def _metric_faults(metric: Object) -> list[Fault | None]:
    return [
        point_fault(time(point, "timeUnixNano"), time(point, "startTimeUnixNano"))
        for point in data_points(metric)
    ]


_Judge = Callable[[bytes, int | None], Faults]
_FAULTS: Final[dict[tuple[Signal, Encoding], _Judge]] = {
    ("traces", "protobuf"): _protobuf_traces,
    ("logs", "protobuf"): _protobuf_logs,
    ("metrics", "protobuf"): _protobuf_metrics,
    ("traces", "json"): _json("Spans", "spans", _span_faults),
    ("logs", "json"): _json("Logs", "logRecords", _log_record_faults),
    ("metrics", "json"): _json("Metrics", "metrics", _metric_faults),
}
