"""OTLP/HTTP: POST of protobuf or JSON, on aiohttp's low-level server.

aiohttp's own decompression is off: it has no bound, takes cut gzip for whole and answers 500 to garbage.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp.streams import StreamReader

from collector.config import Config
from collector.receivers import admission, compression
from collector.receivers.endpoint import bind
from collector.receivers.intake import Arrival, Intake, as_refusal
from collector.receivers.responses import success_body
from collector.receivers.status import (
    Malformed,
    MethodNotAllowed,
    Refusal,
    Unavailable,
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

# The exporters' own deadline for a request is 10 s; a body that takes longer than this has lost its sender.
_BODY_SECONDS: Final = 30.0
# Bounds the wait for a request's headers too. Longer than a metric exporter's interval of 60 s.
_KEEPALIVE_SECONDS: Final = 75.0
# After a refusal the rest of the body is read and dropped, or the sender would see a reset, not the answer.
_DRAIN_SECONDS: Final = 5.0
_DRAIN_BYTES: Final = 128 << 20
# For what is left when the requests at hand are done or out of time: idle connections.
_CLOSE_SECONDS: Final = 0.5
# What aiohttp holds before it stops reading from the connection: a batch of 512 spans passes without a pause.
_READ_BUFFER_BYTES: Final = 1 << 20


class HttpServer:
    """A running OTLP/HTTP receiver."""

    def __init__(self, runner: web.ServerRunner, handler: _Handler, port: int, grace: float) -> None:
        self._runner = runner
        self._handler = handler
        self._grace = grace
        self.port = port

    async def close(self) -> None:
        """Stop listening, finish the requests at hand, close. Safe twice."""
        for site in list(self._runner.sites):
            await site.stop()
        # aiohttp's own shutdown reads nothing more: a body that is on its way would never arrive.
        await self._handler.finish(self._grace)
        await self._runner.cleanup()


async def start_http(intake: Intake, endpoint: str, config: Config, grace: float = 5.0) -> HttpServer:
    """Listen on ``endpoint`` (host:port, port 0 = a free one). Raises EndpointError.

    ``grace`` is how many seconds ``close`` waits for requests at hand.
    """
    sockets = bind("http_endpoint", endpoint)
    handler = _Handler(intake, {**_PATHS, **dict.fromkeys(config.http.trace_paths, "traces")})
    # aiohttp logs each line it cannot parse as an error with a traceback: anybody could fill the log.
    quiet = logging.getLogger(f"{__name__}.protocol")
    quiet.setLevel(logging.CRITICAL)
    server = web.Server(
        handler.handle,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        lingering_time=0,
        logger=quiet,
        read_bufsize=_READ_BUFFER_BYTES,
    )
    runner = web.ServerRunner(server, shutdown_timeout=_CLOSE_SECONDS)
    await runner.setup()
    for listening in sockets:
        await web.SockSite(runner, listening, backlog=1024).start()
    return HttpServer(runner, handler, sockets[0].getsockname()[1], grace)


class _TooSlow(Unavailable):
    """Nothing more is read from this sender."""


class _Handler:
    def __init__(self, intake: Intake, paths: Mapping[str, Signal]) -> None:
        self._intake = intake
        self._paths = paths
        self._at_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._finishing = False

    async def finish(self, grace: float) -> None:
        """Wait up to ``grace`` seconds until no request is at hand; each answer now ends its connection."""
        self._finishing = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._at_hand += 1
        self._idle.clear()
        try:
            response = await self._answer(request)
        finally:
            self._at_hand -= 1
            if not self._at_hand:
                self._idle.set()
        if self._finishing:
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        encoding = _ENCODINGS.get(request.content_type.lower())
        try:
            return await self._export(request, encoding)
        except ConnectionError:
            raise  # the sender is gone: there is nobody to answer
        except Exception as error:
            refusal = as_refusal(error)
            self._intake.telemetry.refused(
                self._paths.get(request.path), "http", refusal.reason, refusal.items
            )
            return await _refuse(request, refusal, encoding or "json")

    async def _export(self, request: web.BaseRequest, encoding: Encoding | None) -> web.Response:
        signal = self._signal(request)
        principal = self._intake.authenticator.authenticate(request.headers.get("Authorization"))
        if encoding is None:
            supported = " or ".join(_ENCODINGS)
            raise UnsupportedMedia(f"Content-Type {request.content_type[:80]!r}: send {supported}")
        content_encoding = compression.check_supported(request.headers.get("Content-Encoding", ""))
        with self._intake.budget.lease(encoding) as lease:
            arrival = Arrival(signal, encoding, "http", principal, lease)
            body = await self._read(request, arrival)
            verdict = await self._intake.accept(arrival, body, content_encoding)
        answer = success_body(signal, encoding, verdict.rejected, verdict.reasons)
        return _response(200, answer, encoding, {})

    def _signal(self, request: web.BaseRequest) -> Signal:
        signal = self._paths.get(request.path)
        if signal is None:
            raise UnknownPath(f"there is nothing at {request.path[:200]}; traces go to /v1/traces")
        if request.method != "POST":
            raise MethodNotAllowed(f"{request.path} takes POST only", "POST")
        return signal

    async def _read(self, request: web.BaseRequest, arrival: Arrival) -> bytes:
        announced = request.content_length or 0
        admission.check_size(announced, arrival.encoding, self._intake.limits)
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await self._collect(request.content, arrival)
        except TimeoutError:
            raise _TooSlow(f"the body did not arrive within {_BODY_SECONDS:.0f} s") from None
        except aiohttp.ClientPayloadError as error:
            raise Malformed(f"the body is not what its headers announce: {error}") from None

    async def _collect(self, content: StreamReader, arrival: Arrival) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := await content.readany():
            size += len(chunk)
            admission.check_size(size, arrival.encoding, self._intake.limits)
            arrival.lease.grow(len(chunk))
            chunks.append(chunk)
        return await self._intake.join(chunks, size)


def _response(status: int, body: bytes, encoding: Encoding, headers: Mapping[str, str]) -> web.Response:
    media = _CONTENT_TYPES[encoding]
    return web.Response(
        status=status, body=body, headers={"Content-Type": media, "Server": "spanledger", **headers}
    )


async def _refuse(request: web.BaseRequest, refusal: Refusal, encoding: Encoding) -> web.StreamResponse:
    response = _response(
        refusal.http_status, status_body(refusal, encoding), encoding, refusal.http_headers()
    )
    if isinstance(refusal, _TooSlow):
        response.force_close()
    elif not request.content.is_eof():
        # The answer first: the sender may be waiting for it before it sends more.
        await response.prepare(request)
        await response.write_eof()
        await _drain(request.content)
    return response


async def _drain(content: StreamReader) -> None:
    dropped = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while dropped < _DRAIN_BYTES and (chunk := await content.readany()):
                dropped += len(chunk)
    except (TimeoutError, aiohttp.ClientError):
        return  # aiohttp closes a connection whose body was not read to its end
