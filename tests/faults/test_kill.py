"""SIGKILL in the middle of load, of the server and of its loader, again and again over one data directory.

Guarantee: every span of an acknowledged request is in the lake exactly once; nothing is there that was not sent.
"""

from __future__ import annotations

import os
import random
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.processes import family
from tests.support import Collector, free_port, start_collector, wait_until

SPANS_PER_REQUEST = 20
SEED = 20_251_121
# Keeps the load to what a busy machine can take, so that the test is about kills and not about speed.
PAUSE_SECONDS = 0.02


def request_body(trace: int) -> tuple[bytes, list[str]]:
    """One request of one trace with ids that no other request has; every span is a call of its own."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    ids = []
    for number in range(SPANS_PER_REQUEST):
        span = spans.add(name="chat", kind=3)
        span.trace_id = trace.to_bytes(16, "big")
        span.span_id = (number + 1).to_bytes(8, "big")
        span.start_time_unix_nano = 1_795_000_000_000_000_000 + trace * 1_000_000
        span.end_time_unix_nano = span.start_time_unix_nano + 5_000_000
        span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
        span.attributes.add(key="gen_ai.request.model").value.string_value = "gpt-4.1-mini"
        span.attributes.add(key="gen_ai.response.id").value.string_value = f"resp-{trace}-{number}"
        span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 100
        ids.append(f"{trace:032x}/{number + 1:016x}")
    return request.SerializeToString(), ids


class Sender(threading.Thread):
    """A client that retries what was not acknowledged, as the exporters do, until it is told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = f"{url}/v1/traces"
        self.acknowledged: set[str] = set()
        self.sent: set[str] = set()
        self.stopping = threading.Event()
        self.next_trace = 1

    def run(self) -> None:
        while not self.stopping.is_set():
            body, ids = request_body(self.next_trace)
            self.next_trace += 1
            self.sent.update(ids)
            while not self.stopping.is_set():
                if self.post(body):
                    self.acknowledged.update(ids)
                    break
                self.stopping.wait(PAUSE_SECONDS)
            self.stopping.wait(PAUSE_SECONDS)

    def post(self, body: bytes) -> bool:
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/x-protobuf"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError, ValueError):
            return False
        except Exception as error:  # http.client.RemoteDisconnected and its kin: the connection died half-way
            assert type(error).__module__ == "http.client", error
            return False


def loader_pid(collector: Collector) -> int | None:
    """The loader among the supervisor's children, by its command line."""
    for child in family(collector.process.pid):
        if b"collector.loader" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return None


def test_what_was_acknowledged_survives_kills_exactly_once(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "data", rounds=8)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_what_was_acknowledged_survives_two_hundred_kills_exactly_once(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "data", rounds=200)


def kill_again_and_again(data_dir: Path, rounds: int) -> None:
    chance = random.Random(SEED)
    ports = (free_port(), free_port(), free_port())
    collector = start_collector(data_dir, ports=ports)
    sender = Sender(collector.http)
    sender.start()
    for number in range(rounds):
        sender.stopping.wait(chance.uniform(0.05, 0.8))
        if number % 2:
            collector.kill()
            collector = start_collector(data_dir, ports=ports)
        else:
            os.kill(wait_until(lambda running=collector: loader_pid(running)), 9)
    sender.stopping.wait(0.5)
    sender.stopping.set()
    sender.join(30)

    def stored() -> list[str]:
        return [row["id"] for row in collector.sql("SELECT trace_id || '/' || span_id AS id FROM spans")]

    try:
        wait_until(lambda: sender.acknowledged <= set(stored()), seconds=60, pause=1)
        found = stored()
        calls = collector.sql("SELECT count(*) AS n FROM calls")[0]["n"]
    finally:
        assert collector.stop() == 0
    assert len(sender.acknowledged) > rounds * SPANS_PER_REQUEST
    assert len(found) == len(set(found)), "a span is stored twice"
    assert set(found) <= sender.sent, "something is stored that was never sent"
    assert calls == len(found)
