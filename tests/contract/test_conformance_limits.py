"""Rows R3 to R6 of the conformance checklist: how large a request may be.

Guarantee: a request of the limit is stored; a larger one is refused for good, however it comes, and never held whole.
"""
# ruff: noqa: N802 - the tests are named for the rows of the checklist

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.contract.conformance_messages import (
    JSON,
    LOGS,
    METRICS,
    PROTOBUF,
    TRACES,
    Signal,
    marker,
    padded,
)
from tests.contract.conformance_support import EXHAUSTED, Server, each_media, each_signal, each_wire, serving

LIMITS = {PROTOBUF: 64 << 20, JSON: 16 << 20}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("requests")) as running:
        yield running


def test_R3_a_body_of_the_limit_is_stored(server: Server) -> None:
    service = marker()
    sent = ((TRACES, PROTOBUF), (LOGS, JSON), (METRICS, PROTOBUF))
    for signal, media in sent:
        body = padded(signal, media, LIMITS[media], service)
        assert len(body) == LIMITS[media]
        answer = server.post(signal.path, gzip.compress(body, 1), media, Content_Encoding="gzip")
        assert (answer.status, answer.media) == (200, media), answer.body
    assert [len(server.rows(signal, service)) for signal, _ in sent] == [1, 1, 1]


@each_media
@pytest.mark.parametrize("coding", ["plain", "chunked", "gzip"])
def test_R3_R4_a_body_over_the_limit_is_413_with_a_status(server: Server, media: str, coding: str) -> None:
    """Announced by its length, not announced, or only found out as it is inflated. All signals, with a smaller limit,
    are in test_conformance_refusals.py."""
    body = padded(TRACES, media, LIMITS[media] + 1)
    headers = {"Content-Type": media}
    content: Any = body
    if coding == "gzip":
        content, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
    elif coding == "chunked":
        content = iter([body[start : start + (1 << 20)] for start in range(0, len(body), 1 << 20)])
    answer = server.ask("POST", TRACES.path, content, headers)
    assert answer.status == 413
    assert answer.refusal(media)
    assert "retry-after" not in answer.headers


def test_R5_a_grpc_message_over_the_limit_is_resource_exhausted_for_good(server: Server) -> None:
    """gRPC's own check, the same for all signals, answers where the message is too large as it stands on the wire."""
    body = padded(TRACES, PROTOBUF, LIMITS[PROTOBUF] + 1)
    answer = server.call(TRACES.method, body)
    assert answer.code is EXHAUSTED
    assert answer.details
    assert "google.rpc.retryinfo-bin" not in answer.trailers
    assert b"RetryInfo" not in answer.trailers.get("grpc-status-details-bin", b"")


@each_signal
def test_R3_R5_a_grpc_message_that_inflates_over_the_limit_is_resource_exhausted_for_good(
    server: Server, signal: Signal
) -> None:
    body = padded(signal, PROTOBUF, LIMITS[PROTOBUF] + 1)
    answer = server.call(signal.method, body, grpc.Compression.Gzip)
    assert answer.code is EXHAUSTED
    assert answer.status().message
    assert "google.rpc.retryinfo-bin" not in answer.trailers
    assert not answer.status().details


def processes(server: Server) -> list[Path]:
    """/proc folders of the collector and all its descendants."""
    found, waiting = [], [server.collector.process.pid]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        found.append(folder)
        for thread in (folder / "task").iterdir():
            waiting += map(int, (thread / "children").read_text().split())
    return found


def memory_mib(server: Server, line: str) -> float:
    """VmRSS or VmHWM (its peak) of all of the collector's processes."""
    sizes = [
        int(entry.split()[1])
        for folder in processes(server)
        for entry in (folder / "status").read_text().splitlines()
        if entry.startswith(f"{line}:")
    ]
    return sum(sizes) / 1024


@each_wire
def test_R6_a_bomb_is_cut_off_at_the_limit_and_never_held_whole(server: Server, wire: str) -> None:
    """80 MiB out of 80 KiB, and 800 MiB out of ten times that."""
    bomb = gzip.compress(bytes(80 << 20))
    assert len(bomb) < 90_000
    for folder in processes(server):
        (folder / "clear_refs").write_text("5")  # the peak begins anew (proc_pid_clear_refs(5))
    before = memory_mib(server, "VmRSS")
    for body in (bomb, bomb * 10):
        if wire == "grpc":
            assert server.call(TRACES.method, body).code is EXHAUSTED  # its first bytes say that it is gzip
        else:
            media = JSON if wire == "json" else PROTOBUF
            answer = server.post("/v1/traces", body, media, Content_Encoding="gzip")
            assert answer.status == 413
            assert answer.refusal(media)
    assert memory_mib(server, "VmHWM") - before < 150
