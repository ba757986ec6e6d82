"""Redaction as a deployment sets it up: over both transports, from files, for every signal.

Guarantee: once loaded, no file of the data directory holds a value that the rules name; one user is one hash
everywhere, in calls and their accounts too; without its key nothing starts.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from tests.otlp_data import logs_message, metrics_message, span_json, traces_json
from tests.support import Collector, run_here, running, wait_until

# Values that nothing else could spell by chance.
USER = f"ann-{uuid.uuid4()}"
EMAIL = f"{uuid.uuid4()}@example.com"
PHONE = f"+49-{uuid.uuid4()}"
SECRETS = (USER, EMAIL, PHONE)
CONFIG = f"""
redaction:
  drop: [email]
  hash: [phone, "customer.*"]
  user_ids: hash
keep: {{logs: all, metrics: all}}
capture: {{prompts: true, completions: true}}
accounts:
  - {{name: research, match: {{user: "{USER}"}}, plan_tier: api}}
dimensions:
  customer: {{attribute: customer.id}}
"""
ATTRIBUTES: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-mini",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 80,
    "gen_ai.input.messages": json.dumps([{"role": "user", "email": EMAIL, "content": "hello"}]),
    "metadata": json.dumps({"enduser": {"id": USER, "email": EMAIL}, "tries": 3}),
    "user.id": USER,
    "email": EMAIL,
    "phone": PHONE,
    "customer.id": 4711,
}
EVENT = {"enduser.id": USER, "email": EMAIL, "text": str({"phone": PHONE})}


def hashed(collector: Collector, value: str) -> str:
    key = (collector.data_dir / "redaction.key").read_bytes()
    return "hmac:" + hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:32]


def send_span(exporter: SpanExporter) -> None:
    """One call of a model through the SDK's own pipeline."""
    provider = TracerProvider(resource=Resource({"service.name": "shop", "phone": PHONE}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests.redaction", attributes={"email": EMAIL})
    with tracer.start_as_current_span("chat") as span:
        span.set_attributes(ATTRIBUTES)
        span.add_event("tick", EVENT)
    provider.shutdown()


def post(collector: Collector, signal: str, body: bytes, content_type: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", collector.http_port, timeout=60)
    try:
        connection.request("POST", f"/v1/{signal}", body, {"Content-Type": content_type})
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def backfill(collector: Collector) -> None:
    """A file of one span, while the collector runs."""
    path = collector.data_dir.parent / "old.jsonl"
    events = [
        {
            "name": "tick",
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in EVENT.items()],
        }
    ]
    path.write_bytes(traces_json(span_json(ATTRIBUTES, events=events), scope="tests.redaction"))
    config = collector.data_dir.parent / f"{collector.data_dir.name}.yaml"
    done = run_here("otlp-backfill", path, "--data-dir", collector.data_dir, "--config", config)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector that has loaded one span over each way, a log record and a data point."""
    log = {"attributes": {"user.id": USER, "phone": PHONE}, "body": {"who": {"email": EMAIL, "phone": PHONE}}}
    with running(tmp_path_factory.mktemp("redaction") / "data", config=CONFIG) as collector:
        send_span(HttpExporter(endpoint=f"{collector.http}/v1/traces"))
        send_span(GrpcExporter(endpoint=collector.grpc, insecure=True))
        backfill(collector)
        logs, metrics = logs_message(log, {"body": json.dumps(log["body"])}), metrics_message("m", ATTRIBUTES)
        for _ in range(2):  # the second time nothing is stored
            post(collector, "logs", logs.SerializeToString(), "application/x-protobuf")
        post(collector, "metrics", metrics.SerializeToString(), "application/x-protobuf")
        wait_until(lambda: counts(collector) == (3, 2, 1))
        wait_until(lambda: not any(USER.encode() in file.read_bytes() for file in spool(collector)))
        yield collector


def counts(collector: Collector) -> tuple[int, ...]:
    [row] = collector.sql(
        "SELECT (SELECT count(*) FROM spans) AS spans, (SELECT count(*) FROM log_records) AS logs,"
        " (SELECT count(*) FROM metric_points) AS points"
    )
    return tuple(row.values())


def spool(collector: Collector) -> list[Path]:
    return [path for path in (collector.data_dir / "spool").rglob("*") if path.is_file()]


def test_no_file_holds_what_the_rules_name(loaded: Collector) -> None:
    """Neither as bytes (catalog, its log, the collector's own log) nor in the columns of a Parquet file."""
    files = [path for path in loaded.data_dir.rglob("*") if path.is_file()]
    parquet = [path for path in files if path.suffix == ".parquet"]
    assert len(parquet) > 5
    assert any(path.name.startswith("catalog") for path in files)
    for path in (*files, loaded.log):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content = str(duckdb.sql(f"SELECT * FROM '{path}'").fetchall()).encode()
        found = [secret for secret in SECRETS if secret.encode() in content]
        assert not found, path


def test_what_is_kept_is_found_in_the_same_files(loaded: Collector) -> None:
    """So the test above looks where values are: one that no rule names stands there in plain text."""
    files = [
        path
        for path in loaded.data_dir.rglob("*.parquet")
        if "gpt-4.1-mini" in str(duckdb.sql(f"SELECT * FROM '{path}'").fetchall())
    ]
    assert len(files) >= 3


def test_one_user_is_one_hash_in_every_signal_and_in_calls(loaded: Collector) -> None:
    relations = ("spans", "log_records", "metric_points", "calls")
    users = " UNION ALL ".join(f"SELECT '{name}' AS relation, user_id FROM {name}" for name in relations)
    rows = loaded.sql(f"SELECT relation, user_id, count(*) AS rows FROM ({users}) GROUP BY ALL ORDER BY ALL")
    user = hashed(loaded, USER)
    assert [tuple(row.values()) for row in rows] == [
        ("calls", user, 3),
        ("log_records", user, 1),
        ("log_records", None, 1),
        ("metric_points", user, 1),
        ("spans", user, 3),
    ]


def test_attributes_events_and_bodies_hold_hashes(loaded: Collector) -> None:
    user, phone = hashed(loaded, USER), hashed(loaded, PHONE)
    rows = loaded.sql(
        "SELECT attributes::VARCHAR AS attributes, events::VARCHAR AS events, NULL AS body FROM spans"
        " UNION ALL SELECT NULL, NULL, body::VARCHAR FROM log_records"
    )
    spans, logs = rows[:3], rows[3:]
    for row in spans:
        attributes, [event] = json.loads(row["attributes"]), json.loads(row["events"])
        assert (attributes["user.id"], attributes["phone"]) == (user, phone)
        assert json.loads(attributes["metadata"]) == {"enduser": {"id": user}, "tries": 3}
        assert event["attributes"] == {"enduser.id": user}  # text that names a key and is no JSON goes whole
    body = {"who": {"phone": phone}}
    bodies = [json.loads(row["body"]) for row in logs]
    assert [json.loads(found) if isinstance(found, str) else found for found in bodies] == [body, body]


def test_accounts_and_dimensions_work_on_hashes(loaded: Collector) -> None:
    rows = loaded.sql("SELECT billing_account, customer, cost_usd > 0 AS priced FROM calls")
    assert rows == [{"billing_account": "research", "customer": hashed(loaded, "4711"), "priced": True}] * 3


def test_captured_content_is_redacted(loaded: Collector) -> None:
    rows = loaded.sql("SELECT DISTINCT content FROM contents WHERE key = 'gen_ai.input.messages'")
    assert [json.loads(row["content"]) for row in rows] == [[{"role": "user", "content": "hello"}]]


def test_what_is_dropped_is_counted_and_noted(loaded: Collector) -> None:
    rows = loaded.sql("SELECT dropped_attributes_count AS dropped, notes FROM spans")
    assert {row["dropped"] for row in rows} == {1}
    assert all("redacted" in row["notes"] for row in rows)


@pytest.mark.parametrize("key", [None, "short", "open"])
def test_without_a_key_nothing_starts_and_one_line_says_why(tmp_path: Path, key: str | None) -> None:
    path = tmp_path / "own.key"
    if key is not None:
        path.write_text(key * 10)
        path.chmod(0o644 if key == "open" else 0o600)
        if key == "short":
            path.write_text(key)
    config = tmp_path / "config.yaml"
    config.write_text(f"redaction: {{user_ids: hash, secret_file: {path}}}\n")
    for command in (("otlp-collector", "serve"), ("otlp-backfill", "/dev/null")):
        done = run_here(*command, "--config", config, "--data-dir", tmp_path / "data")
        assert done.returncode == 2
        [line] = done.stderr.strip().splitlines()
        assert str(path) in line
        assert "key of the redaction" in line
