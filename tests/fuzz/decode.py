"""What must hold for any bytes at all on the way from a request's body to Arrow tables.

An input's first byte chooses what the rest is taken for (:data:`TARGETS`) and the settings it is read with; so one
corpus serves the fuzzer (``make fuzz``) and the test that replays it.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

import orjson

from collector.config import LimitsConfig
from collector.receivers import admission, compression
from collector.receivers.status import Refusal
from semconv import json_document, json_exact, pieces, validity, wire
from semconv.extract import Extracted, extract
from semconv.otlp import DecodeError
from semconv.request import Request
from semconv.settings import CONTENT_CLASSES, Encoding, RedactionRules, Settings, Signal

RECEIVED_AT: Final = 1_790_000_000_000_000_000
LIMITS: Final = LimitsConfig()
# As a receiver does: output beyond its limit ends the reading. Small, for speed.
_MAX_INFLATED: Final = 8 << 20
_ITEMS: Final[dict[Signal, str]] = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
_WITHOUT_BOUND: Final = 1 << 60
# upb reads no more than 100 messages in each other.
_PARSERS_DEPTH: Final = 100
_JSON_COLUMNS: Final = ("attributes", "resource_attributes", "scope_attributes", "events", "links")

SETTINGS: Final = (
    Settings(keep_logs="all", keep_metrics="all"),
    # Everything that shortens, gates and takes away, at work on small inputs.
    Settings(
        keep_logs="all",
        keep_metrics="all",
        capture=frozenset(CONTENT_CLASSES),
        max_value_bytes=64,
        max_attributes=4,
        redaction=RedactionRules(("app.*",), ("service.name", "k"), "hash", b"secret"),
    ),
)


class InvariantError(AssertionError):
    """An input for which something does not hold."""


def check_input(data: bytes) -> None:
    """Read one input. Raises InvariantError, or whatever escaped from the code, where something does not hold."""
    if data:
        target = TARGETS[data[0] % len(TARGETS)]
        target(data[1:], SETTINGS[data[0] // len(TARGETS) % len(SETTINGS)])


def choice(target: int, settings: int = 0) -> bytes:
    """The first byte that chooses a target and settings, by their numbers."""
    return bytes([settings * len(TARGETS) + target])


def check_request(signal: Signal, encoding: Encoding, body: bytes, settings: Settings) -> int | None:
    """What the receivers and the loader do with a body: how many items it has, None where it is refused."""
    request = Request(signal, encoding, body, RECEIVED_AT)
    try:
        verdict = admission.judge(signal, encoding, body, RECEIVED_AT, LIMITS)
    except Refusal:
        _read_refused(request, settings)
        return None
    if encoding == "protobuf":
        _count_by_walking(signal, body, verdict)
    extracted = extract([request], settings)
    _compare(signal, verdict, extracted)
    with OTHER_WAYS[encoding]():
        if admission.judge(signal, encoding, body, RECEIVED_AT, LIMITS) != verdict:
            raise InvariantError("the other way, the verdict is another")
        if _content(extract([request], settings)) != _content(extracted):
            raise InvariantError("the other way, the rows are others")
    return verdict.items


def _count_by_walking(signal: Signal, body: bytes, verdict: validity.Verdict) -> None:
    """What large bodies are counted by must read all that the parser reads, and never count less."""
    tally = wire.Tally(signal, _WITHOUT_BOUND, _WITHOUT_BOUND)
    wire.walk(body, wire.SCHEMAS[signal].root, tally, _PARSERS_DEPTH)
    if tally.items < verdict.items:
        raise InvariantError(f"the walk counted {tally.items}, the parser {verdict.items}")


def _read_refused(request: Request, settings: Settings) -> None:
    """What got into the spool under other rules must not hurt the loader either."""
    try:
        admission.admit(request.signal, request.encoding, request.body, LIMITS)
        extract([request], settings)
    except (Refusal, DecodeError):
        return


# What large bodies and odd ones take, though the input is neither: protobuf in pieces, JSON by its exact reader.
OTHER_WAYS: Final[dict[Encoding, Callable[[], Any]]] = {
    "protobuf": lambda: patch.object(pieces, "PIECE_BYTES", 24),
    "json": lambda: patch.object(json_document, "_loads", json_exact.parse),
}


def _content(extracted: Extracted) -> str:
    tables = extracted.spans, extracted.log_records, extracted.metric_points, extracted.contents
    return repr([table.to_pylist() for table in tables])  # NaN is like NaN there


def _compare(signal: Signal, verdict: validity.Verdict, extracted: Extracted) -> None:
    items = _ITEMS[signal]
    counts = extracted.counts[f"{items}_read"], extracted.counts[f"{items}_rejected"]
    if counts != (verdict.items, verdict.rejected):
        raise InvariantError(f"the receivers counted {verdict}, the loader {counts}")
    table = getattr(extracted, items)
    if table.num_rows != verdict.items - verdict.rejected:
        raise InvariantError(f"{table.num_rows} rows of {verdict}")
    table.validate(full=True)  # UTF-8 included
    for column in set(_JSON_COLUMNS) & set(table.column_names):
        for text in table.column(column).to_pylist():
            orjson.loads(text)


def _request_target(signal: Signal, encoding: Encoding) -> Callable[[bytes, Settings], Any]:
    return lambda body, settings: check_request(signal, encoding, body, settings)


def _inflate(name: str, body: bytes) -> bytes | None:
    """All of it up to a bound, None where it is refused."""
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in compression.inflate(name, body):
            if not 0 < len(piece) <= compression.PIECE_BYTES:
                raise InvariantError(f"a piece of {len(piece)} bytes")
            size += len(piece)
            pieces.append(piece)
            if size > _MAX_INFLATED:
                break
    except Refusal:
        return None
    return b"".join(pieces)


def _gzip_target(body: bytes, _settings: Settings) -> None:
    inflated = _inflate("gzip", body)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            expected = file.read(_MAX_INFLATED)
            whole = len(expected) < _MAX_INFLATED
    except (OSError, EOFError, zlib.error):
        expected, whole = None, True
    if inflated is not None and whole and inflated != expected:
        raise InvariantError("gzip is read otherwise than by Python's own reader")


def _inflate_target(name: str) -> Callable[[bytes, Settings], Any]:
    return lambda body, _settings: _inflate(name, body)


TARGETS: Final[tuple[Callable[[bytes, Settings], Any], ...]] = (
    *(
        _request_target(signal, encoding)
        for signal in ("traces", "logs", "metrics")
        for encoding in ("protobuf", "json")
    ),
    _gzip_target,
    _inflate_target("deflate"),
    _inflate_target("zstd"),
)
