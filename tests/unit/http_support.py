"""A client of the OTLP/HTTP receiver."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import contextmanager

from tests.unit.receivers_support import PROTOBUF, request

TRACES = "/v1/traces"
BODY = request(spans=3).SerializeToString()


@contextmanager
def connected(receivers):
    connection = http.client.HTTPConnection("127.0.0.1", receivers.http.port, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def send(receivers, body=BODY, headers=PROTOBUF, path=TRACES, method="POST"):
    """The status, the headers and the body of one answer."""
    with connected(receivers) as connection:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def raw(receivers, data, then=b""):
    """Whatever comes back on a connection until the server closes it."""
    with socket.create_connection(("127.0.0.1", receivers.http.port), timeout=30) as connection:
        connection.sendall(data)
        if then:
            time.sleep(0.1)
            connection.sendall(then)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(*lines, path=TRACES, version="1.1"):
    fields = ("Host: x", "Content-Type: application/x-protobuf", "Connection: close", *lines)
    return (f"POST {path} HTTP/{version}\r\n" + "".join(f"{field}\r\n" for field in fields) + "\r\n").encode()
