"""Logs and metrics of real libraries over the wire, beside traces.

Guarantee: each GenAI log record and data point is stored once with its fields, however often it is sent; what `keep`
leaves out is counted where people look.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from tests.support import Collector, get_json, run_here, running, wait_until

CORPUS = Path(__file__).parents[1] / "corpus" / "otel-genai-openai"


def post(collector: Collector, signal: str, body: bytes, content_type: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", collector.http_port, timeout=60)
    try:
        connection.request("POST", f"/v1/{signal}", body, {"Content-Type": content_type})
        return connection.getresponse().status
    finally:
        connection.close()


def sent_records() -> list[dict[str, Any]]:
    logs = json.loads((CORPUS / "chat.logs.json").read_text())
    return [
        record
        for resource in logs["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]


def sent_points() -> list[tuple[str, str]]:
    """Name and time of every data point; a repeated export of the same point is the same row."""
    metrics = json.loads((CORPUS / "chat.metrics.json").read_text())
    return [
        (metric["name"], point["timeUnixNano"])
        for resource in metrics["resourceMetrics"]
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
        for kind in ("gauge", "sum", "histogram")
        for point in metric.get(kind, {}).get("dataPoints", [])
    ]


def test_logs_and_metrics_are_stored_once_in_either_encoding(collector: Collector) -> None:
    for signal in ("logs", "metrics"):
        for suffix, content_type in (("pb", "application/x-protobuf"), ("json", "application/json")):
            body = (CORPUS / f"chat.{signal}.{suffix}").read_bytes()
            assert post(collector, signal, body, content_type) == 200
    records, points = sent_records(), sent_points()
    assert records
    assert points
    wait_until(lambda: collector.sql("SELECT count(*) AS n FROM log_records")[0]["n"] >= len(records))
    wait_until(lambda: collector.sql("SELECT count(*) AS n FROM metric_points")[0]["n"] > 0)
    stored = collector.sql("SELECT time_unix_nano, trace_id, span_id FROM log_records")
    assert sorted((row["trace_id"], row["span_id"]) for row in stored) == sorted(
        (record["traceId"], record["spanId"]) for record in records
    )
    names = collector.sql("SELECT DISTINCT metric_name AS name, time_unix_nano AS time FROM metric_points")
    assert {(row["name"], str(row["time"])) for row in names} == set(points)


def test_what_is_not_kept_is_counted_where_people_look(tmp_path: Path) -> None:
    body = (CORPUS / "chat.logs.pb").read_bytes()
    with running(tmp_path / "data", config="keep: {logs: none}\n") as collector:
        assert post(collector, "logs", body, "application/x-protobuf") == 200
        count = len(sent_records())
        wanted = f'spanledger_not_kept_items_total{{signal="log_records"}} {float(count)}'
        wait_until(lambda: wanted in collector.metrics())
        assert collector.sql("SELECT count(*) AS n FROM log_records") == [{"n": 0}]
        for command in ("status", "doctor"):
            answer = run_here(
                "otlp-collector",
                command,
                "--data-dir",
                collector.data_dir,
                "--admin-endpoint",
                collector.admin.removeprefix("http://"),
            )
            assert f"{count} log record" in answer.stdout, command


def test_profiles_are_not_offered_and_say_so(collector: Collector) -> None:
    assert post(collector, "../v1development/profiles", b"{}", "application/json") == 404
    assert get_json(f"{collector.admin}/readyz")[0] == 200
