"""Writes what the fuzzer begins with into the saved corpus: ``python -m tests.fuzz.seeds``.

Small valid requests of each kind, the spellings that OTLP/JSON allows, and compressed bodies. The other files of the
corpus, named ``found-…``, are inputs that once went wrong.
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semconv.settings import Signal
from tests.fuzz.decode import choice
from tests.otlp_data import any_json, logs_message, metrics_message, span_json, traces_message
from tests.otlp_messages import REQUESTS, filled, json_body

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CORPUS = Path(__file__).parent / "corpus"
# In the order of tests.fuzz.decode.TARGETS.
PROTOBUF: dict[Signal, int] = {"traces": 0, "logs": 2, "metrics": 4}
JSON: dict[Signal, int] = {"traces": 1, "logs": 3, "metrics": 5}
GZIP, DEFLATE, ZSTD = 6, 7, 8
GENAI: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": "80",
    "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"Hi"}]}]',
    "gen_ai.response.finish_reasons": ["stop"],
    "user.id": "u1",
    "app.some": {"list": [1, 2.5, True, None, b"\x00\x01", float("nan")]},
    "some.prompt": "Hello",
}
# One span's fields as no encoder would write them, and as some do.
ODD_SPANS: dict[str, dict[str, Any]] = {
    "numbers": {"startTimeUnixNano": 1.79e18, "endTimeUnixNano": "1.79E+18", "kind": "SPAN_KIND_CLIENT"},
    "nulls": {"traceState": None, "attributes": None, "events": None, "status": None, "parentSpanId": None},
    "wrong": {"name": 5, "attributes": [None, 5, {"value": {}}], "links": {}, "status": [], "flags": -1},
    "ids": {"parentSpanId": "zz", "links": [{"traceId": "00", "spanId": "W47/95gDgQM="}]},
}
ODD_VALUES = rb'{"doubleValue":1e999},{"intValue":123456789012345678901234567890},{"stringValue":"\ud83d"}'


def seeds() -> Iterator[tuple[str, bytes]]:
    """Name and content of every seed."""
    for signal, request in REQUESTS.items():
        for pick in range(8):
            message = filled(request(), pick)
            yield f"{signal}-protobuf-{pick}", choice(PROTOBUF[signal]) + message.SerializeToString()
            yield f"{signal}-json-{pick}", choice(JSON[signal]) + json_body(message)
    yield from _genai()
    for name, fields in ODD_SPANS.items():
        body = {"resourceSpans": [{"scopeSpans": [{"spans": [span_json(**fields), span_json()]}]}]}
        yield f"traces-json-{name}", choice(1) + json.dumps(body).encode()
    odd = {"attributes": [{"key": "k", "value": {"arrayValue": {"values": ["ODD"]}}}]}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span_json(**odd)]}]}]}).encode()
    yield "traces-json-inexact", choice(1) + body.replace(b'"ODD"', ODD_VALUES)
    yield from _compressed()


def _genai() -> Iterator[tuple[str, bytes]]:
    messages: dict[Signal, Any] = {
        "traces": traces_message(GENAI, {"a": 1}),
        "logs": logs_message({"event_name": "gen_ai.choice", "body": GENAI, "attributes": GENAI}),
        "metrics": metrics_message("gen_ai.client.token.usage", {"gen_ai.token.type": "input"}),
    }
    for signal, message in messages.items():
        for settings in (0, 1):
            name = f"{signal}-genai-{settings}"
            yield f"{name}-protobuf", choice(PROTOBUF[signal], settings) + message.SerializeToString()
            yield f"{name}-json", choice(JSON[signal], settings) + json_body(message)


def _compressed() -> Iterator[tuple[str, bytes]]:
    text = json.dumps(any_json(GENAI)).encode()
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    yield "gzip", choice(GZIP) + gzip.compress(text, mtime=0)
    yield "gzip-members", choice(GZIP) + gzip.compress(b"", mtime=0) * 3 + gzip.compress(text, mtime=0)
    yield "gzip-cut", choice(GZIP) + gzip.compress(text, mtime=0)[:-9]
    yield "deflate", choice(DEFLATE) + zlib.compress(text)
    yield "deflate-bare", choice(DEFLATE) + bare.compress(text) + bare.flush()
    yield "zstd", choice(ZSTD) + zstd.compress(text)
    yield "zstd-frames", choice(ZSTD) + zstd.compress(b"") + zstd.compress(bytes(200_000))
    yield "zstd-skippable", choice(ZSTD) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd.compress(text)


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for name, content in seeds():
        (CORPUS / f"seed-{name}").write_bytes(content)


if __name__ == "__main__":
    main()
