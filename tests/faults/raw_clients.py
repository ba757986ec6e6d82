"""Clients that send each request once, over a connection of their own, and note how it was answered."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from itertools import count
from typing import Final

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support import PATIENCE_SECONDS, Collector, wait_until

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# Stands where the id of the trace is to be.
_TRACE: Final = b"@the-trace's-id@"
# Over all tests of a process: no two requests share an id.
_NUMBERS: Final = count(1)
_START: Final = 1_795_000_000_000_000_000

Send = Callable[[bytes], bool]
Connect = Callable[[Collector], AbstractContextManager[Send]]


class Requests:
    """Requests of so many spans, one trace each; every span is a model call of its own, padded by so many bytes."""

    def __init__(self, spans: int = 20, padding: int = 0) -> None:
        self.spans = spans
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add().scope_spans.add()
        for number in range(1, spans + 1):
            span = group.spans.add(name="chat", kind=3, trace_id=_TRACE, span_id=number.to_bytes(8, "big"))
            span.start_time_unix_nano = _START + number * 1_000_000
            span.end_time_unix_nano = span.start_time_unix_nano + 5_000_000
            for key, text in (
                ("gen_ai.operation.name", "chat"),
                ("gen_ai.request.model", "gpt-4.1-mini"),
                ("app.text", "x" * padding),
            ):
                span.attributes.add(key=key).value.string_value = text
        self._template = request.SerializeToString()

    def make(self) -> tuple[str, bytes]:
        """The next request: its trace's id and its bytes."""
        trace = next(_NUMBERS).to_bytes(16, "big")
        return trace.hex(), self._template.replace(_TRACE, trace)


@contextmanager
def over_http(server: Collector) -> Iterator[Send]:
    """Refused is 503 and when to come back; anything else fails."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)

    def send(body: bytes) -> bool:
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200 or (answer.status == 503 and int(answer.headers["Retry-After"]) > 0)
        return answer.status == 200

    with closing(connection):
        yield send


@contextmanager
def over_grpc(server: Collector) -> Iterator[Send]:
    """Refused is UNAVAILABLE and when to come back; anything else fails."""
    with grpc.insecure_channel(server.grpc) as channel:
        export = channel.unary_unary(_EXPORT)

        def send(body: bytes) -> bool:
            try:
                export(body, timeout=30)
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert "google.rpc.retryinfo-bin" in dict(error.trailing_metadata())
                return False
            return True

        yield send


class _Sender(threading.Thread):
    def __init__(self, send: Send, requests: Requests, pause: float) -> None:
        super().__init__(daemon=True)
        self.answers: dict[str, bool | None] = {}  # None: there was none
        self.failure: BaseException | None = None
        self.stopping = threading.Event()
        self._send, self._requests, self._pause = send, requests, pause

    def run(self) -> None:
        while not self.stopping.is_set():
            trace, body = self._requests.make()
            self.answers[trace] = None
            try:
                self.answers[trace] = self._send(body)
            except BaseException as error:
                self.failure = error
                return
            self.stopping.wait(self._pause)


class Senders:
    """One for each connection, that send from the start to the end of a with-block, or until one has no answer."""

    def __init__(
        self, server: Collector, connects: list[Connect], requests: Requests, pause: float = 0.0
    ) -> None:
        self.requests = requests
        self._server, self._connects, self._pause = server, connects, pause
        self._stack = ExitStack()
        self._senders: list[_Sender] = []

    def __enter__(self) -> Senders:
        for connect in self._connects:
            send = self._stack.enter_context(connect(self._server))
            self._senders.append(_Sender(send, self.requests, self._pause))
        for sender in self._senders:
            sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self._senders:
            sender.stopping.set()
        for sender in self._senders:
            sender.join(40)
        self._stack.close()

    def failures(self) -> list[BaseException]:
        return [sender.failure for sender in self._senders if sender.failure is not None]

    def traces(self, answer: bool | None) -> set[str]:
        """Those that were accepted (True), refused (False), or not answered (None)."""
        answers = [each for sender in self._senders for each in list(sender.answers.items())]
        return {trace for trace, given in answers if given is answer}


def assert_stored_once(server: Collector, senders: Senders, seconds: float = PATIENCE_SECONDS) -> None:
    """All that was accepted comes to be in the lake once, and nothing that was refused."""
    accepted, refused = senders.traces(True), senders.traces(False)
    found: dict[str, tuple[int, int]] = {}

    def arrived() -> bool:
        query = "SELECT trace_id, count(*) AS n, count(DISTINCT span_id) AS d FROM spans GROUP BY trace_id"
        found.update((row["trace_id"], (row["n"], row["d"])) for row in server.sql(query))
        return accepted <= found.keys()

    wait_until(arrived, seconds, 0.2)
    spans = senders.requests.spans
    assert {found[trace] for trace in accepted} == {(spans, spans)}, "some spans are missing, or there twice"
    assert not refused & found.keys(), "what was refused is there"
