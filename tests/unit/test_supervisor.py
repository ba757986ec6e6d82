"""`serve` as a real process with real sockets and files; the loader is a stub that speaks its protocol.

Guarantee: a start says clearly why it cannot, accepted requests outlive any kill, a stop takes 10 s at most.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from collector.spool import read_records
from collector.spool_files import segments
from tests.support import free_port, get_json, wait_until

# Loads by counting: it answers durable positions with a `loads` row, and writes its pid for the test to find.
LOADER = """
import json, os, sys
from pathlib import Path
from collector.spool import read_records

def say(**message):
    print(json.dumps(message), flush=True)

config = json.loads(sys.stdin.readline())["config"]
data_dir = Path(config["data_dir"])
(data_dir / "loader.pid").write_text(str(os.getpid()))
mode = sys.argv[1] if len(sys.argv) > 1 else ""
if mode == "never-ready":
    for line in sys.stdin:
        pass
    os._exit(0)
say(ready=True)
position = None
for line in sys.stdin:
    message = json.loads(line)
    if "durable" in message and mode != "idle":
        spans = 0
        for position, record in read_records(data_dir / "spool", position, tuple(message["durable"])):
            spans += record.body.count(b"traceId")
        if spans:
            segment, offset = position
            row = {"spool_segment": segment, "spool_offset": offset, "spans_stored": spans}
            say(loaded=row | {"duration_ms": 5.0})
    if "stop" in message:
        if mode == "stubborn":
            continue
        os._exit(0)
if mode == "stubborn":
    import time; time.sleep(600)
"""

SERVE = """
import json, sys
from pathlib import Path
from collector.config import Config
from collector.supervisor import serve
config, loader = json.loads(sys.argv[1]), json.loads(sys.argv[2])
sys.exit(serve(Config.model_validate(config), [sys.executable, "-c", *loader]))
"""


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    data_dir: Path
    ports: dict[str, int]
    output: Path

    def ready(self) -> tuple[int, Any]:
        return get_json(f"http://127.0.0.1:{self.ports['admin']}/readyz")

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process.poll() is None, self.output.read_text()
            return self.ready()[0] == 200

        wait_until(is_ready)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name}")

    def loader_pid(self) -> int:
        return int((self.data_dir / "loader.pid").read_text())

    def post(self, span_id: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=10)
        try:
            connection.request("POST", "/v1/traces", body(span_id), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def terminate(self) -> int:
        """Exit code of a stop by SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(100)


def body(span_id: str) -> bytes:
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": span_id,
        "name": "chat",
        "startTimeUnixNano": "1795000000000000000",
        "endTimeUnixNano": "1795000001000000000",
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def start(data_dir: Path, mode: str = "", ports: dict[str, int] | None = None, **config: Any) -> Running:
    ports = ports or {name: free_port() for name in ("grpc", "http", "admin")}
    endpoints = {f"{name}_endpoint": f"127.0.0.1:{port}" for name, port in ports.items()}
    settings = {"data_dir": str(data_dir), **endpoints, **config}
    loader = [LOADER, *([mode] if mode else [])]
    output = data_dir.parent / f"{data_dir.name}.log"
    with output.open("ab") as file:
        command = [sys.executable, "-c", SERVE, json.dumps(settings), json.dumps(loader)]
        return Running(subprocess.Popen(command, stdout=file, stderr=file), data_dir, ports, output)


@contextlib.contextmanager
def serving(data_dir: Path, mode: str = "", **options: Any) -> Iterator[Running]:
    server = start(data_dir, mode, **options)
    try:
        if mode != "never-ready":
            server.wait_ready()
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(10)


def is_alive(pid: int) -> bool:
    """A zombie is dead; only its parent's wait is missing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def spooled(data_dir: Path) -> list[bytes]:
    directory = data_dir / "spool"
    return [record.body for _, record in read_records(directory, None, (segments(directory)[-1] + 1, 0))]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server for what leaves it as it was."""
    with serving(tmp_path_factory.mktemp("shared") / "data") as server:
        yield server


def test_a_request_goes_from_the_port_through_spool_and_loader_and_is_counted(shared: Running) -> None:
    """Accepted, stored and lag show at the admin port; and within seconds, without any further request, the segment
    that held the body is unlinked."""
    stored, accepted = (
        'otelcol_exporter_sent_spans_total{exporter="lake"}',
        'otelcol_receiver_accepted_spans_total{receiver="otlp",transport="http"}',
    )
    before = {name: shared.metric(name) for name in (stored, accepted)}
    assert shared.post("00f067aa0ba902b7") == 200
    wait_until(lambda: shared.metric(stored) == before[stored] + 1)
    assert shared.metric(accepted) == before[accepted] + 1
    assert shared.metric("spanledger_loader_lag_seconds") == 0
    assert shared.ready()[1]["loader"]["state"] == "running"
    wait_until(lambda: spooled(shared.data_dir) == [])


def test_readiness_waits_for_the_lake_and_liveness_does_not(tmp_path: Path) -> None:
    """Before the loader has created the lake /readyz is 503 and says why, yet requests are accepted."""
    with serving(tmp_path / "data", "never-ready") as server:
        admin = f"http://127.0.0.1:{server.ports['admin']}"
        wait_until(lambda: get_json(f"{admin}/healthz")[0] == 200)
        wait_until(lambda: server.post("00f067aa0ba902b7") == 200)
        status, report = server.ready()
        assert status == 503
        assert report["lake"]["created"] is False
        assert report["loader"]["state"] == "starting"
        with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_dead_loader_is_started_again_while_requests_are_accepted(shared: Running) -> None:
    """SIGKILL to the loader: no request is refused, loads go on, the restart is counted, readiness stays."""
    restarts, stored = (
        "spanledger_loader_restarts_total",
        'otelcol_exporter_sent_spans_total{exporter="lake"}',
    )
    before = {name: shared.metric(name) for name in (restarts, stored)}
    first = shared.loader_pid()
    os.kill(first, signal.SIGKILL)
    assert shared.post("00f067aa0ba902b7") == 200
    assert shared.ready()[0] == 200
    wait_until(lambda: shared.loader_pid() != first)
    wait_until(lambda: shared.metric(stored) == before[stored] + 1)
    assert shared.metric(restarts) == before[restarts] + 1


def test_kill_9_of_the_server_takes_its_loader_along_and_a_restart_loses_nothing(tmp_path: Path) -> None:
    """The next server starts at once on the same directory and ports, and loads what was acknowledged."""
    with serving(tmp_path / "data", "idle") as server:
        assert server.post("00f067aa0ba902b7") == 200
        loader = server.loader_pid()
        server.process.kill()
        server.process.wait(10)
        with serving(tmp_path / "data", ports=server.ports) as successor:
            stored = 'otelcol_exporter_sent_spans_total{exporter="lake"}'
            wait_until(lambda: successor.metric(stored) == 1)
        wait_until(lambda: not is_alive(loader))


def test_a_request_in_flight_is_finished_by_a_stop(tmp_path: Path) -> None:
    """Half of the body is sent before SIGTERM, half after: the answer is 200, the span is in the spool, and the stop
    is clean."""
    with serving(tmp_path / "data", "idle") as server:
        content = body("00f067aa0ba902b7")
        with socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=10) as client:
            head = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:50])
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            client.sendall(content[50:])
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.process.wait(100) == 0
        assert spooled(server.data_dir) == [content]
        assert "Traceback" not in server.output.read_text()


def test_a_loader_that_does_not_stop_cannot_hold_the_server_up(tmp_path: Path) -> None:
    """It ignores the request to stop, for ten minutes: it is ended, and the server exits 0 long before."""
    with serving(tmp_path / "data", "stubborn") as server:
        loader = server.loader_pid()
        assert server.terminate() == 0
        assert not is_alive(loader)


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """While the first stop waits for a stubborn loader, after which it would exit 0; the loader does not survive that
    either."""
    with serving(tmp_path / "data", "stubborn") as server:
        loader = server.loader_pid()
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(100) == 128 + signal.SIGINT
        assert not is_alive(loader) or os.kill(loader, signal.SIGKILL) is None


def test_a_second_server_is_refused_in_one_line(shared: Running) -> None:
    """Exit code 2, the directory named; the first server goes on."""
    before = shared.output.read_text()
    second = start(shared.data_dir)
    assert second.process.wait(60) == 2
    said = shared.output.read_text()[len(before) :].strip().splitlines()
    assert len(said) == 1, said
    assert str(shared.data_dir) in said[0]
    assert shared.post("00f067aa0ba902b8") == 200


@pytest.mark.parametrize("name", ["grpc", "http", "admin"])
def test_a_taken_port_is_named(tmp_path: Path, name: str) -> None:
    """Exit code 2; option and address stand in the line, and no child is left."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        ports = {one: free_port() for one in ("grpc", "http", "admin")} | {name: holder.getsockname()[1]}
        server = start(tmp_path / "data", ports=ports)
        assert server.process.wait(60) == 2
    said = server.output.read_text()
    assert f"--{name}-endpoint" in said
    assert f"127.0.0.1:{ports[name]}" in said
    assert "Traceback" not in said
    assert not (tmp_path / "data" / "loader.pid").exists()


def test_a_data_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    """Exit code 2 and the chmod to run."""
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    server = start(tmp_path / "data")
    assert server.process.wait(60) == 2
    assert f"chmod 0700 {tmp_path / 'data'}" in server.output.read_text()


def test_the_banner_gives_lines_that_work_when_pasted(tmp_path: Path) -> None:
    """With tokens the header line is there, the token itself is not."""
    token = {"name": "ci", "token": "a-secret-of-some-length"}
    with serving(tmp_path / "data", tokens=[token]) as server:
        said = server.output.read_text()
    assert f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{server.ports['http']}\n" in said
    assert "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n" in said
    assert "Authorization=Bearer%20<token ci>" in said
    assert token["token"] not in said
