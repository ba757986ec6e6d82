"""The power fails: files and directories fall back to what was last synced, at random moments of one run.

Guarantee: whenever it fails, every span of a request that was acknowledged before is in the lake or in the spool behind
the position that the lake holds; that position is never ahead of the rows, all of which can be read; nothing is there
twice, nothing that was not sent; a server that starts on what is left loads the rest.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.data_dir import CATALOG
from collector.spool import Position, Record, Spool, SpoolDamaged, read_records, resynchronise
from collector.store.extensions import connect_with_extensions
from collector.store.lake import Lake, attach_sql
from tests.faults.power import Disk, File, Folder, Worst, traced
from tests.faults.test_readiness import spans_stored
from tests.price_support import price_file
from tests.support import BIN, Collector, start_collector, wait_until

SEED = 20_260_314
CLIENTS = 3
# However busy the machine is: where nothing was loaded, no position could be wrong.
LOADS = 2
SPANS_PER_REQUEST = 20
PAUSE_SECONDS = 0.03
# A client's requests have numbers of their own.
FIRST = 1_000_000
POSITION = (
    "SELECT spool_segment, spool_offset FROM loads WHERE spool_segment IS NOT NULL"
    " ORDER BY spool_segment DESC, spool_offset DESC LIMIT 1"
)


def request_body(trace: int) -> tuple[bytes, list[str]]:
    """One request of one trace with ids that no other request has; every span is a call of its own."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    ids = []
    for number in range(1, SPANS_PER_REQUEST + 1):
        span = spans.add(
            name="chat", kind=3, trace_id=trace.to_bytes(16, "big"), span_id=number.to_bytes(8, "big")
        )
        span.start_time_unix_nano = 1_795_000_000_000_000_000 + trace * 1_000_000
        span.end_time_unix_nano = span.start_time_unix_nano + 5_000_000
        span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
        span.attributes.add(key="gen_ai.request.model").value.string_value = "gpt-4.1-mini"
        span.attributes.add(key="gen_ai.response.id").value.string_value = f"resp-{trace}-{number}"
        ids.append(f"{trace:032x}/{number:016x}")
    return request.SerializeToString(), ids


def tracing_works() -> str | None:
    """None, or why not: not every machine has strace, and not every container lets it."""
    if shutil.which("strace") is None:
        return "there is no strace on this machine"
    command = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"strace cannot trace here: {tried.stderr.strip()[:200]}"


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    if why := tracing_works():
        pytest.skip(f"the loss of power is not tested: {why}")


class Client(threading.Thread):
    """Sends one request after the other over one connection, and knows which answer was to which."""

    def __init__(self, collector: Collector, first: int) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", collector.http_port, timeout=10)
        self.connection.connect()
        self.port = int(self.connection.sock.getsockname()[1])
        self.stopping = threading.Event()
        self.sent: list[set[str]] = []
        self.answered = 0
        self.next = first

    def run(self) -> None:
        with contextlib.closing(self.connection):
            while not self.stopping.is_set():
                body, ids = request_body(self.next)
                self.next += 1
                self.sent.append(set(ids))
                self.connection.request(
                    "POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"}
                )
                answer = self.connection.getresponse()
                answer.read()
                assert answer.status == 200
                self.answered += 1
                self.stopping.wait(PAUSE_SECONDS)


@dataclass
class Run:
    """What happened while a server ran: on its disk, and between it and its clients."""

    disk: Disk
    data_dir: Path
    acknowledged: list[tuple[int, set[str]]]  # at which line, which spans
    sent: set[str]
    spooled: list[tuple[Position, set[str]]]  # all that was ever written to the spool

    def before(self, line: int) -> set[str]:
        return set().union(*(ids for at, ids in self.acknowledged if at <= line))


@contextlib.contextmanager
def clients(collector: Collector) -> Iterator[list[Client]]:
    senders = [Client(collector, FIRST * (number + 1)) for number in range(CLIENTS)]
    for sender in senders:
        sender.start()
    yield senders
    for sender in senders:
        sender.stopping.set()
    for sender in senders:
        sender.join(20)


def run_for(folder: Path, seconds: float) -> Run:
    """A server that starts with nothing, takes requests, is stopped, and was watched all the while."""
    data_dir, trace = folder / "data", folder / "trace"
    collector = start_collector(data_dir, under=traced(trace))
    try:
        with clients(collector) as senders:
            time.sleep(seconds)
            for _ in range(LOADS):
                before = spans_stored(collector)
                wait_until(lambda known=before: spans_stored(collector) > known, 60)
    finally:
        assert collector.stop() == 0
    disk = finished(data_dir, trace)
    acknowledged = []
    for sender in senders:
        lines = disk.answers[collector.http_port, sender.port]
        assert len(lines) == sender.answered > 0
        acknowledged += zip(lines, sender.sent, strict=False)
    sent = set().union(*(ids for sender in senders for ids in sender.sent))
    return Run(disk, data_dir, acknowledged, sent, spooled(disk, data_dir, folder / "whole"))


def finished(data_dir: Path, trace: Path) -> Disk:
    """Once strace has written the end of the process that it started, which is the first of all."""
    first = trace.read_text().split(maxsplit=1)[0]
    wait_until(lambda: re.search(rf"^{first} +\+\+\+ exited", trace.read_text(), re.MULTILINE))
    return Disk(data_dir, trace)


def spooled(disk: Disk, data_dir: Path, target: Path) -> list[tuple[Position, set[str]]]:
    """Every record of every segment that ever was, freed ones too."""
    spool = disk.node(data_dir / "spool")
    assert isinstance(spool, Folder)
    target.mkdir()
    for _, names in spool.changes:
        for name, node in names.items():
            if isinstance(node, File) and name.endswith(".spool"):
                (target / name).write_bytes(node.content(len(node.changes) and node.changes[-1][0], None))
    return [(position, ids_of(record)) for position, record in read_records(target, None, (1 << 62, 0))]


def ids_of(record: Record) -> set[str]:
    request = ExportTraceServiceRequest.FromString(record.body)
    spans = request.resource_spans[0].scope_spans[0].spans
    return {f"{span.trace_id.hex()}/{span.span_id.hex()}" for span in spans}


def records_behind(directory: Path, position: Position | None, end: Position) -> Iterator[Record]:
    """As the loader reads them: what is no record is passed over."""
    while True:
        try:
            for _, record in read_records(directory, position, end):
                yield record
        except SpoolDamaged as damage:
            position = resynchronise(directory, damage.segment, damage.offset, end)
        else:
            return


@dataclass
class Left:
    """What is left: the spans of the lake, its position, and the spans in the spool behind that."""

    stored: list[str]
    position: Position | None
    waiting: set[str]


class Looker:
    """Looks at what is left, with one connection: loading DuckLake takes longer than a look."""

    def __init__(self) -> None:
        self._connection = connect_with_extensions({"threads": 1})

    def look(self, data_dir: Path) -> Left:
        data_dir.mkdir(exist_ok=True)
        stored, position = self._look_at_lake(data_dir) if (data_dir / CATALOG).exists() else ([], None)
        spool = Spool.open(data_dir / "spool")
        waiting = set().union(*map(ids_of, records_behind(spool.directory, position, spool.durable)))
        return Left(stored, position, waiting)

    def _look_at_lake(self, data_dir: Path) -> tuple[list[str], Position | None]:
        """Every value of every row is read. There is nothing where the power failed before the first transaction."""
        connection = self._connection
        connection.execute(attach_sql(data_dir, read_only=False))
        try:
            position = connection.execute(f"USE lake; {POSITION}").fetchone()
            return self._spans(), position
        except duckdb.CatalogException:
            return [], None
        finally:
            connection.execute("USE memory; DETACH lake")

    def _spans(self) -> list[str]:
        tables = [table.select(["trace_id", "span_id"]) for table in self._tables("spans")]
        spans = [f"{row['trace_id']}/{row['span_id']}" for table in tables for row in table.to_pylist()]
        assert sum(table.num_rows for table in self._tables("calls")) == len(spans), "a span without its call"
        assert any(table.num_rows for table in self._tables("prices"))
        return spans

    def _tables(self, name: str) -> list[pa.Table]:
        """Files as a whole: DuckDB plans half a second for all columns of a lake's table."""
        found = self._connection.execute(
            f"SELECT data_file FROM ducklake_list_files('lake', '{name}')"
        ).fetchall()
        return [pq.ParquetFile(file).read() for (file,) in found]


def check(run: Run, left: Left, line: int) -> None:
    stored = set(left.stored)
    assert len(stored) == len(left.stored), "a span is stored twice"
    assert stored <= run.sent, "something is stored that was never sent"
    lost = run.before(line) - stored - left.waiting
    assert not lost, f"{len(lost)} acknowledged spans are gone"
    if left.position is not None:
        passed = set().union(*(ids for position, ids in run.spooled if position <= left.position))
        assert passed <= stored, "the position is ahead of the rows"


def fail_at_random(run: Run, folder: Path, rounds: int) -> Iterator[tuple[int, Path]]:
    """So many lines behind which the power fails, and what is left then: half of them right behind an answer."""
    chance = random.Random(SEED)
    answers = [line for line, _ in run.acknowledged]
    for number in range(rounds):
        line = chance.choice(answers if number % 2 else run.disk.lines)
        target = folder / f"left-{number}"
        run.disk.write_image(target, line, chance)
        yield line, target


def assert_model_is_true(run: Run) -> None:
    """Where nothing is lost, it has what the disk has; shared memory is written without calls."""
    target = run.data_dir.with_name("all")
    run.disk.write_image(target, run.disk.lines[-1], None)
    for path in [path for path in run.data_dir.rglob("*") if path.is_file() and path.suffix != ".sqlite-shm"]:
        assert (target / path.relative_to(run.data_dir)).read_bytes() == path.read_bytes(), path


def load_the_rest(run: Run, data_dir: Path, line: int) -> None:
    collector = start_collector(data_dir)
    acknowledged = run.before(line)
    found: list[str] = []

    def stored() -> bool:
        found[:] = [row["id"] for row in collector.sql("SELECT trace_id || '/' || span_id AS id FROM spans")]
        return acknowledged <= set(found)

    try:
        wait_until(stored)
    finally:
        assert collector.stop() == 0
    assert len(found) == len(set(found)) and set(found) <= run.sent


def test_what_was_acknowledged_survives_the_loss_of_power(tmp_path: Path) -> None:
    lose_power(tmp_path, seconds=2.0, rounds=24, restarts=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_what_was_acknowledged_survives_the_loss_of_power_five_hundred_times(tmp_path: Path) -> None:
    """Long enough for segments that are freed and for small files that are merged."""
    lose_power(tmp_path, seconds=45.0, rounds=500, restarts=20)


def lose_power(folder: Path, seconds: float, rounds: int, restarts: int) -> None:
    run = run_for(folder, seconds)
    assert_model_is_true(run)
    looker = Looker()
    for number, (line, data_dir) in enumerate(fail_at_random(run, folder, rounds)):
        check(run, looker.look(data_dir), line)
        if number < restarts:
            load_the_rest(run, data_dir, line)
        shutil.rmtree(data_dir)


# One after the other over one lake; each commits something.
COMMANDS = (
    "otlp-backfill {folder}/spans.pb --data-dir {data_dir}",
    "otlp-collector prices update --from {folder}/prices.json --data-dir {data_dir}",
    "otlp-collector reprice --data-dir {data_dir}",
    "otlp-analyze cost --since 2020-01-01 --data-dir {data_dir}",
)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_what_commands_have_committed_survives_the_loss_of_power(tmp_path: Path) -> None:
    """With nothing but what was synced at the end, and at random before: every file that the catalog names is whole."""
    data_dir, trace = tmp_path / "data", tmp_path / "trace"
    body, ids = request_body(1)
    (tmp_path / "spans.pb").write_bytes(body)
    price_file(tmp_path, input_mtok="10", output_mtok="20")
    script = " && ".join(f"{BIN}/{command}" for command in COMMANDS).format(
        folder=tmp_path, data_dir=data_dir
    )
    subprocess.run([*traced(trace), "sh", "-c", script], check=True, capture_output=True)
    disk = finished(data_dir, trace)
    with Lake.open(data_dir, read_only=True, threads=1) as lake:
        expected = whole(lake.connection)
    assert expected["spans"] == expected["calls"] == len(ids)
    assert (expected["price_snapshots"], expected["runs"]) == (2, 1)
    assert left_of(disk, tmp_path / "end", disk.lines[-1], Worst()) == expected
    chance = random.Random(SEED)
    for number in range(20):
        left_of(disk, tmp_path / f"left-{number}", chance.choice(disk.lines), chance)


def left_of(disk: Disk, target: Path, line: int, chance: random.Random) -> dict[str, int]:
    disk.write_image(target, line, chance)
    if not (target / CATALOG).exists():
        return {}
    with connect_with_extensions({"threads": 1}) as connection:
        connection.execute(f"{attach_sql(target, read_only=False)}; USE lake")
        return whole(connection)


def whole(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many rows each table has; what is in files is read, all of it."""
    found = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'"
    ).fetchall()
    for (table,) in found:
        listed = f"SELECT data_file FROM ducklake_list_files('lake', '{table}')"
        for (file,) in connection.execute(listed).fetchall():
            pq.ParquetFile(file).read()
    counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchall() for (table,) in found]
    return {table: rows[0][0] for (table,), rows in zip(found, counts, strict=True)}
