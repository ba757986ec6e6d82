"""One accepted OTLP request, as it stands in the spool: the unit that extraction reads."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings import Encoding, Signal


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes of one export request with what the receiver knows about them.

    ``body`` is decompressed; ``received_at`` is in Unix nanoseconds.
    """

    signal: Signal
    encoding: Encoding
    body: bytes
    received_at: int
    tenant: str = ""  # "" = the only tenant of an embedded lake
    billing_account: str | None = None  # the account bound to the sender's token
    source: str = "otlp"  # or "backfill:<file name>"
