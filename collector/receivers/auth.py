"""Who sends: bearer tokens and what they bind their sender to."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from collector.receivers.status import Unauthenticated


@dataclass(frozen=True, slots=True)
class Principal:
    """The sender of a request; without tokens everybody is the default one."""

    tenant: str = ""
    billing_account: str | None = None
    name: str = ""


ANYBODY: Final = Principal()


class Grant(Protocol):
    """What a token in the configuration binds its sender to."""

    @property
    def name(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def billing_account(self) -> str | None: ...


class Authenticator:
    """Tells principals by their bearer token; with no tokens configured everybody is ANYBODY."""

    def __init__(self, secrets: Mapping[str, Grant]) -> None:
        self._principals: list[tuple[bytes, Principal]] = []
        self.replace(secrets)

    def replace(self, secrets: Mapping[str, Grant]) -> None:
        """From now on these tokens and no others; from any thread."""
        self._principals = [
            (_digest(secret), Principal(grant.tenant, grant.billing_account, grant.name))
            for secret, grant in secrets.items()
        ]

    @property
    def required(self) -> bool:
        return bool(self._principals)

    def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an Authorization header. Raises Unauthenticated."""
        if not self._principals:
            return ANYBODY
        if not authorization:
            raise Unauthenticated("no token: send the header 'Authorization: Bearer <token>'")
        scheme, _, token = authorization.partition(" ")
        found = self._find(token.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Unauthenticated("the token in the Authorization header is not known here")
        return found

    def _find(self, token: str) -> Principal | None:
        presented = _digest(token)
        found = None
        # All of them, and by digests of one length: the time taken tells nothing about any token.
        for digest, principal in self._principals:
            if hmac.compare_digest(digest, presented):
                found = principal
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
