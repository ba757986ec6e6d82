"""Rows R1, R2 and R7 to R13 of the conformance checklist: what a request may be, and what becomes of it.

Guarantee: what the specification allows is accepted and stored without loss; what it does not allow is refused for
good, with a Status; one bad record never takes its neighbours with it.
"""
# ruff: noqa: N802 - the tests are named for the rows of the checklist

from __future__ import annotations

import gzip
import json
import os
from typing import Any

import pytest
from google.protobuf.message import Message

from tests.contract.conformance_messages import (
    JSON,
    LOGS,
    MEDIA,
    METRICS,
    PROTOBUF,
    SIGNALS,
    START,
    TRACES,
    VALUES,
    Signal,
    add_record,
    add_scope,
    body_of,
    marker,
    otlp_json,
    request_of,
)
from tests.contract.conformance_support import (
    INVALID,
    OK,
    WIRES,
    Server,
    each_media,
    each_signal,
    each_wire,
)
from tests.otlp_data import any_value

# R1, R2: Content-Type and method.


@each_signal
@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "application/protobuf",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/x-protobuf-json",
        "x-protobuf",
        "/",
        "",
    ],
)
def test_R1_another_content_type_is_415_with_a_status(server: Server, signal: Signal, media: str) -> None:
    answer = server.post(signal.path, b"{}", media)
    assert answer.status == 415
    assert answer.media in MEDIA
    assert all(allowed in answer.refusal(answer.media).message for allowed in MEDIA)


@each_signal
def test_R1_no_content_type_is_415_with_a_status(server: Server, signal: Signal) -> None:
    for body in (b"", b"{}", request_of(signal, marker()).SerializeToString()):
        answer = server.ask("POST", signal.path, body)
        assert answer.status == 415
        assert answer.refusal(answer.media)


@each_signal
@each_media
def test_R1_the_body_must_be_what_the_content_type_says(server: Server, signal: Signal, media: str) -> None:
    other = PROTOBUF if media == JSON else JSON
    answer = server.post(signal.path, body_of(request_of(signal, marker()), other), media)
    assert answer.status == 400
    assert answer.refusal(media)


@each_signal
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "post"])
def test_R2_another_method_is_405_with_a_status(server: Server, signal: Signal, method: str) -> None:
    for media in MEDIA:
        answer = server.ask(method, signal.path, None, {"Content-Type": media})
        if method == "post":  # methods are case-sensitive: this one is unknown to HTTP itself
            assert answer.status in (400, 405)
            continue
        assert answer.status == 405
        assert answer.headers["allow"] == "POST"
        if method != "HEAD":
            assert answer.refusal(media)


# R7 to R9: nothing, little, and what nobody knows.


@each_signal
@each_wire
def test_R7_an_empty_request_is_accepted(server: Server, signal: Signal, wire: str) -> None:
    empty = b"{}" if wire == "json" else b""
    for gzipped in (False, True):
        outcome = server.export(wire, signal, empty, gzipped=gzipped)
        assert (outcome.code, outcome.rejected, outcome.message) == (OK, 0, "")
        assert outcome.body == empty


def hollow(signal: Signal, service: str, depth: int) -> Message:
    """Envelopes down to a resource group, a scope group, or a metric without points."""
    message = signal.request()
    group = getattr(message, signal.fields[0]).add()
    group.resource.attributes.add(key="service.name", value=any_value(service))
    if depth:
        scope = getattr(group, signal.fields[1]).add()
        if signal is METRICS and depth > 1:
            scope.metrics.add(name="nothing")
            scope.metrics.add(name="no points").sum.SetInParent()
    return message


def test_R8_empty_envelopes_are_accepted_and_store_nothing(server: Server) -> None:
    service = marker()
    for signal in SIGNALS:
        for wire in WIRES:
            for depth in range(3):
                outcome = server.export(wire, signal, hollow(signal, service, depth))
                assert (outcome.code, outcome.rejected) == (OK, 0), (signal.name, wire, depth)
    server.settle()
    assert [server.rows(signal, service, 0) for signal in SIGNALS] == [[], [], []]


FIELD_999 = b"\xb8\x3e\x07" + b"\xba\x3e\x03new"  # twice: the number 7 and the text "new"


def strange(message: Message) -> None:
    """Put fields that do not exist yet into a message and into all messages in it."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type:
            for inner in value if descriptor.is_repeated else [value]:
                strange(inner)
    message.MergeFromString(FIELD_999)


@each_signal
def test_R9_unknown_fields_are_skipped_wherever_they_stand(server: Server, signal: Signal) -> None:
    known = marker()
    request = request_of(signal, known)
    assert server.export("protobuf", signal, request).code is OK
    services = {wire: marker() for wire in ("protobuf", "grpc")}
    for wire, service in services.items():
        renamed = request.SerializeToString().replace(known.encode(), service.encode())
        stranger = signal.request.FromString(renamed)
        strange(stranger)
        assert stranger.ByteSize() > len(renamed) + 4 * len(FIELD_999)
        if signal is TRACES:
            stranger.resource_spans[0].scope_spans[0].spans[0].span_id = os.urandom(8)
        assert server.export(wire, signal, stranger).code is OK
    (plain,) = server.rows(signal, known)
    own = {"service_name", "span_id", "record_hash", "received_at", "load_id", "resource_attributes"}
    for service in services.values():
        (row,) = server.rows(signal, service)
        assert {name for name in row if row[name] != plain[name]} <= own


# R10: attribute values may be anything.


def typed(value: Any) -> Any:
    """A value such that 1, 1.0 and True, and 0.0 and -0.0, differ."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return (type(value).__name__, repr(value))


def with_values(signal: Signal, service: str) -> Message:
    """A request with every kind of value wherever attributes can stand."""
    message = signal.request()
    scope = add_scope(message, signal, service)
    record = add_record(scope, signal)
    places = [scope.scope.attributes, getattr(message, signal.fields[0])[0].resource.attributes]
    if signal is TRACES:
        event = record.events.add(name="e", time_unix_nano=START)
        link = record.links.add(trace_id=os.urandom(16), span_id=os.urandom(8))
        places += [record.attributes, event.attributes, link.attributes]
    elif signal is LOGS:
        places.append(record.attributes)
        record.body.CopyFrom(any_value({key: value for key, (value, _) in VALUES.items()}))
    else:
        point = record.gauge.data_points[0]
        exemplar = point.exemplars.add(as_int=1, time_unix_nano=START)
        places += [record.metadata, point.attributes, exemplar.filtered_attributes]
    for place in places:
        for key, (value, _) in VALUES.items():
            place.add(key=key, value=any_value(value))
    return message


COLUMNS = {
    TRACES.name: ["scope_attributes", "attributes"],
    LOGS.name: ["scope_attributes", "attributes", "body"],
    METRICS.name: ["scope_attributes", "attributes", "metric_metadata"],
}


@each_signal
def test_R10_every_attribute_value_is_kept_without_loss_wherever_it_stands(
    server: Server, signal: Signal
) -> None:
    wanted = typed({key: stored for key, (_, stored) in VALUES.items()})
    services = {wire: marker() for wire in WIRES}
    for wire, service in services.items():
        assert server.export(wire, signal, with_values(signal, service)).code is OK
    for wire, service in services.items():
        (row,) = server.rows(signal, service)
        stored = {column: json.loads(row[column]) for column in COLUMNS[signal.name]}
        stored["resource"] = json.loads(row["resource_attributes"])
        assert stored["resource"].pop("service.name") == service
        if signal is TRACES:
            stored["event"] = json.loads(row["events"])[0]["attributes"]
            stored["link"] = json.loads(row["links"])[0]["attributes"]
        elif signal is METRICS:
            stored["exemplar"] = json.loads(row["exemplars"])[0]["filtered_attributes"]
        for place, values in stored.items():
            assert typed(values) == wanted, (wire, place)
        assert row["notes"] is None


# R11: ids.

BAD_TRACE_IDS = {"empty": b"", "zero": bytes(16), "short": b"\x01" * 15, "long": b"\x01" * 17}
BAD_SPAN_IDS = {"empty": b"", "zero": bytes(8), "short": b"\x01" * 7, "long": b"\x01" * 9}
BAD_IDS = [("trace_id", name, raw) for name, raw in BAD_TRACE_IDS.items()] + [
    ("span_id", name, raw) for name, raw in BAD_SPAN_IDS.items()
]


@each_wire
@pytest.mark.parametrize(("field", "name", "raw"), BAD_IDS, ids=[f"{f}-{n}" for f, n, _ in BAD_IDS])
def test_R11_a_span_with_a_bad_id_is_rejected_alone(
    server: Server, wire: str, field: str, name: str, raw: bytes
) -> None:
    message = request_of(TRACES, marker(), 3)
    setattr(message.resource_spans[0].scope_spans[0].spans[1], field, raw)
    outcome = server.export(wire, TRACES, message)
    assert (outcome.code, outcome.rejected) == (OK, 1)
    assert field in outcome.message


def test_R11_the_neighbours_of_bad_ids_are_stored(server: Server) -> None:
    services = {wire: marker() for wire in WIRES}
    for wire, service in services.items():
        message = request_of(TRACES, service, 2 + len(BAD_IDS))
        for span, (field, _, raw) in zip(
            message.resource_spans[0].scope_spans[0].spans[1:], BAD_IDS, strict=False
        ):
            setattr(span, field, raw)
        assert server.export(wire, TRACES, message).rejected == len(BAD_IDS)
    for service in services.values():
        times = [row["start_unix_nano"] - START for row in server.rows(TRACES, service, 2)]
        assert times == [0, 1 + len(BAD_IDS)]


def test_R11_empty_and_zero_parents_mean_root_and_other_ids_are_repaired(server: Server) -> None:
    """Malformed parents and ids of links are NULL; the spans are all stored."""
    parents = [b"", bytes(8), b"\x01" * 7, b"\x01" * 9, b"\x01" * 8]
    services = {wire: marker() for wire in WIRES}
    for wire, service in services.items():
        message = request_of(TRACES, service, len(parents))
        for span, parent in zip(message.resource_spans[0].scope_spans[0].spans, parents, strict=True):
            span.parent_span_id = parent
            span.links.add(trace_id=b"\x02" * 16, span_id=parent)
        assert server.export(wire, TRACES, message).rejected == 0
    for service in services.values():
        rows = server.rows(TRACES, service, len(parents))
        assert [row["parent_span_id"] for row in rows] == [None] * 4 + ["01" * 8]
        links = [json.loads(row["links"])[0] for row in rows]
        assert [link["span_id"] for link in links] == [None] * 4 + ["01" * 8]
        assert {link["trace_id"] for link in links} == {"02" * 16}
        assert [bool(row["notes"]) for row in rows] == [False, False, True, True, False]


def test_R11_log_records_and_exemplars_need_no_ids(server: Server) -> None:
    ids = [(b"", b""), (bytes(16), bytes(8)), (b"\x01" * 15, b"\x01" * 9), (b"\x01" * 16, b"\x01" * 8)]
    services = {wire: marker() for wire in WIRES}
    for wire, service in services.items():
        logs, metrics = request_of(LOGS, service, len(ids)), request_of(METRICS, service, len(ids))
        for number, (trace_id, span_id) in enumerate(ids):
            record = logs.resource_logs[0].scope_logs[0].log_records[number]
            record.trace_id, record.span_id = trace_id, span_id
            metric = metrics.resource_metrics[0].scope_metrics[0].metrics[number]
            metric.gauge.data_points[0].exemplars.add(as_int=1, trace_id=trace_id, span_id=span_id)
        assert server.export(wire, LOGS, logs).rejected == 0
        assert server.export(wire, METRICS, metrics).rejected == 0
    wanted = [(None, None)] * 3 + [("01" * 16, "01" * 8)]
    for service in services.values():
        rows = server.rows(LOGS, service, len(ids))
        assert [(row["trace_id"], row["span_id"]) for row in rows] == wanted
        points = server.rows(METRICS, service, len(ids))
        exemplars = [json.loads(row["exemplars"])[0] for row in points]
        assert [(exemplar["trace_id"], exemplar["span_id"]) for exemplar in exemplars] == wanted


# R12, R13: text that is none, and codings.


@each_signal
@each_wire
def test_R12_text_that_is_not_utf_8_is_refused(server: Server, signal: Signal, wire: str) -> None:
    message = request_of(signal, "service")
    body = body_of(message, JSON if wire == "json" else PROTOBUF).replace(b"service.name", b"servic\xff.name")
    outcome = server.export(wire, signal, body)
    assert (outcome.code, outcome.retry_delay) == (INVALID, None)
    assert "UTF-8" in outcome.message


@each_signal
@each_media
@pytest.mark.parametrize("coding", ["br", "compress", "snappy", "lz4", "nonsense", "gzip, br", "x" * 300])
def test_R13_an_unknown_coding_is_415_with_a_status(
    server: Server, signal: Signal, media: str, coding: str
) -> None:
    answer = server.post(signal.path, b"{}", media, Content_Encoding=coding)
    assert answer.status == 415
    assert "gzip" in answer.refusal(media).message


def bad_gzips() -> dict[str, bytes]:
    whole = gzip.compress(request_of(TRACES, marker(), 50).SerializeToString())
    return {
        "plain": request_of(TRACES, marker()).SerializeToString(),
        "nothing": b"",
        "cut in the header": whole[:7],
        "cut in the middle": whole[: len(whole) // 2],
        "without checksum": whole[:-8],
        "cut in the checksum": whole[:-1],
        "wrong checksum": whole[:-8] + bytes(8),
        "zeros behind": whole + bytes(64),
        "text behind": whole + b"and more",
        "cut second member": whole + whole[:-1],
        "garbage": b"\x1f\x8b" + bytes(range(200)),
    }


@each_media
@pytest.mark.parametrize("name", sorted(bad_gzips()))
def test_R13_a_body_that_is_not_gzip_through_and_through_is_400(
    server: Server, media: str, name: str
) -> None:
    for signal in SIGNALS:
        answer = server.post(signal.path, bad_gzips()[name], media, Content_Encoding="gzip")
        assert answer.status == 400, signal.name
        assert "gzip" in answer.refusal(media).message


@each_signal
@pytest.mark.parametrize("name", sorted(set(bad_gzips()) - {"plain", "nothing"}))
def test_R13_a_grpc_message_that_is_not_gzip_through_and_through_is_invalid(
    server: Server, signal: Signal, name: str
) -> None:
    outcome = server.export("grpc", signal, bad_gzips()[name])
    assert (outcome.code, outcome.retry_delay) == (INVALID, None)


def test_R13_several_gzip_members_are_one_body(server: Server) -> None:
    body, service = b"", marker()
    for _ in range(3):  # requests one after the other are one request of all their spans
        body += gzip.compress(request_of(TRACES, service).SerializeToString())
    assert server.post("/v1/traces", body, PROTOBUF, Content_Encoding="gzip").status == 200
    assert len(server.rows(TRACES, service, 3)) == 3


def test_R13_a_coding_is_needed_to_send_gzip_over_http(server: Server) -> None:
    body = gzip.compress(json.dumps(otlp_json(request_of(TRACES, marker()))).encode())
    for media in MEDIA:
        answer = server.post("/v1/traces", body, media)
        assert answer.status == 400
        assert answer.refusal(media)
