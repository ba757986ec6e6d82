"""Bodies made to hurt, and what each may be answered with. Built when asked for: some have tens of megabytes."""

from __future__ import annotations

import gzip
import json
import random
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
START = 1_795_000_000_000_000_000
MEBIBYTE = 1 << 20
SEED = 20_251_122
# The trace that every span of an attack belongs to, if it is stored at all.
TRACE_ID = b"hostile trace 16"
# What every one of them says it cost.
TOKENS = 77


@dataclass(frozen=True)
class Body:
    name: str
    allowed: set[int]  # HTTP statuses
    make: Callable[[], bytes]
    media: str = PROTOBUF
    coding: str = ""
    path: str = "/v1/traces"


# --- protobuf by hand -----------------------------------------------------------------------------


def varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def wrapped(content: bytes) -> bytes:
    """What stands in a ScopeSpans, ScopeLogs or ScopeMetrics, as a whole request."""
    return field(1, field(2, content))


def attribute(key: bytes, value: bytes) -> bytes:
    """A Span's field: ``value`` is the content of an AnyValue."""
    return field(9, field(1, key) + field(2, value))


def string(text: bytes) -> bytes:
    return field(1, text)


def span(*fields: bytes, name: bytes = b"chat", number: int = 1) -> bytes:
    """A ScopeSpans' field: a span that is valid but for its further fields, and a call of a model."""
    times = b"".join(varint(at << 3 | 1) + START.to_bytes(8, "little") for at in (7, 8))
    tokens = attribute(b"gen_ai.usage.input_tokens", b"\x18" + varint(TOKENS))
    ids = field(1, TRACE_ID) + field(2, number.to_bytes(8, "big"))
    return field(2, ids + field(5, name) + times + tokens + b"".join(fields))


def nested(depth: int) -> bytes:
    """An AnyValue's content: arrays in arrays."""
    content = string(b"bottom")
    for _ in range(depth):
        content = field(5, field(1, content))
    return content


# --- JSON -----------------------------------------------------------------------------------------


def span_json(**fields: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE_ID.hex(),
        "spanId": "00000000000000aa",
        "name": "chat",
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START),
        **fields,
    }


def json_request(**fields: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span_json(**fields)]}]}]}).encode()


def json_value(text: bytes) -> bytes:
    """A request with one attribute whose AnyValue is spelt so."""
    attributes = [{"key": "app.k", "value": "VALUE"}]
    return json_request(attributes=attributes).replace(b'"VALUE"', text)


def nested_json(depth: int, around: bytes, closing: bytes) -> bytes:
    return around * depth + b"1" + closing * depth


# --- compressed -----------------------------------------------------------------------------------


def zeros(mebibytes: int, wbits: int, head: bytes = b"") -> bytes:
    """A stream that inflates to so many MiB of zeros: one block, flushed so that it can be repeated."""
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = deflater.compress(bytes(MEBIBYTE)) + deflater.flush(zlib.Z_FULL_FLUSH)
    again = deflater.compress(bytes(MEBIBYTE)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return head + block + again * (mebibytes - 1) + deflater.flush() + bytes(8 if wbits > 16 else 4)


def gzipped_empty_spans() -> bytes:
    """64 KiB that are 64 MiB that a parser makes 5.9 GB of."""
    room = 64 * MEBIBYTE - 16
    return gzip.compress(wrapped(b"\x12\x00" * (room // 2)), 9)


def gzipped_empty_objects() -> bytes:
    return gzip.compress(b'{"resourceSpans":[' + b"{}," * (5 * MEBIBYTE) + b"{}]}", 9)


GOOD = wrapped(span())
GZIP_HEAD = gzip.compress(b"")[:10]


def noise(size: int) -> bytes:
    return random.Random(SEED).randbytes(size)


BODIES: list[Body] = [
    # Compression.
    Body("gzip of 64 MiB of empty spans", {413}, gzipped_empty_spans, coding="gzip"),
    Body("gzip of 10 GB of zeros", {413}, lambda: zeros(10_000, 31, GZIP_HEAD), coding="gzip"),
    Body("gzip of JSON {},{}", {413}, gzipped_empty_objects, JSON, "gzip"),
    Body("50,000 empty gzip members", {400}, lambda: gzip.compress(b"") * 50_000, coding="gzip"),
    Body("truncated gzip", {400}, lambda: gzip.compress(GOOD)[:-9], coding="gzip"),
    Body("gzip without its end", {400}, lambda: gzip.compress(GOOD)[:-1], coding="gzip"),
    Body("gzip with a wrong sum", {400}, lambda: gzip.compress(GOOD)[:-8] + bytes(8), coding="gzip"),
    Body("garbage after gzip", {400}, lambda: gzip.compress(GOOD) + b"garbage", coding="gzip"),
    Body("gzip in gzip", {400}, lambda: gzip.compress(gzip.compress(GOOD)), coding="gzip"),
    Body("garbage for gzip", {400}, lambda: noise(10_000), coding="gzip"),
    Body("gzip's head alone", {400}, lambda: GZIP_HEAD, coding="gzip"),
    Body("deflate of 1 GB of zeros", {413}, lambda: zeros(1000, 15, b"\x78\xda"), coding="deflate"),
    Body("truncated deflate", {400}, lambda: zlib.compress(GOOD)[:-3], coding="deflate"),
    Body("garbage after deflate", {400}, lambda: zlib.compress(GOOD) + b"x", coding="deflate"),
    Body(
        "zstd of 1 GB of zeros",
        {413},
        lambda: zstd.compress(bytes(64 * MEBIBYTE)) * 16,
        coding="zstd",
    ),
    # Frame header of RFC 8878: no content size, a window of 2 GiB.
    Body(
        "zstd with a window of 2 GiB", {400}, lambda: b"\x28\xb5\x2f\xfd\x00\xa8" + noise(99), coding="zstd"
    ),
    Body("zstd with a dictionary", {400}, lambda: b"\x28\xb5\x2f\xfd\x23\x01\x02\x03\x04\x05", coding="zstd"),
    Body("truncated zstd", {400}, lambda: zstd.compress(GOOD)[:-3], coding="zstd"),
    Body("50,000 empty zstd frames", {400}, lambda: zstd.compress(b"") * 50_000, coding="zstd"),
    # Not what it claims to be.
    Body("garbage for protobuf", {400}, lambda: noise(10_000)),
    Body("garbage for JSON", {400}, lambda: noise(10_000), JSON),
    Body("JSON for protobuf", {400}, json_request),
    Body("protobuf for JSON", {400}, lambda: GOOD, JSON),
    Body("an array for a request", {400}, lambda: b"[]", JSON),
    Body("JSON in UTF-16", {400}, lambda: json_request().decode().encode("utf-16"), JSON),
    Body("a length of 2 GiB", {400}, lambda: b"\x0a\xff\xff\xff\xff\x07"),
    Body("a length of 2**63", {400}, lambda: b"\x0a" + varint(1 << 63)),
    Body("a number of 11 bytes", {400}, lambda: b"\x08" + b"\xff" * 10 + b"\x01"),
    # No UTF-8.
    Body("a name that is not UTF-8", {400}, lambda: wrapped(span(name=b"\xff\xfe"))),
    Body("a key that is not UTF-8", {400}, lambda: wrapped(span(attribute(b"\xc0\x80", string(b"v"))))),
    Body("a value that is not UTF-8", {400}, lambda: wrapped(span(attribute(b"k", string(b"\xed\xa0\x80"))))),
    Body(
        "a long value that is not UTF-8",
        {400},
        lambda: wrapped(span(attribute(b"k", string(b"x" * 300 + b"\xff")))),
    ),
    Body(
        "JSON that is not UTF-8",
        {200, 400},
        lambda: json_request(name="NAME").replace(b"NAME", b"\xff"),
        JSON,
    ),
    # Too deep.
    Body("protobuf nested 10,000 deep", {400}, lambda: wrapped(span(attribute(b"k", nested(10_000))))),
    Body("groups nested 10,000 deep", {400}, lambda: b"\x7b" * 10_000 + b"\x7c" * 10_000),
    Body(
        "JSON nested 10,000 deep in a known field",
        {400},
        lambda: b'{"resourceSpans":' + nested_json(10_000, b"[", b"]") + b"}",
        JSON,
    ),
    Body(
        "JSON nested 10,000 deep in an unknown field",
        {200, 400},
        lambda: b'{"unknown":' + nested_json(10_000, b'{"a":[', b"]}") + b"}",
        JSON,
    ),
    Body(
        "JSON nested 10,000 deep in a value",
        {400},
        lambda: json_value(nested_json(10_000, b'{"arrayValue":{"values":[', b"]}}").replace(b"1", b"{}")),
        JSON,
    ),
    Body(
        "JSON nested 10,000 deep with escaped keys",
        {400},
        lambda: json_value(
            nested_json(10_000, b'{"arrayV\\u0061lue":{"v\\u0061lues":[', b"]}}").replace(b"[1]", b"[{}]")
        ),
        JSON,
    ),
    # Too many, or too large.
    Body("60,000 empty log records", {413}, lambda: wrapped(b"\x12\x00" * 60_000), path="/v1/logs"),
    Body(
        "60,000 data points",
        {413},
        lambda: wrapped(field(2, field(5, b"\x0a\x00" * 60_000))),
        path="/v1/metrics",
    ),
    Body(
        "10 million buckets",
        {413},
        lambda: wrapped(field(2, field(9, field(1, field(6, bytes(80 * MEBIBYTE // 2)))))),
        path="/v1/metrics",
    ),
    Body("65 MiB", {413}, lambda: wrapped(span(name=b"x" * (65 * MEBIBYTE)))),
    Body("17 MiB of JSON", {413}, lambda: json_request(name="x" * (17 * MEBIBYTE)), JSON),
    # Numbers that cost time to read.
    Body(
        "an integer of 4 million digits",
        {200, 400},
        lambda: json_value(b'{"intValue":%b}' % (b"7" * 4_000_000)),
        JSON,
    ),
    Body(
        "a text of 4 million digits for an integer",
        {200, 400},
        lambda: json_value(b'{"intValue":"%b"}' % (b"7" * 4_000_000)),
        JSON,
    ),
    Body(
        "4 million digits and as large an exponent",
        {200, 400},
        lambda: json_value(b'{"intValue":"1%be-4000000"}' % (b"0" * 4_000_000)),
        JSON,
    ),
    Body(
        "an exponent of 20 digits",
        {200},
        lambda: json_request(endTimeUnixNano="1e99999999999999999999"),
        JSON,
    ),
    Body(
        "a double of 4 million digits",
        {200, 400},
        lambda: json_value(b'{"doubleValue":0.%b}' % (b"7" * 4_000_000)),
        JSON,
    ),
]
LONG = b"x" * 10_000_000


def many_attributes(count: int) -> bytes:
    return b"".join(attribute(b"app.key.%d" % number, b"\x18" + varint(number)) for number in range(count))


# Big, and within the rules: all of these must be stored. The number is that of the span.
BIG: dict[int, tuple[str, Callable[[], bytes]]] = {
    1: ("10,000 attributes", lambda: span(many_attributes(10_000), number=1)),
    2: ("50,000 attributes", lambda: span(many_attributes(50_000), number=2)),
    3: ("a value of 10 MB", lambda: span(attribute(b"app.v", string(LONG)), number=3)),
    4: ("a key of 10 MB", lambda: span(attribute(LONG, string(b"v")), number=4)),
    5: ("a span name of 10 MB", lambda: span(name=LONG, number=5)),
}
