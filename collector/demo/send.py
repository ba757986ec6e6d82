"""Send the session through the OpenTelemetry SDK and its OTLP exporters, as an application would."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from collector.demo.session import Session, Step
from collector.traffic.senders import NoEndpointError, check_listening

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span
    from opentelemetry.sdk.trace.export import SpanExporter

Protocol = Literal["http/protobuf", "grpc"]

_TIMEOUT_SECONDS: Final = 10


class SendError(Exception):
    """The session did not arrive; ``str()`` says why, on one line."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What identifies the session in the lake."""

    trace_id: str
    session_id: str
    spans: int


def send(session: Session, endpoint: str, protocol: Protocol, headers: Mapping[str, str]) -> Sent:
    """Make the session's spans, ending now, and export them to ``endpoint``, a base URL. Raises SendError."""
    try:
        check_listening(endpoint)  # the exporters would try again for seconds
    except NoEndpointError as error:
        raise SendError(str(error)) from None
    run, spans = make_spans(session, time.time_ns())
    if not spans:
        raise SendError("the OpenTelemetry SDK recorded nothing: OTEL_SDK_DISABLED is set")
    _export(_exporter(endpoint, protocol, headers), spans, endpoint)
    context = spans[0].context
    if context is None:
        raise SendError("the OpenTelemetry SDK made spans without ids")
    return Sent(f"{context.trace_id:032x}", f"demo-{run}", len(spans))


def make_spans(session: Session, end_ns: int) -> tuple[str, Sequence[ReadableSpan]]:
    """The session as the SDK's spans with new ids, its end at ``end_ns``; with them the run's id."""
    memory = InMemorySpanExporter()
    # Resource.create would add what OTEL_RESOURCE_ATTRIBUTES says about whoever runs this.
    provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource({"service.name": session.service}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("spanledger.demo")
    start_ns = end_ns - session.duration_ms * 1_000_000
    run = f"{end_ns:x}"
    spans: dict[str, Span] = {}
    for step in session.steps:
        spans[step.key] = tracer.start_span(  # type: ignore[assignment]  # the SDK's tracer makes the SDK's spans
            step.name,
            context=set_span_in_context(spans[step.parent]) if step.parent else None,
            kind=SpanKind[step.kind],
            attributes=step.attributes_for(run),
            start_time=start_ns + step.start_ms * 1_000_000,
        )
    for step in reversed(session.steps):
        _end(spans[step.key], step, start_ns)
    provider.shutdown()
    return run, memory.get_finished_spans()


def _end(span: Span, step: Step, start_ns: int) -> None:
    if step.error:
        span.set_status(Status(StatusCode.ERROR, step.error))
    span.end(start_ns + (step.start_ms + step.duration_ms) * 1_000_000)


def _exporter(endpoint: str, protocol: Protocol, headers: Mapping[str, str]) -> SpanExporter:
    """OTEL_EXPORTER_OTLP_HEADERS and its like are read by the exporters where ``headers`` is empty."""
    if protocol == "grpc":
        insecure = urlsplit(endpoint).scheme == "http"
        return GrpcExporter(endpoint, insecure, headers=dict(headers) or None, timeout=_TIMEOUT_SECONDS)
    url = endpoint.rstrip("/") + "/v1/traces"
    return HttpExporter(url, headers=dict(headers) or None, timeout=_TIMEOUT_SECONDS)


class _Complaints(logging.Handler):
    """What an exporter says about a failure; its result says only that there was one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split()))


def _export(exporter: SpanExporter, spans: Sequence[ReadableSpan], endpoint: str) -> None:
    logger, complaints = logging.getLogger("opentelemetry"), _Complaints()
    logger.addHandler(complaints)
    logger.propagate = False
    try:
        result = exporter.export(spans)
        exporter.shutdown()
    finally:
        logger.removeHandler(complaints)
        logger.propagate = True
    if result is not SpanExportResult.SUCCESS:
        reason = complaints.lines[-1] if complaints.lines else "no reason given"
        raise SendError(f"{endpoint} did not take the session: {reason}")
