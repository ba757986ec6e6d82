"""Alerts by HTTP POST, signed as Standard Webhooks 1.0 has it, so that its libraries check them.

``webhook-id`` is the alert's id, the same however often it is sent: a receiver that has it drops the repeat.
``webhook-signature`` is ``v1,`` and the base64 of HMAC-SHA256 over ``<id>.<timestamp>.<body>``; the timestamp, Unix
seconds, is that of this attempt, so that a receiver can refuse what somebody recorded and sends again later. The key:
what follows ``whsec_`` in the secret, base64-decoded; any other secret as it is.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import ClassVar, Final

from collector.alerts.message import Message
from collector.alerts.undelivered import Undelivered
from collector.config_alerts import WebhookConfig
from collector.config_section import ConfigError
from collector.telemetry import ChannelKind

_PREFIX: Final = "whsec_"
# Request Timeout, Too Early, Too Many Requests; and whatever is the server's own trouble.
_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_TROUBLE: Final = 500


@dataclass(frozen=True, slots=True)
class Webhook:
    kind: ClassVar[ChannelKind] = "webhook"
    config: WebhookConfig

    @property
    def name(self) -> str:
        return self.config.name

    def send(self, message: Message) -> None:
        """POST it once. Raises Undelivered for any answer but 2xx."""
        body = message.body.encode()
        try:
            headers = signed(message.id, body, int(time.time()), self.config.key())
        except ConfigError as error:
            raise Undelivered(str(error)) from None
        request = urllib.request.Request(  # noqa: S310 - the configuration lets http and https through alone
            self.config.url, body, {"Content-Type": "application/json", "User-Agent": "spanledger", **headers}
        )
        try:
            with _opener().open(request, timeout=self.config.timeout_seconds):
                return
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(self._reason(error), again=True) from None

    def _reason(self, error: Exception) -> str:
        """Without the address, which may be a secret; the host is none."""
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        return f"{urllib.parse.urlsplit(self.config.url).hostname}: {type(cause).__name__}: {cause}"


class _HTTPSHandler(urllib.request.AbstractHTTPHandler):
    """As urllib's, but that the system's authorities are read where one of them is needed: it takes 25 ms."""

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(http.client.HTTPSConnection, request, context=ssl.create_default_context())

    https_request = urllib.request.AbstractHTTPHandler.do_request_


def _opener() -> urllib.request.OpenerDirector:
    """It follows no redirect: what is signed for one address is not carried to another."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        _HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def signed(identifier: str, body: bytes, timestamp: int, secret: str) -> dict[str, str]:
    """The three headers. Raises Undelivered for a secret that cannot be decoded."""
    content = b".".join([identifier.encode(), str(timestamp).encode(), body])
    digest = base64.b64encode(hmac.digest(_key(secret), content, "sha256")).decode()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{digest}",
    }


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise Undelivered(f"the secret begins with {_PREFIX}, and what follows is not base64") from None


def _refused(error: urllib.error.HTTPError) -> Undelivered:
    again = error.code in _AGAIN or error.code >= _SERVER_TROUBLE
    wait = error.headers.get("Retry-After", "")
    return Undelivered(
        f"answered {error.code} {error.reason}",
        again=again,
        after_seconds=float(wait) if wait.isascii() and wait.isdigit() else None,
    )
