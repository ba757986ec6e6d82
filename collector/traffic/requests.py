"""Made-up requests as a fleet of agents sends them, for measuring a collector.

What they look like is in ``traffic.toml``: ten spans a trace, one in four a model call with its response id, about 25
attributes a span. A few requests are made with care, as moulds; each that is sent is one of them with ids, times
and texts of its own, so that no two share any, which costs half a microsecond a span.
"""

from __future__ import annotations

import random
import re
import struct
import time
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import cycle
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from semconv.settings import Encoding

SPANS_PER_TRACE: Final = 10
# The batch of the SDKs' span processor (OTEL_BSP_MAX_EXPORT_BATCH_SIZE).
BATCH: Final = 512
MAX_BATCH: Final = 50_000
# Spans with attributes of their own, over all moulds; making one takes some 50 µs.
_MOULDED_SPANS: Final = 4096
_MOST_MOULDS: Final = 64
_SECOND: Final = 10**9
_MILLISECOND: Final = 10**6
# A request's traces ended some time in the last ten minutes, as those of an agent that works for a while.
_LATEST_END: Final = 600 * _SECOND
_SESSIONS: Final = 40
_USERS: Final = 25
_DETAILS: Final = 40
# A trace id, a span id, a time and a text of eight characters, each with its number: as long as what takes their place.
_MARKER: Final = re.compile(rb"@T(\d{6})~{8}|@([SKX])(\d{6})")

Value = str | int | float
Kind = Literal["T", "S", "K", "X"]


def _marker(kind: Kind, number: int) -> str:
    return f"@{kind}{number:06d}"


def _trace_marker(trace: int) -> str:
    return _marker("T", trace) + "~" * 8


class Traffic:
    """A supply of distinct requests of ``batch`` spans each, in one encoding. May be used by several threads."""

    def __init__(self, batch: int = BATCH, encoding: Encoding = "protobuf") -> None:
        self.batch = batch
        self._ids = random.Random()  # noqa: S311 - distinct, not secret
        choose = random.Random(1)  # noqa: S311 - the same traffic each time but for what is to be distinct
        count = min(_MOST_MOULDS, max(1, _MOULDED_SPANS // batch))
        self._moulds = cycle([_Mould(_Draft(batch, choose, turn), encoding) for turn in range(count)])

    def request(self) -> bytes:
        """A request like none before; it ended some time in the last ten minutes."""
        return next(self._moulds).fill(self._ids)


class _Mould:
    """One request in which markers stand for what differs from request to request."""

    def __init__(self, draft: _Draft, encoding: Encoding) -> None:
        is_json = encoding == "json"
        text = _json(draft) if is_json else _protobuf(draft)
        self._is_text = is_json
        self._traces, self._spans = draft.traces, draft.batch
        self._ages = draft.ages
        self._parts: list[bytes] = []
        slots: list[int] = []
        end = 0
        for found in _MARKER.finditer(text):
            self._parts += (text[end : found.start()], b"")
            slots.append(self._slot(found))
            end = found.end()
        self._parts.append(text[end:])
        self._pick = itemgetter(*slots)
        width = 2 if self._is_text else 1
        self._cut_ids = struct.Struct(f"{16 * width}s" * self._traces + f"{8 * width}s" * self._spans).unpack
        self._cut_eights = struct.Struct("8s" * (2 * self._spans)).unpack

    def fill(self, ids: random.Random) -> bytes:
        """The request with new ids, texts and times."""
        parts = self._parts.copy()
        parts[1::2] = self._pick([*self._new_ids(ids), *self._new_times(ids), *self._new_texts(ids)])
        return b"".join(parts)

    def _slot(self, found: re.Match[bytes]) -> int:
        """Where the values for a marker stand: trace ids, span ids, two times a span, two texts a span."""
        if found[1] is not None:
            return int(found[1])
        first = {b"S": 0, b"K": self._spans, b"X": 3 * self._spans}[found[2]]
        return self._traces + first + int(found[3])

    def _new_ids(self, ids: random.Random) -> tuple[bytes, ...]:
        data = ids.randbytes(16 * self._traces + 8 * self._spans)
        return self._cut_ids(data.hex().encode() if self._is_text else data)

    def _new_times(self, ids: random.Random) -> Sequence[bytes]:
        now = time.time_ns() - ids.randrange(_LATEST_END)
        times = [now - age for age in self._ages]
        if self._is_text:
            return [b"%d" % moment for moment in times]
        return self._cut_eights(struct.pack(f"<{len(times)}Q", *times))

    def _new_texts(self, ids: random.Random) -> tuple[bytes, ...]:
        return self._cut_eights(ids.randbytes(8 * self._spans).hex().encode())


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath("traffic.toml").read_text(encoding="utf-8"))


class _DraftSpan(NamedTuple):
    number: int
    trace: int
    parent: int | None
    name: str
    kind: str
    attributes: dict[str, Value]


class _Draft:
    """A request to be written with markers, and how long before its own end each of its spans began and ended (ns).

    Less than a trace is the beginning of one, of which each ``turn`` has other spans.
    """

    def __init__(self, batch: int, choose: random.Random, turn: int) -> None:
        self.batch = batch
        self.traces = -(-batch // SPANS_PER_TRACE)
        self.ages: list[int] = []
        self._choose = choose
        self._first_place = turn if batch < SPANS_PER_TRACE else 0
        self.resource = self._values(_tables()["resource"], self._names(0))
        self.scope: dict[str, Any] = _tables()["scope"]
        self.spans = [self._span(number) for number in range(batch)]

    def _span(self, number: int) -> _DraftSpan:
        trace, place = divmod(number, SPANS_PER_TRACE)
        layouts = _tables()["traces"]
        layout = layouts[trace % len(layouts)]
        table = _tables()["kinds"][layout[(place + self._first_place) % len(layout)]]
        names = self._names(number)
        attributes = self._values(table["attributes"], names) | self._values(_tables()["common"], names)
        self._add_ages(trace, place)
        return _DraftSpan(
            number,
            trace,
            number - place if place else None,
            table["name"].format_map(names),
            f"SPAN_KIND_{table['kind']}",
            attributes | self._details(table["details"], number),
        )

    def _add_ages(self, trace: int, place: int) -> None:
        """A trace takes 20 s and begins a second after the one before; its spans follow each other."""
        began = (self.traces - trace + 20) * _SECOND
        start = began - place * 20 * _MILLISECOND
        length = self._choose.randrange(10, 900) * _MILLISECOND + self._choose.randrange(_MILLISECOND)
        self.ages += (start, start - length if place else began - 20 * _SECOND)

    def _names(self, number: int) -> dict[str, Any]:
        trace, place = divmod(number, SPANS_PER_TRACE)
        return {
            "agent": self._choose.choice(_tables()["agents"]),
            "tool": self._choose.choice(_tables()["tools"]),
            **self._choose.choice(_tables()["models"]),
            "session": trace % _SESSIONS,
            "user": trace % _USERS,
            "place": place,
            "unique": _marker("X", 2 * number),
            "unique_too": _marker("X", 2 * number + 1),
        }

    def _values(self, table: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for key, wanted in table.items():
            if isinstance(wanted, str):
                values[key] = wanted.format_map(names)
            elif not isinstance(wanted, dict):
                values[key] = wanted
            elif "of" in wanted:
                values[key] = int(float(values[wanted["of"]]) * wanted["share"])
            else:
                values[key] = self._choose.randrange(wanted["from"], wanted["below"])
        return values

    def _details(self, count: int, number: int) -> dict[str, Value]:
        """One in three is the span's own, as request ids are; the others repeat, as flags and versions do."""
        own = _marker("X", 2 * number + 1)
        return {
            f"app.detail.{n}": f"value {self._choose.randrange(_DETAILS) if n % 3 else own} of detail {n}"
            for n in range(count)
        }


def _protobuf(draft: _Draft) -> bytes:
    spans = [
        Span(
            trace_id=_trace_marker(span.trace).encode(),
            span_id=_marker("S", span.number).encode(),
            parent_span_id=b"" if span.parent is None else _marker("S", span.parent).encode(),
            name=span.name,
            kind=Span.SpanKind.Value(span.kind),
            start_time_unix_nano=_as_number(_marker("K", 2 * span.number)),
            end_time_unix_nano=_as_number(_marker("K", 2 * span.number + 1)),
            attributes=_pairs(span.attributes),
        )
        for span in draft.spans
    ]
    message = ExportTraceServiceRequest()
    scope_spans = ScopeSpans(scope=InstrumentationScope(**draft.scope), spans=spans)
    message.resource_spans.add(
        resource=Resource(attributes=_pairs(draft.resource)), scope_spans=[scope_spans]
    )
    return bytes(message.SerializeToString())


def _as_number(marker: str) -> int:
    return int.from_bytes(marker.encode(), "little")


def _pairs(attributes: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any_value(value)) for key, value in attributes.items()]


def _any_value(value: Value) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(double_value=value)


def _json(draft: _Draft) -> bytes:
    """OTLP/JSON: ids in hexadecimal, enums and 64-bit integers as the protobuf mapping has them."""
    spans = [
        {
            "traceId": _trace_marker(span.trace),
            "spanId": _marker("S", span.number),
            **({} if span.parent is None else {"parentSpanId": _marker("S", span.parent)}),
            "name": span.name,
            "kind": Span.SpanKind.Value(span.kind),
            "startTimeUnixNano": _marker("K", 2 * span.number),
            "endTimeUnixNano": _marker("K", 2 * span.number + 1),
            "attributes": _json_pairs(span.attributes),
        }
        for span in draft.spans
    ]
    resource = {"attributes": _json_pairs(draft.resource)}
    scopes = [{"scope": draft.scope, "spans": spans}]
    return orjson.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]})


def _json_pairs(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _json_value(value)} for key, value in attributes.items()]


def _json_value(value: Value) -> dict[str, Value]:
    if isinstance(value, str):
        return {"stringValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"doubleValue": value}
