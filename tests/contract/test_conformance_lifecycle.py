"""Rows S14 and S15 of the conformance checklist: what an acknowledgement means when the server ends.

Guarantee: whatever was acknowledged before the server was stopped or killed under load is in the lake once it runs
again, once; a client that was not acknowledged was told so in a way that makes it come back.
"""
# ruff: noqa: N802 - the tests are named for the rows of the checklist

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from tests.contract.conformance_messages import SIGNALS, Signal, add_record, add_scope, marker
from tests.contract.conformance_support import KEEP_ALL, OK, WIRES, Server, serving
from tests.support import Collector, start_collector

# What a client takes for "come back", beside a connection that is refused or cut.
COME_BACK = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


class Sender(threading.Thread):
    """Sends one record after the other, each numbered by its time, until the server is gone."""

    def __init__(self, server: Server, wire: str, signal: Signal) -> None:
        super().__init__(daemon=True)
        self.server, self.wire, self.signal, self.service = server, wire, signal, marker()
        self.acknowledged: list[int] = []
        self.sent = 0
        self.refused_otherwise: list[object] = []

    def run(self) -> None:
        while self._send(self.sent):
            self.acknowledged.append(self.sent)
            self.sent += 1
        self.sent += 1  # the last one may have arrived without an answer

    def _send(self, number: int) -> bool:
        message = self.signal.request()
        time_of_record = 1_795_000_000_000_000_000 + number * 1_000
        add_record(add_scope(message, self.signal, self.service), self.signal, number, time=time_of_record)
        try:
            outcome = self.server.export(self.wire, self.signal, message)
        except (OSError, http.client.HTTPException):
            return False
        except AssertionError as error:  # a refusal by gRPC itself has no Status
            if "StatusCode.UNAVAILABLE" not in str(error) and "StatusCode.CANCELLED" not in str(error):
                self.refused_otherwise.append(error)
            return False
        if outcome.code is not OK and outcome.code not in COME_BACK:
            self.refused_otherwise.append(outcome)
        return outcome.code is OK


def stop(collector: Collector) -> None:
    assert collector.stop() == 0


@pytest.mark.parametrize("end", [Collector.kill, stop], ids=["S14 kill -9", "S15 SIGTERM"])
def test_S14_S15_what_was_acknowledged_under_load_is_stored_once(
    tmp_path: Path, end: Callable[[Collector], object]
) -> None:
    with serving(tmp_path) as server:
        senders = [Sender(server, wire, signal) for wire in WIRES for signal in SIGNALS]
        for sender in senders:
            sender.start()
        time.sleep(0.7)
        end(server.collector)
        for sender in senders:
            sender.join(30)
            assert not sender.is_alive()
    assert [sender.refused_otherwise for sender in senders] == [[]] * len(senders)
    assert all(sender.acknowledged for sender in senders)
    again = Server(start_collector(tmp_path / "data", config=KEEP_ALL))
    try:
        for sender in senders:
            rows = again.rows(sender.signal, sender.service, len(sender.acknowledged))
            column = "start_unix_nano" if sender.signal.name == "traces" else "time_unix_nano"
            numbers = [(row[column] - 1_795_000_000_000_000_000) // 1_000 for row in rows]
            assert numbers == sorted(set(numbers)), "stored twice"
            assert set(sender.acknowledged) <= set(numbers) <= set(range(sender.sent))
    finally:
        again.close()
        again.collector.stop()
