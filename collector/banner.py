"""What `serve` prints when it listens: where, and the lines to paste into an application's environment."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from collector.config import Config
from collector.config_values import split_endpoint

_ALL_ADDRESSES: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def banner(config: Config, endpoints: Mapping[str, str]) -> str:
    """Plain text. ``endpoints``: grpc, http and admin as host:port, with the ports that were bound."""
    lines = [
        f"Spanledger {_version()}, data in {config.data_dir}",
        f"  OTLP/gRPC  {endpoints['grpc']}",
        f"  OTLP/HTTP  {endpoints['http']}",
        f"  admin      http://{_reachable(endpoints['admin'])}/readyz",
        "",
        "Point an application at it:",
        f"  export OTEL_EXPORTER_OTLP_ENDPOINT=http://{_reachable(endpoints['http'])}",
        "  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
    ]
    if config.tokens:
        names = ", ".join(token.name for token in config.tokens)
        # A space in a header's value is written %20 there (OTLP exporter specification).
        lines.append('  export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20<token>"')
        lines.append(f"with one of the configured tokens: {names}")
    return "\n".join(lines)


def _version() -> str:
    try:
        return version("spanledger")
    except PackageNotFoundError:
        return "(not installed)"


def _reachable(endpoint: str) -> str:
    host, port = split_endpoint(endpoint)
    if host in _ALL_ADDRESSES:
        return f"{socket.gethostname()}:{port}"
    return endpoint
