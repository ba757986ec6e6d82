"""What `serve` prints when it listens: where, and the lines to paste into an application's environment.

A token itself goes to a terminal alone. Where standard output is kept (a journal, a container's log), a line
reads the token from its file as it is pasted, or leaves its place to be filled in.
"""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final
from urllib.parse import quote

from collector.config import Config
from collector.config_access import TlsConfig, Token
from collector.config_section import ConfigError
from collector.config_values import is_loopback, split_endpoint
from collector.tls import Certificates, Presented

_ALL_ADDRESSES: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
# Prints a token file as the variable wants its content.
_ENCODE: Final = (
    "import sys, urllib.parse; print(urllib.parse.quote(open(sys.argv[1]).read().strip(), safe=''))"
)


def banner(config: Config, endpoints: Mapping[str, str], terminal: bool | None = None) -> str:
    """Plain text. ``endpoints``: grpc, http and admin as host:port, with the ports that were bound.

    ``terminal``: show the tokens; None asks whether standard output is one.
    """
    presented = _presented(config.tls)
    shown = sys.stdout.isatty() if terminal is None else terminal
    lines = [
        f"Spanledger {_version()}, data in {config.data_dir}",
        f"  OTLP/gRPC  {endpoints['grpc']}",
        f"  OTLP/HTTP  {endpoints['http']}",
        f"  admin      {_url(endpoints['admin'], presented)}/readyz",
        "",
        "Point an application at it:",
        f"  export OTEL_EXPORTER_OTLP_ENDPOINT={_url(endpoints['http'], presented)}",
        "  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        *(f"  {line}" for line in _tls_lines(config.tls, presented)),
        *(f"  {line}" for token in config.tokens for line in _token_lines(token, shown)),
        "or over gRPC:",
        f"  # export OTEL_EXPORTER_OTLP_ENDPOINT={_url(endpoints['grpc'], presented)}",
        "  # export OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
    ]
    return "\n".join(lines)


def header_value(token: str) -> str:
    """The token as OTEL_EXPORTER_OTLP_HEADERS wants it.

    The variable is read like W3C baggage (OTLP exporter specification, "Specifying headers via environment
    variables"): what is not unreserved in URLs is percent-encoded, and so nothing is left that a shell reads.
    """
    return f"Bearer%20{quote(token, safe='')}"


def _token_lines(token: Token, shown: bool) -> Iterator[str]:
    secret = _secret(token)
    if token.token_file is None or (shown and secret):
        yield f"# token {token.name}"
        yield _header_line(header_value(secret) if shown and secret else f"Bearer%20<token {token.name}>")
    elif secret is None or quote(secret, safe="") == secret:
        yield f"# token {token.name}"
        yield _header_line(f"Bearer%20$(cat {_word(token.token_file)})")
    else:
        yield f"# token {token.name}, with characters that have to be percent-encoded here"
        yield _header_line(f'Bearer%20$(python3 -c "{_ENCODE}" {_word(token.token_file)})')


def _header_line(value: str) -> str:
    return f'export OTEL_EXPORTER_OTLP_HEADERS="Authorization={value}"'


def _secret(token: Token) -> str | None:
    try:
        return token.secret()
    except ConfigError:
        return None  # its file went away a moment ago; the line stays right


def _tls_lines(tls: TlsConfig, presented: Presented | None) -> Iterator[str]:
    if presented is None:
        return
    if not presented.publicly_trusted:
        # Where the chain ends in its own authority it is all that a client needs.
        authority = (
            _word(tls.cert_file) if presented.self_contained else "'<authority of the certificate, PEM>'"
        )
        yield f"export OTEL_EXPORTER_OTLP_CERTIFICATE={authority}"
    if tls.client_ca_file:
        yield "export OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE='<certificate of the application, PEM>'"
        yield "export OTEL_EXPORTER_OTLP_CLIENT_KEY='<its key, PEM>'"


def _presented(tls: TlsConfig) -> Presented | None:
    try:
        return Certificates(tls).presented()
    except ConfigError:  # the files went away a moment ago
        return Presented((), publicly_trusted=False, self_contained=True)


def _word(path: Path | None) -> str:
    return shlex.quote(str(path and path.absolute()))


def _version() -> str:
    try:
        return version("spanledger")
    except PackageNotFoundError:
        return "(not installed)"


def _url(endpoint: str, presented: Presented | None) -> str:
    """Where a client reaches the endpoint; with TLS under a name that the certificate is for."""
    host, port = split_endpoint(endpoint)
    host = socket.gethostname() if host in _ALL_ADDRESSES else host
    if presented is None:
        return f"http://{_bracketed(host)}:{port}"
    named = [name for name in presented.names if not name.startswith("*")]
    local = ["localhost"] if is_loopback(endpoint) else []
    choices = (name for name in (host, *local, *named) if presented.is_for(name))
    return f"https://{_bracketed(next(choices, host))}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
