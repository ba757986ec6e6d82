"""The client: builds its requests, says so, waits for the word, sends them over several connections.

``python -m tests.bench.sender http|grpc PORT REQUESTS FIRST CONNECTIONS SECONDS BATCH``; prints "ready",
reads a line, prints one JSON object: {"requests", "spans", "refused", "seconds"} of what was acknowledged.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import grpc

from tests.bench.telemetry import Traffic

Send = Callable[[bytes], bool]
_TIMEOUT: Final = 30.0
_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_HEADERS: Final = {"Content-Type": "application/x-protobuf"}


def http_sender(port: int) -> Send:
    """One kept-alive connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)

    def send(body: bytes) -> bool:
        connection.request("POST", "/v1/traces", body, _HEADERS)
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200

    return send


def grpc_sender(port: int) -> Send:
    """One channel with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
    # Without serializers bytes go out as they are.
    export = channel.unary_unary(_METHOD)

    def send(body: bytes) -> bool:
        try:
            export(body, timeout=_TIMEOUT)
        except grpc.RpcError:
            return False
        return True

    return send


SENDERS: Final = {"http": http_sender, "grpc": grpc_sender}


def send_all(senders: list[Send], bodies: list[bytes], seconds: float) -> tuple[int, int]:
    """Sends the bodies over all senders at once for at most ``seconds``; returns (acknowledged, refused)."""
    deadline = time.monotonic() + seconds
    outcomes: list[bool] = []

    def work(send: Send) -> None:
        while bodies and time.monotonic() < deadline:
            try:
                body = bodies.pop()
            except IndexError:
                return
            outcomes.append(send(body))

    threads = [threading.Thread(target=work, args=(send,)) for send in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes.count(True), outcomes.count(False)


def main() -> None:
    transport = sys.argv[1]
    port, requests, first, connections, seconds, batch = map(int, sys.argv[2:])
    bodies = Traffic(batch, first).bodies(requests)
    senders = [SENDERS[transport](port) for _ in range(connections)]
    print("ready", flush=True)  # noqa: T201 - this is how it talks
    sys.stdin.readline()
    started = time.monotonic()
    acknowledged, refused = send_all(senders, bodies, seconds)
    taken = time.monotonic() - started
    answer = {"requests": acknowledged, "spans": acknowledged * batch, "refused": refused, "seconds": taken}
    print(json.dumps(answer), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
