"""OTLP/gRPC: the three Export methods on raw bytes, and the standard health service.

A handler of a unary method runs when gRPC has its whole message in memory. To clients a unary method looks the
same as one that takes a stream of requests, whose handler runs when the headers are here. So that is what all
methods are here: who may not send, or comes when there are too many, is refused before his message is taken.
What it takes of messages is bounded by ``Memory`` and by the relay that connections come through.

gRPC's own decompression is off: it would inflate a message before anything here can refuse it. A compressed
message then arrives as it was sent, and says so itself: gzip begins with 1f 8b, and no protobuf message can
begin with 1f (wire type 7). The headers' grpc-encoding is not shown to handlers, and the beginning of deflate
could be protobuf too, so deflate is not spoken: gRPC itself answers UNIMPLEMENTED, and INTERNAL to encodings
that it does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import grpc

from collector.config import Config, LimitsConfig
from collector.memory import give_back
from collector.receivers.compression import GZIP_MAGIC
from collector.receivers.endpoint import EndpointInvalid, bind
from collector.receivers.grpc_health import SERVICE as HEALTH
from collector.receivers.grpc_health import Health
from collector.receivers.grpc_server import StandingServer
from collector.receivers.intake import Arrival, Intake, as_refusal
from collector.receivers.relay import Relay
from collector.receivers.responses import success_body
from collector.receivers.status import Malformed, Refusal, Unavailable, UnknownPath, trailing_metadata
from semconv.settings import Signal

_SERVICES: Final[dict[Signal, str]] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
# Bits of grpc_compression_algorithm: 0 identity, 1 deflate, 2 gzip.
_IDENTITY_AND_GZIP: Final = 0b101

# Where gRPC has ended a call itself, a message that is too large for example, it says so after the message's end.
_ENDED_SECONDS: Final = 0.05
# Until Python has such a message, gRPC has held it twice more.
_LARGE_BYTES: Final = 8 << 20
# What a read says after the last message; grpc-stubs do not know it.
_EOF: Final = vars(grpc.aio)["EOF"]

Context = grpc.aio.ServicerContext[bytes, bytes]
# Handles one call whose message is still to be read.
Handler = Callable[[Any, Context], Awaitable[Any]]


class GrpcServer:
    """A running OTLP/gRPC receiver."""

    def __init__(
        self, server: StandingServer, relay: Relay, receiver: _Receiver, health: Health, port: int
    ) -> None:
        self._server = server
        self._relay = relay
        self._receiver = receiver
        self._health = health
        self.port = port

    @property
    def requests(self) -> int:
        """How many calls are at hand now."""
        return self._receiver.at_hand

    @property
    def connections(self) -> int:
        """How many are open now."""
        return self._relay.connections

    async def set_serving(self, serving: bool) -> None:
        """What the health service answers from now on, for the server and for each of its services."""
        self._health.set(serving=serving)

    async def stop(self, grace: float | None = None) -> None:
        """Refuse new calls, give those at hand ``grace`` seconds, close. Safe twice."""
        self._health.stop()
        self._relay.stop_listening()
        await self._server.stop(grace)
        self._relay.close()


async def start_grpc(
    intake: Intake, endpoint: str, config: Config, credentials: grpc.ServerCredentials | None = None
) -> GrpcServer:
    """Listen on ``endpoint`` (host:port, port 0 = a free one). Raises EndpointError."""
    receiver, health = _Receiver(intake, config.limits), Health(_SERVICES.values())

    def build(address: str) -> grpc.aio.Server:
        server = grpc.aio.server(options=_options(config.limits))
        server.add_generic_rpc_handlers(_handlers(receiver, health))
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
        return server

    relay = Relay(intake.memory, config.limits.max_connections)
    grace = config.limits.body_timeout_seconds
    server = StandingServer(build, relay, config.data_dir, grace, receiver.path_of_nonsense)
    sockets = bind("grpc_endpoint", endpoint)
    try:
        await server.start()
    except RuntimeError as error:  # which certificates it cannot use, it says in its own log
        for listening in sockets:
            listening.close()
        raise EndpointInvalid("grpc_endpoint", endpoint, str(error)) from error
    relay.listen(sockets)
    return GrpcServer(server, relay, receiver, health, int(sockets[0].getsockname()[1]))


def _handlers(receiver: _Receiver, health: Health) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
    methods = {
        service: {"Export": grpc.stream_unary_rpc_method_handler(receiver.export(signal))}
        for signal, service in _SERVICES.items()
    }
    methods[HEALTH] = {
        "Check": grpc.stream_unary_rpc_method_handler(receiver.small(health.check)),
        "Watch": grpc.stream_stream_rpc_method_handler(receiver.small(health.watch)),
    }
    return tuple(grpc.method_handlers_generic_handler(*service) for service in methods.items())


def _options(limits: LimitsConfig) -> list[tuple[str, int]]:
    """Channel arguments, as grpc/impl/channel_arg_names.h describes them. What is beyond a limit sees:

    streams: wait at the client, who is told how many it may have; handshake, from the first byte to the client's
    SETTINGS: closed; headers: RESOURCE_EXHAUSTED; idle: closed in order (GOAWAY),
    after which clients connect again when they have something to send. Pings: gRPC's defaults.
    """
    return [
        ("grpc.max_receive_message_length", limits.max_request_bytes),
        ("grpc.max_concurrent_streams", limits.max_streams),
        ("grpc.server_handshake_timeout_ms", int(limits.header_timeout_seconds * 1000)),
        ("grpc.max_connection_idle_ms", int(limits.idle_timeout_seconds * 1000)),
        # Between the first and the second, headers are refused at random.
        ("grpc.max_metadata_size", limits.max_header_bytes),
        ("grpc.absolute_max_metadata_size", limits.max_header_bytes),
        # By its measure a message that nobody reads yet may hold 5 MiB, without it 64 KiB.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
    ]


class _Receiver:
    """Bounds all calls together, and turns what goes wrong with one into its status."""

    def __init__(self, intake: Intake, limits: LimitsConfig) -> None:
        self._intake = intake
        self._limits = limits
        self.at_hand = 0

    def export(self, signal: Signal) -> Handler:
        async def export(_messages: Any, context: Context) -> bytes:
            try:
                with self._one_call():
                    return await self._accept(signal, context)
            except Exception as error:
                refusal = as_refusal(error)
                self._intake.telemetry.refused(signal, "grpc", refusal.reason, refusal.items)
            return await _abort(context, refusal)

        return export

    def small(self, handle: Callable[[bytes, Context], Awaitable[Any]]) -> Handler:
        """A method of the health service: open to anybody, and bounded like the others."""

        async def answer(_messages: Any, context: Context) -> Any:
            try:
                with self._one_call():
                    return await handle(await self._read(context), context)
            except grpc.aio.AbortError:
                raise  # it is answered
            except Exception as error:
                refusal = as_refusal(error)
            return await _abort(context, refusal)

        return answer

    def path_of_nonsense(self) -> None:
        """A call could not even be looked at."""
        self._intake.telemetry.refused(None, "grpc", UnknownPath.reason, 0)

    async def _accept(self, signal: Signal, context: Context) -> bytes:
        intake = self._intake
        authorization = _authorization(context) if intake.authenticator.required else None
        principal = intake.authenticator.authenticate(authorization)
        message = await self._read(context)
        with intake.budget.lease("protobuf") as lease:
            lease.hold(len(message))
            arrival = Arrival(signal, "protobuf", "grpc", principal, lease)
            content_encoding = "gzip" if message.startswith(GZIP_MAGIC) else ""
            verdict = await intake.accept(arrival, message, content_encoding)
        return success_body(signal, "protobuf", verdict.rejected, verdict.reasons)

    async def _read(self, context: Context) -> bytes:
        """The only message of a call. Raises Unavailable and Malformed."""
        async with self._intake.memory.arrival(self._limits.body_timeout_seconds):
            message = await context.read()
            if message is _EOF:
                await asyncio.sleep(_ENDED_SECONDS)
                raise Malformed("the call ended without a message")
            if await context.read() is not _EOF:
                raise Malformed("the call has more than one message")
        if len(message) > _LARGE_BYTES:
            give_back()
        return bytes(message)

    @contextmanager
    def _one_call(self) -> Iterator[None]:
        if self.at_hand >= self._limits.max_calls:
            raise Unavailable("too many calls are at hand at this moment")
        self.at_hand += 1
        try:
            yield
        finally:
            self.at_hand -= 1


def _authorization(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else value.decode("latin-1")
    return None


async def _abort(context: Context, refusal: Refusal) -> NoReturn:
    await context.abort(refusal.code, str(refusal), trailing_metadata(refusal))
    raise AssertionError  # abort() raises
