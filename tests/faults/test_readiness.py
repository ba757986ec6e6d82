"""/readyz and gRPC's health service of a real `serve`, while one thing at a time goes wrong under it.

Guarantee: not ready exactly while requests would be refused, and ready again by itself, without any request, once
the fault is over. What only delays loading is said in the body and turns nobody away.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.faults.test_bad_input import json_body, json_span, post, stored
from tests.faults.test_kill import loader_pid
from tests.support import LOADS_SOON, Collector, get_json, run_here, running, start_collector, wait_until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
FAULT_SECONDS = 60.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc and prlimit(2)")

# The disk's own failure, which nothing short of a broken disk brings about: fdatasync, which only the spool uses.
BREAKABLE_DISK = """
import os, pathlib
sync, broken = os.fdatasync, pathlib.Path({flag!r})
def fdatasync(fd):
    if broken.exists():
        raise OSError(5, "Input/output error")
    sync(fd)
os.fdatasync = fdatasync
"""


@pytest.fixture(scope="module")
def broken_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file exists, the collector's disk answers every sync of the spool with EIO."""
    return tmp_path_factory.mktemp("disk") / "broken"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, broken_disk: Path) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("readiness")
    (folder / "sitecustomize.py").write_text(BREAKABLE_DISK.format(flag=str(broken_disk)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        collector = start_collector(folder / "data", config=LOADS_SOON)
    try:
        yield collector
    finally:
        assert collector.stop() == 0


def readyz(server: Collector) -> tuple[int, Any]:
    return get_json(f"{server.admin}/readyz")


def health(server: Collector, service: str = "") -> int:
    with grpc.insecure_channel(server.grpc) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=60).status)


def wait_for(server: Collector, status: int) -> Any:
    """The body of the first /readyz that has this status; gRPC's health service must come to say the same."""

    def answer() -> Any:
        found, body = readyz(server)
        return found == status and body

    body = wait_until(answer, FAULT_SECONDS)
    expected = SERVING if status == 200 else NOT_SERVING
    for service in ("", TRACE_SERVICE):
        wait_until(lambda name=service: health(server, name) == expected)
    assert get_json(f"{server.admin}/healthz")[0] == 200
    return body


def doctor(server: Collector) -> dict[str, str]:
    """What otlp-collector doctor says about the running collector."""
    endpoint = ("--admin-endpoint", server.admin.removeprefix("http://"))
    answer = run_here("otlp-collector", "doctor", "--data-dir", server.data_dir, *endpoint, "--json")
    return next(check for check in json.loads(answer.stdout)["checks"] if check["name"] == "collector")


def spans_stored(server: Collector) -> float:
    name = "otelcol_exporter_sent_spans_total{"
    return sum(float(line.split()[-1]) for line in server.metrics().splitlines() if line.startswith(name))


def assert_accepts_and_loads(server: Collector) -> None:
    before = spans_stored(server)
    assert post(server, json_body(json_span())) == (200, {})
    wait_until(lambda: spans_stored(server) > before)


def assert_refuses_for_now(server: Collector, **fields: str) -> None:
    status, answer = post(server, json_body(json_span(**fields)))
    assert (status, answer["code"]) == (503, grpc.StatusCode.UNAVAILABLE.value[0])


@contextlib.contextmanager
def no_file_beyond(size: int, pid: int) -> Iterator[None]:
    """The kernel lets no file of that process grow past ``size`` (EFBIG), as a full disk would."""
    _, hard = limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def lines(server: Collector, event: str) -> int:
    return sum(
        f'event="{event}"' in line or f"event={event} " in line
        for line in server.log.read_text().splitlines()
    )


def test_a_disk_that_takes_nothing_is_noticed_and_forgotten_without_any_request(server: Collector) -> None:
    """Nobody sends: a load balancer that believes /readyz would not. The log says it once each way."""
    told = lines(server, "not ready"), lines(server, "ready")
    # The log is such a file, too.
    with no_file_beyond(30_000, server.process.pid):
        body = wait_for(server, 503)
        assert (body["ready"], body["spool"]["state"]) == (False, "failed")
        assert body["spool"]["error"] == "File too large"
        assert_refuses_for_now(server, name="x" * 40_000)
    wait_for(server, 200)
    assert_accepts_and_loads(server)
    assert (lines(server, "not ready"), lines(server, "ready")) == (told[0] + 1, told[1] + 1)


def test_a_disk_that_does_not_sync_acknowledges_nothing(server: Collector, broken_disk: Path) -> None:
    """EIO from the sync: bytes were taken, and none of them is safe."""
    broken_disk.touch()
    try:
        assert_refuses_for_now(server)
        body = wait_for(server, 503)
        assert body["spool"] | {"error": "Input/output error", "state": "failed"} == body["spool"]
    finally:
        broken_disk.unlink()
    wait_for(server, 200)
    assert_accepts_and_loads(server)


def test_a_spool_directory_that_is_gone_is_not_ready_until_it_is_back(server: Collector) -> None:
    """Moved away under the running server: refused, not written into a file that nobody will find."""
    spool = server.data_dir / "spool"
    spool.rename(server.data_dir / "elsewhere")
    try:
        assert_refuses_for_now(server)
        assert wait_for(server, 503)["spool"]["state"] == "failed"
    finally:
        (server.data_dir / "elsewhere").rename(spool)
    wait_for(server, 200)
    assert_accepts_and_loads(server)


def test_a_loader_that_dies_turns_nobody_away(server: Collector) -> None:
    """200 all the while; the body says that it is started again, the metrics how often."""
    restarts = readyz(server)[1]["loader"]["restarts"]
    os.kill(wait_until(lambda: loader_pid(server)), signal.SIGKILL)
    seen: list[tuple[int, str]] = []

    def running_again() -> bool:
        status, body = readyz(server)
        seen.append((status, body["loader"]["state"]))
        return len({state for _, state in seen}) > 1 and seen[-1][1] == "running"

    wait_until(running_again, FAULT_SECONDS, 0.02)
    assert {status for status, _ in seen} == {200}
    assert (200, "restarting") in seen
    assert readyz(server)[1]["loader"]["restarts"] == restarts + 1
    assert f"spanledger_loader_restarts_total {restarts + 1}.0" in server.metrics()
    assert_accepts_and_loads(server)


def test_a_lake_that_cannot_be_written_delays_and_loses_nothing(server: Collector) -> None:
    """200 with the lake's error in the body; what was accepted meanwhile is in the lake once that is over."""
    span = json_span()
    with no_file_beyond(0, wait_until(lambda: loader_pid(server))):
        assert post(server, json_body(span)) == (200, {})
        body = wait_until(lambda: readyz(server)[1]["lake"]["error"] and readyz(server)[1], FAULT_SECONDS)
        assert (body["ready"], body["lake"]["created"], body["spool"]["state"]) == (True, True, "ok")
        assert "\n" not in body["lake"]["error"]
        assert "spanledger_lake_failed 1.0" in server.metrics()
        found = doctor(server)
        assert (found["level"], "the lake cannot be written" in found["found"]) == ("warn", True)
        assert health(server) == SERVING
        wait_until(lambda: readyz(server)[1]["loader"]["lag_seconds"] > 1)
    wait_until(lambda: stored(server, span["spanId"]))
    status, body = readyz(server)
    assert (status, body["lake"]["error"], body["loader"]["lag_seconds"]) == (200, None, 0)
    assert lines(server, "the lake cannot be written; accepting goes on") == 1
    assert lines(server, "the lake is written again") == 1


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A server whose spool takes four requests of 20 kB."""
    with running(tmp_path_factory.mktemp("small") / "data", "--spool-max-bytes", "100000") as collector:
        yield collector


def test_a_full_spool_is_not_ready_until_the_loader_has_caught_up(small: Collector) -> None:
    """The loader hangs, the spool fills up to its bound; both are back without any request, and all is loaded."""
    loader = wait_until(lambda: loader_pid(small))
    os.kill(loader, signal.SIGSTOP)
    try:
        answers = [post(small, json_body(json_span(name="x" * 20_000)))[0] for _ in range(6)]
        body = wait_for(small, 503)
        found = doctor(small)
    finally:
        os.kill(loader, signal.SIGCONT)
    assert answers == [200] * 4 + [503] * 2
    assert (found["level"], found["found"]) == (
        "fail",
        "running, not ready: the spool is full (the loader is behind or stopped)",
    )
    assert (body["spool"]["state"], body["loader"]["state"]) == ("full", "running")
    assert body["spool"]["used_bytes"] <= body["spool"]["max_bytes"] == 100_000
    wait_for(small, 200)
    wait_until(lambda: spans_stored(small) == 4)
    assert_accepts_and_loads(small)


def test_a_stop_is_told_before_anybody_is_turned_away(small: Collector) -> None:
    """SIGTERM with a request half-sent: /readyz and the health service say so at once, the request is still taken."""
    body = json_body(json_span())
    head = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with grpc.insecure_channel(small.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == SERVING
        with socket.create_connection(("127.0.0.1", small.http_port), timeout=60) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
            wait_until(lambda: "spanledger_inflight_cost_bytes 0.0" not in small.metrics())
            warned = lines(small, "not ready")
            small.process.send_signal(signal.SIGTERM)
            assert next(watch).status == NOT_SERVING
            status, report = readyz(small)
            assert (status, report["ready"], report["stopping"]) == (503, False, True)
            connection.sendall(body[10:])
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert small.process.wait(12) == 0
        assert lines(small, "not ready") == warned
