"""A client of plain HTTP requests that tries again what was not acknowledged, as the exporters do."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS_PER_REQUEST = 20
# Keeps the load to what a busy machine can take: these tests are not about speed.
PAUSE_SECONDS = 0.02


def request_body(trace: int) -> tuple[bytes, list[str]]:
    """One request of one trace with ids that no other request has; every span is a call of its own."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    ids = []
    for number in range(SPANS_PER_REQUEST):
        span = spans.add(name="chat", kind=3)
        span.trace_id = trace.to_bytes(16, "big")
        span.span_id = (number + 1).to_bytes(8, "big")
        span.start_time_unix_nano = 1_795_000_000_000_000_000 + trace * 1_000_000
        span.end_time_unix_nano = span.start_time_unix_nano + 5_000_000
        span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
        span.attributes.add(key="gen_ai.request.model").value.string_value = "gpt-4.1-mini"
        span.attributes.add(key="gen_ai.response.id").value.string_value = f"resp-{trace}-{number}"
        span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 100
        ids.append(f"{trace:032x}/{number + 1:016x}")
    return request.SerializeToString(), ids


class Sender(threading.Thread):
    """A client that retries what was not acknowledged, as the exporters do, until it is told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = f"{url}/v1/traces"
        self.acknowledged: set[str] = set()
        self.sent: set[str] = set()
        self.stopping = threading.Event()
        self.next_trace = 1

    def run(self) -> None:
        while not self.stopping.is_set():
            body, ids = request_body(self.next_trace)
            self.next_trace += 1
            self.sent.update(ids)
            while not self.stopping.is_set():
                if self.post(body):
                    self.acknowledged.update(ids)
                    break
                self.stopping.wait(PAUSE_SECONDS)
            self.stopping.wait(PAUSE_SECONDS)

    def post(self, body: bytes) -> bool:
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/x-protobuf"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError, ValueError):
            return False
        except Exception as error:  # http.client.RemoteDisconnected and its kin: the connection died half-way
            assert type(error).__module__ == "http.client", error
            return False
