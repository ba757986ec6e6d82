"""The admin port: is it alive, is it ready, what did it count, may a call be made."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import orjson
from aiohttp import web

from collector.budgets.desk import BudgetsUnknown, Desk
from collector.config import Config
from collector.health import Health
from collector.receivers.auth import Principal
from collector.receivers.connections import GuardedServer
from collector.receivers.endpoint import bind
from collector.receivers.status import MethodNotAllowed, Refusal, Unauthenticated, UnknownPath, status_body
from collector.telemetry import Telemetry

Page = Callable[[web.BaseRequest], Awaitable[web.Response]]

_PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_JSON: Final = "application/json"
_CLOSE_SECONDS: Final = 1.0
# With a rule of its own who may ask.
_BUDGETS: Final = "/api/v1/budgets"
# Asked by what restarts containers and balances load, which has neither token nor certificate.
_FOR_EVERYBODY: Final = ("/healthz", "/readyz")


class Doorkeeper(Protocol):
    """Both take an Authorization header, or None, and raise Unauthenticated for one that may not ask."""

    def authorize(self, authorization: str | None) -> None: ...
    def asker(self, authorization: str | None) -> Principal: ...


class _Admin:
    def __init__(
        self, health: Health, telemetry: Telemetry, config: Config, access: Doorkeeper, desk: Desk
    ) -> None:
        self._health = health
        self._telemetry = telemetry
        self._access = access
        self._desk = desk
        self._mutual_tls = config.tls.client_ca_file is not None
        self._pages: dict[str, Page] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            _BUDGETS: self._budgets,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._page(request)(request)
        except Refusal as refusal:
            return self.refuse(request, refusal)

    def refuse(self, _request: web.BaseRequest, refusal: Refusal) -> web.Response:
        """Every error is a google.rpc.Status, as it is on the port of the receiver."""
        body = status_body(refusal, "json")
        if isinstance(refusal, BudgetsUnknown):
            body = orjson.dumps({**orjson.loads(body), "allowed": None, "state": "unknown"})
        return _answer(refusal.http_status, body, _JSON, **refusal.http_headers())

    def _page(self, request: web.BaseRequest) -> Page:
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
        may_ask = self._access.asker if request.path == _BUDGETS else self._access.authorize
        may_ask(request.headers.get("Authorization"))

    async def _healthz(self, _request: web.BaseRequest) -> web.Response:
        return _document(200, {"status": "ok"})

    async def _readyz(self, _request: web.BaseRequest) -> web.Response:
        await self._health.refresh()
        return _document(200 if self._health.ready() else 503, self._health.report())

    async def _metrics(self, _request: web.BaseRequest) -> web.Response:
        return _answer(200, self._telemetry.text(), _PROMETHEUS_TEXT)

    async def _budgets(self, request: web.BaseRequest) -> web.Response:
        """200 with the answer, yes or no. What is accepted and not loaded yet is not in it."""
        asker = self._access.asker(request.headers.get("Authorization"))
        answer = await self._desk.ask(list(request.query.items()), asker.billing_account)
        answer["not_loaded_seconds"] = self._health.lag_seconds()
        wait = answer["retry_after_seconds"]
        return _document(200, answer, **({"Retry-After": str(wait)} if wait else {}))


async def start_admin(
    health: Health,
    telemetry: Telemetry,
    config: Config,
    access: Doorkeeper,
    desk: Desk,
    tls: ssl.SSLContext | None = None,
) -> GuardedServer:
    """Listen on ``config.admin_endpoint`` (port 0 = any free one). Raises EndpointError.

    ``access`` is asked about everything but /healthz and /readyz; with mutual TLS, ``tls`` must let clients
    in that show no certificate.
    """
    sockets = bind("admin_endpoint", config.admin_endpoint)
    admin = _Admin(health, telemetry, config, access, desk)
    server = GuardedServer(admin.handle, admin.refuse, config.limits, tls, _CLOSE_SECONDS)
    server.listen(sockets)
    return server


def _answer(status: int, body: bytes, content_type: str, **headers: str) -> web.Response:
    fields = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": "spanledger", **headers}
    return web.Response(status=status, body=body, headers=fields)


def _document(status: int, content: dict[str, Any], **headers: str) -> web.Response:
    return _answer(status, orjson.dumps(content) + b"\n", _JSON, **headers)
