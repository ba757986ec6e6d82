"""Alerts by e-mail, as plain text, through the SMTP server of the configuration."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import ClassVar, Final

from collector.alerts.message import Message
from collector.alerts.undelivered import Undelivered
from collector.config_alerts import EmailConfig
from collector.config_section import ConfigError
from collector.telemetry import ChannelKind

# Replies of 4xx are for the moment, those of 5xx for good (RFC 5321, 4.2.1).
_FOR_GOOD: Final = 500


@dataclass(frozen=True, slots=True)
class Email:
    kind: ClassVar[ChannelKind] = "email"
    config: EmailConfig

    @property
    def name(self) -> str:
        return self.config.name

    def send(self, message: Message) -> None:
        """One mail to all recipients. Raises Undelivered, also where the server takes it for some of them alone."""
        try:
            with self._connected() as server:
                if login := self.config.login():
                    server.login(*login)
                refused = server.send_message(self._mail(message))
        except ConfigError as error:
            raise Undelivered(str(error)) from None
        except (OSError, smtplib.SMTPException) as error:
            raise self._undelivered(error) from None
        if refused:
            raise Undelivered(f"{self.config.host} took it, but not for {', '.join(refused)}")

    def _connected(self) -> smtplib.SMTP:
        """Encrypted as the configuration says: a server that cannot is not spoken to. Raises OSError, SMTPException."""
        host, port, timeout = self.config.host, self.config.port, self.config.timeout_seconds
        if self.config.encryption == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=timeout, context=ssl.create_default_context())
        server = smtplib.SMTP(host, port, timeout=timeout)
        try:
            if self.config.encryption == "starttls":
                server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
        return server

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = message.subject
        mail["From"] = self.config.sender
        mail["To"] = ", ".join(self.config.to)
        mail["Date"] = formatdate()
        # The same however often it is sent: mail programs show a repeat once.
        mail["Message-ID"] = f"<{message.id}@{self.config.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text())
        return mail

    def _undelivered(self, error: OSError | smtplib.SMTPException) -> Undelivered:
        host = self.config.host
        if isinstance(error, smtplib.SMTPResponseException):
            # An answer to the login may repeat what it was given.
            said = (
                "refused the login"
                if isinstance(error, smtplib.SMTPAuthenticationError)
                else f"answered {error.smtp_code}"
            )
            return Undelivered(f"{host} {said}", again=error.smtp_code < _FOR_GOOD)
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            return Undelivered(f"{host} refused {', '.join(error.recipients)}")
        return Undelivered(f"{host}: {type(error).__name__}: {error}", again=isinstance(error, OSError))
