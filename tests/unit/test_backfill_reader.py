"""Reading files: whatever the layout and the size, every record comes out once, under its own resource and
scope."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc

import orjson
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from collector.backfill import parts
from collector.backfill.parts import Chunk, Rejected
from collector.backfill.protoreader import varint
from collector.backfill.reader import read_chunks
from collector.backfill.source import Source, UnreadableInput
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Settings

# Everything is too large to be taken whole: each record is cut out by itself.
SPLIT = parts.Sizes(whole=10, line=10)
RECORDS = {
    "resourceSpans": ("scopeSpans", "spans"),
    "resourceLogs": ("scopeLogs", "logRecords"),
    "resourceMetrics": ("scopeMetrics", "metrics"),
}


def read(data: bytes, signal=None, sizes=parts.DEFAULT_SIZES):
    return list(read_chunks(Source(io.BytesIO(data), "file", len(data)), signal, None, sizes))


def chunks(data: bytes, signal=None, sizes=parts.DEFAULT_SIZES):
    found = read(data, signal, sizes)
    assert not [part for part in found if isinstance(part, Rejected)], found
    return found


def rejected(found):
    return [part for part in found if isinstance(part, Rejected)]


def flat(found):
    """(service, resource schema, scope, scope schema, record name) of every record, in order."""
    return [
        record for chunk in found if isinstance(chunk, Chunk) for record in flat_document(as_document(chunk))
    ]


def as_document(chunk: Chunk):
    if chunk.encoding == "json":
        return orjson.loads(chunk.body)
    kind = {"traces": TracesData, "logs": LogsData, "metrics": MetricsData}[chunk.signal]
    return MessageToDict(kind.FromString(chunk.body))


def flat_document(document):
    for key, (scopes, records) in RECORDS.items():
        for resource in document.get(key) or []:
            service = resource["resource"]["attributes"][0]["value"]["stringValue"]
            for scope in resource.get(scopes, []):
                for record in scope.get(records, []):
                    yield (
                        service,
                        resource.get("schemaUrl"),
                        scope.get("scope", {}).get("name"),
                        scope.get("schemaUrl"),
                        record.get("name") or record["eventName"],
                    )


def traces(resources=2, scopes=2, spans=3, filler=""):
    data = TracesData()
    for r in range(resources):
        resource = data.resource_spans.add(schema_url=f"urn:resource-{r}")
        resource.resource.attributes.append(
            KeyValue(key="service.name", value=AnyValue(string_value=f"service-{r}"))
        )
        for s in range(scopes):
            scope = resource.scope_spans.add(schema_url=f"urn:scope-{r}-{s}")
            scope.scope.name = f"scope-{s}"
            for n in range(spans):
                span = scope.spans.add(
                    trace_id=bytes([1 + r]) * 16,
                    span_id=struct.pack(">HHI", r + 1, s, n),
                    name=f"span-{r}-{s}-{n}",
                    start_time_unix_nano=1_700_000_000_000_000_000 + n,
                )
                span.attributes.append(KeyValue(key="text", value=AnyValue(string_value=filler)))
    return data


def as_otlp_json(data: TracesData):
    """The protobuf mapping with hexadecimal ids, as OTLP wants it."""
    document = MessageToDict(data)
    for resource, source in zip(document["resourceSpans"], data.resource_spans, strict=True):
        for scope, scope_source in zip(resource["scopeSpans"], source.scope_spans, strict=True):
            for span, span_source in zip(scope["spans"], scope_source.spans, strict=True):
                span["traceId"], span["spanId"] = span_source.trace_id.hex(), span_source.span_id.hex()
    return document


def expected(*documents):
    return [record for document in documents for record in flat_document(document)]


ONE = as_otlp_json(traces())
TWO = as_otlp_json(traces(resources=1, spans=5))


def layouts():
    compact = json.dumps(ONE).encode()
    both = compact + b"\n" + json.dumps(TWO).encode() + b"\n"
    yield "compact object", compact, [ONE]
    yield "pretty object", json.dumps(ONE, indent=2).encode(), [ONE]
    yield "lines", both, [ONE, TWO]
    yield "lines without a last line break", both.rstrip(), [ONE, TWO]
    yield "lines ended as on Windows, with empty ones", both.replace(b"\n", b"\r\n\r\n"), [ONE, TWO]
    yield "byte order mark", b"\xef\xbb\xbf" + both, [ONE, TWO]
    yield "array", json.dumps([ONE, TWO]).encode(), [ONE, TWO]
    yield "pretty array", json.dumps([ONE, TWO], indent=1).encode(), [ONE, TWO]
    yield "concatenated", compact + json.dumps(TWO).encode(), [ONE, TWO]
    yield (
        "pretty, concatenated",
        b"\n\n".join(json.dumps(d, indent=4).encode() for d in (ONE, TWO)),
        [ONE, TWO],
    )
    yield "empty object among lines", b"{}\n" + both, [ONE, TWO]
    yield "null signal", b'{"resourceLogs": null, "resourceSpans": null}\n' + both, [ONE, TWO]
    pb_one, pb_two = traces().SerializeToString(), traces(resources=1, spans=5).SerializeToString()
    yield "protobuf", pb_one, [ONE]
    yield "protobuf with varint lengths", b"".join(varint(len(m)) + m for m in (pb_one, pb_two)), [ONE, TWO]
    yield (
        "protobuf with 4-byte lengths, as the collector's file exporter writes it",
        b"".join(struct.pack(">I", len(m)) + m for m in (pb_one, pb_two)),
        [ONE, TWO],
    )


LAYOUTS = list(layouts())


@pytest.mark.parametrize(("data", "documents"), [c[1:] for c in LAYOUTS], ids=[c[0] for c in LAYOUTS])
@pytest.mark.parametrize("sizes", [parts.DEFAULT_SIZES, SPLIT], ids=["whole", "split"])
@pytest.mark.parametrize("packing", ["plain", "gzip", "gzip members"])
def test_every_layout_yields_every_record_once(data, documents, sizes, packing):
    """Also where every resource is taken for too large: then each record is cut out by itself."""
    if packing == "gzip":
        data = gzip.compress(data)
    elif packing == "gzip members":
        half = len(data) // 2
        data = gzip.compress(data[:half]) + b"\x00\x00" + gzip.compress(data[half:])
    assert flat(chunks(data, sizes=sizes)) == expected(*documents)


@pytest.mark.parametrize("block", [1, 61])
@pytest.mark.parametrize(("data", "documents"), [c[1:] for c in LAYOUTS], ids=[c[0] for c in LAYOUTS])
def test_blocks_may_end_anywhere(data, documents, block, monkeypatch):
    """The smallest reads, so that every token is cut at every place."""
    monkeypatch.setattr("collector.backfill.source.BLOCK", block)
    assert flat(chunks(data, sizes=parts.Sizes(head=200))) == expected(*documents)


def test_a_resource_described_after_its_records_still_owns_them():
    """Members in the reverse order, records too many to be held: each is stored under its resource and
    scope."""

    def reverse(value):
        if isinstance(value, dict):
            return {key: reverse(item) for key, item in reversed(value.items())}
        return [reverse(item) for item in value] if isinstance(value, list) else value

    assert flat(chunks(json.dumps(reverse(ONE)).encode(), sizes=SPLIT)) == expected(ONE)


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_one_resource_of_any_size_is_split_in_little_memory(encoding):
    """80 MB in one scope of one resource: small requests come out, and memory stays far below the file's
    size."""
    data = traces(resources=1, scopes=1, spans=4_000, filler="x" * 20_000)
    raw = data.SerializeToString() if encoding == "protobuf" else json.dumps(as_otlp_json(data)).encode()
    assert len(raw) > 80_000_000
    source = Source(io.BytesIO(raw), "file", len(raw))
    tracemalloc.start()
    sizes, seen = [], 0
    for chunk in read_chunks(source, None, None):
        sizes.append(len(chunk.body))
        seen += chunk.body.count(b"span-0-0-")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == 4_000
    assert max(sizes) < 1.1 * parts.DEFAULT_SIZES.request
    assert peak < 50 << 20  # one line of 16 MiB may be looked at to tell the format


def test_signals_of_protobuf_are_told_by_the_records():
    logs = LogsData()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(event_name="e", time_unix_nano=5)
    logs.resource_logs[0].resource.attributes.append(
        KeyValue(key="service.name", value=AnyValue(string_value="s"))
    )
    record.body.string_value = "text"
    metrics = MetricsData()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m", unit="1")
    metric.sum.data_points.add(as_int=3, time_unix_nano=5)
    assert [c.signal for c in chunks(logs.SerializeToString())] == ["logs"]
    assert [c.signal for c in chunks(metrics.SerializeToString())] == ["metrics"]
    assert [c.signal for c in chunks(traces().SerializeToString())] == ["traces"]


def test_the_signal_can_be_given_where_it_cannot_be_told():
    """Spans without ids and times make sense as nothing; asked for as traces, they are handed on to be
    judged."""
    data = TracesData()
    data.resource_spans.add().scope_spans.add().spans.add(flags=1)
    raw = data.SerializeToString()
    with pytest.raises(UnreadableInput):
        read(raw)
    assert [chunk.signal for chunk in chunks(raw, "traces")] == ["traces"]


def test_one_object_may_hold_several_signals():
    log = {"timeUnixNano": "5", "eventName": "e"}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "s"}}]}
    logs = [{"resource": resource, "scopeLogs": [{"logRecords": [log]}]}]
    document = {**TWO, "resourceLogs": logs}
    for data in (json.dumps(document).encode(), json.dumps(document, indent=1).encode()):
        assert {chunk.signal for chunk in chunks(data)} == {"traces", "logs"}
        assert flat(chunks(data)) == expected(document)


def test_a_line_that_is_not_json_costs_itself_alone():
    """The line is named; the lines around it are read. A torn OTLP line is left to the decoder, which names
    it."""
    line = json.dumps(TWO).encode()
    data = b"\n".join([line, b"*** truncated by logrotate ***", line, b'{"other": 1}', line])
    found = read(data)
    assert flat(found) == expected(TWO, TWO, TWO)
    assert [part.where for part in rejected(found)] == ["line 2", "line 4"]
    assert "none of resourceSpans" in rejected(found)[1].reason
    assert [c.where for c in found if isinstance(c, Chunk)] == ["line 1", "line 3", "line 5"]


def test_a_torn_first_line_does_not_hide_the_lines_after_it():
    line = json.dumps(TWO).encode()
    found = read(line[200:] + b"\n" + line + b"\n")
    assert flat(found) == expected(TWO)
    assert [part.where for part in rejected(found)] == ["line 1"]


def test_a_broken_object_gives_what_stood_before_the_break():
    """A pretty object with a comma too many in its fifth span: four spans are read, and the line is named."""
    lines = json.dumps(TWO, indent=1).split("\n")
    at = next(i for i, text in enumerate(lines) if "span-0-0-4" in text)
    lines[at] = '"name": ,'
    found = read("\n".join(lines).encode())
    assert [record[-1] for record in flat(found)] == [f"span-0-0-{n}" for n in range(4)]
    (problem,) = rejected(found)
    assert f"line {at + 1}" in problem.reason


@pytest.mark.parametrize("packing", ["plain", "gzip"])
@pytest.mark.parametrize("layout", ["pretty object", "lines", "protobuf", "array"])
def test_a_file_cut_off_gives_its_complete_records_and_says_so(layout, packing):
    """Cut at every 97th byte: what is read is a beginning of what the whole file holds, and the cut is
    reported."""
    data, documents = next((c[1], c[2]) for c in LAYOUTS if c[0] == layout)
    raw = gzip.compress(data) if packing == "gzip" else data
    for cut in range(60, len(raw) - 2, 97):
        try:
            found = read(raw[:cut])
        except UnreadableInput as error:
            assert packing == "gzip" or cut < 100, error
            continue
        complete = [part for part in found if not (isinstance(part, Chunk) and not _decodes(part))]
        names = [record[-1] for record in flat(complete)]
        assert names == [record[-1] for record in expected(*documents)][: len(names)]
        assert rejected(found) or len(complete) < len(found) or packing == "plain"


def _decodes(chunk: Chunk) -> bool:
    try:
        as_document(chunk)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "data",
    [b"time,model,cost\n1,gpt,2\n", b"\x89PNG\r\n\x1a\n" + bytes(64), b"\x0a\x0a\x08ok", bytes(range(256))],
    ids=["csv", "png", "odd protobuf", "bytes"],
)
def test_what_is_not_otlp_is_refused_in_one_sentence(data):
    with pytest.raises(UnreadableInput, match="not OTLP"):
        read(data)


@pytest.mark.parametrize("data", [b'{"a": 1}', b'[{"a": 1}]', b'{"a": 1}\n{"b": 2}\n'])
def test_json_that_is_not_otlp_is_rejected_with_what_was_missing(data):
    found = read(data)
    assert all(isinstance(part, Rejected) and "none of resourceSpans" in part.reason for part in found)
    assert found


def test_zstd_is_named_with_what_to_do():
    with pytest.raises(UnreadableInput, match="zstd -d"):
        read(b"\x28\xb5\x2f\xfd" + bytes(20))


@pytest.mark.parametrize("data", [b"", b" \n\n", b"{}", b"[]", gzip.compress(b"", mtime=0)])
def test_an_input_without_records_is_empty_and_sound(data):
    assert read(data) == []


def test_nesting_without_end_is_refused_not_followed():
    found = read(b'{"resourceSpans":[' + b"[" * 200_000)
    assert rejected(found)


ODD_JSON = (
    rb'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":'
    rb'"b7ad6b7169203331","startTimeUnixNano":1700000000000000001.0,"name":"half \ud83d","attributes":'
    rb'[{"key":"nan","value":{"doubleValue":NaN}},{"key":"big","value":{"intValue":1234567890123456789012}}]}]}]}]}'
)


@pytest.mark.parametrize("sizes", [parts.DEFAULT_SIZES, SPLIT], ids=["whole", "split"])
@pytest.mark.parametrize(
    "layout", [b"%b", b"\xef\xbb\xbf%b\n%b\n", b"[%b,\n%b]"], ids=["object", "lines", "array"]
)
def test_files_are_read_by_the_same_exact_reader_as_requests(layout, sizes):
    """Half an emoji, bare NaN, integers as doubles or of 22 digits: the same rows as from a live request."""
    data = layout.replace(b"%b", ODD_JSON)
    [row] = extract([Request("traces", "json", ODD_JSON, 1)], Settings()).spans.to_pylist()
    assert (row["start_unix_nano"], row["name"]) == (1700000000000000001, "half \ufffd")
    requests = [Request(chunk.signal, chunk.encoding, chunk.body, 1) for chunk in chunks(data, sizes=sizes)]
    assert extract(requests, Settings()).spans.to_pylist() == [row] * data.count(ODD_JSON)
