"""The admin port over a real socket: health, readiness and metrics as their readers see them."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from collector.access import Access
from collector.admin.app import start_admin
from collector.budgets.desk import Desk
from collector.children import LoaderKeeper
from collector.config import Config
from collector.health import Health, Lag
from collector.receivers.auth import Authenticator
from collector.spool import Spool
from collector.telemetry import COUNTERS, Telemetry


def health(spool: Spool) -> Health:
    ready = Health(spool.directory.parent, spool, LoaderKeeper([], {}, lambda _message: None))
    ready.ports = {"grpc": "127.0.0.1:1", "http": "127.0.0.1:2", "admin": "127.0.0.1:3"}
    ready.lake_created = True
    return ready


def ask(tmp_path: Path, path: str, prepare: Callable[[Health, Telemetry], Any]) -> tuple[int, Any, bytes]:
    """Status, headers and body of a GET against a server in the state that ``prepare`` makes."""

    def get(port: int) -> tuple[int, Any, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    async def scenario() -> tuple[int, Any, bytes]:
        spool = Spool.open(tmp_path / "spool")
        state, telemetry = health(spool), Telemetry()
        prepare(state, telemetry)
        config = Config(data_dir=tmp_path, admin_endpoint="127.0.0.1:0")
        server = await start_admin(state, telemetry, config, Access(config, Authenticator({})), Desk(config))
        try:
            return await asyncio.to_thread(get, server.port)
        finally:
            await server.close()
            await server.close()
            await spool.close()

    return asyncio.run(scenario())


def test_alive_is_alive_whatever_the_lake_does(tmp_path: Path) -> None:
    """/healthz is about the process alone."""

    def broken(state: Health, _telemetry: Telemetry) -> None:
        state.lake_created, state.lake_error, state.spool.failure = False, "gone", "EIO"

    status, _, body = ask(tmp_path, "/healthz", broken)
    assert (status, json.loads(body)) == (200, {"status": "ok"})


def test_ready_says_what_it_looked_at(tmp_path: Path) -> None:
    """200 with spool, lake, loader, lag and ports in the body; no cache may keep it."""
    status, headers, body = ask(tmp_path, "/readyz", lambda _state, _telemetry: None)
    report = json.loads(body)
    assert (status, report["ready"]) == (200, True)
    assert report["spool"]["state"] == "ok"
    assert report["loader"]["lag_seconds"] == 0
    assert set(report["ports"]) == {"grpc", "http", "admin"}
    assert headers["Cache-Control"] == "no-store"


def test_what_keeps_the_server_from_accepting_makes_it_unready(tmp_path: Path) -> None:
    """Ports not bound, lake never created, a disk that refuses, a stop in progress: 503 with the reason."""
    changes = {
        "ports": {},
        "lake_created": False,
        "stopping": True,
    }
    for name, value in changes.items():
        status, _, body = ask(tmp_path, "/readyz", lambda state, _t, n=name, v=value: setattr(state, n, v))
        assert (name, status, json.loads(body)["ready"]) == (name, 503, False)
    status, _, body = ask(tmp_path, "/readyz", lambda state, _t: setattr(state.spool, "failure", "disk full"))
    assert (status, json.loads(body)["spool"]["error"]) == (503, "disk full")


def test_later_trouble_of_the_lake_shows_but_does_not_make_it_unready(tmp_path: Path) -> None:
    """Requests are still accepted into the spool, so the port stays open to them."""
    status, _, body = ask(tmp_path, "/readyz", lambda state, _t: setattr(state, "lake_error", "disk full"))
    assert (status, json.loads(body)["lake"]) == (200, {"created": True, "error": "disk full"})


def test_metrics_are_prometheus_text_with_otelcols_names(tmp_path: Path) -> None:
    """What was received, refused and stored, by otelcol's names; each series starts with 0."""

    def count(_state: Health, telemetry: Telemetry) -> None:
        telemetry.received("traces", "grpc", 7)
        telemetry.refused("logs", "http", "id_zero", 2)
        telemetry.refused("logs", "http", "too_large", 0)
        telemetry.refused("traces", "grpc", "spool", 5)
        telemetry.loaded({"spans_stored": 5, "spans_duplicate": 2, "duration_ms": 40})
        telemetry.loaded({"log_records_not_kept": 3, "duration_ms": 400})
        telemetry.quarantined("metrics", 9)
        telemetry.quarantined(None, 0)
        telemetry.run_ended("timeout")
        telemetry.alerts_looked_at("ok")
        telemetry.alerts_sent("webhook", 3, 1)

    status, headers, body = ask(tmp_path, "/metrics", count)
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = set(body.decode().splitlines())
    assert {
        'otelcol_receiver_accepted_spans_total{receiver="otlp",transport="grpc"} 7.0',
        'otelcol_receiver_accepted_spans_total{receiver="otlp",transport="http"} 0.0',
        'otelcol_receiver_refused_log_records_total{receiver="otlp",transport="http"} 2.0',
        'otelcol_receiver_accepted_metric_points_total{receiver="otlp",transport="grpc"} 0.0',
        'otelcol_exporter_sent_spans_total{exporter="lake"} 5.0',
        'spanledger_duplicate_items_total{signal="spans"} 2.0',
        'spanledger_not_kept_items_total{signal="log_records"} 3.0',
        'spanledger_rejected_items_total{reason="id_zero",signal="log_records"} 2.0',
        'spanledger_rejected_items_total{reason="spool",signal="spans"} 5.0',
        'spanledger_refused_requests_total{reason="too_large",transport="http"} 1.0',
        'otelcol_receiver_refused_spans_total{receiver="otlp",transport="grpc"} 5.0',
        'otelcol_exporter_enqueue_failed_spans_total{exporter="lake"} 5.0',
        'otelcol_exporter_send_failed_metric_points_total{exporter="lake"} 9.0',
        "spanledger_quarantined_requests_total 2.0",
        'spanledger_scheduled_runs_total{outcome="timeout"} 1.0',
        'spanledger_alert_looks_total{outcome="ok"} 1.0',
        'spanledger_alert_messages_total{channel="webhook",outcome="taken"} 3.0',
        'spanledger_alert_messages_total{channel="webhook",outcome="not_taken"} 1.0',
        'spanledger_alert_messages_total{channel="email",outcome="taken"} 0.0',
        'spanledger_load_duration_seconds_bucket{le="0.05"} 1.0',
    } <= lines


def test_no_label_is_chosen_by_a_client(tmp_path: Path) -> None:
    """Whatever reason a refusal gives, the labels stay within their closed lists."""

    def count(_state: Health, telemetry: Telemetry) -> None:
        telemetry.refused("traces", "http", "x" * 50, 1)
        telemetry.refused(None, "http", "/some/path", 0)

    _, _, body = ask(tmp_path, "/metrics", count)
    closed = {row.name: row.labels for row in COUNTERS}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples if family.name in closed else ():
            for label, value in sample.labels.items():
                assert value in closed[family.name][label], sample


def test_lag_is_the_age_of_the_oldest_request_not_loaded() -> None:
    """It grows while nothing is loaded, falls as positions are passed, and is 0 when all are."""
    lag = Lag()
    for second in range(5):
        lag.durable((1, 100 * (second + 1)), 1000.0 + second)
    assert lag.seconds(1010.0) == 10.0
    lag.loaded((1, 250))
    assert lag.seconds(1010.0) == 8.0
    lag.loaded((1, 500))
    assert lag.seconds(1010.0) == 0.0


def test_lag_does_not_count_requests_twice_or_for_nothing() -> None:
    """An empty new segment is no request; what was loaded before its position was heard of is not waiting."""
    lag = Lag()
    lag.durable((2, 0), 1000.0)
    assert lag.seconds(1010.0) == 0.0
    lag.loaded((2, 50))
    lag.durable((2, 50), 1000.0)
    assert lag.seconds(1010.0) == 0.0


def test_lag_begins_with_what_the_last_run_left() -> None:
    """Its age is that of its oldest request; it is over when the loader has passed its end."""
    lag = Lag()
    lag.durable((9, 100), 1000.0)
    lag.left_over((8, 500), 400.0)
    assert lag.seconds(1000.0) == 600.0
    lag.loaded((8, 500))
    assert lag.seconds(1000.0) == 0.0
    lag.left_over((7, 500), 300.0)
    assert lag.seconds(1010.0) == 10.0


def test_lag_of_a_long_backlog_needs_little_memory() -> None:
    """Group commits come by the thousand a second; what is remembered does not."""
    lag = Lag()
    for number in range(10_000):
        lag.durable((1, number + 1), 1000.0 + number / 1000)
    assert len(lag._unloaded) <= 21
    assert lag.seconds(1010.0) == 10.0


def test_a_full_spool_is_said(tmp_path: Path) -> None:
    """/readyz shows the state; accepting resumes by itself when the loader catches up."""

    def fill(state: Health, _telemetry: Telemetry) -> None:
        state.spool.max_bytes = 0

    _, _, body = ask(tmp_path, "/readyz", fill)
    assert json.loads(body)["spool"]["state"] == "full"
