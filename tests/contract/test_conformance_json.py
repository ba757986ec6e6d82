"""Rows J1 to J11 of the conformance checklist: OTLP/JSON by its own rules, which are not those of proto3 JSON.

Guarantee: however the rules allow a request to be spelt, the rows are the same; what they do not allow is ignored,
repaired with a note or rejected alone.
"""
# ruff: noqa: N802 - the tests are named for the rows of the checklist

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from tests.contract.conformance_messages import (
    JSON,
    LOGS,
    METRICS,
    SIGNALS,
    START,
    TRACES,
    Signal,
    full_request,
    is_hex,
    marker,
    otlp_json,
    request_of,
)
from tests.contract.conformance_spellings import SPELLINGS, dumped, literal
from tests.contract.conformance_support import OK, Outcome, Server, each_signal
from tests.support import run_here

# One request with every field, spelt in every way.


def ids_of(message: Message) -> list[str]:
    """Every id in a message, in hex and in its order."""
    found: list[str] = []
    for field, value in message.ListFields():
        if field.message_type:
            for inner in value if field.is_repeated else [value]:
                found += ids_of(inner)
        elif is_hex(field):
            found.append(value.hex())
    return found


def anonymous(rows: list[dict[str, Any]], message: Message, service: str) -> list[dict[str, Any]]:
    """Rows without what differs between two requests that say the same."""
    names = {service: "SERVICE", **{own: f"ID{number}" for number, own in enumerate(ids_of(message))}}

    def renamed(text: str) -> str:
        for old, new in names.items():
            text = text.replace(old, new)
        return text

    own = {"received_at", "load_id", "record_hash"}
    return sorted(
        (
            {
                key: renamed(value) if isinstance(value, str) else value
                for key, value in row.items()
                if key not in own
            }
            for row in rows
        ),
        key=str,
    )


@pytest.fixture(scope="module")
def spelt(server: Server) -> dict[tuple[str, str], tuple[Outcome, Message, str]]:
    """Each signal in each spelling, sent in one go: the answer, what was meant, and by which service."""
    sent = {}
    for signal in SIGNALS:
        for name, written in {"plain": lambda message: dumped(otlp_json(message)), **SPELLINGS}.items():
            service = marker()
            message = full_request(signal, service)
            sent[signal.name, name] = (server.export("json", signal, written(message)), message, service)
    return sent


@each_signal
@pytest.mark.parametrize("name", SPELLINGS)
def test_J1_J3_J4_J5_J6_J8_J9_a_request_means_the_same_in_every_spelling(
    server: Server, spelt: dict[tuple[str, str], tuple[Outcome, Message, str]], signal: Signal, name: str
) -> None:
    outcome, message, service = spelt[signal.name, name]
    assert (outcome.code, outcome.rejected, outcome.message) == (OK, 0, "")
    _, plain, plain_service = spelt[signal.name, "plain"]
    count = 5 if signal is METRICS else 1
    wanted = anonymous(server.rows(signal, plain_service, count), plain, plain_service)
    assert len(wanted) == count
    assert anonymous(server.rows(signal, service, count), message, service) == wanted
    assert all(row["notes"] is None for row in wanted)


# What a field may not be, or need not be.


def spans_of(service: str, *changes: dict[str, Any]) -> dict[str, Any]:
    """A request with a span for each dictionary of fields that are not as usual, in the order of their times."""
    document = otlp_json(request_of(TRACES, service, len(changes)))
    spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for span, change in zip(spans, changes, strict=True):
        span.update(change)
    return document


def export(server: Server, signal: Signal, document: Any) -> Outcome:
    return server.export("json", signal, document if isinstance(document, bytes) else dumped(document))


BAD_IDS = {
    "base64": base64.b64encode(bytes(range(1, 17))).decode(),
    "base64 of a span's": base64.b64encode(bytes(range(1, 9))).decode(),
    "odd": "abc",
    "too short": "01" * 7,
    "too long": "01" * 17,
    "zero": "00" * 16,
    "not hex": "0g" * 16,
    "prefixed": "0x" + "01" * 15,
    "with dashes": "01010101-0101-0101-0101-010101010101",
    "with spaces": "01 " * 16,
    "full-width digits": "\uff10\uff11" * 16,
    "empty": "",
    "null": None,
    "a number": 1,
    "a list": ["01" * 16],
}


@pytest.mark.parametrize("field", ["traceId", "spanId"])
def test_J1_ids_that_are_not_hex_reject_their_span_alone(server: Server, field: str) -> None:
    service = marker()
    changes = [{}, *({field: bad} for bad in BAD_IDS.values()), {}]
    outcome = export(server, TRACES, spans_of(service, *changes))
    assert (outcome.code, outcome.rejected) == (OK, len(BAD_IDS))
    assert "hex" in outcome.message
    assert ("trace_id" if field == "traceId" else "span_id") in outcome.message
    times = [row["start_unix_nano"] - START for row in server.rows(TRACES, service, 2)]
    assert times == [0, len(changes) - 1]


def test_J1_other_ids_that_are_not_hex_are_left_out_with_a_note(server: Server) -> None:
    service, bad = marker(), "W47/95gDgQPSabYzgT/GDA=="
    link = {"traceId": bad, "spanId": bad}
    spans = spans_of(service, {"parentSpanId": bad}, {"links": [link]})
    logs = otlp_json(request_of(LOGS, service))
    logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].update(link)
    metrics = otlp_json(request_of(METRICS, service))
    (metric,) = metrics["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    metric["gauge"]["dataPoints"][0]["exemplars"] = [{"asInt": "1", **link}]
    for signal, document in ((TRACES, spans), (LOGS, logs), (METRICS, metrics)):
        outcome = export(server, signal, document)
        assert (outcome.code, outcome.rejected) == (OK, 0)
    child, linked = server.rows(TRACES, service, 2)
    (record,), (point,) = server.rows(LOGS, service), server.rows(METRICS, service)
    places = json.loads(linked["links"]) + json.loads(point["exemplars"]) + [record]
    assert [(place["trace_id"], place["span_id"]) for place in places] == [(None, None)] * 3
    assert child["parent_span_id"] is None
    assert all(row["notes"] for row in (child, linked, record, point))


KINDS = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]


def test_J2_enums_are_integers(server: Server) -> None:
    service = marker()
    changes = [{"kind": kind, "status": {"code": kind % 3}} for kind in range(6)]
    assert export(server, TRACES, spans_of(service, *changes)).code is OK
    logs = otlp_json(request_of(LOGS, service))
    logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["severityNumber"] = 17
    assert export(server, LOGS, logs).code is OK
    metrics = {"sum": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": str(START), "asInt": 1}]}}
    assert export(server, METRICS, one_metric(service, metrics)).code is OK
    rows = server.rows(TRACES, service, 6)
    assert [row["kind"] for row in rows] == KINDS
    assert [row["status_code"] for row in rows] == ["UNSET", "OK", "ERROR"] * 2
    assert server.rows(LOGS, service)[0]["severity_number"] == 17
    assert server.rows(METRICS, service)[0]["temporality"] == "cumulative"


def one_metric(service: str, data: dict[str, Any]) -> dict[str, Any]:
    document = otlp_json(request_of(METRICS, service))
    document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"] = [{"name": "m", **data}]
    return document


def test_J2_may_names_of_enums_and_numbers_that_no_enum_has_harm_nobody(server: Server) -> None:
    """The names are not OTLP/JSON: read or left out, the span is stored as it is otherwise."""
    service = marker()
    changes = [
        {"kind": "SPAN_KIND_CLIENT", "status": {"code": "STATUS_CODE_ERROR"}},
        {"kind": "CLIENT", "status": {"code": {}}},
        {"kind": 99, "status": {"code": -1}},
        {},
    ]
    outcome = export(server, TRACES, spans_of(service, *changes))
    assert (outcome.code, outcome.rejected) == (OK, 0)
    rows = server.rows(TRACES, service, len(changes))
    assert [row["kind"] in KINDS for row in rows] == [True] * len(changes)
    assert rows[0]["kind"] in ("CLIENT", "UNSPECIFIED")


def test_J4_snake_case_alone_means_nothing(server: Server) -> None:
    service = marker()
    snake = {"parent_span_id": "01" * 8, "dropped_links_count": 5, "trace_state": "a=1", "schema_url": "x"}
    assert export(server, TRACES, spans_of(service, snake)).rejected == 0
    (row,) = server.rows(TRACES, service)
    assert (row["parent_span_id"], row["trace_state"], row["schema_url"]) == (None, None, None)
    assert not row["dropped_links_count"]
    ids = {"trace_id": "01" * 16, "span_id": "01" * 8, "traceId": None, "spanId": None}
    assert export(server, TRACES, spans_of(marker(), ids)).rejected == 1
    for signal in SIGNALS:
        assert export(server, signal, {signal.fields[0]: "no list"}).code is OK


def values_of(server: Server, *values: Any) -> list[tuple[Any, bool]]:
    """What each AnyValue, the only attribute of a span, is in the lake, and whether a note was made."""
    service = marker()
    changes = [{"attributes": [{"key": "k", "value": value}]} for value in values]
    outcome = export(server, TRACES, spans_of(service, *changes))
    assert (outcome.code, outcome.rejected) == (OK, 0)
    rows = server.rows(TRACES, service, len(values))
    return [(json.loads(row["attributes"])["k"], bool(row["notes"])) for row in rows]


def test_J5_J9_integers_in_every_spelling(server: Server) -> None:
    spellings = {
        "1000": ["1000", literal("1000"), literal("1e3"), literal("1E+3"), "1e3", "1.0e3", literal("1000.0")]
    }
    spellings["5"] = [literal("5.0"), "5.0", literal("0.5e1"), literal("50e-1")]
    spellings["0"] = [literal("-0"), "-0", "0", literal("0e9"), literal("0.0")]
    spellings[str(2**63 - 1)] = [str(2**63 - 1), literal(str(2**63 - 1)), "9.223372036854775807e18"]
    spellings[str(-(2**63))] = [str(-(2**63)), literal(str(-(2**63)))]
    flat = [(int(number), one) for number, several in spellings.items() for one in several]
    stored = values_of(server, *({"intValue": one} for _, one in flat))
    assert stored == [(number, False) for number, _ in flat]
    assert {type(value) for value, _ in stored} == {int}


def test_J5_integers_that_are_none_are_left_out_with_a_note(server: Server) -> None:
    """Beyond 64 bits, of 30 digits, 1e999, a half, words: each is null, and no float in an integer's place."""
    wrong = [str(2**63), literal(str(2**63)), literal("9" * 30), "9" * 30, literal("1e999"), "1e999999999"]
    wrong += [literal("1.5"), "1.5", "", "five", " 5", "5 ", "0x10", "\u0661", True, [], {}]
    assert values_of(server, *({"intValue": one} for one in wrong)) == [(None, True)] * len(wrong)


def test_J6_doubles_in_every_spelling(server: Server) -> None:
    right: list[tuple[Any, Any]] = [
        (literal("1.5"), 1.5),
        ("1.5", 1.5),
        (literal("3"), 3.0),
        ("3", 3.0),
        ("-1e-3", -0.001),
        (literal("1e22"), 1e22),
        ("NaN", {"$double": "NaN"}),
        ("Infinity", {"$double": "Infinity"}),
        ("-Infinity", {"$double": "-Infinity"}),
    ]
    stored = values_of(server, *({"doubleValue": one} for one, _ in right))
    assert stored == [(value, False) for _, value in right]
    assert all(isinstance(value, float | dict) for value, _ in stored)


def test_J6_doubles_outside_of_attributes(server: Server) -> None:
    service, at = marker(), str(START)
    gauge = {"gauge": {"dataPoints": [{"timeUnixNano": at, "asDouble": "2.5"}]}}
    histogram = {"timeUnixNano": at, "count": 3, "sum": "Infinity", "min": "-1", "max": literal("1e2")}
    histogram |= {"explicitBounds": ["0.5", 1], "bucketCounts": ["1", 1, literal("1.0")]}
    quantiles = [{"quantile": "0.5", "value": "1e1"}]
    summary = {"timeUnixNano": at, "count": "2", "sum": "3.5", "quantileValues": quantiles}
    assert export(server, METRICS, one_metric(service, gauge)).code is OK
    assert export(server, METRICS, one_metric(service, {"histogram": {"dataPoints": [histogram]}})).code is OK
    assert export(server, METRICS, one_metric(service, {"summary": {"dataPoints": [summary]}})).code is OK
    rows = {row["metric_type"]: row for row in server.rows(METRICS, service, 3)}
    assert rows["gauge"]["value_double"] == 2.5
    row = rows["histogram"]
    assert (row["count"], row["sum"], row["min"], row["max"]) == (3, float("inf"), -1.0, 100.0)
    assert json.loads(row["buckets"]) == {"bucket_counts": [1, 1, 1], "explicit_bounds": [0.5, 1.0]}
    row = rows["summary"]
    assert (row["count"], row["sum"]) == (2, 3.5)
    assert json.loads(row["buckets"])["quantile_values"] == [{"quantile": 0.5, "value": 10.0}]


def test_J7_bytes_are_base64(server: Server) -> None:
    """Standard or URL-safe, padded or not (proto3 JSON); what is neither is null with a note."""
    same = ["+/8A/w==", "-_8A_w==", "+/8A/w", "-_8A_w"]
    stored = values_of(server, *({"bytesValue": one} for one in (*same, "", "###", "A", 5)))
    assert stored[:4] == [({"$bytes": "+/8A/w=="}, False)] * 4
    assert stored[4:] == [({"$bytes": ""}, False)] + [(None, True)] * 3
    assert values_of(server, {"bytesValue": "abcd"}) == [({"$bytes": "abcd"}, False)], "base64, not hex"


def test_J8_null_is_absent_also_for_lists_and_whole_messages(server: Server) -> None:
    nothing = dict.fromkeys(
        ("attributes", "events", "links", "status", "kind", "name", "parentSpanId", "flags")
    )
    service = marker()
    assert export(server, TRACES, spans_of(service, nothing)).rejected == 0
    (row,) = server.rows(TRACES, service)
    assert (row["kind"], row["status_code"], row["name"], row["notes"]) == ("UNSPECIFIED", "UNSET", "", None)
    for signal in SIGNALS:
        resource, scope, _ = signal.fields
        camel = [re.sub("_(.)", lambda part: part[1].upper(), name) for name in (resource, scope)]
        for document in ({camel[0]: None}, {camel[0]: [{"resource": None, camel[1]: None}]}):
            outcome = export(server, signal, document)
            assert (outcome.code, outcome.rejected) == (OK, 0), document
    assert values_of(server, {"stringValue": None, "intValue": "7"}, None) == [(7, False), (None, False)]


@each_signal
def test_J10_the_answer_is_json_by_the_same_rules(server: Server, signal: Signal) -> None:
    """`{}` where all is well; in partialSuccess the 64-bit count is a string (or a number, for a reader)."""
    answer = server.post(signal.path, dumped(otlp_json(request_of(signal, marker()))), JSON)
    assert (answer.status, answer.media, json.loads(answer.body)) == (200, JSON, {})
    assert not answer.headers.get("content-encoding")
    bad = otlp_json(request_of(signal, marker(), 2))
    text = dumped(bad).replace(str(START).encode(), str(2**63).encode())
    answer = server.post(signal.path, text, JSON)
    partial = json.loads(answer.body)["partialSuccess"]
    camel = re.sub("_(.)", lambda part: part[1].upper(), signal.rejected)
    assert int(partial.pop(camel)) == 1
    assert list(partial) == ["errorMessage"]


# Bodies that fast parsers refuse or bend.


def test_J6_texts_and_numbers_that_fast_parsers_refuse_cost_only_themselves(server: Server) -> None:
    """Half a surrogate pair is no character, 1e999 no double: repaired with a note; the rest is as it was."""
    service = marker()
    attributes = [
        {"key": "half", "value": {"stringValue": "a\ud800b"}},
        {"key": "pair", "value": {"stringValue": "\U0001f600"}},
        {"key": "far", "value": {"doubleValue": literal("1e999")}},
        {"key": "digits", "value": {"intValue": literal("1" * 30)}},
        {"key": "exact", "value": {"intValue": literal(str(2**63 - 1))}},
        {"key": "small", "value": {"doubleValue": literal("0.1")}},
    ]
    outcome = export(server, TRACES, spans_of(service, {"attributes": attributes}, {}))
    assert (outcome.code, outcome.rejected) == (OK, 0)
    row, neighbour = server.rows(TRACES, service, 2)
    stored = json.loads(row["attributes"])
    assert (stored["half"][0], stored["half"][-1]) == ("a", "b")
    assert "\ud800" not in stored["half"]
    assert (stored["pair"], stored["exact"], stored["small"]) == ("\U0001f600", 2**63 - 1, 0.1)
    assert stored["far"] in (None, {"$double": "Infinity"})
    assert stored["digits"] is None
    assert row["notes"]
    assert neighbour["notes"] is None


@each_signal
@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "5",
        '"{}"',
        "{",
        "{}{}",
        "{'a': 1}",
        '{"a": 1,}',
        '{"a": 01}',
        '{"a": +1}',
        "{} x",
        "\x00",
        "nul",
    ],
)
def test_J10_S6_what_is_no_json_object_is_400(server: Server, signal: Signal, text: str) -> None:
    answer = server.post(signal.path, text.encode(), JSON)
    assert answer.status == 400
    assert "JSON" in answer.refusal(JSON).message


# J11: files.


def test_J11_files_of_json_lines_and_of_one_object_load(server: Server, tmp_path: Path) -> None:
    services = [marker() for _ in range(3)]
    for signal in SIGNALS:
        requests = [otlp_json(full_request(signal, service)) for service in services]
        lines = b"".join(dumped(request) + b"\n" for request in requests[:2])
        (tmp_path / f"{signal.name}.jsonl").write_bytes(lines)
        (tmp_path / f"{signal.name}.json").write_bytes(dumped(requests[2], indent=2))
    config = server.collector.data_dir.parent / f"{server.collector.data_dir.name}.yaml"
    files = sorted(tmp_path.glob("*.json*"))
    answer = run_here("otlp-backfill", *files, "--data-dir", server.collector.data_dir, "--config", config)
    assert answer.returncode == 0, answer.stderr
    for signal in SIGNALS:
        count = 5 if signal is METRICS else 1
        assert [len(server.rows(signal, service, count)) for service in services] == [count] * 3
