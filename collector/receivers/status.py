"""What a request is refused with, and how gRPC codes and HTTP statuses map onto each other.

Refusal
├── Malformed              400 INVALID_ARGUMENT      not decodable as what it claims to be
│   ├── TooDeep            400 INVALID_ARGUMENT      values nested beyond the limit
│   └── HeadersTooLarge    431
├── Unauthenticated        401 UNAUTHENTICATED
├── UnknownPath            404 UNIMPLEMENTED
│   └── MethodNotAllowed   405
├── TooLarge               413 RESOURCE_EXHAUSTED    bytes, spans or nodes; no RetryInfo: it will not shrink
├── UnsupportedMedia       415 INVALID_ARGUMENT      a Content-Type not spoken here
│   ├── UnsupportedEncoding 415                      a Content-Encoding not spoken here
│   └── UnknownExpectation 417
└── Unavailable            503 UNAVAILABLE           for now; with RetryInfo and Retry-After
    ├── NotSpooled         503 UNAVAILABLE           the spool is full or its disk refuses
    └── Internal           503 UNAVAILABLE           a fault of ours, which the log describes

Only 429, 502, 503 and 504 are retried by OTLP/HTTP clients, and UNAVAILABLE by OTLP/gRPC clients (OTLP
specification, "Failures"): whatever is our own trouble must be one of these, or the client drops its data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

import grpc
import orjson
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from semconv.settings import Encoding

HTTP_STATUS: Final = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.UNIMPLEMENTED: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,
    grpc.StatusCode.UNAVAILABLE: 503,
}

# A header of a gRPC answer holds the message; 8 KiB for all of them is the default of gRPC's clients.
_MESSAGE_LENGTH: Final = 1000


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """A request that is not accepted. ``str()`` is one sentence in English for the sender."""

    code: ClassVar[grpc.StatusCode]
    status: ClassVar[int | None] = None
    reason: ClassVar[str]  # label of the counters
    headers: Mapping[str, str] = MappingProxyType({})
    retry_after: float | None = None  # seconds
    items: int = 0  # spans, log records or data points, where they had been counted by then

    def __init__(self, message: str) -> None:
        # What a sender wrote can be part of it: a lone surrogate would fit into no answer.
        text = message.encode(errors="backslashreplace").decode()
        super().__init__(text if len(text) <= _MESSAGE_LENGTH else f"{text[: _MESSAGE_LENGTH - 1]}…")

    @property
    def http_status(self) -> int:
        return self.status or HTTP_STATUS[self.code]

    def details(self) -> list[message.Message]:
        """The google.rpc messages that say more than the code."""
        return []

    def http_headers(self) -> Mapping[str, str]:
        if self.retry_after is None:
            return self.headers
        # Retry-After is in whole seconds (RFC 9110, 10.2.3).
        return {**self.headers, "Retry-After": str(max(1, math.ceil(self.retry_after)))}


class Malformed(Refusal):
    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "malformed"

    def details(self) -> list[message.Message]:
        violation = error_details_pb2.BadRequest.FieldViolation(field="body", description=str(self))
        return [error_details_pb2.BadRequest(field_violations=[violation])]


class TooDeep(Malformed):
    reason = "too_deep"


class HeadersTooLarge(Malformed):
    status = 431


class Unauthenticated(Refusal):
    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "unauthenticated"
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})


class UnknownPath(Refusal):
    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "unknown_path"


class MethodNotAllowed(UnknownPath):
    status = 405
    reason = "method"

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.headers = {"Allow": allow}


class TooLarge(Refusal):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "too_large"


class UnsupportedMedia(Refusal):
    code = grpc.StatusCode.INVALID_ARGUMENT
    status = 415
    reason = "unsupported"


class UnsupportedEncoding(UnsupportedMedia):
    """``accepted`` lists what is spoken, where RFC 9110 has a client look for it (15.5.16)."""

    def __init__(self, message: str, accepted: str) -> None:
        super().__init__(message)
        self.headers = {"Accept-Encoding": accepted}


class UnknownExpectation(UnsupportedMedia):
    status = 417


class Unavailable(Refusal):
    """Not now: the sender keeps the data and comes back after ``retry_after`` seconds."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "unavailable"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def details(self) -> list[message.Message]:
        return [self.retry_info()]

    def retry_info(self) -> error_details_pb2.RetryInfo:
        seconds, fraction = divmod(self.retry_after or 0.0, 1)
        delay = duration_pb2.Duration(seconds=int(seconds), nanos=int(fraction * 1e9))
        return error_details_pb2.RetryInfo(retry_delay=delay)


class NotSpooled(Unavailable):
    """``items`` were acceptable, and could not be made durable."""

    reason = "spool"

    def __init__(self, message: str, retry_after: float, items: int) -> None:
        super().__init__(message, retry_after)
        self.items = items


class Internal(Unavailable):
    reason = "internal"


def to_status(refusal: Refusal) -> status_pb2.Status:
    """The google.rpc.Status that every answer but a success carries."""
    details = []
    for detail in refusal.details():
        packed = any_pb2.Any()
        packed.Pack(detail)
        details.append(packed)
    return status_pb2.Status(code=refusal.code.value[0], message=str(refusal), details=details)


def status_body(refusal: Refusal, encoding: Encoding) -> bytes:
    """The Status as the body of an HTTP answer, in the encoding of the request."""
    if encoding == "protobuf":
        return bytes(to_status(refusal).SerializeToString())
    body = {"code": refusal.code.value[0], "message": str(refusal)}
    details = [_detail_json(detail) for detail in refusal.details()]
    return orjson.dumps({**body, "details": details} if details else body)


def _detail_json(detail: message.Message) -> dict[str, object]:
    # The protobuf JSON mapping of Any: the type beside the fields of the message.
    fields: dict[str, object] = {"@type": f"type.googleapis.com/{detail.DESCRIPTOR.full_name}"}
    if isinstance(detail, error_details_pb2.RetryInfo):
        fields["retryDelay"] = detail.retry_delay.ToJsonString()
    elif isinstance(detail, error_details_pb2.BadRequest):
        fields["fieldViolations"] = [
            {"field": violation.field, "description": violation.description}
            for violation in detail.field_violations
        ]
    return fields


def trailing_metadata(refusal: Refusal) -> tuple[tuple[str, bytes], ...]:
    """The trailers of a gRPC answer: the Status where gRPC's clients look for it, and the delay once more.

    The Python OTLP exporter reads RetryInfo from a trailer of its own and never opens the Status.
    """
    status = (("grpc-status-details-bin", to_status(refusal).SerializeToString()),)
    if not isinstance(refusal, Unavailable):
        return status
    return (*status, ("google.rpc.retryinfo-bin", refusal.retry_info().SerializeToString()))
