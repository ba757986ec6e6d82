"""A body is counted before it is parsed: what passes is safe, and what is refused really is too much."""

import gzip
import json
import subprocess
import sys
import textwrap
import time

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from collector.config import LimitsConfig
from collector.receivers.admission import admit
from collector.receivers.status import Malformed, TooDeep, TooLarge
from semconv.wire import SCHEMAS, Tally, walk
from tests.unit.receivers_support import json_request, json_span, nested_json, nested_value, request

LIMITS = LimitsConfig()


def delimited(field, content):
    """A length-delimited field as encoders write it."""
    length = bytearray()
    size = len(content)
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes([field << 3 | 2]) + bytes(length) + content


def around_spans(spans):
    return delimited(1, delimited(2, spans))


def nodes_of(message):
    """Sub-messages and elements of repeated scalars, of the parsed message: the oracle of the walk."""
    count = 0
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.message_type is None:
            count += len(values) if field.is_repeated else 0
        else:
            count += sum(1 + nodes_of(one) for one in values)
    return count


def metrics_request():
    message = ExportMetricsServiceRequest()
    metrics = message.resource_metrics.add().scope_metrics.add().metrics
    histogram = metrics.add(name="h").histogram.data_points.add(
        bucket_counts=[1, 2, 3], explicit_bounds=[0.5, 1]
    )
    histogram.exemplars.add(as_int=3, trace_id=bytes(16)).filtered_attributes.add(key="k")
    point = metrics.add(name="e").exponential_histogram.data_points.add()
    point.positive.bucket_counts.extend([1, 300, 70000])
    metrics.add(name="s").summary.data_points.add().quantile_values.add(quantile=0.5)
    metrics.add(name="g").gauge.data_points.add(as_double=0.5).attributes.add(key="k").value.int_value = 1
    return message


def logs_request():
    message = ExportLogsServiceRequest()
    record = message.resource_logs.add().scope_logs.add().log_records.add()
    nested_value(record.body, 7)
    record.attributes.add(key="flag").value.bool_value = True
    record.attributes.add(key="empty").value.SetInParent()
    return message


def traces_request():
    message = request(spans=5, attributes=40)
    message.resource_spans[0].resource.entity_refs.add(type="host", id_keys=["a", "b"])
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.events.add(name="e").attributes.add(key="k").value.double_value = 2.5
    span.links.add(trace_id=bytes(16)).attributes.add(key="k" * 300).value.string_value = "v" * 300
    nested_value(span.attributes.add(key="nested").value, 9)
    span.attributes.add()
    span.attributes.add(key="bytes").value.bytes_value = b"\x0a\x12\x2a\x32"
    span.attributes.add(key="negative").value.int_value = -1
    return message


@pytest.mark.parametrize(
    ("signal", "build"), [("traces", traces_request), ("logs", logs_request), ("metrics", metrics_request)]
)
def test_the_walk_counts_what_the_parser_builds(signal, build):
    """Exactly the nodes of the parsed message: admitted at that limit, refused at one less."""
    message = build()
    nodes, body = nodes_of(message), message.SerializeToString()
    walk(body, SCHEMAS[signal].root, Tally(10, nodes, 32))
    with pytest.raises(TooLarge):
        walk(body, SCHEMAS[signal].root, Tally(10, nodes - 1, 32))


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_a_cut_body_is_malformed_or_left_to_the_parser(signal):
    """Whatever byte a body is cut at, the walk ends with an answer and no other exception."""
    body = {"traces": traces_request, "logs": logs_request, "metrics": metrics_request}[
        signal
    ]().SerializeToString()
    for end in range(len(body)):
        try:
            walk(body[:end], SCHEMAS[signal].root, Tally(10, 10_000, 32))
        except Malformed:
            continue


@pytest.mark.parametrize(
    "span",
    [b"\x12\x00", b"\x92\x00\x00", b"\x12\x80\x00", b"\x92\x80\x80\x00\x00"],
    ids=["plain", "overlong tag", "overlong length", "longer tag"],
)
def test_spans_are_counted_however_their_tag_is_spelt(span):
    """50,000 pass and 50,001 do not, also where tags and lengths are longer than they need to be."""
    admit("traces", "protobuf", around_spans(span * 50_000), LIMITS)
    with pytest.raises(TooLarge, match="50000 spans"):
        admit("traces", "protobuf", around_spans(span * 50_001), LIMITS)


def test_spans_are_counted_over_all_scopes():
    """The limit is the request's: 2 x 25,001 spans in two resources are too many."""
    body = around_spans(b"\x12\x00" * 25_001) * 2
    with pytest.raises(TooLarge, match="50000 spans"):
        admit("traces", "protobuf", body, LIMITS)


@pytest.mark.parametrize(
    ("signal", "body"),
    [
        ("traces", b"\x0a\x00" * 20_001),
        ("traces", around_spans(delimited(2, b"\x4a\x00" * 20_001))),
        ("logs", around_spans(b"\x12\x00" * 20_001)),
        ("metrics", around_spans(b"\x12\x00" * 20_001)),
        # packed varints: one byte each on the wire, eight in memory
        (
            "metrics",
            around_spans(
                delimited(2, delimited(10, delimited(1, delimited(8, delimited(2, b"\x01" * 20_001)))))
            ),
        ),
    ],
    ids=["resources", "attributes", "log records", "metrics", "buckets"],
)
def test_nodes_are_limited(signal, body):
    """Whatever the nodes are."""
    with pytest.raises(TooLarge, match="20000 values"):
        admit(signal, "protobuf", body, LimitsConfig(max_nodes=20_000))


def test_a_body_of_unknown_fields_costs_bounded_time():
    """Fields of no known number are refused beyond eight for each node that would be allowed."""
    tally = Tally(50_000, 20_000, 32)
    with pytest.raises(TooLarge, match="fields"):
        walk(b"\xf8\x01\x01" * 200_000, SCHEMAS["traces"].root, tally)


@pytest.mark.parametrize("depth", [1, 2, 31, 32])
@pytest.mark.parametrize("noise", [0, 900])
def test_values_nested_up_to_the_limit_pass(depth, noise):
    """In both encodings, alone and within more than the cheap bounds let pass."""
    message = request()
    nested_value(message.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="n").value, depth)
    admit("traces", "protobuf", message.SerializeToString(), LIMITS)
    attributes = [{"key": "n", "value": nested_json(depth)}] + [{"key": "m", "value": nested_json(3)}] * noise
    admit("traces", "json", json.dumps(json_request(json_span(attributes=attributes))).encode(), LIMITS)


@pytest.mark.parametrize("depth", [33, 40])
def test_values_nested_deeper_are_refused(depth):
    """In attributes, and in the body of a log record; in protobuf and in JSON."""
    message = request()
    nested_value(message.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="n").value, depth)
    with pytest.raises(TooDeep, match="32 deep"):
        admit("traces", "protobuf", message.SerializeToString(), LIMITS)
    log = ExportLogsServiceRequest()
    nested_value(log.resource_logs.add().scope_logs.add().log_records.add().body, depth)
    with pytest.raises(TooDeep, match="32 deep"):
        admit("logs", "protobuf", log.SerializeToString(), LIMITS)
    body = json.dumps(json_request(json_span(attributes=[{"key": "n", "value": nested_json(depth)}])))
    with pytest.raises(TooDeep, match="32 deep"):
        admit("traces", "json", body.encode(), LIMITS)


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: text.replace('"values"', '"\\u0076alues"'),
        lambda text: text.replace('"values": [', '"values"\n\t:\n[{"stringValue": "]"}, '),
        lambda text: text.replace('"values": [', '"values": [{"stringValue": "\\"values\\": []"}, '),
    ],
    ids=["escaped key", "bracket in a string", "flat array in a string"],
)
def test_depth_in_json_cannot_be_disguised(disguise):
    """Spelling the key otherwise, or brackets in strings, hides no nesting."""
    body = disguise(json.dumps(json_request(json_span(attributes=[{"key": "n", "value": nested_json(60)}]))))
    with pytest.raises(TooDeep):
        admit("traces", "json", body.encode(), LIMITS)


def test_braces_and_commas_in_json_strings_are_no_values():
    """12 MB of prompt text made of structural characters are one value."""
    text = '{[,"\\' * 2_000_000
    admit("traces", "json", json.dumps(json_request(json_span(name=text))).encode(), LIMITS)


def test_json_nodes_are_limited():
    """Two million values are the limit of JSON as well."""
    small = LimitsConfig(max_nodes=1000)
    admit("traces", "json", b"[" + b"0," * 998 + b"0]", small)
    with pytest.raises(TooLarge, match="1000 values"):
        admit("traces", "json", b"[" + b"0," * 999 + b"0]", small)


def test_sizes_are_limited_by_encoding():
    """16 MiB of JSON and 64 MiB of protobuf, to the byte."""
    with pytest.raises(TooLarge, match=str(16 << 20)):
        admit("traces", "json", b" " * ((16 << 20) + 1), LIMITS)
    with pytest.raises(TooLarge, match=str(64 << 20)):
        admit("traces", "protobuf", bytes((64 << 20) + 1), LIMITS)


def test_a_large_real_batch_passes():
    """20,000 spans of 30 attributes, 1.24 million nodes, exceed every cheap bound and are admitted."""
    template = request(spans=1, attributes=30).resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    admit("traces", "protobuf", around_spans(delimited(2, template) * 20_000), LIMITS)


def test_an_ordinary_batch_costs_next_to_nothing():
    """512 spans of 25 attributes take a small part of the time that their parse takes."""
    message = request(spans=512, attributes=25)
    body = message.SerializeToString()

    def best(work):
        times = []
        for _ in range(20):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return min(times)

    parse = best(lambda: type(message).FromString(body))
    assert best(lambda: admit("traces", "protobuf", body, LIMITS)) < parse / 3


BOMBS = {
    "protobuf": gzip.compress(around_spans(b"\x12\x00" * ((32 << 20) - 16)), 9),
    "json": gzip.compress(b"[" + b"{}," * ((64 << 20) // 3) + b"{}]", 9),
    # within the limit on bytes: only its values are too many
    "json values": gzip.compress(b"[" + b"{}," * ((15 << 20) // 3) + b"{}]", 9),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_bounded_memory(name, tmp_path):
    """65 KB of gzip that hold 64 MiB cost a few times that, not gigabytes. In a process of its own."""
    bomb = tmp_path / "bomb"
    bomb.write_bytes(BOMBS[name])
    assert len(BOMBS[name]) < 70_000
    code = f"""
        import asyncio, pathlib, resource
        from collector.config import Config
        from collector.receivers.intake import Arrival, Intake
        from collector.receivers.auth import ANYBODY
        from collector.receivers.status import TooLarge
        from tests.unit.receivers_support import FakeSpool, FakeTelemetry

        async def main():
            body = pathlib.Path({str(bomb)!r}).read_bytes()
            intake = Intake(FakeSpool(), Config(), FakeTelemetry())
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            encoding = {name.split()[0]!r}
            with intake.budget.lease(encoding) as lease:
                try:
                    await intake.accept(Arrival("traces", encoding, "http", ANYBODY, lease), body, "gzip")
                except TooLarge as refusal:
                    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, refusal)
        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    kilobytes, _, refusal = done.stdout.partition(" ")
    assert refusal, done.stderr
    # decoded pieces and the joined body, and nothing beside them
    assert int(kilobytes) < 200 << 10
