"""Sending ready-made requests and telling what came back, one connection each.

The exporters of the SDKs take 20 times as long for a span as the collector: with them one would measure them.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from semconv.settings import Encoding

Transport = Literal["http/protobuf", "http/json", "grpc"]
Compression = Literal["none", "gzip"]

_TIMEOUT_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 3.0
_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_CONTENT_TYPES: Final = {"http/protobuf": "application/x-protobuf", "http/json": "application/json"}
# The fastest: it is the collector that is measured.
_GZIP_LEVEL: Final = 1
# After an answer that says nothing of when to come back, as the exporters' first pause.
_PAUSE_SECONDS: Final = 1.0
_RETRYABLE: Final = frozenset({"429", "502", "503", "504", "UNAVAILABLE", "RESOURCE_EXHAUSTED"})
_RETRY_INFO: Final = "google.rpc.retryinfo-bin"


class NoEndpointError(Exception):
    """What was given is no endpoint, or nothing answers there; ``str()`` is one line."""


class Answer(NamedTuple):
    """``code`` is "" where all was acknowledged, else the status or what went wrong; ``wait`` is in seconds."""

    code: str
    rejected_spans: int = 0
    wait: float = 0.0


class Sender(Protocol):
    """One connection."""

    def send(self, body: bytes) -> Answer: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go and how; ``endpoint`` is a base URL, ``ca_file`` for a certificate of one's own."""

    endpoint: str
    transport: Transport = "http/protobuf"
    compression: Compression = "none"
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None

    @property
    def encoding(self) -> Encoding:
        return "json" if self.transport == "http/json" else "protobuf"

    def prepared(self, body: bytes) -> bytes:
        """``body`` as it goes out; gRPC compresses by itself."""
        if self.compression == "none" or self.transport == "grpc":
            return body
        deflate = zlib.compressobj(_GZIP_LEVEL, wbits=zlib.MAX_WBITS | 16)
        return deflate.compress(body) + deflate.flush()

    def connect(self) -> Sender:
        """A connection of its own; nothing is sent yet. Raises NoEndpointError."""
        return (_Grpc if self.transport == "grpc" else _Http)(self)


class _Http:
    """Kept alive, and opened again where it broke."""

    def __init__(self, target: Target) -> None:
        host, port, tls, path = _parts(target.endpoint)
        self._path = f"{path}/v1/traces"
        self._headers = {"Content-Type": _CONTENT_TYPES[target.transport], **target.headers}
        if target.compression == "gzip":
            self._headers["Content-Encoding"] = "gzip"
        self._read = _rejected_in_json if target.transport == "http/json" else _rejected
        self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        if tls:
            context = ssl.create_default_context(cafile=target.ca_file)
            self._connection = http.client.HTTPSConnection(
                host, port, timeout=_TIMEOUT_SECONDS, context=context
            )

    def send(self, body: bytes) -> Answer:
        try:
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Answer(f"no answer: {type(error).__name__}", wait=_PAUSE_SECONDS)
        if answer.status == 200:
            return Answer("", self._read(content))
        code = str(answer.status)
        return Answer(code, wait=_seconds(answer.getheader("Retry-After")) if code in _RETRYABLE else 0.0)

    def close(self) -> None:
        self._connection.close()


class _Grpc:
    def __init__(self, target: Target) -> None:
        host, port, tls, _ = _parts(target.endpoint)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # Channels to one address share a connection otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        gzip = grpc.Compression.Gzip if target.compression == "gzip" else grpc.Compression.NoCompression
        if tls:
            credentials = grpc.ssl_channel_credentials(_certificates(target.ca_file))
            self._channel = grpc.secure_channel(address, credentials, options, gzip)
        else:
            self._channel = grpc.insecure_channel(address, options, gzip)
        # Without serializers bytes go out, and come back, as they are.
        self._export: Callable[..., bytes] = self._channel.unary_unary(_METHOD, None, None)
        self._metadata = tuple((name.lower(), value) for name, value in target.headers.items())

    def send(self, body: bytes) -> Answer:
        try:
            return Answer(
                "", _rejected(self._export(body, timeout=_TIMEOUT_SECONDS, metadata=self._metadata))
            )
        except grpc.RpcError as error:
            call = cast(Any, error)  # a call and an error in one
            code = str(call.code().name)
            return Answer(code, wait=_delay(call.trailing_metadata()) if code in _RETRYABLE else 0.0)

    def close(self) -> None:
        self._channel.close()


def check_listening(endpoint: str) -> None:
    """Say so at once where nothing listens. Raises NoEndpointError."""
    host, port, _, _ = _parts(endpoint)
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise NoEndpointError(
            f"nothing answers at {endpoint} ({reason}); start the collector with: otlp-collector serve"
        ) from None


def _parts(endpoint: str) -> tuple[str, int, bool, str]:
    """Host, port, whether by TLS, path."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise NoEndpointError(f"{endpoint!r} is not an endpoint; use a URL such as http://127.0.0.1:4318")
    tls = parts.scheme == "https"
    return host, port or (443 if tls else 80), tls, parts.path.rstrip("/")


def _certificates(ca_file: str | None) -> bytes | None:
    if ca_file is None:
        return None
    with open(ca_file, "rb") as file:  # noqa: PTH123 - a name is what it is given
        return file.read()


def _rejected(content: bytes) -> int:
    """The rejected spans of a success's protobuf; nearly always it is empty."""
    if not content:
        return 0
    try:
        return int(ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans)
    except DecodeError:
        return 0


def _rejected_in_json(content: bytes) -> int:
    try:
        return int(json.loads(content or b"{}").get("partialSuccess", {}).get("rejectedSpans", 0))
    except (ValueError, AttributeError, TypeError):
        return 0


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdecimal() else _PAUSE_SECONDS


def _delay(trailers: tuple[tuple[str, str | bytes], ...] | None) -> float:
    for name, value in trailers or ():
        if name == _RETRY_INFO and isinstance(value, bytes):
            delay = error_details_pb2.RetryInfo.FromString(value).retry_delay
            return float(delay.seconds + delay.nanos / 1e9)
    return _PAUSE_SECONDS
