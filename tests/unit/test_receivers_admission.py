"""A body is counted before it is parsed: what passes is safe, and what is refused really is too much."""

import json
import subprocess
import sys
import textwrap

import pytest
from isal import igzip
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from collector.config import LimitsConfig
from collector.receivers.admission import admit, judge
from collector.receivers.status import Malformed, TooDeep, TooLarge
from tests.unit.receivers_support import json_request, json_span, nested_json, nested_value, request
from tests.unit.work_support import calls_counted

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


def in_scope(records):
    """What stands in a ScopeSpans, ScopeLogs or ScopeMetrics, as a whole request."""
    return delimited(1, delimited(2, records))


def in_span(fields):
    return in_scope(delimited(2, fields))


def in_gauge(points):
    return in_scope(delimited(2, delimited(5, points)))


def verdict(signal, encoding, body, limits=LIMITS):
    return judge(signal, encoding, body, 0, limits)


# --- spans, log records, data points --------------------------------------------------------------


@pytest.mark.parametrize(
    "span",
    [b"\x12\x00", b"\x92\x00\x00", b"\x12\x80\x00", b"\x92\x80\x80\x00\x00"],
    ids=["plain", "overlong tag", "overlong length", "longer tag"],
)
def test_spans_are_counted_however_their_tag_is_spelt(span):
    """50,000 pass and 50,001 do not, also where tags and lengths are longer than they need to be."""
    admit("traces", "protobuf", in_scope(span * 50_000), LIMITS)
    with pytest.raises(TooLarge, match="more than 50000 spans"):
        admit("traces", "protobuf", in_scope(span * 50_001), LIMITS)


ITEMS = {
    "traces": (lambda count: in_scope(b"\x12\x00" * count), "resourceSpans", "scopeSpans", "spans"),
    "logs": (lambda count: in_scope(b"\x12\x00" * count), "resourceLogs", "scopeLogs", "logRecords"),
    "metrics": (lambda count: in_gauge(b"\x0a\x00" * count), "resourceMetrics", "scopeMetrics", "metrics"),
}
NAMES = {"traces": "spans", "logs": "log records", "metrics": "data points"}


@pytest.mark.parametrize("signal", ITEMS)
def test_items_of_every_signal_are_limited_in_both_encodings(signal):
    """50,000 spans, log records or data points; the refusal says which. Two resources do not make it more."""
    make, resources, scopes, records = ITEMS[signal]
    assert verdict(signal, "protobuf", make(25_000) * 2).items == 50_000
    with pytest.raises(TooLarge, match=f"more than 50000 {NAMES[signal]}; send smaller batches"):
        verdict(signal, "protobuf", make(25_000) + make(25_001))

    def as_json(count):
        items = [{}] * count if signal != "metrics" else [{"gauge": {"dataPoints": [{}] * count}}]
        return json.dumps({resources: [{scopes: [{records: items}]}]}).encode()

    assert verdict(signal, "json", as_json(50_000)).items == 50_000
    with pytest.raises(TooLarge, match=f"more than 50000 {NAMES[signal]}; send smaller batches"):
        verdict(signal, "json", as_json(50_001))


@pytest.mark.parametrize("kind", ["gauge", "sum", "histogram", "exponential_histogram", "summary"])
def test_data_points_of_every_kind_count(kind):
    """Before the body is parsed."""
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="m", unit="s")
    getattr(metric, kind).data_points.extend([getattr(metric, kind).data_points.add(flags=1)] * 60)
    body = message.SerializeToString()
    admit("metrics", "protobuf", body, LimitsConfig(max_spans=61))
    with pytest.raises(TooLarge, match="more than 60 data points"):
        admit("metrics", "protobuf", body, LimitsConfig(max_spans=60))


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "body"),
    [
        ("traces", b"\x0a\x00" * 20_001),
        ("traces", in_span(b"\x4a\x00" * 20_001)),
        ("logs", in_scope(b"\x12\x00" * 20_001)),
        ("metrics", in_scope(b"\x12\x00" * 20_001)),
        # packed varints: one byte each on the wire, eight in memory
        (
            "metrics",
            in_scope(
                delimited(
                    2, delimited(10, delimited(1, delimited(8, b"\x12\xa1\x9c\x01" + b"\x01" * 20_001)))
                )
            ),
        ),
    ],
    ids=["resources", "attributes", "log records", "metrics", "buckets"],
)
def test_nodes_are_limited(signal, body):
    """Whatever the nodes are."""
    with pytest.raises(TooLarge, match="20000 values"):
        admit(signal, "protobuf", body, LimitsConfig(max_nodes=20_000))


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


# --- depth ----------------------------------------------------------------------------------------


def maps(value, depth):
    """Make ``value``, an AnyValue, ``depth`` deep by maps alone, which take the most messages."""
    for _ in range(depth - 1):
        value = value.kvlist_value.values.add(key="k").value
    value.int_value = 1


def lists(value, depth):
    """By lists alone, which take the fewest."""
    for _ in range(depth - 1):
        value = value.array_value.values.add()
    value.int_value = 1


PLACES = {
    "resource": lambda message: message.resource_spans[0].resource.attributes.add(key="n").value,
    "span": lambda message: message.resource_spans[0].scope_spans[0].spans[-1].attributes.add(key="n").value,
    "event": lambda message: (
        message.resource_spans[0].scope_spans[0].spans[0].events.add().attributes.add(key="n").value
    ),
}


@pytest.mark.parametrize("size", [1, 20, 900], ids=["2 KB", "30 KB", "1.3 MB"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("nest", [lists, maps, nested_value])
def test_depth_is_exact_in_protobuf_bodies_of_every_size(size, place, nest):
    """32 deep passes and 33 does not, wherever the value stands and however much stands around it."""
    for depth in (32, 33):
        message = request(spans=size, attributes=30)
        nest(PLACES[place](message), depth)
        body = message.SerializeToString()
        if depth == 32:
            assert verdict("traces", "protobuf", body).items == size
        else:
            with pytest.raises(TooDeep, match="more than 32 deep"):
                verdict("traces", "protobuf", body)


@pytest.mark.parametrize("depth", [33, 40, 60, 2000])
def test_log_bodies_are_values_too(depth):
    """Also where protobuf's own parser would give up: the same answer."""
    message = ExportLogsServiceRequest()
    record = message.resource_logs.add().scope_logs.add().log_records.add()
    lists(record.body, 32)
    assert verdict("logs", "protobuf", message.SerializeToString()).items == 1
    content = b""
    for _ in range(depth - 1):
        content = delimited(5, delimited(1, content))
    with pytest.raises(TooDeep):
        verdict("logs", "protobuf", in_scope(delimited(2, delimited(5, content))))


@pytest.mark.parametrize("noise", [0, 900])
@pytest.mark.parametrize("depth", [1, 2, 31, 32])
def test_json_values_nested_up_to_the_limit_pass(depth, noise):
    """Alone and among so many nested ones that the cheap bound does not let them pass."""
    attributes = [{"key": "n", "value": nested_json(depth)}] + [{"key": "m", "value": nested_json(3)}] * noise
    body = json.dumps(json_request(json_span(attributes=attributes))).encode()
    assert verdict("traces", "json", body).items == 1


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text,
        lambda text: text.replace('"values"', '"\\u0076alues"'),
        lambda text: text.replace('"values": [', '"values"\n\t:\n[{"stringValue": "]"}, '),
        lambda text: text.replace('"values": [', '"values": [{"stringValue": "\\"values\\": []"}, '),
        lambda text: text.replace('"bottom"', "NaN"),
        lambda text: text.replace('"bottom"', '"\\ud83d"'),
    ],
    ids=["plain", "escaped key", "bracket in a string", "flat array in a string", "NaN", "surrogate"],
)
@pytest.mark.parametrize("depth", [33, 60])
def test_json_values_nested_deeper_are_refused(spell, depth):
    """Spelling the key otherwise, brackets in strings or what the fast parser refuses hide no nesting."""
    body = spell(json.dumps(json_request(json_span(attributes=[{"key": "n", "value": nested_json(depth)}]))))
    with pytest.raises(TooDeep, match="more than 32 deep"):
        verdict("traces", "json", body.encode())


def test_a_larger_limit_on_depth_is_the_parsers_own():
    """47 lists and no more are what protobuf's parser reads in a span, however much is allowed."""
    generous = LimitsConfig(max_depth=1000)
    for depth, fits in ((47, True), (60, False)):
        message = request()
        lists(PLACES["span"](message), depth)
        if fits:
            verdict("traces", "protobuf", message.SerializeToString(), generous)
        else:
            with pytest.raises(TooDeep):
                verdict("traces", "protobuf", message.SerializeToString(), generous)


def test_what_is_no_message_is_malformed_and_not_too_deep():
    """Cut anywhere, and with bytes behind it."""
    body = request(spans=3).SerializeToString()
    for broken in (body[:-1], body + b"\x14", body + b"\x0c", body + b"\x07", b"\x0a\xff"):
        with pytest.raises(Malformed) as refusal:
            verdict("traces", "protobuf", broken)
        assert not isinstance(refusal.value, TooDeep)


# --- what is ordinary -----------------------------------------------------------------------------


def test_a_large_real_batch_passes():
    """20,000 spans of 30 attributes, 1.24 million values, exceed every cheap bound and are accepted."""
    spans = request(spans=1000, attributes=30).resource_spans[0].scope_spans[0].SerializeToString()
    body = delimited(1, delimited(2, spans) * 20)
    assert len(body) > 20 << 20
    assert verdict("traces", "protobuf", body).items == 20_000


def test_the_largest_json_passes():
    """Just under 16 MiB of spans of 30 attributes; what is larger is to be sent as protobuf, or in parts."""
    attributes = [{"key": f"gen_ai.attribute.{n}", "value": {"stringValue": f"value {n}"}} for n in range(30)]
    one = len(json.dumps(json_span(attributes=attributes))) + 2
    count = (16 << 20) // one - 1
    body = json.dumps(json_request(*[json_span(attributes=attributes)] * count)).encode()
    assert (15 << 20) < len(body) <= 16 << 20
    assert verdict("traces", "json", body).items == count


def test_an_ordinary_batch_costs_next_to_nothing():
    """512 spans of 25 attributes: nobody looks at them one by one."""
    body = request(spans=512, attributes=25).SerializeToString()
    with calls_counted() as calls:
        admit("traces", "protobuf", body, LIMITS)
    assert calls.made < 512


# --- bombs ----------------------------------------------------------------------------------------

MIB = 1 << 20
MANY = 12 * MIB  # fields of two bytes: the parser would make gigabytes of them
# name: signal, encoding, body; JSON of 15 MiB is within the limit on bytes
BOMBS = {
    "empty spans": ("traces", "protobuf", lambda: in_scope(b"\x12\x00" * (32 * MIB - 16))),
    "empty attributes": ("traces", "protobuf", lambda: in_span(b"\x4a\x00" * MANY)),
    "empty values": ("traces", "protobuf", lambda: in_span(b"\x4a\x04\x0a\x00\x12\x00" * (MANY // 3))),
    "empty events": ("traces", "protobuf", lambda: in_span(b"\x5a\x00" * MANY)),
    "empty links": ("traces", "protobuf", lambda: in_span(b"\x6a\x00" * MANY)),
    "resources": ("traces", "protobuf", lambda: b"\x0a\x00" * MANY),
    "empty log records": ("logs", "protobuf", lambda: in_scope(b"\x12\x00" * MANY)),
    "empty data points": ("metrics", "protobuf", lambda: in_gauge(b"\x0a\x00" * MANY)),
    "exemplars": ("metrics", "protobuf", lambda: in_gauge(delimited(1, b"\x2a\x00" * MANY))),
    "packed buckets": ("metrics", "protobuf", lambda: in_buckets(delimited(2, b"\x01" * (64 * MIB - 64)))),
    "buckets": ("metrics", "protobuf", lambda: in_buckets(b"\x10\x01" * MANY)),
    "large JSON": ("traces", "json", lambda: b"[" + b"{}," * (64 * MIB // 3) + b"{}]"),
    "JSON values": ("traces", "json", lambda: b"[" + b"{}," * (15 * MIB // 3) + b"{}]"),
    "JSON strings": ("logs", "json", lambda: b'{"a":[' + b'"",' * (15 * MIB // 3) + b'""]}'),
    "JSON numbers": ("metrics", "json", lambda: b'{"a":[' + b"0," * (15 * MIB // 2) + b"NaN]}"),
    "JSON nesting": ("traces", "json", lambda: b'{"a":' + b"[" * 1_900_000),
}


def in_buckets(content):
    """In the positive Buckets of an exponential histogram."""
    return in_scope(delimited(2, delimited(10, delimited(1, delimited(8, content)))))


JUDGE = """
    import asyncio, pathlib, sys
    from collector.config import Config
    from collector.receivers.intake import Arrival, Intake
    from collector.receivers.auth import ANYBODY
    from collector.receivers.status import Refusal
    from tests.unit.receivers_support import FakeSpool, FakeTelemetry

    def peak():
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    async def main():
        intake = Intake(FakeSpool(), Config(), FakeTelemetry())
        for path in map(pathlib.Path, sys.argv[1:]):
            signal, encoding = path.suffix[1:].split("-")
            body = path.read_bytes()
            pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
            before = peak()
            with intake.budget.lease(encoding) as lease:
                try:
                    await intake.accept(Arrival(signal, encoding, "http", ANYBODY, lease), body, "gzip")
                except Refusal as refusal:
                    print(path.stem, peak() - before, type(refusal).__name__, sep="|")
    asyncio.run(main())
"""


def test_bombs_are_refused_in_bounded_memory(tmp_path):
    """160 KB of gzip that hold 64 MiB cost a few times that, not gigabytes. In a process of its own."""
    paths = []
    for name, (signal, encoding, make) in BOMBS.items():
        path = tmp_path / f"{name}.{signal}-{encoding}"
        path.write_bytes(igzip.compress(make(), 1))
        assert path.stat().st_size < 200_000
        paths.append(path)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(JUDGE), *paths],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    outcomes = [line.split("|") for line in done.stdout.splitlines()]
    assert [name for name, *_ in outcomes] == list(BOMBS), done.stderr
    for name, kilobytes, refusal in outcomes:
        assert refusal == ("Malformed" if name == "JSON nesting" else "TooLarge")
        # decoded pieces and the joined body, and next to nothing beside them
        assert int(kilobytes) < 200 << 10, name
