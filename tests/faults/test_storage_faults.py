"""The storage under a real `serve` goes wrong, one thing at a time.

Guarantee: what was acknowledged is in the lake exactly once as soon as the fault is over or out of the way; what cannot
be loaded or read is kept, named and counted, and takes nothing else along.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector import quarantine
from collector.spool_files import read_records, segment_path, segments
from collector.store.damage import data_files
from collector.store.lake import Lake
from tests.faults.test_bad_input import START, json_body, json_span, post
from tests.faults.test_kill import loader_pid
from tests.faults.test_readiness import readyz, wait_for
from tests.otlp_data import pairs_json
from tests.store_support import SECOND, call, store, traces
from tests.support import LOADS_SOON, Collector, run, run_here, start_collector, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")

DAY = 24 * 3600 * 10**9
# Of the loader alone: while the file FLAGS/no-sync is there, data files cannot be synced; a batch with a span that is
# called "poison" fails as one with a value that the lake cannot hold does (all such values that are known are
# refused or repaired before).
FAULTS = """
import os, pathlib, sys
flags = pathlib.Path({flags!r})
if "collector.loader" in sys.orig_argv:
    import duckdb
    from collector.store.commit import Committer
    sync, commit = os.fsync, Committer.commit
    def fsync(fd):
        if (flags / "no-sync").exists() and os.readlink(f"/proc/self/fd/{{fd}}").endswith(".parquet"):
            raise OSError(5, "Input/output error")
        sync(fd)
    def commit_unless_poisoned(self, extracted, *rest, **options):
        if "poison" in extracted.spans.column("name").to_pylist():
            raise duckdb.ConversionException("a value that fits nowhere")
        return commit(self, extracted, *rest, **options)
    os.fsync, Committer.commit = fsync, commit_unless_poisoned
"""


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flags")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, flags: Path) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("storage")
    (folder / "sitecustomize.py").write_text(FAULTS.format(flags=str(flags)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        collector = start_collector(folder / "data", config=LOADS_SOON)
    try:
        yield collector
    finally:
        assert collector.stop() == 0


def model_call(name: str = "chat", day: int = 0, at: int = 0) -> dict[str, Any]:
    """A span with usage, `at` seconds after START on a day of its own; its ids are nobody else's."""
    start = START + day * DAY + at * 10**9
    span = json_span(name=name, startTimeUnixNano=str(start), endTimeUnixNano=str(start + 1000))
    usage = {"gen_ai.usage.input_tokens": 9, "gen_ai.response.id": span["spanId"]}
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4.1-mini", **usage}
    return span | {"attributes": pairs_json(attributes)}


def send(server: Collector, *spans: dict[str, Any]) -> None:
    for span in spans:
        assert post(server, json_body(span)) == (200, {})


def times_stored(server: Collector, *spans: dict[str, Any]) -> set[tuple[int, int]]:
    """How often each stands in `spans` and in `calls`."""
    counts = []
    for span in spans:
        which = f"trace_id = '{span['traceId']}' AND span_id = '{span['spanId']}'"
        counts.append(
            server.sql(
                f"SELECT (SELECT count(*) FROM spans WHERE {which}) AS spans,"
                f" (SELECT count(*) FROM calls WHERE {which}) AS calls"
            )[0]
        )
    return {(row["spans"], row["calls"]) for row in counts}


def wait_until_stored(server: Collector, *spans: dict[str, Any]) -> None:
    wait_until(lambda: times_stored(server, *spans) == {(1, 1)})


def entries(server: Collector) -> dict[str, quarantine.Entry]:
    return {entry.name: entry for entry in quarantine.entries(server.data_dir)}


def checked(server: Collector, *options: str) -> dict[str, dict[str, str]]:
    """What `otlp-collector doctor` says."""
    answer = run_here("otlp-collector", "doctor", *options, "--data-dir", server.data_dir, "--json")
    assert answer.returncode == 0, answer.stderr
    return {check["name"]: check for check in json.loads(answer.stdout)["checks"]}


@contextmanager
def loader_held(server: Collector) -> Iterator[None]:
    loader = wait_until(lambda: loader_pid(server))
    os.kill(loader, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(loader, signal.SIGCONT)


def test_a_data_file_that_cannot_be_synced_is_not_committed(server: Collector, flags: Path) -> None:
    """The catalog would name a file that a power cut may take: rolled back, tried again, stored once."""
    span = model_call()
    (flags / "no-sync").touch()
    try:
        send(server, span)
        wait_until(lambda: "Input/output error" in str(readyz(server)[1]["lake"]["error"]))
        assert times_stored(server, span) == {(0, 0)}
    finally:
        (flags / "no-sync").unlink()
    wait_until_stored(server, span)
    assert not entries(server)


def test_a_poison_batch_costs_the_one_request_that_poisons_it(server: Collector) -> None:
    """Thirty requests in one batch: that one is kept with its reason and counted, its neighbours load, and so does
    what comes later."""
    spans = [model_call() for _ in range(29)]
    with loader_held(server):
        send(server, *spans[:20], model_call("poison"), *spans[20:])
    wait_until_stored(server, *spans)
    (entry,) = entries(server).values()
    assert entry.reason == "ConversionException: a value that fits nowhere"
    assert entry.request is not None
    assert b"poison" in entry.request.body
    assert "spanledger_quarantined_requests_total 1.0" in server.metrics()
    assert readyz(server)[1]["loader"] | {"quarantined": 1, "restarts": 0} == readyz(server)[1]["loader"]
    later = model_call()
    send(server, later)
    wait_until_stored(server, later)


def data_file(server: Collector, table: str) -> Path:
    """The newest."""
    with Lake.open(server.data_dir, read_only=True) as lake:
        files = data_files(lake.connection)
    return server.data_dir / "data" / next(file.path for file in files if file.table == table)


def test_a_damaged_data_file_is_named_and_what_comes_next_loads(server: Collector) -> None:
    """The disk has eaten a file that every load of that day looks into. `sql` and `doctor` name it; the loader puts it
    aside, blames no request for it, and loads on; everything else can be read; what it held loads again."""
    lost, near, sound = model_call(day=40), model_call(day=40), model_call(day=90)
    send(server, sound)
    wait_until_stored(server, sound)
    send(server, lost)
    wait_until_stored(server, lost)
    path, before = data_file(server, "spans"), entries(server)
    content = bytes(byte ^ 0x55 for byte in path.read_bytes())
    path.write_bytes(content)

    answer = run_here("otlp-collector", "sql", "SELECT * FROM spans", "--data-dir", server.data_dir)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert f"{path.name} of spans (1 rows) is damaged" in answer.stderr
    near_sound = f"SELECT name FROM spans WHERE start_time > make_timestamp({(START + 80 * DAY) // 1000})"
    answer = run_here("otlp-collector", "sql", near_sound, "--data-dir", server.data_dir, "--json")
    assert json.loads(answer.stdout) == [{"name": "chat"}]
    found = checked(server)["data files"]
    assert (found["level"], path.name in found["found"]) == ("fail", True)
    assert "doctor --repair" in found["advice"]

    send(server, near)
    wait_until_stored(server, near, sound)
    assert times_stored(server, lost) == {(0, 1)}
    assert set(entries(server)) - set(before) == {path.stem}
    kept = server.data_dir / "quarantine" / f"{path.stem}.body"
    assert kept.read_bytes() == content
    assert readyz(server)[1]["lake"]["error"] is None
    found = checked(server)
    assert found["data files"]["level"] == "ok"
    assert path.name in found["quarantine"]["found"]
    assert "a value that fits nowhere" in found["quarantine"]["found"]
    send(server, lost)
    wait_until_stored(server, lost, near, sound)


def test_a_missing_data_file_is_waited_for(server: Collector) -> None:
    """A disk that is away comes back with all that is on it: nothing is thrown away meanwhile."""
    first, second = model_call(day=150), model_call(day=150)
    send(server, first)
    wait_until_stored(server, first)
    path, before = data_file(server, "spans"), entries(server)
    moved = path.rename(server.data_dir / "moved")
    send(server, second)
    wait_until(lambda: path.name in str(readyz(server)[1]["lake"]["error"]))
    moved.rename(path)
    wait_until_stored(server, first, second)
    assert entries(server) == before


def test_damaged_spool_segments_cost_what_was_in_the_damaged_place(server: Collector) -> None:
    """Power fails: one body has a flipped bit, the last write is half there, and behind it stands what the file system
    put. All others load, the damaged bytes are kept and named, the torn ones were never acknowledged."""
    spans, before = [model_call() for _ in range(10)], entries(server)
    with loader_held(server):
        send(server, *spans)
        loader = loader_pid(server)
        assert loader is not None
        server.kill()
        os.kill(loader, signal.SIGKILL)
    spool = server.data_dir / "spool"
    number = next(n for n in reversed(segments(spool)) if segment_path(spool, n).stat().st_size)
    damaged = flip_a_bit_in(spool, number, spans[4]["spanId"])
    with segment_path(spool, number).open("ab") as segment:
        whole = segment_path(spool, number).read_bytes()
        segment.write(whole[: len(whole) // 25] + bytes(4096))
    ports = (server.grpc_port, server.http_port, server.admin_port)
    said = len(server.log.read_text())
    again = start_collector(server.data_dir, ports=ports)
    server.process = again.process
    wait_until_stored(server, *spans[:4], *spans[5:])
    assert times_stored(server, spans[4]) == {(0, 0)}
    (entry,) = (entry for name, entry in entries(server).items() if name not in before)
    assert (entry.request, entry.bytes) == (None, damaged)
    assert "the body's checksum does not match" in entry.reason
    log = server.log.read_text()[said:]
    assert "cut the last run's unfinished write" in log
    assert "spool bytes put aside" in log
    wait_until(lambda: readyz(server)[1]["loader"]["lag_seconds"] == 0)


def flip_a_bit_in(spool: Path, number: int, marker: str) -> int:
    """In the record that has this text in its body; the bytes of that record."""
    start = 0
    content = bytearray(segment_path(spool, number).read_bytes())
    for (_, end), record in read_records(spool, (number, 0), (number, len(content))):
        if marker.encode() in record.body:
            content[end - 10] ^= 4
            segment_path(spool, number).write_bytes(content)
            return end - start
        start = end
    raise AssertionError(f"{marker} is not in the spool")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in it can be written by name; root obeys no mode bits, and gets it as a read-only mount."""
    if os.geteuid():
        folder.chmod(0o500)
        undo = ["chmod", "0700", str(folder)]
    else:
        mounted = subprocess.run(
            ["mount", "--bind", folder, folder], capture_output=True, text=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"NOT TESTED: root cannot make a directory read-only here: {mounted.stderr.strip()}")
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        undo = ["umount", str(folder)]
    try:
        yield
    finally:
        subprocess.run(undo, check=True)


def test_a_data_directory_that_became_read_only_loses_nothing(server: Collector) -> None:
    """What is acknowledged meanwhile went into the open segment, and is stored once afterwards, without a restart; no
    second server starts there."""
    with read_only(server.data_dir):
        spans = [span for span in (model_call() for _ in range(5)) if post(server, json_body(span))[0] == 200]
        wait_until(lambda: readyz(server)[1]["lake"]["error"])
        answer = run("otlp-collector", "serve", "--data-dir", server.data_dir)
        assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
        assert f"{server.data_dir} is not writable" in answer.stderr
    wait_for(server, 200)
    spans.append(model_call())
    send(server, spans[-1])
    wait_until_stored(server, *spans)


def test_doctor_puts_damaged_files_aside_without_a_server(tmp_path: Path) -> None:
    """One file of spans and one of calls: what the others hold can be read afterwards, and no call is missing, as
    calls are built again from their spans."""
    with store(tmp_path / "data") as lake:
        for number in (1, 2):
            lake.load(traces(call(number, 1, response_id=f"r-{number}", at=number * SECOND)))
        cost = lake.ask("SELECT count(*), sum(cost_usd) FROM calls")
        files = data_files(lake.lake.connection)
    newest = {file.table: tmp_path / "data/data" / file.path for file in reversed(files)}
    oldest = {file.table: tmp_path / "data/data" / file.path for file in files}
    newest["spans"].write_bytes(b"")
    oldest["calls"].write_bytes(b"")
    command = ("otlp-collector", "doctor", "--repair", "--data-dir", tmp_path / "data", "--json")
    document = json.loads(run(*command).stdout)
    assert len(document["put_aside"]) == 2
    assert {check["name"]: check["level"] for check in document["checks"]}["data files"] == "ok"
    with Lake.open(tmp_path / "data", read_only=True) as reader:
        assert reader.connection.execute("SELECT count(*), sum(cost_usd) FROM calls").fetchall() == cost
        assert reader.connection.execute("SELECT trace_id FROM spans").fetchall() == [(f"{1:032x}",)]
    assert json.loads(run_here(*command).stdout)["put_aside"] == []
