"""A key of the redaction that cannot be used while the collector runs."""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.otlp_data import span_json, traces_json
from tests.support import run_here, running, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")

LOADED = 'otelcol_exporter_sent_spans_total{exporter="lake"}'


def test_without_its_key_nothing_is_redacted_and_nothing_is_loaded(tmp_path: Path) -> None:
    """Scenario: the key becomes readable for others, and the loader dies. What was accepted waits in the spool; no
    second key is made; a start would be refused. With the key as it was everything is loaded."""
    with running(tmp_path / "data", config="redaction: {hash: [app.customer]}") as collector:
        key, log = tmp_path / "data/redaction.key", collector.log
        first = key.read_bytes()
        key.chmod(0o644)
        kill_children(collector.process.pid)
        body, json = traces_json(span_json({"app.customer": "Jane"})), {"Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{collector.http}/v1/traces", body, json)
        ) as answer:
            assert answer.status == 200
        wait_until(lambda: "loader cannot work" in log.read_text())
        assert "open to other users" in log.read_text()
        assert f"{LOADED} 0.0" in collector.metrics()
        refused = run_here(
            "otlp-collector", "validate", "--config", tmp_path / "data.yaml", "--data-dir", tmp_path / "data"
        )
        assert (refused.returncode, "open to other users" in refused.stderr) == (2, True)
        key.chmod(0o600)
        wait_until(lambda: f"{LOADED} 1.0" in collector.metrics(), 60)
        assert key.read_bytes() == first
        assert "Jane" not in str(collector.sql("SELECT attributes FROM spans"))


def kill_children(pid: int) -> None:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), 9)
