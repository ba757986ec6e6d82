"""The admin port: is it alive, is it ready, what did it count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web

from collector.health import Health
from collector.receivers.endpoint import bind
from collector.telemetry import Telemetry

_PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_CLOSE_SECONDS: Final = 1.0


def admin_app(health: Health, telemetry: Telemetry) -> web.Application:
    """/healthz, /readyz and /metrics."""

    async def healthz(_request: web.Request) -> web.Response:
        return _json(200, {"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        return _json(200 if health.ready() else 503, health.report())

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=telemetry.text(), headers={"Content-Type": _PROMETHEUS_TEXT})

    app = web.Application(middlewares=[_never_cached], client_max_size=0)
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


class AdminServer:
    """The admin application on its port."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self.port = port

    async def close(self) -> None:
        """Safe twice."""
        await self._runner.cleanup()


async def start_admin(health: Health, telemetry: Telemetry, endpoint: str) -> AdminServer:
    """Listen on ``endpoint`` (port 0 = any free one). Raises EndpointError."""
    sockets = bind("admin_endpoint", endpoint)
    runner = web.AppRunner(admin_app(health, telemetry), access_log=None, shutdown_timeout=_CLOSE_SECONDS)
    await runner.setup()
    for listening in sockets:
        await web.SockSite(runner, listening).start()
    return AdminServer(runner, int(sockets[0].getsockname()[1]))


@web.middleware
async def _never_cached(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    response = await handler(request)
    response.headers["Cache-Control"] = "no-store"
    return response


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body) + b"\n", content_type="application/json")
