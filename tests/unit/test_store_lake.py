"""Creating, migrating and opening a lake."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import duckdb
import pytest

from collector.data_dir import CATALOG
from collector.store import extensions, migrate
from collector.store.lake import Lake, LakeError, LakeMissing, LakeTooNew, LakeUnavailable
from collector.store.lock import LockTimeout, loader_lock, writer_lock
from collector.store.migrate import open_current
from collector.store.statements import LATEST_VERSION
from tests.store_support import call, fingerprint, lay_empty_lake, span, store, traces

RELATIONS = (
    "spans", "log_records", "metric_points", "contents", "calls", "prices", "price_snapshots", "loads",
    "runs", "findings", "alerts", "schema_migrations", "sessions", "agents", "units",
)  # fmt: skip


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    lay_empty_lake(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def reader(empty: Path) -> Iterator[Lake]:
    with Lake.open(empty, read_only=True) as lake:
        yield lake


def test_every_relation_of_an_empty_lake_answers(reader: Lake) -> None:
    for relation in RELATIONS:
        rows = reader.connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
        if relation not in ("prices", "price_snapshots", "schema_migrations"):
            assert rows == [(0,)], relation
    assert reader.connection.execute("SELECT count(*) > 0 FROM prices").fetchall() == [(True,)]
    assert reader.connection.execute("SELECT max(version) FROM schema_migrations").fetchall() == [
        (LATEST_VERSION,)
    ]


def test_units_without_dimensions_has_its_columns(reader: Lake) -> None:
    columns = [row[0] for row in reader.connection.execute("DESCRIBE units").fetchall()]
    assert columns[:3] == ["tenant", "dimension", "value"]
    assert {"calls", "cost_usd", "input_tokens"} <= set(columns)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    empty = tmp_path / "data"
    open_current(empty, {}).close()
    assert stat.S_IMODE(empty.stat().st_mode) == 0o700
    assert stat.S_IMODE((empty / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((empty / CATALOG).stat().st_mode) == 0o600


def test_the_catalog_is_in_wal_mode_and_holds_no_telemetry(empty: Path) -> None:
    """Readers and writers would block each other otherwise; small inserts would land in the catalog."""
    with store(empty) as opened:
        opened.load(traces(call(1, 1, name="a name to look for")))
        opened.lake.close()
    with closing(sqlite3.connect(empty / CATALOG)) as catalog:
        assert catalog.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        inlined = catalog.execute("SELECT name FROM sqlite_master WHERE name LIKE 'ducklake_inlined_data_%'")
        tables = [name for (name,) in inlined if name != "ducklake_inlined_data_tables"]
        rows = [row for name in tables for row in catalog.execute(f'SELECT * FROM "{name}"')]
    assert not any("a name to look for" in str(row) for row in rows)


def test_creating_again_changes_nothing(empty: Path) -> None:
    snapshots = "SELECT max(snapshot_id) FROM ducklake_snapshot"
    with closing(sqlite3.connect(empty / CATALOG)) as catalog:
        before = catalog.execute(snapshots).fetchall()
    open_current(empty, {}).close()
    with closing(sqlite3.connect(empty / CATALOG)) as catalog:
        assert catalog.execute(snapshots).fetchall() == before


def test_a_dimension_can_come_later(empty: Path) -> None:
    open_current(empty, {"lead": "app.lead_id"}).close()
    with Lake.open(empty, read_only=True) as lake:
        assert lake.connection.execute("SELECT count(lead) FROM calls").fetchall() == [(0,)]
        assert lake.connection.execute("SELECT count(*) FROM units").fetchall() == [(0,)]


@pytest.mark.parametrize("name", ["provider", "no spaces", 'quo"te', "Upper"])
def test_a_dimension_that_cannot_be_a_column_is_refused_and_changes_nothing(empty: Path, name: str) -> None:
    before = fingerprint(empty)
    with pytest.raises(LakeError, match="cannot be a column of calls"):
        open_current(empty, {"fine": "app.fine", name: "app.key"}).close()
    with Lake.open(empty, read_only=True) as lake:
        assert "fine" not in [row[0] for row in lake.connection.execute("DESCRIBE calls").fetchall()]
    assert fingerprint(empty) == before


def test_a_lake_of_a_newer_program_is_left_alone(empty: Path) -> None:
    with Lake.open(empty) as lake:
        lake.connection.execute("INSERT INTO lake.schema_migrations VALUES (99, now()::TIMESTAMP)")
    before = fingerprint(empty)
    for attempt in (lambda: open_current(empty, {}).close(), lambda: Lake.open(empty, read_only=True)):
        with pytest.raises(LakeTooNew, match="schema version 99, this program knows versions up to"):
            attempt()
    assert fingerprint(empty) == before


def test_an_older_lake_is_copied_aside_then_migrated(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store(empty) as opened:
        opened.load(traces(call(1, 1)))
    migrations = migrate.migrations() | {
        LATEST_VERSION + 1: "ALTER TABLE lake.calls ADD COLUMN extra VARCHAR;"
    }
    monkeypatch.setattr(migrate, "migrations", lambda: migrations)
    monkeypatch.setattr(migrate, "LATEST_VERSION", LATEST_VERSION + 1)
    monkeypatch.setattr("collector.store.lake.LATEST_VERSION", LATEST_VERSION + 1)
    open_current(empty, {}).close()
    with Lake.open(empty, read_only=True) as lake:
        assert lake.connection.execute("SELECT count(*), count(extra) FROM calls").fetchall() == [(1, 0)]
        versions = lake.connection.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall()
    assert versions == [(LATEST_VERSION,), (LATEST_VERSION + 1,)]
    (copy,) = empty.glob(f"catalog.v{LATEST_VERSION}.*.sqlite")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as catalog:
        columns = catalog.execute(
            "SELECT count(*) FROM ducklake_column WHERE column_name = 'extra'"
        ).fetchall()
    assert columns == [(0,)]


def test_a_migration_that_fails_changes_nothing(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {LATEST_VERSION + 1: "ALTER TABLE lake.calls ADD COLUMN extra VARCHAR; SELECT nonsense;"}
    monkeypatch.setattr(migrate, "migrations", lambda: broken)
    monkeypatch.setattr(migrate, "LATEST_VERSION", LATEST_VERSION + 1)
    with pytest.raises(Exception, match="nonsense"):
        open_current(empty, {}).close()
    monkeypatch.undo()
    with Lake.open(empty, read_only=True) as lake:
        assert "extra" not in [row[0] for row in lake.connection.execute("DESCRIBE calls").fetchall()]


def test_no_lake_here(tmp_path: Path) -> None:
    with pytest.raises(LakeMissing, match="no lake in"):
        Lake.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_that_is_none(tmp_path: Path) -> None:
    (tmp_path / CATALOG).write_bytes(b"this is not a database" * 100)
    with pytest.raises(LakeUnavailable, match="cannot be opened"):
        Lake.open(tmp_path, read_only=True)


def test_a_lake_can_be_moved(empty: Path, tmp_path: Path) -> None:
    with store(empty) as opened:
        opened.load(traces(call(1, 1)))
    moved = empty.rename(tmp_path / "elsewhere")
    with store(moved) as opened:
        assert opened.load(traces(call(1, 1))).spans_duplicate == 1
        assert opened.one("SELECT count(*) FROM calls") == 1


def test_rows_of_loads_wait_in_the_catalog_and_every_reader_sees_them(empty: Path) -> None:
    """One row a commit: as a Parquet file each it would cost 20 ms and a merge later."""
    with store(empty) as opened:
        for number in range(2):
            opened.load(traces(span(number + 1, 1)), position=(1, number))
        assert opened.one("SELECT count(*) FROM loads") == 2
        assert not list((empty / "data" / "main").glob("loads/*"))
        opened.lake.connection.execute(
            "CALL ducklake_flush_inlined_data('lake', table_name => 'loads')"
        ).fetchall()
        assert opened.one("SELECT count(*) FROM loads") == 2
        assert opened.committer.spool_position() == (1, 1)


def test_an_extension_that_nobody_signed_is_not_loaded_into_an_open_lake(tmp_path: Path) -> None:
    """What the wheels hold is loaded unchecked; from then on DuckDB checks again, for good."""
    signed = extensions.extension_path("sqlite_scanner")
    assert signed is not None
    changed = tmp_path / "other.duckdb_extension"  # what is loaded already is not read again
    changed.write_bytes(signed.read_bytes()[:-256] + bytes(256))  # the signature is the end of the file
    with extensions.connect_with_extensions({}) as connection:
        assert {"ducklake", "sqlite_scanner"} <= {
            name
            for (name,) in connection.execute(
                "SELECT extension_name FROM duckdb_extensions() WHERE loaded"
            ).fetchall()
        }
        with pytest.raises(duckdb.Error, match="signature"):
            connection.execute(f"LOAD '{changed}'")
        with pytest.raises(duckdb.Error, match="Cannot change allow_unsigned_extensions"):
            connection.execute("SET allow_unsigned_extensions = true")


def test_two_that_spill_at_a_time_do_not_touch_each_others_files(empty: Path) -> None:
    """Scenario: a query and the loader both need more memory than they may take. Guarantee: both read what they wrote,
    and leave nothing behind. (In one folder this ended in a crash.)
    """
    rows = 1_500_000
    with ExitStack() as opened:
        lakes = [
            opened.enter_context(Lake.open(empty, read_only=True, threads=1, memory_limit="50MB"))
            for _ in range(2)
        ]
        for start, lake in enumerate(lakes):
            lake.connection.execute(
                f"CREATE TEMP TABLE spilled AS SELECT hash(i + {start * rows}) AS number FROM range({rows}) AS r(i),"
                " range(4)"
            )
        assert len(list(empty.glob("tmp-*"))) == len(lakes)
        for start, lake in enumerate(lakes):
            found = lake.connection.execute("SELECT sum(number) FROM spilled").fetchall()
            wanted = lake.connection.execute(
                f"SELECT 4 * sum(hash(i + {start * rows})) FROM range({rows}) AS r(i)"
            ).fetchall()
            assert found == wanted
    assert list(empty.glob("tmp-*")) == []


def test_the_extensions_come_from_the_installed_wheels() -> None:
    for wheel in extensions.EXTENSIONS:
        path = extensions.extension_path(wheel)
        assert path is not None
        assert path.name == f"{wheel}.duckdb_extension"
    assert extensions.extension_path("no_such_wheel") is None


def test_locks_exclude_other_processes_and_die_with_them(empty: Path) -> None:
    """kill -9 of a holder frees both locks at once; no child inherits them."""
    script = (
        "import sys, time, pathlib, subprocess\n"
        "from collector.store.lock import loader_lock, writer_lock\n"
        "data_dir = pathlib.Path(sys.argv[1])\n"
        "with loader_lock(data_dir), writer_lock(data_dir):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(empty)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        for lock in (writer_lock, loader_lock):
            with (
                pytest.raises(LockTimeout, match="held by another process"),
                lock(empty, timeout_seconds=0.05),
            ):
                pass
        holder.kill()
        holder.wait()
        for lock in (writer_lock, loader_lock):
            with lock(empty, timeout_seconds=5):
                pass
    finally:
        holder.kill()
        holder.stdout.close()
        subprocess.run(["kill", "-9", str(child)], check=False)


def test_a_migration_tried_again_and_again_leaves_one_copy(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader starts anew every few seconds: each copy is as large as the catalog. One cut off by a crash does not
    pass for a copy."""
    broken = {LATEST_VERSION + 1: "SELECT nonsense;"}
    monkeypatch.setattr(migrate, "migrations", lambda: broken)
    monkeypatch.setattr(migrate, "LATEST_VERSION", LATEST_VERSION + 1)
    (empty / f"catalog.v{LATEST_VERSION}.partial").write_bytes(b"half")
    for second in range(3):
        monkeypatch.setattr("time.strftime", lambda *_, at=second: f"20260101T00000{at}Z")
        with pytest.raises(duckdb.Error, match="nonsense"):
            open_current(empty, {})
    assert [path.name for path in empty.glob("catalog.v*")] == [
        f"catalog.v{LATEST_VERSION}.20260101T000000Z.sqlite"
    ]
