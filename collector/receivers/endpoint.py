"""Binding listening sockets, with errors that name the address and the setting.

EndpointError
├── EndpointTaken      something else listens there
└── EndpointInvalid    the address cannot be listened on from here
"""

from __future__ import annotations

import errno
import os
import socket

from collector.config_values import split_endpoint

_BACKLOG = 1024


class EndpointError(Exception):
    """A server cannot listen where it was told to. ``str()`` is one line for the user."""


class EndpointTaken(EndpointError):  # noqa: N818 - the name says what is the case
    def __init__(self, setting: str, endpoint: str) -> None:
        flag = "--" + setting.replace("_", "-")
        super().__init__(
            f"{setting} {endpoint} is already in use; stop the other process or choose another with {flag}"
        )


class EndpointInvalid(EndpointError):  # noqa: N818 - as above
    def __init__(self, setting: str, endpoint: str, reason: str) -> None:
        flag = "--" + setting.replace("_", "-")
        super().__init__(f"{setting} {endpoint} cannot be listened on: {reason}; choose another with {flag}")


def bind(setting: str, endpoint: str) -> list[socket.socket]:
    """Sockets listening on every address of ``endpoint``, with one port. Raises EndpointError.

    ``setting`` is the key of the configuration that holds the endpoint. Port 0 takes a free one.
    """
    sockets: list[socket.socket] = []
    try:
        host, port = split_endpoint(endpoint)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            sockets.append(_listen(family, (address[0], port, *address[2:])))
            port = sockets[0].getsockname()[1]
    except (OSError, ValueError) as error:
        for listening in sockets:
            listening.close()
        raise _explained(setting, endpoint, error) from error
    return sockets


def _listen(family: int, address: tuple[str | int, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port whose connections still linger can be had again; one that is listened on cannot.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def _explained(setting: str, endpoint: str, error: OSError | ValueError) -> EndpointError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return EndpointTaken(setting, endpoint)
    if isinstance(error, socket.gaierror) or number is None:
        return EndpointInvalid(setting, endpoint, error.args[-1])
    return EndpointInvalid(setting, endpoint, os.strerror(number).lower())
