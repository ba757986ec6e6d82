"""Large protobuf requests in pieces: nothing is lost, repeated or moved."""

from __future__ import annotations

import os

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from semconv import pieces as module
from semconv.extract import extract
from semconv.pieces import PIECE_BYTES, pieces
from semconv.request import Request
from semconv.settings import Settings
from semconv.validity import check
from tests.unit.work_support import calls_counted

SPANS = 40


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pieces of 1,000 bytes, a few items each."""
    monkeypatch.setattr(module, "PIECE_BYTES", 1000)
    monkeypatch.setattr(module, "_AROUND_BYTES", 400)


def request(resources=2, scopes=2, spans=SPANS):
    message = ExportTraceServiceRequest()
    for resource in range(resources):
        group = message.resource_spans.add(schema_url=f"https://schema/{resource}")
        group.resource.attributes.add(key="service.name").value.string_value = f"service-{resource}"
        for scope in range(scopes):
            scope_spans = group.scope_spans.add(schema_url=f"https://schema/{resource}/{scope}")
            scope_spans.scope.name = f"scope-{scope}"
            for _ in range(spans):
                scope_spans.spans.add(
                    trace_id=os.urandom(16), span_id=os.urandom(8), name="x" * 50, start_time_unix_nano=1
                )
    return message


def flat(message):
    """Every span with all that stands around it, in order."""
    return [
        (group.resource, group.schema_url, scope_spans.scope, scope_spans.schema_url, span)
        for group in message.resource_spans
        for scope_spans in group.scope_spans
        for span in scope_spans.spans
    ]


def parsed(parts):
    return [ExportTraceServiceRequest.FromString(part) for part in parts]


@pytest.mark.parametrize("shape", [(1, 1, 200), (50, 1, 2), (1, 50, 2), (2, 2, 40), (3, 1, 1)])
def test_each_item_is_in_one_piece_beside_its_resource_and_scope(shape):
    """However the items are spread over resources and scopes."""
    message = request(*shape)
    parts = list(pieces(message.SerializeToString()))
    together = [item for part in parsed(parts) for item in flat(part)]
    assert together == flat(message)
    assert max(map(len, parts)) < 1500
    assert len(parts) > 1 or message.ByteSize() <= 1000


def test_what_is_small_stays_as_it_is():
    """Also where the limit is met exactly."""
    body = request(1, 1, 5).SerializeToString()
    assert len(body) < 1000
    assert list(pieces(body)) == [body]
    assert list(pieces(b"")) == [b""]


def test_an_item_that_is_larger_than_a_piece_stays_whole():
    """Beside small ones before and after it."""
    message = request(1, 1, 30)
    message.resource_spans[0].scope_spans[0].spans[15].name = "y" * 5000
    parts = list(pieces(message.SerializeToString()))
    assert [item for part in parsed(parts) for item in flat(part)] == flat(message)
    assert max(map(len, parts)) < 5000 + 1500


def test_fields_that_are_new_are_kept():
    """Unknown fields at each level, between the known ones."""
    message = request(1, 1, 30)
    unknown = b"\x9a\x3f\x03new"  # field 1011
    inner = message.resource_spans[0].scope_spans[0].SerializeToString() + unknown
    middle = unknown + b"\x12" + _varint(len(inner)) + inner
    body = b"\x0a" + _varint(len(middle)) + middle + unknown
    parts = list(pieces(body))
    assert len(parts) > 1
    assert all(part.count(b"new") == 3 for part in parts)
    assert sum(len(flat(part)) for part in parsed(parts)) == 30


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\xff\xff\xff\xff" + bytes(2000),
        b"\x0b" + bytes(2000) + b"\x0c",
        b"\xff" * 2000,
        b"\x0a",
        request(1, 1, 40).SerializeToString()[:-1],
    ],
    ids=["cut short", "group", "endless varint", "tag", "truncated"],
)
def test_what_cannot_be_taken_apart_stays_whole(body):
    """The parser then says what is wrong with it."""
    assert list(pieces(body)) == [body]


def test_what_stands_around_is_repeated_within_bounds():
    """A resource too large to be repeated, and fields so mixed that each would be a piece, stay in one."""
    message = request(1, 1, 30)
    message.resource_spans[0].resource.attributes[0].value.string_value = "z" * 500
    body = message.SerializeToString()
    assert list(pieces(body)) == [body]
    mixed = (b"\x0a\x00" + b"\x9a\x3f\x00") * 80 + b"\x0a\x00" * 800
    assert list(pieces(mixed)) == [mixed]


def test_a_request_of_nothing_but_small_fields_stays_whole():
    """Whoever counts 32 million fields of two bytes in Python has spent a minute, and 3 GB if he notes them."""
    for body in (b"\x0a\x00" * 200_000, b"\x08\x00" * 2_000_000):
        with calls_counted() as calls:
            assert list(pieces(body)) == [body]
        assert calls.made < 10 * module._MOST_FIELDS


def test_pieces_judge_and_extract_as_the_whole(monkeypatch):
    """The same verdict and the same rows for all signals, whatever the size of a piece."""
    bodies = {
        "traces": request().SerializeToString(),
        "logs": _logs().SerializeToString(),
        "metrics": _metrics().SerializeToString(),
    }
    for signal, body in bodies.items():
        results = []
        for size in (1000, PIECE_BYTES):
            monkeypatch.setattr(module, "PIECE_BYTES", size)
            extracted = extract(
                [Request(signal, "protobuf", body, 10)], Settings(keep_logs="all", keep_metrics="all")
            )
            tables = [
                getattr(extracted, name).to_pylist() for name in ("spans", "log_records", "metric_points")
            ]
            results.append((check(signal, "protobuf", body, 10), tables, extracted.counts))
        assert results[0] == results[1]
        assert results[0][0].items > 10


def _logs():
    message = ExportLogsServiceRequest()
    logs = message.resource_logs.add().scope_logs.add()
    for number in range(50):
        logs.log_records.add(time_unix_nano=number + 1).body.string_value = f"record {number}" * 5
    return message


def _metrics():
    message = ExportMetricsServiceRequest()
    metrics = message.resource_metrics.add().scope_metrics.add()
    for number in range(50):
        points = metrics.metrics.add(name=f"metric.{number}").sum.data_points
        points.add(time_unix_nano=number + 1, as_int=number)
    return message


def _varint(number):
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*digits, number))
