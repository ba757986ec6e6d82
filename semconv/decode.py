"""The two decoders behind one function: OTLP bytes in, plain Python records out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from semconv import otlp_json, otlp_json_metrics, otlp_protobuf
from semconv.otlp import DecodeError, ScopeGroup
from semconv.settings import Encoding, Signal

__all__ = ["DecodeError", "scope_groups"]

_DECODERS: Final[dict[tuple[Signal, Encoding], Callable[[bytes], Iterator[ScopeGroup]]]] = {
    ("traces", "protobuf"): otlp_protobuf.traces,
    ("traces", "json"): otlp_json.traces,
    ("logs", "protobuf"): otlp_protobuf.logs,
    ("logs", "json"): otlp_json.logs,
    ("metrics", "protobuf"): otlp_protobuf.metrics,
    ("metrics", "json"): otlp_json_metrics.metrics,
}


def scope_groups(signal: Signal, encoding: Encoding, body: bytes) -> Iterator[ScopeGroup]:
    """A request's records (Span, LogRecord or Metric), scope by scope; DecodeError if it cannot be read."""
    return _DECODERS[signal, encoding](body)
