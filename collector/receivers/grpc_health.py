"""The standard health service of gRPC (grpc.health.v1), as load balancers and Kubernetes ask it.

Not the one of grpcio-health-checking: there a watcher that reads nothing holds up every change, and the stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from collector.receivers.status import Malformed

SERVICE: Final = "grpc.health.v1.Health"
_Response = health_pb2.HealthCheckResponse


class Health:
    """Says of the server as a whole ("") and of each of its services whether it serves. For one event loop."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(("", *services))
        self._serving = True
        self._changed = asyncio.Event()
        self._stopping = False

    def set(self, *, serving: bool) -> None:
        """From now on, until the stop."""
        if serving != self._serving and not self._stopping:
            self._serving = serving
            self._tell()

    def stop(self) -> None:
        """Nothing serves any more, and whoever watches is told so last."""
        self._stopping = True
        self._serving = False
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def check(self, message: bytes, context: Any) -> bytes:
        """The answer to Check: NOT_FOUND for a service that is none of ours. Raises Malformed."""
        if (service := _service(message)) not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return self._answer(service)

    async def watch(self, message: bytes, context: Any) -> None:
        """The answers to Watch: one now, and one for each change. Raises Malformed."""
        service = _service(message)
        while True:
            changed, stopping = self._changed, self._stopping
            await context.write(self._answer(service))
            if stopping:
                return
            await changed.wait()

    def _answer(self, service: str) -> bytes:
        status = _Response.SERVICE_UNKNOWN
        if service in self._services:
            status = _Response.SERVING if self._serving else _Response.NOT_SERVING
        return bytes(_Response(status=status).SerializeToString())


def _service(message: bytes) -> str:
    try:
        return str(health_pb2.HealthCheckRequest.FromString(message).service)
    except DecodeError as error:
        raise Malformed(f"the message is no HealthCheckRequest: {error}") from None
