"""Receivers of alerts on loopback: a webhook and a mail server that keep what they were given."""

from __future__ import annotations

import base64
import hmac
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

SECRET = "a-secret-of-some-length"
SPEND = {"daily_spend": [{"name": "spend", "above_usd": 5}]}
ERRORS = {"error_rate": [{"name": "errors", "above": 0.1, "least_calls": 1, "window": "30d"}]}


@dataclass
class Hook:
    """What came, in order; ``answers`` are given first, then 204."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=hidden"

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]


@contextmanager
def hook(context: ssl.SSLContext | None = None) -> Iterator[Hook]:
    received = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            received.before_answer()
            status, headers = received.answers.pop(0) if received.answers else (204, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # who was killed does not wait for the answer
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    received.port = server.server_address[1]
    with _serving(server):
        yield received


def is_signed(headers: dict[str, str], body: bytes, key: bytes) -> bool:
    """As a receiver checks it (Standard Webhooks 1.0)."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return hmac.compare_digest(headers["webhook-signature"], expected)


@dataclass
class Mailbox:
    """``mails`` with their recipients; ``answers``: replies by command instead of 250, each given once."""

    port: int = 0
    mails: list[tuple[list[str], Message]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    was_encrypted: list[bool] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)


class _MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    box: Mailbox
    context: ssl.SSLContext | None
    from_the_start: bool
    password: str | None

    def handle_error(self, *_: object) -> None:
        pass


class _MailHandler(socketserver.StreamRequestHandler):
    server: _MailServer

    def handle(self) -> None:
        self.encrypted = self.server.from_the_start
        self.recipients: list[str] = []
        self.reply("220 here")
        while line := self.rfile.readline().decode().strip():
            command = line.split()[0].upper()
            if command == "QUIT":
                self.reply("221 bye")
                return
            waiting = self.server.box.answers.get(command)
            if waiting:
                self.reply(waiting.pop(0))
            else:
                getattr(self, f"on_{command.lower()}")(line)

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def reply(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def on_ehlo(self, _: str) -> None:
        offers = ["here"]
        if self.server.context is not None and not self.encrypted:
            offers.append("STARTTLS")
        if self.server.password is not None and (self.encrypted or self.server.context is None):
            offers.append("AUTH PLAIN")
        self.reply("\r\n".join([*(f"250-{offer}" for offer in offers[:-1]), f"250 {offers[-1]}"]))

    def on_starttls(self, _: str) -> None:
        assert self.server.context is not None
        self.reply("220 go on")
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.encrypted = True

    def on_auth(self, line: str) -> None:
        _, user, given = base64.b64decode(line.split()[2]).decode().split("\0")
        self.server.box.logins.append((user, given))
        self.reply("235 welcome" if given == self.server.password else f"535 not with {given}")

    def on_mail(self, _: str) -> None:
        self.reply("250 ok")

    def on_rcpt(self, line: str) -> None:
        self.recipients.append(line.partition("<")[2].partition(">")[0])
        self.reply("250 ok")

    def on_rset(self, _: str) -> None:
        self.reply("250 ok")

    def on_data(self, _: str) -> None:
        self.reply("354 go on")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        mail = message_from_bytes(b"".join(lines), policy=default)
        self.server.box.was_encrypted.append(self.encrypted)
        self.server.box.mails.append((self.recipients, mail))
        self.reply("250 taken")


@contextmanager
def mail_server(
    context: ssl.SSLContext | None = None, *, from_the_start: bool = False, password: str | None = None
) -> Iterator[Mailbox]:
    """SMTP (RFC 5321) with STARTTLS where there is a context, or TLS from the start; AUTH PLAIN with a password."""
    server = _MailServer(("127.0.0.1", 0), _MailHandler)
    server.box = Mailbox(server.server_address[1])
    server.context, server.from_the_start, server.password = context, from_the_start, password
    if context is not None and from_the_start:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with _serving(server):
        yield server.box


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def authority(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for 127.0.0.1, and the file of the authority that vouches for it."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    path = folder / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return context, path
