"""What makes a single record unacceptable: the one predicate behind the receivers' verdict and extraction's
drop.

Each function returns the fault, without anything of the sender's in it, or None for an acceptable record.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

from semconv.otlp import INT64_MAX, NOT_HEX, UNSET_SPAN_ID, UNSET_TRACE_ID

# Closed: the kinds are labels of the collector's counters.
FaultKind = Literal["id_not_hex", "id_empty", "id_zero", "id_length", "time_out_of_range"]
FAULT_KINDS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8


class Fault(NamedTuple):
    """What is wrong with a record; ``reason`` is a sentence for its sender."""

    kind: FaultKind
    reason: str


def span_fault(trace_id: bytes, span_id: bytes, start_unix_nano: int, end_unix_nano: int) -> Fault | None:
    """A span needs both ids, and times that int64 nanoseconds can hold (until 2262)."""
    if len(trace_id) != _TRACE_ID_BYTES or trace_id == UNSET_TRACE_ID:
        return _id_fault("trace_id", trace_id, _TRACE_ID_BYTES)
    if len(span_id) != _SPAN_ID_BYTES or span_id == UNSET_SPAN_ID:
        return _id_fault("span_id", span_id, _SPAN_ID_BYTES)
    if start_unix_nano > INT64_MAX:
        return _time_fault("start_time_unix_nano")
    return _time_fault("end_time_unix_nano") if end_unix_nano > INT64_MAX else None


def log_record_fault(time_unix_nano: int, observed_time_unix_nano: int) -> Fault | None:
    """A log record needs no id, but times that int64 nanoseconds can hold."""
    if time_unix_nano > INT64_MAX:
        return _time_fault("time_unix_nano")
    return _time_fault("observed_time_unix_nano") if observed_time_unix_nano > INT64_MAX else None


def point_fault(time_unix_nano: int, start_time_unix_nano: int) -> Fault | None:
    """A data point needs times that int64 nanoseconds can hold."""
    if time_unix_nano > INT64_MAX:
        return _time_fault("time_unix_nano")
    return _time_fault("start_time_unix_nano") if start_time_unix_nano > INT64_MAX else None


def _id_fault(name: str, raw: bytes, size: int) -> Fault:
    if raw is NOT_HEX:
        return Fault("id_not_hex", f"{name} is not hex: in OTLP/JSON it is {size * 2} hex digits, not base64")
    if not raw:
        return Fault("id_empty", f"{name} is empty; expected {size} bytes")
    if len(raw) == size:
        return Fault("id_zero", f"{name} is all zero, which is no valid id")
    return Fault("id_length", f"{name} has {len(raw)} bytes; expected {size}")


def _time_fault(name: str) -> Fault:
    reason = f"{name} is not a time in nanoseconds that a signed 64-bit integer can hold"
    return Fault("time_out_of_range", reason)
