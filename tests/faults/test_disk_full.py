"""The disk under a real `serve` fills up to the last byte, and later has room again.

Guarantee: 503 and UNAVAILABLE with the time to wait; what was stored can be read all the while; nothing that was
acknowledged is lost, nothing is put aside, and it resumes by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from collector import quarantine
from tests.faults.retrying_client import Sender, request_body
from tests.faults.test_kill import loader_pid
from tests.faults.test_readiness import no_file_beyond, readyz
from tests.processes import family
from tests.support import Collector, run, start_collector, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mount(8), prlimit(2)")

DISK = "24m"
# Larger than the rest of a block in which small writes still find room on a full disk.
PADDING = "x" * 40_000


@dataclass
class Disk:
    """Where the collector's data lies; `full` is for the time of a with-block."""

    folder: Path

    @contextlib.contextmanager
    def full(self, collector: Collector) -> Iterator[None]:
        """Not a byte is left for anybody."""
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        try:
            yield
        finally:
            filler.unlink()


class LimitedFiles(Disk):
    """What comes nearest without a disk of our own: no process of the collector can make a file grow."""

    @contextlib.contextmanager
    def full(self, collector: Collector) -> Iterator[None]:
        with contextlib.ExitStack() as limits:
            for pid in family(collector.process.pid):
                limits.enter_context(no_file_beyond(0, pid))
            yield


@pytest.fixture(scope="module", params=["a small disk", "RLIMIT_FSIZE"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    has_disk = mounted.returncode == 0
    try:
        if request.param == "RLIMIT_FSIZE":
            if has_disk:
                pytest.skip("a small disk could be mounted, which shows more")
            yield LimitedFiles(folder)
        elif not has_disk:
            pytest.skip(
                f"NOT TESTED ON A FULL DISK, only with RLIMIT_FSIZE: mount says {mounted.stderr.strip()}"
            )
        else:
            yield Disk(folder)
    finally:
        if has_disk:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def server(disk: Disk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """Its log is on another disk."""
    data = tmp_path_factory.mktemp("serve") / "data"
    data.symlink_to(disk.folder / "data")
    (disk.folder / "data").mkdir(mode=0o700)
    collector = start_collector(data)
    try:
        yield collector
    finally:
        assert collector.stop() == 0


def refused_http(server: Collector, body: bytes) -> float:
    """A request that has to be refused; the seconds after which it may come again."""
    request = urllib.request.Request(
        f"{server.http}/v1/traces", body, {"Content-Type": "application/x-protobuf"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value as answer:
        assert answer.code == 503
        return float(answer.headers["Retry-After"])


def refused_grpc(server: Collector, request: ExportTraceServiceRequest) -> float:
    """As refused_http."""
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        TraceServiceStub(channel).Export(request, timeout=60)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    retry = RetryInfo()
    assert Status.FromString(details).details[0].Unpack(retry)
    return retry.retry_delay.ToSeconds()


def large_request(trace: int) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest.FromString(request_body(trace)[0])
    request.resource_spans[0].scope_spans[0].spans[0].name = PADDING
    return request


def ids(server: Collector, relation: str) -> list[str]:
    return [row["id"] for row in server.sql(f"SELECT trace_id || '/' || span_id AS id FROM {relation}")]


def assert_stored_once(server: Collector, sender: Sender) -> None:
    """All that was acknowledged, nothing twice, nothing that was not sent."""
    wait_until(lambda: sender.acknowledged <= set(ids(server, "spans")))
    for relation in ("spans", "calls"):
        found = ids(server, relation)
        assert len(found) == len(set(found))
        assert sender.acknowledged <= set(found) <= sender.sent
    assert not list(quarantine.entries(server.data_dir))


@contextlib.contextmanager
def sending(server: Collector, first_trace: int) -> Iterator[Sender]:
    sender = Sender(server.http)
    sender.next_trace = first_trace
    sender.start()
    try:
        yield sender
    finally:
        sender.stopping.set()
        sender.join(30)


def test_a_full_disk_refuses_reads_on_and_resumes_by_itself(server: Collector, disk: Disk) -> None:
    """A client sends all the while, and tries again what was refused, as exporters do."""
    with sending(server, 1) as sender:
        wait_until(lambda: len(sender.acknowledged) > 100)
        wait_until(lambda: ids(server, "spans"))
        server.close()  # no reader of ours keeps a file open for the readers below
        # The server does: a reader could not make these on a full disk.
        for suffix in ("-wal", "-shm"):
            assert server.data_dir.joinpath(f"catalog.sqlite{suffix}").exists()
        with disk.full(server):
            wait_until(lambda: readyz(server)[0] == 503)
            assert 0 < refused_http(server, large_request(9001).SerializeToString()) <= 60
            assert 0 < refused_grpc(server, large_request(9001)) <= 60
            known = sender.acknowledged.copy()
            answer = run(
                "otlp-collector",
                "sql",
                "SELECT count(*) AS n FROM spans",
                "--data-dir",
                server.data_dir,
                "--csv",
            )
            assert (answer.returncode, answer.stderr) == (0, "")
            assert int(answer.stdout.split()[1]) > 0
        wait_until(lambda: readyz(server)[0] == 200)
        wait_until(lambda: len(sender.acknowledged) > len(known) + 100)
    assert_stored_once(server, sender)


def test_what_waits_in_the_spool_of_a_full_disk_is_loaded_once_there_is_room(
    server: Collector, disk: Disk
) -> None:
    """Acknowledged, and then no room to load it: no request is to blame, none is put aside, none is lost."""
    loader = wait_until(lambda: loader_pid(server))
    os.kill(loader, signal.SIGSTOP)
    with sending(server, 10_001) as sender:
        wait_until(lambda: len(sender.acknowledged) > 100)
    with disk.full(server):
        os.kill(loader, signal.SIGCONT)
        body = wait_until(lambda: readyz(server)[1]["lake"]["error"] and readyz(server)[1])
        assert "\n" not in body["lake"]["error"]
        assert not set(ids(server, "spans")) & sender.sent
    wait_until(lambda: sender.acknowledged <= set(ids(server, "spans")))
    assert readyz(server)[1]["loader"] | {"quarantined": 0, "restarts": 0} == readyz(server)[1]["loader"]
    stored = [each for each in ids(server, "calls") if each in sender.sent]
    assert sorted(stored) == sorted(sender.acknowledged)


def test_a_start_on_a_full_disk_waits_for_room(server: Collector, disk: Disk) -> None:
    """Killed, and started again on the full disk: alive, not ready, and with room it has everything."""
    with sending(server, 20_001) as sender:
        wait_until(lambda: len(sender.acknowledged) > 40)
    ports = (server.grpc_port, server.http_port, server.admin_port)
    with ThreadPoolExecutor(1) as pool:
        with disk.full(server):
            server.kill()
            starting = pool.submit(start_collector, server.data_dir, ports=ports)
            wait_until(lambda: readyz(server)[0] == 503)
        server.process = starting.result().process
    wait_until(lambda: sender.acknowledged <= set(ids(server, "spans")))
    stored = [each for each in ids(server, "calls") if each in sender.sent]
    assert sorted(stored) == sorted(sender.acknowledged)
