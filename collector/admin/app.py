"""The admin port: is it alive, is it ready, what did it count."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web

from collector.config import Config
from collector.health import Health
from collector.receivers.connections import GuardedServer
from collector.receivers.endpoint import bind
from collector.receivers.status import MethodNotAllowed, Refusal, Unauthenticated, UnknownPath, status_body
from collector.telemetry import Telemetry

# Raises Unauthenticated for an Authorization header, or None, that may not see what it asks for.
Authorize = Callable[[str | None], None]

_PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_JSON: Final = "application/json"
_CLOSE_SECONDS: Final = 1.0
# Asked by what restarts containers and balances load, which has neither token nor certificate.
_FOR_EVERYBODY: Final = ("/healthz", "/readyz")


class _Admin:
    def __init__(self, health: Health, telemetry: Telemetry, config: Config, authorize: Authorize) -> None:
        self._health = health
        self._telemetry = telemetry
        self._authorize = authorize
        self._mutual_tls = config.tls.client_ca_file is not None
        self._pages: dict[str, Callable[[], Awaitable[web.Response]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._page(request)()
        except Refusal as refusal:
            return self.refuse(request, refusal)

    def refuse(self, _request: web.BaseRequest, refusal: Refusal) -> web.Response:
        """Every error is a google.rpc.Status, as it is on the port of the receiver."""
        return _answer(refusal.http_status, status_body(refusal, "json"), _JSON, **refusal.http_headers())

    def _page(self, request: web.BaseRequest) -> Callable[[], Awaitable[web.Response]]:
        if request.path not in _FOR_EVERYBODY:
            self._check(request)
        page = self._pages.get(request.path)
        if page is None:
            raise UnknownPath(f"there is nothing here; there are {', '.join(self._pages)}")
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{request.path} takes GET only", "GET, HEAD")
        return page

    def _check(self, request: web.BaseRequest) -> None:
        """As on the other ports: with mutual TLS a certificate, and a token where there are any."""
        transport = request.transport
        if self._mutual_tls and not (transport and transport.get_extra_info("peercert")):
            raise Unauthenticated("show a client certificate")
        self._authorize(request.headers.get("Authorization"))

    async def _healthz(self) -> web.Response:
        return _document(200, {"status": "ok"})

    async def _readyz(self) -> web.Response:
        await self._health.refresh()
        return _document(200 if self._health.ready() else 503, self._health.report())

    async def _metrics(self) -> web.Response:
        return _answer(200, self._telemetry.text(), _PROMETHEUS_TEXT)


async def start_admin(
    health: Health,
    telemetry: Telemetry,
    config: Config,
    authorize: Authorize,
    tls: ssl.SSLContext | None = None,
) -> GuardedServer:
    """Listen on ``config.admin_endpoint`` (port 0 = any free one). Raises EndpointError.

    ``authorize`` is asked about everything but /healthz and /readyz; with mutual TLS, ``tls`` must let clients
    in that show no certificate.
    """
    sockets = bind("admin_endpoint", config.admin_endpoint)
    admin = _Admin(health, telemetry, config, authorize)
    server = GuardedServer(admin.handle, admin.refuse, config.limits, tls, _CLOSE_SECONDS)
    server.listen(sockets)
    return server


def _answer(status: int, body: bytes, content_type: str, **headers: str) -> web.Response:
    fields = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": "spanledger", **headers}
    return web.Response(status=status, body=body, headers=fields)


def _document(status: int, content: dict[str, Any]) -> web.Response:
    return _answer(status, orjson.dumps(content) + b"\n", _JSON)
