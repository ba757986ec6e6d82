"""What goes wrong in real life, each at a real process.

Guarantee: one clear sentence that says what, where and what was expected; nothing lost, nothing half-written; the next
good request or file loads.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import uuid
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support import Collector, free_port, run, run_here, wait_until

START = 1_795_000_000_000_000_000


def json_span(**fields: Any) -> dict[str, Any]:
    return {
        "traceId": uuid.uuid4().hex,
        "spanId": uuid.uuid4().hex[:16],
        "name": "chat",
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 1),
        **fields,
    }


def json_body(*spans: dict[str, Any]) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode()


def post(collector: Collector, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and decoded JSON body of one POST to /v1/traces."""
    connection = http.client.HTTPConnection("127.0.0.1", collector.http_port, timeout=60)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/json", **names})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def assert_good_request_loads(collector: Collector) -> None:
    span = json_span()
    assert post(collector, json_body(span)) == (200, {})
    wait_until(lambda: stored(collector, span["spanId"]))


def stored(collector: Collector, span_id: str) -> list[dict[str, Any]]:
    return collector.sql(f"SELECT * FROM spans WHERE span_id = '{span_id}'")


def one_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 1, text
    return lines[0]


def test_an_unknown_config_key_is_named_with_its_file_before_any_port_opens(tmp_path: Path) -> None:
    config = tmp_path / "collector.yaml"
    config.write_text("grpc_endpiont: 127.0.0.1:4317\n")
    for command in ("serve", "validate"):
        answer = run_here("otlp-collector", command, "--config", config)
        assert answer.returncode == 2
        line = one_line(answer.stderr)
        assert "grpc_endpiont" in line
        assert "collector.yaml" in line
        assert "grpc_endpoint" in line


def test_a_wrong_config_value_says_what_is_allowed(tmp_path: Path) -> None:
    config = tmp_path / "collector.yaml"
    config.write_text("keep:\n  spans: some\n")
    answer = run_here("otlp-collector", "validate", "--config", config)
    assert answer.returncode == 2
    line = one_line(answer.stderr)
    for part in ("keep.spans", "collector.yaml", "all", "genai", "none"):
        assert part in line


def test_a_taken_port_is_named_and_nothing_is_left_running(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        for option in ("--grpc-endpoint", "--http-endpoint", "--admin-endpoint"):
            endpoints = {
                name: f"127.0.0.1:{free_port()}"
                for name in ("--grpc-endpoint", "--http-endpoint", "--admin-endpoint")
            }
            endpoints[option] = f"127.0.0.1:{taken}"
            words = [word for pair in endpoints.items() for word in pair]
            answer = run("otlp-collector", "serve", "--data-dir", tmp_path / "data", *words)
            assert answer.returncode == 2
            assert f"127.0.0.1:{taken}" in answer.stderr
            assert option in answer.stderr
            assert "Traceback" not in answer.stderr


def test_a_data_directory_that_is_a_file_or_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = run("otlp-collector", "serve", "--data-dir", tmp_path / "file")
    assert answer.returncode == 2
    assert str(tmp_path / "file") in one_line(answer.stderr)
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    answer = run("otlp-collector", "serve", "--data-dir", tmp_path / "open")
    assert answer.returncode == 2
    line = one_line(answer.stderr)
    assert "0700" in line
    assert "chmod" in line


def test_a_second_server_on_one_data_directory_is_refused(collector: Collector) -> None:
    endpoints = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    names = ("--grpc-endpoint", "--http-endpoint", "--admin-endpoint")
    words = [word for pair in zip(names, endpoints, strict=True) for word in pair]
    answer = run("otlp-collector", "serve", "--data-dir", collector.data_dir, *words)
    assert answer.returncode == 2
    assert str(collector.data_dir) in one_line(answer.stderr)
    assert_good_request_loads(collector)


def test_garbage_is_refused_with_its_place_and_harms_nothing(collector: Collector) -> None:
    status, answer = post(collector, b'{"resourceSpans": [')
    assert status == 400
    assert "JSON" in answer["message"]
    status, answer = post(collector, b"\x0a\xff\xff\xff", Content_Type="application/json")
    assert status == 400
    assert_good_request_loads(collector)


def test_a_truncated_gzip_body_is_refused(collector: Collector) -> None:
    whole = gzip.compress(json_body(json_span()))
    status, answer = post(collector, whole[: len(whole) // 2], Content_Encoding="gzip")
    assert status == 400
    assert "gzip" in answer["message"]
    assert_good_request_loads(collector)


def test_base64_ids_reject_that_span_alone_and_say_hex(collector: Collector) -> None:
    good = json_span()
    bad = json_span(traceId="W47/95gDgQPSabYzgT/GDA==", spanId="7uGbfsPBsXQ=")
    status, answer = post(collector, json_body(bad, good))
    assert status == 200
    assert int(answer["partialSuccess"]["rejectedSpans"]) == 1
    assert "hex" in answer["partialSuccess"]["errorMessage"]
    wait_until(lambda: stored(collector, good["spanId"]))


@pytest.mark.parametrize(
    "poison",
    [
        {"attributes": [{"key": "big", "value": {"intValue": str(2**70)}}]},
        {"attributes": [{"key": "nul", "value": {"stringValue": "a\x00b"}}]},
        {"attributes": [{"key": "gen_ai.usage.input_tokens", "value": {"stringValue": "many"}}]},
        {"attributes": [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "-5"}}]},
        {"startTimeUnixNano": str(2**63 - 1), "endTimeUnixNano": "0"},
        {"name": "x" * 300_000},
        {"attributes": {"not": "a list"}},
        {"attributes": [None, 5, {"value": {"stringValue": "no key"}}]},
    ],
    ids=["int", "nul", "tokens", "negative", "time", "long", "shape", "elements"],
)
def test_a_poison_span_harms_neither_its_neighbour_nor_the_next_request(
    collector: Collector, poison: dict[str, Any]
) -> None:
    good, bad = json_span(), json_span(**poison)
    status, answer = post(collector, json_body(bad, good))
    assert status in (200, 400), answer
    if status == 200:
        wait_until(lambda: stored(collector, good["spanId"]))
    else:
        assert answer["message"]
    assert_good_request_loads(collector)


def test_json_that_is_not_quite_json_is_stored_as_it_was_meant(collector: Collector) -> None:
    """Half an emoji, NaN as Python writes it, numbers that nothing can hold: the span is there, its neighbour too."""
    attributes = [
        {"key": "half", "value": {"stringValue": "HALF"}},
        {"key": "nan", "value": {"doubleValue": float("nan")}},
        {"key": "vast", "value": {"doubleValue": "VAST"}},
        {"key": "digits", "value": {"intValue": int("123" * 10)}},
        {"key": "whole", "value": {"intValue": "WHOLE"}},
    ]
    good, odd = json_span(), json_span(name="HALF", attributes=attributes)
    body = json_body(odd, good).replace(b"HALF", rb"\ud83d")
    body = body.replace(b'"VAST"', b"1e999").replace(b'"WHOLE"', b"9007199254740993.0")
    assert post(collector, body) == (200, {})
    wait_until(lambda: stored(collector, good["spanId"]))
    [row] = stored(collector, odd["spanId"])
    assert row["name"] == "\ufffd"
    assert json.loads(row["attributes"]) == {
        "half": "\ufffd",
        "nan": {"$double": "NaN"},
        "vast": None,
        "digits": None,
        "whole": 9007199254740993,
    }
    assert row["notes"] == ["double_out_of_range", "integer_out_of_range"]
    assert_good_request_loads(collector)


def test_a_protobuf_with_half_of_its_bytes_is_refused(collector: Collector) -> None:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name="chat")
    span.trace_id, span.span_id = os.urandom(16), os.urandom(8)
    body = request.SerializeToString()
    connection = http.client.HTTPConnection("127.0.0.1", collector.http_port, timeout=60)
    connection.request("POST", "/v1/traces", body[:-3], {"Content-Type": "application/x-protobuf"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/x-protobuf")
    assert_good_request_loads(collector)


def test_a_file_that_is_not_otlp_is_refused_and_leaves_the_lake_as_it_was(
    collector: Collector, tmp_path: Path
) -> None:
    before = collector.sql("SELECT count(*) AS n FROM spans")
    for name, content in {
        "notes.json": b'{"hello": 1}',
        "notes.txt": b"hello\n",
        "x.pb": b"\xff" * 50,
    }.items():
        (tmp_path / name).write_bytes(content)
        answer = run_here("otlp-backfill", tmp_path / name, "--data-dir", collector.data_dir)
        assert answer.returncode == 1
        assert name in answer.stderr + answer.stdout
        assert "Traceback" not in answer.stderr
    assert collector.sql("SELECT count(*) AS n FROM spans") == before
    answer = run_here("otlp-backfill", tmp_path / "absent.json", "--data-dir", collector.data_dir)
    assert answer.returncode == 2
    assert "absent.json" in answer.stderr


def test_a_truncated_gzip_file_says_where_it_ended(collector: Collector, tmp_path: Path) -> None:
    lines = b"\n".join(json_body(json_span()) for _ in range(200))
    whole = gzip.compress(lines)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    answer = run_here("otlp-backfill", tmp_path / "cut.jsonl.gz", "--data-dir", collector.data_dir)
    assert answer.returncode == 1
    assert "cut.jsonl.gz" in answer.stderr + answer.stdout
    assert "gzip" in answer.stderr + answer.stdout
    assert_good_request_loads(collector)
