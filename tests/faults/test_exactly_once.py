"""Whatever is sent, sent again, loaded from files or read again after a crash: it is in the lake once.

Real exporters, real sockets, files and processes; one server for the module. Each test's spans have a day of their own,
and ids that only they have.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from collector.spool_files import segment_path, segments
from collector.store.lake import Lake
from tests.faults.test_bad_input import START, json_body, post
from tests.faults.test_storage_faults import (
    DAY,
    loader_held,
    model_call,
    send,
    times_stored,
    wait_until_stored,
)
from tests.otlp_data import logs_message, metrics_message
from tests.support import BIN, LOADS_SOON, Collector, start_collector, wait_until

# Live data has to be in the lake this soon while a file is loaded beside it, 99 of 100 times.
FRESH_SECONDS = 5.0


class ForgetfulRelay:
    """Passes everything on to a port, but cuts the connection in the place of the first answers: the server has stored
    what the client will send again."""

    def __init__(self, port: int, answers_lost: int) -> None:
        self._target = ("127.0.0.1", port)
        self._to_lose = answers_lost
        self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            sent = threading.Event()
            threading.Thread(target=self._pass_on, args=(client, server, sent), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client, sent), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket, sent: threading.Event) -> None:
        with client, server:
            try:
                while data := client.recv(1 << 16):
                    server.sendall(data)
                    if b"forgetful" in data:  # the spans' scope: a request, and not gRPC's greeting
                        sent.set()
            except OSError:
                return

    def _answer(self, server: socket.socket, client: socket.socket, sent: threading.Event) -> None:
        with server, client:
            try:
                while data := server.recv(1 << 16):
                    if sent.is_set() and self.lost < self._to_lose and is_an_answer(data):
                        self.lost += 1
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(data)
            except OSError:
                return


def is_an_answer(data: bytes) -> bool:
    """An HTTP/1.1 answer, or a frame of HTTP/2 headers; settings and window updates of HTTP/2 are none."""
    if data.startswith(b"HTTP/1.1 200"):
        return True
    while len(data) >= 9:
        if data[3] == 1:
            return True
        data = data[9 + int.from_bytes(data[:3], "big") :]
    return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    collector = start_collector(tmp_path_factory.mktemp("once") / "data", config=LOADS_SOON)
    try:
        yield collector
    finally:
        assert collector.stop() == 0


def duplicates(server: Collector) -> int:
    """Records that were stored already, by what the loads counted."""
    counted = "sum(spans_duplicate + log_records_duplicate + metric_points_duplicate)"
    return int(server.sql(f"SELECT coalesce({counted}, 0)::BIGINT AS n FROM loads")[0]["n"])


def count(server: Collector, relation: str) -> int:
    return int(server.sql(f"SELECT count(*) AS n FROM {relation}")[0]["n"])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_exporter_that_never_got_its_answer_sends_again(server: Collector, protocol: str) -> None:
    """The connection dies between OK and client: the exporter cannot know, and tries again until it gets one."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": f"forgetful {protocol}"}))
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for _ in range(20):
        with provider.get_tracer("forgetful").start_as_current_span("chat") as span:
            span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4.1-mini"})
            span.set_attribute("gen_ai.usage.input_tokens", 7)
    relay = ForgetfulRelay(server.http_port if protocol == "http" else server.grpc_port, answers_lost=1)
    exporter: SpanExporter = (
        HttpExporter(endpoint=f"http://127.0.0.1:{relay.port}/v1/traces", timeout=30)
        if protocol == "http"
        else GrpcExporter(endpoint=f"http://127.0.0.1:{relay.port}", insecure=True, timeout=30)
    )
    before = duplicates(server)
    try:
        assert exporter.export(kept.get_finished_spans()) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()
        relay.close()
    assert relay.lost == 1
    wait_until(lambda: duplicates(server) == before + 20)
    ours = f"WHERE service_name = 'forgetful {protocol}'"
    assert server.sql(f"SELECT count(*) AS n, count(DISTINCT span_id) AS ids FROM spans {ours}") == [
        {"n": 20, "ids": 20}
    ]
    assert server.sql(f"SELECT count(*) AS n, sum(input_tokens)::BIGINT AS t FROM calls {ours}") == [
        {"n": 20, "t": 140}
    ]


def test_of_one_identity_the_first_wins_and_the_others_are_counted(server: Collector) -> None:
    """The same bytes twice; the same span twice in a request; the same identity with another name: an OK for each,
    as sending again would not help, and one span with one call."""
    first, twin = model_call("first", day=1), model_call("twin", day=1)
    other = first | {"name": "other", "attributes": []}
    before = duplicates(server)
    send(server, first)
    wait_until_stored(server, first)  # else all would be one batch
    for body in (json_body(first), json_body(twin, first, twin, twin), json_body(other)):
        assert post(server, body) == (200, {})
    wait_until_stored(server, first, twin)
    wait_until(lambda: duplicates(server) == before + 5)
    names = (
        f"SELECT name FROM spans WHERE trace_id IN ('{first['traceId']}', '{twin['traceId']}') ORDER BY ALL"
    )
    assert server.sql(names) == [{"name": "first"}, {"name": "twin"}]


def test_log_records_and_metric_points_that_come_twice_are_stored_once(server: Collector) -> None:
    """They have no ids: what tells two of them apart is all that they say."""
    attributes = {"gen_ai.system": "openai", "gen_ai.operation.name": "chat"}
    logs = logs_message(
        *({"event_name": "gen_ai.choice", "attributes": attributes | {"n": n}} for n in range(3)),
        scope="once",
    )
    points = metrics_message("gen_ai.client.token.usage", attributes, 41)
    before = duplicates(server)
    logs_before, points_before = count(server, "log_records"), count(server, "metric_points")
    for _ in range(3):
        assert post_protobuf(server, "logs", logs) == post_protobuf(server, "metrics", points) == 200
    expected = (logs_before + 3, points_before + 1)
    wait_until(lambda: (count(server, "log_records"), count(server, "metric_points")) == expected)
    wait_until(lambda: duplicates(server) == before + 2 * 4)
    assert (count(server, "log_records"), count(server, "metric_points")) == expected


def post_protobuf(server: Collector, signal: str, message: Any) -> int:
    request = urllib.request.Request(
        f"{server.http}/v1/{signal}", message.SerializeToString(), {"Content-Type": "application/x-protobuf"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(answer.status)


def test_a_file_is_loaded_twice_beside_its_own_live_spans(server: Collector, tmp_path: Path) -> None:
    """Everything is there once; how soon the live spans are there is shown by the long form."""
    load_beside_live_data(server, tmp_path, spans=4_000, day=3, at_once=2)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_large_file_is_loaded_beside_its_own_live_spans(server: Collector, tmp_path: Path) -> None:
    """Then twice more at once: five processes share the cores, and nothing is promised of how soon."""
    seconds = load_beside_live_data(server, tmp_path, spans=400_000, day=5, at_once=1)
    assert sorted(seconds)[int(0.99 * len(seconds))] <= FRESH_SECONDS, sorted(seconds)[-5:]
    load_beside_live_data(server, tmp_path, spans=400_000, day=6, at_once=2)


def load_beside_live_data(server: Collector, folder: Path, spans: int, day: int, at_once: int) -> list[float]:
    """So many processes load one file at the same time, while a client sends spans of that file and new ones.
    Everything is there once, and new ones come in before the file is loaded; the seconds each of them took."""
    lines = [[model_call("file", day, at=n) for _ in range(20)] for n in range(spans // 20)]
    path = folder / "spans.jsonl"
    path.write_bytes(b"\n".join(json_body(*line) for line in lines))
    command = [BIN / "otlp-backfill", path, "--data-dir", server.data_dir, "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    loading = [subprocess.Popen(command, **pipes) for _ in range(at_once)]
    with live(server, day) as fresh:
        for line in lines[:: max(1, len(lines) // 20)]:
            assert post(server, json_body(*line)) == (200, {})
        printed = [process.communicate(timeout=1500) for process in loading]
        meanwhile = len(fresh)
    assert [(process.returncode, said) for process, (_, said) in zip(loading, printed, strict=True)] == [
        (0, b"")
    ] * at_once
    first = f"make_timestamp({(START + day * DAY) // 1000})"
    ours = f"WHERE name = 'file' AND start_time BETWEEN {first} AND {first} + INTERVAL 1 DAY"
    expected = [{"n": spans, "ids": spans}]
    wait_until(
        lambda: (
            server.sql(f"SELECT count(*) AS n, count(DISTINCT trace_id) AS ids FROM spans {ours}") == expected
        ),
        60,
        0.5,
    )
    calls = "SELECT count(*) AS n, count(DISTINCT trace_id) AS ids FROM calls"
    found = server.sql(f"{calls} WHERE trace_id IN (SELECT trace_id FROM spans {ours})")
    assert found == expected
    assert meanwhile
    return fresh


@contextmanager
def live(server: Collector, day: int) -> Iterator[list[float]]:
    """A client sends a new span each 200 ms; the list gets the seconds from its OK until it can be asked for."""
    ending, seconds = threading.Event(), list[float]()
    lake = Lake.open(server.data_dir, read_only=True, threads=1)

    def send_and_look() -> None:
        waiting: dict[str, float] = {}
        while waiting or not ending.is_set():
            if not ending.is_set():
                span = model_call("live", day, at=len(seconds) + len(waiting))
                send(server, span)
                waiting[span["traceId"]] = time.monotonic()
            listed = ", ".join(f"'{trace}'" for trace in waiting)
            for (trace,) in lake.connection.execute(
                f"SELECT trace_id FROM calls WHERE trace_id IN ({listed})"
            ).fetchall():
                seconds.append(time.monotonic() - waiting.pop(trace))
            time.sleep(0.2)

    client = threading.Thread(target=send_and_look)
    client.start()
    try:
        yield seconds
    finally:
        ending.set()
        client.join(60)
        lake.close()


def test_a_spool_that_is_read_again_stores_nothing_again(server: Collector) -> None:
    """The crash of crashes: the lake has everything, and every accepted request comes again out of the spool."""
    spans = [model_call(day=7) for _ in range(10)]
    spool, kept = server.data_dir / "spool", server.data_dir.parent / "kept"
    with loader_held(server):
        send(server, *spans)
        shutil.copytree(spool, kept)
    wait_until_stored(server, *spans)
    before, relations = duplicates(server), ("spans", "calls", "log_records", "metric_points")
    totals = [count(server, relation) for relation in relations]
    server.kill()
    newest = max(segments(spool))
    for number, name in enumerate(sorted(kept.iterdir()), start=newest + 1):
        shutil.copyfile(name, segment_path(spool, number))
    ports = (server.grpc_port, server.http_port, server.admin_port)
    server.process = start_collector(server.data_dir, ports=ports).process
    wait_until(lambda: duplicates(server) >= before + len(spans))
    assert times_stored(server, *spans) == {(1, 1)}
    assert [count(server, relation) for relation in relations] == totals
