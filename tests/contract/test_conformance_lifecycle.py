"""Rows S14 and S15 of the conformance checklist: what an acknowledgement means when the server ends.

Guarantee: whatever was acknowledged before the server was stopped or killed under load is in the lake once it runs
again, once; a client that was not acknowledged was told so in a way that makes it come back.
"""
# ruff: noqa: N802 - the tests are named for the rows of the checklist

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from pathlib import Path

import grpc

from tests.contract.conformance_messages import SIGNALS, TRACES, Signal, add_record, add_scope, marker
from tests.contract.conformance_support import OK, WIRES, Server, serving
from tests.support import Collector, wait_until

FIRST = 1_795_000_000_000_000_000  # the time of a sender's first record
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
        time_of_record = FIRST + number * 1_000
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


def send_until(end: Callable[[Collector], object], server: Server) -> list[Sender]:
    """Every signal over every wire, all at once, until the server is ended."""
    senders = [Sender(server, wire, signal) for wire in WIRES for signal in SIGNALS]
    for sender in senders:
        sender.start()
    wait_until(lambda: all(len(sender.acknowledged) > 2 for sender in senders), pause=0.01)
    end(server.collector)
    for sender in senders:
        sender.join(30)
        assert not sender.is_alive()
    assert [sender.refused_otherwise for sender in senders] == [[]] * len(senders)
    return senders


def assert_stored_once(server: Server, sender: Sender) -> None:
    rows = server.rows(sender.signal, sender.service, len(sender.acknowledged))
    column = "start_unix_nano" if sender.signal is TRACES else "time_unix_nano"
    numbers = [(row[column] - FIRST) // 1_000 for row in rows]
    assert numbers == sorted(set(numbers)), "stored twice"
    assert set(sender.acknowledged) <= set(numbers) <= set(range(sender.sent))


def test_S14_S15_what_was_acknowledged_under_load_is_stored_once(tmp_path: Path) -> None:
    """Killed before much could be loaded, then stopped by SIGTERM: the next start has all of it."""
    with serving(tmp_path) as server:
        killed = send_until(Collector.kill, server)
    with serving(tmp_path) as server:
        for sender in killed:
            assert_stored_once(server, sender)
        stopped = send_until(stop, server)
    with serving(tmp_path) as server:
        for sender in stopped:
            assert_stored_once(server, sender)
