"""OTLP/gRPC: the three Export methods on raw bytes, and the standard health service.

gRPC's own decompression is off: it would inflate a message before anything here can refuse it. A compressed
message then arrives as it was sent, and says so itself: gzip begins with 1f 8b, and no protobuf message can
begin with 1f (wire type 7).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from collector.config import Config
from collector.receivers.compression import GZIP_MAGIC
from collector.receivers.endpoint import EndpointInvalid, bind
from collector.receivers.intake import Arrival, Intake, as_refusal
from collector.receivers.responses import success_body
from collector.receivers.status import Refusal, trailing_metadata
from semconv.settings import Signal

_SERVICES: Final[dict[Signal, str]] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
# Bits of grpc_compression_algorithm: 0 identity, 2 gzip; deflate is answered UNIMPLEMENTED by gRPC itself.
_IDENTITY_AND_GZIP: Final = 0b101
# A message is buffered whole before its handler runs, out of the budget's sight; more calls wait at the
# sender.
_STREAMS_PER_CONNECTION: Final = 64

# Put there by the module itself as it is loaded, out of a type checker's sight.
_aio_health: Any = vars(health)["aio"]

Context = grpc.aio.ServicerContext[bytes, bytes]


class GrpcServer:
    """A running OTLP/gRPC receiver."""

    def __init__(self, server: grpc.aio.Server, servicer: Any, port: int) -> None:
        self._server = server
        self._health = servicer
        self.port = port

    async def set_serving(self, serving: bool) -> None:
        """What the health service answers from now on, for the server and for each of its services."""
        answer = health_pb2.HealthCheckResponse
        for service in ("", *_SERVICES.values()):
            await self._health.set(service, answer.SERVING if serving else answer.NOT_SERVING)

    async def stop(self, grace: float | None = None) -> None:
        """Refuse new calls, give those at hand ``grace`` seconds, close. Safe twice."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)


async def start_grpc(intake: Intake, endpoint: str, config: Config) -> GrpcServer:
    """Listen on ``endpoint`` (host:port, port 0 = a free one). Raises EndpointError."""
    server = grpc.aio.server(
        options=[
            # On by default: a second server would silently share the port and take half of the calls.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", config.limits.max_request_bytes),
            ("grpc.max_concurrent_streams", _STREAMS_PER_CONNECTION),
            ("grpc.per_message_decompression", 0),
            ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
        ]
    )
    for signal, service in _SERVICES.items():
        method = grpc.unary_unary_rpc_method_handler(_export(intake, signal))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
    servicer = _aio_health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = _bind(server, endpoint)
    await server.start()
    running = GrpcServer(server, servicer, port)
    await running.set_serving(True)
    return running


def _bind(server: grpc.aio.Server, endpoint: str) -> int:
    # gRPC does not say why it could not bind, so that is tried first.
    for probe in bind("grpc_endpoint", endpoint):
        probe.close()
    try:
        return server.add_insecure_port(endpoint)
    except RuntimeError as error:
        raise EndpointInvalid("grpc_endpoint", endpoint, str(error)) from error


def _export(intake: Intake, signal: Signal) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def export(message: bytes, context: Context) -> bytes:
        try:
            return await _accept(intake, signal, message, context)
        except Exception as error:
            refusal = as_refusal(error)
            intake.telemetry.refused(signal, "grpc", refusal.reason, refusal.items)
        return await _abort(context, refusal)

    return export


async def _accept(intake: Intake, signal: Signal, message: bytes, context: Context) -> bytes:
    authorization = _authorization(context) if intake.authenticator.required else None
    principal = intake.authenticator.authenticate(authorization)
    with intake.budget.lease("protobuf") as lease:
        lease.grow(len(message))
        arrival = Arrival(signal, "protobuf", "grpc", principal, lease)
        content_encoding = "gzip" if message.startswith(GZIP_MAGIC) else ""
        verdict = await intake.accept(arrival, message, content_encoding)
    return success_body(signal, "protobuf", verdict.rejected, verdict.reasons)


def _authorization(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else value.decode("latin-1")
    return None


async def _abort(context: Context, refusal: Refusal) -> NoReturn:
    await context.abort(refusal.code, str(refusal), trailing_metadata(refusal))
    raise AssertionError  # abort() raises
