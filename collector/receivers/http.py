"""OTLP/HTTP: POST of protobuf or JSON.

aiohttp's own decompression is off: it has no bound, takes cut gzip for whole and answers 500 to garbage.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp.streams import StreamReader

from collector.config import Config
from collector.receivers import admission, compression
from collector.receivers.connections import GuardedServer
from collector.receivers.endpoint import bind
from collector.receivers.intake import Arrival, Intake, as_refusal
from collector.receivers.responses import success_body
from collector.receivers.status import (
    Malformed,
    MethodNotAllowed,
    Refusal,
    Unavailable,
    UnknownExpectation,
    UnknownPath,
    UnsupportedMedia,
    status_body,
)
from semconv.settings import Encoding, Signal

# OTLP specification, "OTLP/HTTP Request": the default paths.
_PATHS: Final[dict[str, Signal]] = {"/v1/logs": "logs", "/v1/metrics": "metrics"}
_CONTENT_TYPES: Final[dict[Encoding, str]] = {
    "protobuf": "application/x-protobuf",
    "json": "application/json",
}
_ENCODINGS: Final[dict[str, Encoding]] = {media: encoding for encoding, media in _CONTENT_TYPES.items()}
# After a refusal the rest of the body is read and dropped, or the sender would see a reset, not the answer.
_DRAIN_SECONDS: Final = 5.0
_DRAIN_BYTES: Final = 128 << 20
# What a path, a header and other things that a sender chose may take up in an answer.
_QUOTED_CHARACTERS: Final = 100
_HEADER_NAMES: Final = re.compile(r"[\w!#$%&'*+.^`|~, -]+", re.ASCII)


async def start_http(
    intake: Intake, endpoint: str, config: Config, grace: float = 5.0, tls: ssl.SSLContext | None = None
) -> GuardedServer:
    """Listen on ``endpoint`` (host:port, port 0 = a free one). Raises EndpointError.

    ``grace`` is how many seconds ``close`` waits for requests at hand.
    """
    sockets = bind("http_endpoint", endpoint)
    receiver = _Receiver(intake, config)
    server = GuardedServer(receiver.handle, receiver.refuse, config.limits, tls, grace)
    server.listen(sockets)
    return server


class _TooSlow(Unavailable):
    """Nothing more is read from this sender."""


class _Receiver:
    def __init__(self, intake: Intake, config: Config) -> None:
        self._intake = intake
        self._body_seconds = config.limits.body_timeout_seconds
        self._paths: dict[str, Signal] = dict.fromkeys(config.http.trace_paths, "traces")
        self._paths |= _PATHS
        self._origins = frozenset(config.http.cors_origins)
        self._vary = "Accept-Encoding, Origin" if self._origins else "Accept-Encoding"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._is_preflight(request):
            return self._preflight(request)
        try:
            return await self._export(request)
        except ConnectionError:
            raise  # the sender is gone: there is nobody to answer
        except Exception as error:
            return await self._refuse(request, as_refusal(error))

    def refuse(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        """The answer, in the encoding of the request; in JSON where that has none that is spoken here."""
        signal = self._paths.get(request.path)
        self._intake.telemetry.refused(signal, "http", refusal.reason, refusal.items)
        encoding = _encoding(request) or "json"
        body = status_body(refusal, encoding)
        return self._response(request, refusal.http_status, body, encoding, refusal.http_headers())

    async def _refuse(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        response = self.refuse(request, refusal)
        if request.content.is_eof():
            return response
        if isinstance(refusal, _TooSlow) or _awaits_100(request):
            response.force_close()
            return response
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, web.RequestPayloadError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                # The answer first: the sender may be waiting for it before it sends more.
                await response.prepare(request)
                await response.write_eof()
                await _drain(request.content)
        return response

    async def _export(self, request: web.BaseRequest) -> web.Response:
        signal = self._signal(request)
        principal = self._intake.authenticator.authenticate(request.headers.get("Authorization"))
        encoding = _encoding(request)
        if encoding is None:
            supported = " or ".join(_ENCODINGS)
            raise UnsupportedMedia(f"Content-Type {_quoted(request.content_type)}: send {supported}")
        # Several headers of one name are one list (RFC 9110, 5.3).
        content_encoding = compression.check_supported(
            ", ".join(request.headers.getall("Content-Encoding", ()))
        )
        with self._intake.budget.lease(encoding) as lease:
            arrival = Arrival(signal, encoding, "http", principal, lease)
            body = await self._read(request, arrival)
            verdict = await self._intake.accept(arrival, body, content_encoding)
        answer = success_body(signal, encoding, verdict.rejected, verdict.reasons)
        return self._response(request, 200, answer, encoding, {})

    def _signal(self, request: web.BaseRequest) -> Signal:
        signal = self._paths.get(request.path)
        if signal is None:
            raise UnknownPath(f"there is nothing at {_quoted(request.path)}; traces go to /v1/traces")
        if request.method != "POST":
            raise MethodNotAllowed(f"{request.path} takes POST only", "POST")
        return signal

    async def _read(self, request: web.BaseRequest, arrival: Arrival) -> bytes:
        expectation = _expectation(request)
        if expectation not in ("", "100-continue"):
            raise UnknownExpectation(f"Expect {_quoted(expectation)}: only 100-continue can be met")
        admission.check_size(request.content_length or 0, arrival.encoding, self._intake.limits)
        if expectation:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        if request.content.is_eof():
            return await self._collect(request.content, arrival)
        try:
            async with asyncio.timeout(self._body_seconds):
                return await self._collect(request.content, arrival)
        except TimeoutError:
            raise _TooSlow(f"the body did not arrive within {self._body_seconds:g} s") from None
        except (aiohttp.ClientPayloadError, web.RequestPayloadError) as error:
            raise Malformed(f"the body is not what its headers announce: {error}") from None

    async def _collect(self, content: StreamReader, arrival: Arrival) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := await content.readany():
                size += len(chunk)
                admission.check_size(size, arrival.encoding, self._intake.limits)
                arrival.lease.grow(len(chunk))
                chunks.append(chunk)
            return await self._intake.join(chunks, size)
        finally:
            # aiohttp keeps the error of a sender who is gone, which leads here, until garbage is collected.
            chunks.clear()

    def _response(
        self,
        request: web.BaseRequest,
        status: int,
        body: bytes,
        encoding: Encoding,
        headers: Mapping[str, str],
    ) -> web.Response:
        fields = {
            "Content-Type": _CONTENT_TYPES[encoding],
            "Server": "spanledger",
            "Vary": self._vary,
            **headers,
            **self._cors(request),
        }
        if compression.accepts_gzip(request.headers.get("Accept-Encoding", "")):
            body = compression.gzipped(body)
            fields["Content-Encoding"] = "gzip"
        return web.Response(status=status, body=body, headers=fields)

    def _cors(self, request: web.BaseRequest) -> dict[str, str]:
        """What lets a page of a configured origin read the answer (Fetch standard, 3.3)."""
        origin = request.headers.get("Origin") if self._origins else None
        if origin not in self._origins:
            return {}
        return {
            "Access-Control-Allow-Origin": str(origin),
            # navigator.sendBeacon, which the exporters of browsers use, always sends with credentials.
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": "Retry-After",
        }

    def _is_preflight(self, request: web.BaseRequest) -> bool:
        """Browsers ask before they send; a token they show only then."""
        return (
            request.method == "OPTIONS"
            and request.headers.get("Origin") in self._origins
            and "Access-Control-Request-Method" in request.headers
            and request.path in self._paths
        )

    def _preflight(self, request: web.BaseRequest) -> web.Response:
        asked = request.headers.get("Access-Control-Request-Headers", "")
        fields = {
            **self._cors(request),
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": asked if _HEADER_NAMES.fullmatch(asked) else "Content-Type",
            "Access-Control-Max-Age": "7200",  # the longest that Chromium heeds
            "Server": "spanledger",
            "Vary": f"{self._vary}, Access-Control-Request-Headers",
        }
        return web.Response(status=204, headers=fields)


def _encoding(request: web.BaseRequest) -> Encoding | None:
    return _ENCODINGS.get(request.content_type.lower())


def _quoted(text: str) -> str:
    """For an error's message: bounded, and nothing in it that is not printable."""
    return repr(text[:_QUOTED_CHARACTERS])


def _expectation(request: web.BaseRequest) -> str:
    """The Expect header; in HTTP/1.0 it means nothing (RFC 9110, 10.1.1)."""
    return request.headers.get("Expect", "").lower() if request.version >= HttpVersion11 else ""


def _awaits_100(request: web.BaseRequest) -> bool:
    """Whether the sender holds its body back until it is asked for it, which it was not."""
    return _expectation(request) == "100-continue" and not request.content.total_bytes


async def _drain(content: StreamReader) -> None:
    dropped = 0
    while dropped < _DRAIN_BYTES and (chunk := await content.readany()):
        dropped += len(chunk)
