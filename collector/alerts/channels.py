"""Where alerts go: standard output and a file here; webhooks and e-mail in modules of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from collector.alerts.mail import Email
from collector.alerts.message import Message
from collector.alerts.undelivered import Undelivered
from collector.alerts.webhook import Webhook
from collector.config_alerts import AlertChannels
from collector.store.durability import append_line
from collector.telemetry import ChannelKind


class Channel(Protocol):
    kind: ClassVar[ChannelKind]

    @property
    def name(self) -> str: ...

    def send(self, message: Message) -> None:
        """Returns once the message is taken. Raises Undelivered."""


@dataclass(frozen=True, slots=True)
class Stdout:
    """One JSON line each, on the server's standard output or that of the command."""

    kind: ClassVar[ChannelKind] = "stdout"
    to_stderr: bool = False
    name: str = "stdout"

    def send(self, message: Message) -> None:
        stream = sys.stderr if self.to_stderr else sys.stdout
        try:
            stream.write(message.body + "\n")
            stream.flush()
        except OSError as error:
            raise Undelivered(str(error.strerror)) from None


@dataclass(frozen=True, slots=True)
class File:
    """One JSON line each, durable when it is there."""

    kind: ClassVar[ChannelKind] = "file"
    path: Path
    name: str = "file"

    def send(self, message: Message) -> None:
        try:
            append_line(self.path, message.body.encode())
        except OSError as error:
            raise Undelivered(f"{self.path}: {error.strerror}") from None


def channels_of(config: AlertChannels, *, to_stderr: bool = False) -> Iterator[Channel]:
    """All that are configured, in the order of ``config.names()``. ``to_stderr``: standard output has other uses."""
    if config.stdout:
        yield Stdout(to_stderr)
    if config.file is not None:
        yield File(config.file)
    for webhook in config.webhooks:
        yield Webhook(webhook)
    for email in config.email:
        yield Email(email)
