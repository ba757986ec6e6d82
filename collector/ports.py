"""The three ports of the server: bound together, closed in two steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from collector.access import Access
from collector.admin.app import start_admin
from collector.budgets.desk import Desk
from collector.config import Config, ConfigError
from collector.config_values import split_endpoint
from collector.data_dir import CannotStart
from collector.health import Health
from collector.receivers.connections import GuardedServer
from collector.receivers.endpoint import EndpointError
from collector.receivers.grpc import GrpcServer, start_grpc
from collector.receivers.http import start_http
from collector.receivers.intake import Intake
from collector.telemetry import Telemetry

# A request of 64 MiB that is being read has this long.
RECEIVERS_GRACE: Final = 3.0


class Ports:
    """OTLP/gRPC, OTLP/HTTP and admin."""

    def __init__(
        self, config: Config, intake: Intake, health: Health, telemetry: Telemetry, desk: Desk
    ) -> None:
        self._config = config
        self._intake = intake
        self._health = health
        self._telemetry = telemetry
        self._desk = desk
        self._access: Access | None = None
        self._admin: GuardedServer | None = None
        self._grpc: GrpcServer | None = None
        self._http: GuardedServer | None = None
        self._closers: list[Callable[[], Awaitable[Any]]] = []

    @property
    def endpoints(self) -> Mapping[str, str]:
        """host:port by name, with the ports that were bound; empty before."""
        return self._health.ports

    async def open(self) -> None:
        """Bind all. Raises CannotStart, which names the option whose address cannot be had, or the file of a
        token or certificate that cannot be used; before any is bound then."""
        try:
            self._access = Access(self._config, self._intake.authenticator)
            await self._open(self._config, self._access)
        except (EndpointError, ConfigError) as error:
            raise CannotStart(str(error)) from error
        self._access.start()

    async def _open(self, config: Config, access: Access) -> None:
        # What asks for health has no certificate; what asks the admin port for more is asked for one there.
        tls = access.certificates.server_context(client_certificates="optional")
        self._admin = await start_admin(self._health, self._telemetry, config, access, self._desk, tls)
        tls = access.certificates.server_context(client_certificates="required")
        http = self._http = await start_http(self._intake, config.http_endpoint, config, RECEIVERS_GRACE, tls)
        self._closers.append(http.close)
        credentials = access.certificates.grpc_credentials()
        grpc = self._grpc = await start_grpc(self._intake, config.grpc_endpoint, config, credentials)
        self._closers.append(lambda: grpc.stop(RECEIVERS_GRACE))
        self._health.ports = {
            "grpc": _with_port(config.grpc_endpoint, grpc.port),
            "http": _with_port(config.http_endpoint, http.port),
            "admin": _with_port(config.admin_endpoint, self._admin.port),
        }

    def connections(self) -> Mapping[str, int]:
        """Open ones by port, where that can be told: gRPC keeps its own to itself."""
        ports = {"http": self._http, "admin": self._admin}
        return {name: port.connections for name, port in ports.items() if port is not None}

    def requests(self) -> Mapping[str, int]:
        """Those at hand by transport."""
        ports = {"http": self._http, "grpc": self._grpc}
        return {name: port.requests for name, port in ports.items() if port is not None}

    async def set_serving(self, serving: bool) -> None:
        """What the gRPC health service answers, as /readyz is asked for at the time."""
        if self._grpc is not None:
            await self._grpc.set_serving(serving)

    async def close_receivers(self) -> None:
        """Accept nothing more and finish what is in flight, within RECEIVERS_GRACE. Safe twice."""
        closing = [asyncio.ensure_future(close()) for close in self._closers]
        self._closers.clear()
        if closing:
            await asyncio.wait(closing, timeout=RECEIVERS_GRACE + 0.5)

    async def close_admin(self) -> None:
        """Last of all: how the stop goes can be watched there. Safe twice."""
        if self._admin is not None:
            await self._admin.close()
        if self._access is not None:
            await self._access.stop()


def _with_port(endpoint: str, port: int) -> str:
    host, _ = split_endpoint(endpoint)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
