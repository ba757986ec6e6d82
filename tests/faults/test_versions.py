"""A lake that another version of this program wrote, met by a real `serve`.

Guarantee: an older one is copied aside, then brought up, and with the copy the older program could go on; a newer
one is refused by every command in one line and stays as it is.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from collector.data_dir import CATALOG
from collector.store.lake import Lake, lake_version
from collector.store.statements import LATEST_VERSION
from tests.store_support import call, fingerprint, store, traces
from tests.support import free_port, run, run_here, running

COST = "SELECT count(*) AS calls, sum(cost_usd) AS cost FROM calls"
# What later versions have brought, taken back.
TO_VERSION_1 = """
DROP TABLE lake.alerts;
DROP TABLE lake.price_snapshots;
ALTER TABLE lake.prices DROP COLUMN model_match;
DELETE FROM lake.schema_migrations;
INSERT INTO lake.schema_migrations VALUES (1, now()::TIMESTAMP);
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A lake of version 1 with two calls."""
    path = tmp_path / "data"
    with store(path) as lake:
        lake.load(traces(call(1, 1), call(2, 1)))
        lake.lake.connection.execute(TO_VERSION_1)
    return path


def test_an_older_lake_is_copied_aside_and_brought_up(old: Path, tmp_path: Path) -> None:
    with Lake.open(old, read_only=True) as before:
        costs = before.connection.execute(COST).fetchall()
    with running(old) as server:
        assert server.sql(COST)[0]["calls"] == 2
    with Lake.open(old, read_only=True) as lake:
        assert lake_version(lake) == LATEST_VERSION
        assert lake.connection.execute(COST).fetchall() == costs
    (copy,) = old.glob("catalog.v1.*.sqlite")
    back = shutil.copytree(old, tmp_path / "back")
    shutil.copyfile(copy, back / CATALOG)
    with Lake.open(back, read_only=True) as lake:
        assert lake_version(lake) == 1
        assert lake.connection.execute(COST).fetchall() == costs
        columns = [column[0] for column in lake.connection.execute("DESCRIBE prices").fetchall()]
        assert "model_match" not in columns


def test_a_newer_lake_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with store(path) as lake:
        lake.load(traces(call(1, 1)))
        lake.lake.connection.execute("INSERT INTO lake.schema_migrations VALUES (99, now()::TIMESTAMP)")
    before = fingerprint(path / "data"), (path / CATALOG).read_bytes()
    file = tmp_path / "spans.json"
    file.write_text('{"resourceSpans": []}')
    endpoints = [
        word
        for name in ("grpc", "http", "admin")
        for word in (f"--{name}-endpoint", f"127.0.0.1:{free_port()}")
    ]
    for command in (
        ("otlp-collector", "serve", *endpoints),
        ("otlp-collector", "sql", COST),
        ("otlp-backfill", str(file)),
    ):
        ask = run if "serve" in command else run_here
        answer = ask(*command, "--data-dir", path)
        assert answer.returncode == 2, (command, answer)
        (line,) = (line for line in answer.stderr.splitlines() if line.startswith("Error: "))
        assert "schema version 99, this program knows versions up to" in line
        assert "Traceback" not in answer.stderr
    assert (fingerprint(path / "data"), (path / CATALOG).read_bytes()) == before
    assert not list(path.glob("catalog.v*"))
