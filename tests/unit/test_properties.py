"""Properties over arbitrary requests, made up by Hypothesis.

Guarantee: every valid request is accepted as a whole, in protobuf and in JSON, and every record of it comes back
with all that it holds; bytes changed at random are stored or refused with 400, by the functions and over a socket.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.config import LimitsConfig
from collector.receivers import admission
from semconv import validity
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Encoding, Settings, Signal
from semconv.validity import Verdict
from tests.fuzz.decode import SETTINGS, check_request
from tests.fuzz.seeds import JSON, PROTOBUF, seeds
from tests.otlp_messages import json_body
from tests.otlp_strategies import Description, message_of, requests
from tests.support import Collector, wait_until

# Where something fails, Hypothesis takes up to five minutes to find a small example.
pytestmark = pytest.mark.timeout(400)

RECEIVED_AT = 1_790_000_000_000_000_000
KEEP_ALL = Settings(keep_logs="all", keep_metrics="all")
INT64 = (1 << 63) - 1
ITEMS: dict[Signal, str] = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
SEED = 20_251_123
ENCODINGS: tuple[Encoding, ...] = ("protobuf", "json")

bounded = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# --- what must be stored --------------------------------------------------------------------------


def native(value: Any) -> Any:
    """How a value stands in a JSON column."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$double": "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")}
    if isinstance(value, list):
        return list(map(native, value))
    if isinstance(value, dict):
        return {key: native(item) for key, item in value.items()}
    return value


def typed(value: Any) -> Any:
    """Equal for equal values of equal types only: 1 is not 1.0 and 0.0 is not -0.0."""
    if isinstance(value, list):
        return list(map(typed, value))
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return type(value).__name__, repr(value)


def pairs(attributes: list[tuple[str, Any]]) -> Any:
    return {key: native(value) for key, value in attributes}


def hex_id(raw: bytes, size: int) -> str | None:
    return raw.hex() if len(raw) == size and any(raw) else None


def within_int64(number: int) -> int | None:
    return number if number <= INT64 else None


def sender(group: Description, scope: Description) -> Description:
    return {
        "service_name": None,
        "scope_name": scope["name"] or None,
        "scope_version": scope["version"] or None,
        "schema_url": scope["schema_url"] or group["schema_url"] or None,
        "resource_attributes": pairs(group["resource"]),
        "scope_attributes": pairs(scope["attributes"]),
    }


KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}


def span_rows(span: Description) -> list[Description]:
    start, end = span["start_time_unix_nano"], span["end_time_unix_nano"]
    row = {
        "trace_id": span["trace_id"].hex(),
        "span_id": span["span_id"].hex(),
        "parent_span_id": hex_id(span["parent_span_id"], 8),
        "name": span["name"],
        "kind": KINDS.get(span["kind"], "UNSPECIFIED"),
        "start_unix_nano": start,
        "end_unix_nano": end,
        "duration_ns": end - start if 0 < start <= end else None,
        "status_code": {1: "OK", 2: "ERROR"}.get(span["status"]["code"], "UNSET"),
        "status_message": span["status"]["message"] or None,
        "trace_state": span["trace_state"] or None,
        "flags": span["flags"],
        "attributes": pairs(span["attributes"]),
        "events": list(map(event_json, span["events"])),
        "links": list(map(link_json, span["links"])),
        "evidence": None,
    }
    counts = ("dropped_attributes_count", "dropped_events_count", "dropped_links_count")
    return [{**row, **{name: span[name] for name in counts}}]


def event_json(event: Description) -> Description:
    time = within_int64(event["time_unix_nano"]) or 0
    return {**event, "time_unix_nano": time, "attributes": pairs(event["attributes"])}


def link_json(link: Description) -> Description:
    ids = {"trace_id": hex_id(link["trace_id"], 16), "span_id": hex_id(link["span_id"], 8)}
    return {**link, **ids, "attributes": pairs(link["attributes"])}


def log_rows(record: Description) -> list[Description]:
    same = ("flags", "severity_number", "dropped_attributes_count")
    empty = ("time_unix_nano", "observed_time_unix_nano", "severity_text", "event_name")
    return [
        {
            **{name: record[name] for name in same},
            **{name: record[name] or None for name in empty},
            "trace_id": hex_id(record["trace_id"], 16),
            "span_id": hex_id(record["span_id"], 8),
            "body": native(record["body"]),
            "attributes": pairs(record["attributes"]),
        }
    ]


def metric_rows(metric: Description) -> list[Description]:
    kind = metric["kind"]
    own = {
        "metric_name": metric["name"],
        "description": metric["description"] or None,
        "unit": metric["unit"] or None,
        "metric_metadata": pairs(metric["metadata"]),
        "metric_type": kind,
        "temporality": ("unspecified", "delta", "cumulative")[metric["aggregation_temporality"]],
        "is_monotonic": metric["is_monotonic"] if kind == "sum" else None,
    }
    if kind in ("gauge", "summary"):
        own["temporality"] = None
    return [{**own, **point_row(kind, point)} for point in metric["data_points"]]


def point_row(kind: str, point: Description) -> Description:
    value = dict([point["value"]]) if point.get("value") else {}
    numbers = {name: point.get(name) for name in ("sum", "min", "max")}
    return {
        **numbers,
        "value_int": value.get("as_int"),
        "value_double": value.get("as_double"),
        "count": within_int64(point["count"]) if "count" in point else None,
        "buckets": buckets(kind, point),
        "exemplars": list(map(exemplar_json, point.get("exemplars", []))),
        "attributes": pairs(point["attributes"]),
        "time_unix_nano": point["time_unix_nano"],
        "start_time_unix_nano": point["start_time_unix_nano"] or None,
        "flags": point["flags"],
    }


BUCKETS = {
    "histogram": ("bucket_counts", "explicit_bounds"),
    "exponential_histogram": ("scale", "zero_count", "zero_threshold", "positive", "negative"),
    "summary": ("quantile_values",),
}


def buckets(kind: str, point: Description) -> Any:
    return native({name: point[name] for name in BUCKETS[kind]}) if kind in BUCKETS else None


def exemplar_json(exemplar: Description) -> Description:
    return {
        "time_unix_nano": within_int64(exemplar["time_unix_nano"]) or 0,
        "value": native(exemplar["value"][1]) if exemplar["value"] else None,
        "trace_id": hex_id(exemplar["trace_id"], 16),
        "span_id": hex_id(exemplar["span_id"], 8),
        "filtered_attributes": pairs(exemplar["filtered_attributes"]),
    }


ROWS: dict[Signal, Callable[[Description], list[Description]]] = {
    "traces": span_rows,
    "logs": log_rows,
    "metrics": metric_rows,
}
JSON_COLUMNS = {
    *("attributes", "resource_attributes", "scope_attributes", "metric_metadata"),
    *("events", "links", "body", "buckets", "exemplars"),
}


def expected_rows(signal: Signal, description: list[Description]) -> list[Description]:
    return [
        {**row, **sender(group, scope)}
        for group in description
        for scope in group["scopes"]
        for record in scope["records"]
        for row in ROWS[signal](record)
    ]


def read(signal: Signal, encoding: Encoding, body: bytes) -> list[Description]:
    """The rows of a request that must be accepted as a whole; JSON columns as what they hold."""
    admission.admit(signal, encoding, body, LimitsConfig())
    verdict = validity.check(signal, encoding, body, RECEIVED_AT)
    extracted = extract([Request(signal, encoding, body, RECEIVED_AT)], KEEP_ALL)
    rows = getattr(extracted, ITEMS[signal]).to_pylist()
    assert verdict == Verdict(len(rows), 0, ())
    for row in rows:
        for name in JSON_COLUMNS & row.keys():
            row[name] = None if row[name] is None else json.loads(row[name])
    return rows


def check_rows(signal: Signal, description: list[Description]) -> None:
    message = message_of(signal, description)
    rows = read(signal, "protobuf", message.SerializeToString())
    expected = expected_rows(signal, description)
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert typed({name: row[name] for name in wanted}) == typed(wanted)
    assert typed(read(signal, "json", json_body(message))) == typed(rows)


@bounded
@given(requests("traces"))
def test_every_span_comes_back_whole(description: list[Description]) -> None:
    check_rows("traces", description)


@bounded
@given(requests("logs"))
def test_every_log_record_comes_back_whole(description: list[Description]) -> None:
    check_rows("logs", description)


@bounded
@given(requests("metrics"))
def test_every_data_point_comes_back_whole(description: list[Description]) -> None:
    check_rows("metrics", description)


@pytest.mark.soak
@settings(bounded, max_examples=1000)
@given(st.data())
@pytest.mark.parametrize("signal", ITEMS)
def test_every_record_comes_back_whole_of_a_thousand_requests(signal: Signal, data: st.DataObject) -> None:
    check_rows(signal, data.draw(requests(signal)))


# --- changed bytes --------------------------------------------------------------------------------


VALID = {
    (signal, encoding): [
        content[1:] for name, content in seeds() if name.startswith(f"{signal}-{encoding}-") and content
    ]
    for signal in ITEMS
    for encoding in ENCODINGS
}


def mutated(body: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """The body with a few of its bytes changed, as a broken client or a broken line would."""
    content = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(content) + 1)
        end = min(len(content), at + chance.randint(1, 12))
        change = chance.randrange(6)
        if change == 0 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif change == 1:
            del content[at:end]
        elif change == 2:
            content[at:at] = chance.randbytes(chance.randint(1, 6))
        elif change == 3:
            content[at:at] = content[at:end] * chance.randint(1, 40)
        elif change == 4:
            del content[at:]
        else:
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            content[at:end] = other[start : start + chance.randint(1, 60)]
    return bytes(content)


@settings(bounded, max_examples=40)
@given(st.integers(0, 1 << 32))
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("signal", ITEMS)
def test_changed_bytes_are_read_or_refused(signal: Signal, encoding: Encoding, seed: int) -> None:
    """The receivers and the loader agree on what they are, and nothing but a refusal is raised."""
    read_or_refused(signal, encoding, seed)


def read_or_refused(signal: Signal, encoding: Encoding, seed: int) -> None:
    chance, valid = random.Random(seed), VALID[signal, encoding]
    for _ in range(5):
        check_request(signal, encoding, mutated(chance.choice(valid), chance, valid), chance.choice(SETTINGS))


@pytest.mark.soak
@settings(bounded, max_examples=2000)
@given(st.integers(0, 1 << 32))
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("signal", ITEMS)
def test_changed_bytes_of_ten_thousand_requests(signal: Signal, encoding: Encoding, seed: int) -> None:
    read_or_refused(signal, encoding, seed)


PATHS: dict[Signal, str] = {"traces": "/v1/traces", "logs": "/v1/logs", "metrics": "/v1/metrics"}
MEDIA: dict[Encoding, str] = {"protobuf": "application/x-protobuf", "json": "application/json"}


def test_changed_bytes_over_a_socket_are_stored_or_refused_with_400(collector: Collector) -> None:
    """On one connection, none of it harms what comes after it; all that was accepted is loaded."""
    chance = random.Random(SEED)
    connection = http.client.HTTPConnection("127.0.0.1", collector.http_port, timeout=10)
    statuses = []
    for number in range(400):
        (signal, encoding), valid = list(VALID.items())[number % len(VALID)]
        body = mutated(chance.choice(valid), chance, valid)
        connection.request("POST", PATHS[signal], body, {"Content-Type": MEDIA[encoding]})
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (200, 400), (signal, encoding, body)
        statuses.append(answer.status)
    connection.close()
    assert min(statuses.count(200), statuses.count(400)) > 30
    wait_until(lambda: counted(collector, "spanledger_loader_lag_seconds") == 0)
    assert counted(collector, "spanledger_quarantined_requests_total") == 0
    log = collector.log.read_text()
    assert "Traceback" not in log
    assert "level=error" not in log


def counted(collector: Collector, series: str) -> float:
    """The sum of the series of that name."""
    lines = collector.metrics().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


def test_the_seeds_cover_every_signal_in_both_encodings() -> None:
    assert all(len(bodies) >= 8 for bodies in VALID.values())
    assert PROTOBUF.keys() == JSON.keys() == ITEMS.keys()
