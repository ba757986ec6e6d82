"""Whether a collector runs, asked at its admin port."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from collector.config_values import split_endpoint

Connect = Callable[..., http.client.HTTPConnection]

_SECONDS: Final = 2.0
# Where a server listens on all addresses, this machine reaches it here.
_HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class Server:
    """``running``: /healthz answers; ``ready``: /readyz says 200; ``detail``: the JSON of /readyz."""

    running: bool
    ready: bool
    detail: Any = None

    def __str__(self) -> str:
        if not self.running:
            return "not running"
        return "running" if self.ready else f"running, not ready: {self.trouble or 'it does not say why'}"

    @property
    def trouble(self) -> str:
        """What /readyz says is not well, in a few words; empty where all is."""
        detail = self.detail if isinstance(self.detail, dict) else {}
        spool, lake, loader = (detail.get(part) or {} for part in ("spool", "lake", "loader"))
        state = spool.get("state", "ok")
        found = {
            "it is stopping": detail.get("stopping", False),
            f"the spool is {state} ({spool.get('error')})": state != "ok",
            "the lake is not created yet": not lake.get("created", True),
            f"the lake cannot be written ({lake.get('error')})": lake.get("error"),
            f"the loader is {loader.get('state')}": loader.get("state", "running") != "running",
        }
        return ", ".join(words for words, holds in found.items() if holds)


def reachable(endpoint: str) -> tuple[str, int]:
    """Host and port to connect to from this machine."""
    host, port = split_endpoint(endpoint)
    return _HERE.get(host, host), port


def probe(admin_endpoint: str) -> Server:
    """Ask the admin port, in plain text and then with TLS; whatever does not answer as ours does not run."""
    for connect in (http.client.HTTPConnection, _with_tls):
        health, _ = _get(connect, admin_endpoint, "/healthz")
        if health == 200:
            status, detail = _get(connect, admin_endpoint, "/readyz")
            return Server(running=status in (200, 503), ready=status == 200, detail=detail)
    return Server(running=False, ready=False)


def _with_tls(host: str, port: int, timeout: float) -> http.client.HTTPConnection:
    """Whoever answers: nothing is sent that others may not see, and the answer is only shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


def _get(connect: Connect, endpoint: str, path: str) -> tuple[int, Any]:
    """Status and JSON body; status 0 where nothing answers. Straight to the port: no proxy is asked."""
    host, port = reachable(endpoint)
    connection = connect(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, _decoded(answer.read(1 << 20))
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
