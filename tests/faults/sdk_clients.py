"""Clients as applications have them: exporters of the OpenTelemetry SDK, which try again what was not acknowledged."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import IdGenerator, ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from tests.support import Collector

SPANS_PER_BATCH: Final = 20
# An exporter gives a batch up after so long; the application here hands it the same batch again.
_EXPORT_SECONDS: Final = 5.0
# Keeps the load to what a busy machine can take: these tests are about faults and not about speed.
_PAUSE_SECONDS: Final = 0.02


def exporter(collector: Collector, transport: str) -> SpanExporter:
    if transport == "grpc":
        return GrpcExporter(endpoint=collector.grpc, insecure=True, timeout=_EXPORT_SECONDS)
    return HttpExporter(endpoint=f"{collector.http}/v1/traces", timeout=_EXPORT_SECONDS)


class _Ids(IdGenerator):
    """Ids that no other client has."""

    def __init__(self, client: int) -> None:
        self._trace = itertools.count((client << 64) + 1)
        self._span = itertools.count((client << 40) + 1)

    def generate_trace_id(self) -> int:
        return next(self._trace)

    def generate_span_id(self) -> int:
        return next(self._span)


class _Finished(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class Client(threading.Thread):
    """One application, from `start` to `finish`: exports batch after batch of model calls.

    ``tries``: how often a batch is given to the exporter before it is given up; 0 = until it is acknowledged.
    """

    def __init__(self, exporter: SpanExporter, number: int, tries: int = 0) -> None:
        super().__init__(daemon=True)
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.given_up: set[str] = set()
        self._exporter = exporter
        self._tries = tries
        self._stopping = threading.Event()
        self._finished = _Finished()
        provider = TracerProvider(id_generator=_Ids(number), shutdown_on_exit=False)
        provider.add_span_processor(self._finished)
        self._tracer = provider.get_tracer("tests.faults")
        self._number = number

    def run(self) -> None:
        while not self._stopping.is_set():
            batch = self._batch()
            ids = {f"{span.context.trace_id:032x}/{span.context.span_id:016x}" for span in batch}
            self.sent |= ids
            if self._export(batch):
                self.acknowledged |= ids
            else:
                self.given_up |= ids
            self._stopping.wait(_PAUSE_SECONDS)

    def finish(self) -> None:
        """Not before what is under way is answered or given up."""
        self._stopping.set()
        self.join(30)
        self._exporter.shutdown()
        assert not self.is_alive()

    def _export(self, batch: Sequence[ReadableSpan]) -> bool:
        for tried in itertools.count(1):
            if self._exporter.export(batch) is SpanExportResult.SUCCESS:
                return True
            if self._stopping.is_set() or tried == self._tries:
                return False
            self._stopping.wait(_PAUSE_SECONDS)
        raise AssertionError

    def _batch(self) -> list[ReadableSpan]:
        """Each span is a call of its own."""
        for _ in range(SPANS_PER_BATCH):
            span = self._tracer.start_span("chat", kind=SpanKind.CLIENT)
            own = span.get_span_context().span_id
            span.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.request.model": "gpt-4.1-mini",
                    "gen_ai.response.id": f"resp-{own:x}",
                    "gen_ai.usage.input_tokens": 100,
                }
            )
            span.end(time.time_ns() + 5_000_000)
        batch, self._finished.spans = self._finished.spans, []
        return batch


@contextmanager
def clients(collector: Collector, *transports: str, tries: int = 0) -> Iterator[list[Client]]:
    """One client for each transport, which send until the block ends."""
    started = [
        Client(exporter(collector, transport), number, tries)
        for number, transport in enumerate(transports, 1)
    ]
    # They write a line for each attempt that failed.
    logger = logging.getLogger("opentelemetry")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    for client in started:
        client.start()
    try:
        yield started
    finally:
        for client in started:
            client.finish()
        logger.setLevel(level)


def of_all(clients: Sequence[Client], which: Callable[[Client], set[str]]) -> set[str]:
    return set().union(*map(which, clients))


def stored(collector: Collector) -> list[str]:
    """The spans in the lake, as often as they are there."""
    return [row["id"] for row in collector.sql("SELECT trace_id || '/' || span_id AS id FROM spans")]
