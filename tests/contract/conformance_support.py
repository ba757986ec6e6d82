"""An OTLP client that hides nothing, for the tests of the conformance checklist.

It sends over the three ways that there are (protobuf and JSON over HTTP, and gRPC) and hands out every answer as bytes,
headers and trailers. Rows come from the lake that the server fills.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tests.contract.conformance_messages import (
    JSON,
    MEDIA,
    PROTOBUF,
    SIGNALS,
    TRACES,
    Signal,
    body_of,
    marker,
    request_of,
)
from tests.support import Collector, running, wait_until

WIRES = ("protobuf", "json", "grpc")
OK = grpc.StatusCode.OK
INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
each_signal = pytest.mark.parametrize("signal", SIGNALS, ids=str)
each_media = pytest.mark.parametrize("media", MEDIA)
each_wire = pytest.mark.parametrize("wire", WIRES)
# Everything is kept, and loaded soon, though not each request for itself.
KEEP_ALL = "keep: {spans: all, logs: all, metrics: all}\nloader: {max_wait_seconds: 0.4}\n"


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def media(self) -> str:
        return self.headers.get("content-type", "")

    def parsed(self, kind: type[Message]) -> Any:
        """The body as a ``kind``, decoded as the answer's own Content-Type says, by protobuf's own rules."""
        if self.media == PROTOBUF:
            return kind.FromString(self.body)
        assert self.media == JSON, f"Content-Type {self.media!r} of {self.body[:200]!r}"
        return json_format.Parse(self.body, kind())

    def refusal(self, media: str) -> status_pb2.Status:
        """The google.rpc.Status that every 4xx and 5xx must carry, in the encoding of the request (S2, S5)."""
        assert self.media == media, f"{self.status}: Content-Type {self.media!r}, the request's was {media!r}"
        status = self.parsed(status_pb2.Status)
        assert status.message, f"{self.status}: a Status without a message"
        return status


def answer_of(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


@dataclass(frozen=True)
class GrpcAnswer:
    """What came back over gRPC."""

    code: grpc.StatusCode
    details: str
    trailers: Mapping[str, Any]
    body: bytes = b""

    def status(self) -> status_pb2.Status:
        """The rich Status, which gRPC's clients find in a trailer."""
        assert "grpc-status-details-bin" in self.trailers, f"no Status with {self.code}: {self.details}"
        status = status_pb2.Status.FromString(self.trailers["grpc-status-details-bin"])
        assert (status.code, status.message) == (self.code.value[0], self.details)
        return status


@dataclass(frozen=True)
class Outcome:
    """The answer of either transport in one shape; ``code`` OK means accepted, whole or in part."""

    code: grpc.StatusCode
    message: str = ""
    rejected: int = 0
    retry_delay: float | None = None
    details: frozenset[str] = frozenset()  # names of the google.rpc messages in a refusal's Status
    body: bytes = b""


# OTLP specification, "Failures": what each status means to a client, as the gRPC code of the same meaning.
_CODES = {
    400: INVALID,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    413: EXHAUSTED,
    429: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
}


def retry_delay(status: status_pb2.Status) -> float | None:
    """Seconds of the RetryInfo in a Status, None without one."""
    info = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


def detail_names(status: status_pb2.Status) -> frozenset[str]:
    """The google.rpc messages that a Status carries, without their package."""
    return frozenset(detail.type_url.rpartition(".")[2] for detail in status.details)


def http_outcome(answer: Answer, signal: Signal, media: str) -> Outcome:
    if answer.status == 200:
        assert answer.media == media
        return _accepted(signal, answer.parsed(signal.response), answer.body)
    status = answer.refusal(media)
    after = answer.headers.get("retry-after")
    delay = None if after is None else float(after)
    return Outcome(_CODES[answer.status], status.message, retry_delay=delay, details=detail_names(status))


def grpc_outcome(answer: GrpcAnswer, signal: Signal) -> Outcome:
    if answer.code is OK:
        return _accepted(signal, signal.response.FromString(answer.body), answer.body)
    status = answer.status()
    return Outcome(answer.code, answer.details, retry_delay=retry_delay(status), details=detail_names(status))


def _accepted(signal: Signal, response: Any, body: bytes) -> Outcome:
    partial = response.partial_success
    return Outcome(OK, partial.error_message, getattr(partial, signal.rejected), body=body)


@dataclass
class Server:
    """A running collector as its clients and its readers see it."""

    collector: Collector
    token: str = ""

    def connection(self) -> contextlib.closing[http.client.HTTPConnection]:
        return contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.collector.http_port, timeout=30)
        )

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One HTTP request on a connection of its own."""
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        with self.connection() as connection:
            connection.request(method, path, body, {**authorization, **(headers or {})})
            return answer_of(connection.getresponse())

    def post(self, path: str, body: Any, media: str, **headers: str) -> Answer:
        """POST of ``body``; Content_Encoding="gzip" is the header Content-Encoding."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, body, {"Content-Type": media, **named})

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.collector.http_port), timeout=30)

    @contextlib.contextmanager
    def channel(self, compression: grpc.Compression | None = None) -> Iterator[grpc.Channel]:
        """A gRPC connection of its own."""
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self.collector.grpc, options, compression) as channel:
            yield channel

    def call(self, method: str, body: bytes, compression: grpc.Compression | None = None) -> GrpcAnswer:
        """One unary call with ``body`` as the message's bytes."""
        metadata = [("authorization", f"Bearer {self.token}")] if self.token else []
        with self.channel(compression) as channel:
            try:
                answer, call = channel.unary_unary(method).with_call(body, timeout=30, metadata=metadata)
            except grpc.RpcError as error:
                trailers = dict(error.trailing_metadata() or ())
                return GrpcAnswer(error.code(), error.details(), trailers)
        return GrpcAnswer(call.code(), call.details(), dict(call.trailing_metadata()), answer)

    def export(
        self, wire: str, signal: Signal, content: Message | bytes, *, gzipped: bool = False
    ) -> Outcome:
        """Send a request, or bytes in place of one, over one of the WIRES."""
        if wire == "grpc":
            body = content if isinstance(content, bytes) else content.SerializeToString()
            compression = grpc.Compression.Gzip if gzipped else None
            return grpc_outcome(self.call(signal.method, body, compression), signal)
        media = JSON if wire == "json" else PROTOBUF
        body = content if isinstance(content, bytes) else body_of(content, media)
        headers = {"Content_Encoding": "gzip"} if gzipped else {}
        answer = self.post(signal.path, gzip.compress(body, 1) if gzipped else body, media, **headers)
        return http_outcome(answer, signal, media)

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Rows of a SELECT over the lake."""
        names, rows = self.collector.reader.ask(statement)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def rows(self, signal: Signal, service: str, at_least: int = 1) -> list[dict[str, Any]]:
        """The rows of a service, once there are so many, by time."""
        order = "start_unix_nano" if signal is TRACES else "time_unix_nano"
        select = f"SELECT * FROM {signal.table} WHERE service_name = '{service}' ORDER BY {order}"
        found: list[dict[str, Any]] = []

        def arrived() -> bool:
            found[:] = self.sql(select)
            return len(found) >= at_least

        wait_until(arrived)
        return found

    def settle(self) -> None:
        """Wait until whatever was accepted before this call is loaded: the spool keeps its order."""
        last = marker()
        assert self.export("protobuf", TRACES, request_of(TRACES, last)).code is OK
        self.rows(TRACES, last)


@contextlib.contextmanager
def serving(folder: Path, config: str = KEEP_ALL, *arguments: str, token: str = "") -> Iterator[Server]:
    """A collector that keeps everything, for the length of a with-block."""
    with running(folder / "data", *arguments, config=config) as process:
        yield Server(process, token)
