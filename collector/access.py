"""Who gets in: the tokens and certificates of the configuration, read again when their files change.

A file that cannot be used any more, or not yet, changes nothing: what was good stays good, and a line in the log
says so. Whoever renews a file in place would cut everybody off otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Final

from collector.config import Config
from collector.config_access import Token
from collector.config_section import ConfigError
from collector.log import Log
from collector.receivers.auth import Authenticator, Principal
from collector.receivers.status import Unauthenticated
from collector.tls import Certificates

# How long a token that was taken away still opens, and a new one does not.
_SECONDS: Final = 1.0

log = Log("access")


class Access:
    """Keeps the tokens that ``senders`` knows, those of the admin port and the certificates up to date."""

    def __init__(self, config: Config, senders: Authenticator) -> None:
        """Raises ConfigError."""
        self.certificates = Certificates(config.tls)
        self._keyring = Keyring(config)
        self._senders = senders
        self._metrics = Authenticator({})
        self._hand_out()
        self._complaint = ""
        self._watching: asyncio.Task[None] | None = None

    def authorize(self, authorization: str | None) -> None:
        """Who may read metrics: with a metrics_token that alone opens, else any token of senders; everybody
        where there are none. Raises Unauthenticated."""
        (self._metrics if self._metrics.required else self._senders).authenticate(authorization)

    def asker(self, authorization: str | None) -> Principal:
        """Who asks about budgets: a sender, or who may read metrics; anybody where there are no tokens. Raises
        Unauthenticated."""
        if self._senders.required:
            with contextlib.suppress(Unauthenticated):
                return self._senders.authenticate(authorization)
        return (self._metrics if self._metrics.required else self._senders).authenticate(authorization)

    def start(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Safe twice."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                # A disk of another machine may answer late; the requests at hand do not wait for it.
                await asyncio.to_thread(self.refresh)
            except Exception as error:
                log.failed("tokens and certificates cannot be looked at", error)

    def refresh(self) -> None:
        """Look at all files once; for any thread, one at a time."""
        if self._keyring.refresh():
            self._hand_out()
        try:
            if self.certificates.renew():
                log.info("certificate renewed")
        except ConfigError as error:
            if str(error) != self._complaint:
                log.warning("certificate cannot be renewed; the one before stays", reason=str(error))
            self._complaint = str(error)
        else:
            self._complaint = ""

    def _hand_out(self) -> None:
        self._senders.replace(self._keyring.senders())
        self._metrics.replace(self._keyring.metrics())


class Keyring:
    """Every token of the configuration, with the last secret of each that could be used."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError."""
        config.secrets()
        self._entries = config.bearers()
        self._secrets = {label: entry.secret() for label, entry in self._entries.items()}
        self._complaints: dict[str, str] = {}

    def senders(self) -> dict[str, Token]:
        """The entry of each secret that may send."""
        return {
            self._secrets[label]: entry for label, entry in self._entries.items() if isinstance(entry, Token)
        }

    def metrics(self) -> dict[str, Principal]:
        """The secret that may read metrics, if there is one of its own."""
        return {
            self._secrets[label]: Principal(name=label)
            for label, entry in self._entries.items()
            if not isinstance(entry, Token)
        }

    def refresh(self) -> bool:
        """Read the files again; whether any token is another now."""
        complaints: dict[str, str] = {}
        found = {label: self._read(label, complaints) for label in self._entries}
        # Each round takes back one new secret at least: those before were all different.
        while same := _same(found):
            for label in same:
                if found[label] != self._secrets[label]:
                    complaints[label] = "it is the same as another token"
                found[label] = self._secrets[label]
        self._report(found, complaints)
        changed = found != self._secrets
        self._secrets, self._complaints = found, complaints
        return changed

    def _read(self, label: str, complaints: dict[str, str]) -> str:
        try:
            return self._entries[label].secret()
        except ConfigError as error:
            complaints[label] = str(error)
            return self._secrets[label]

    def _report(self, found: Mapping[str, str], complaints: Mapping[str, str]) -> None:
        for label in self._entries:
            if found[label] != self._secrets[label]:
                log.info("token renewed", token=label)
            elif (reason := complaints.get(label)) and reason != self._complaints.get(label):
                log.warning("token cannot be renewed; the one before stays", token=label, reason=reason)


def _same(secrets: Mapping[str, str]) -> list[str]:
    """The labels whose secret is another's too."""
    times = Counter(secrets.values())
    return [label for label, secret in secrets.items() if times[secret] > 1]
