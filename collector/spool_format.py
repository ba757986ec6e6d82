"""How one accepted request stands in a spool segment: a fixed header, two names, the body.

======== ======= ==========================================================================
offset   type    field
======== ======= ==========================================================================
0        4s      magic; its last byte is the version of this format
4        u32     CRC-32 of the header from offset 8 on
8        u32     CRC-32 of tenant, billing account and body
12       u32     length of the body, bytes
16       i64     received_at, unix nanoseconds
24       u16     limits_version
26       u8      signal, 27: u8 encoding
28       u16     length of the tenant's UTF-8
30       u16     length of the billing account's UTF-8; 0xFFFF = no account
32       …       tenant, billing account, body
======== ======= ==========================================================================

The header has a checksum of its own so that its lengths can be trusted before what they measure is read: an
intact header whose record runs past the end of the file is a torn write, one that does not check is damage.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

# CRC-32 as zlib has it, 20 times as fast; a body is read for it when it is written and when it is loaded.
from isal.isal_zlib import crc32

from semconv.settings import Encoding, Signal

MAGIC: Final = b"SPL\x01"
FIXED: Final = struct.Struct("<4sIIIqHBBHH")
_CHECKED_FROM: Final = 8
_CHECKED: Final = struct.Struct("<IIqHBBHH")
_NO_ACCOUNT: Final = 0xFFFF
# Position in the tuple = code on disk: append only.
_SIGNALS: Final[tuple[Signal, ...]] = ("traces", "logs", "metrics")
_ENCODINGS: Final[tuple[Encoding, ...]] = ("protobuf", "json")


@dataclass(frozen=True, slots=True)
class Record:
    """One accepted OTLP request: its decompressed body and what the receiver knew about it."""

    received_at: int  # unix nanoseconds
    limits_version: int
    tenant: str
    billing_account: str | None
    signal: Signal
    encoding: Encoding
    body: bytes


class RecordDamaged(ValueError):  # noqa: N818 - the name says what is the case
    """The bytes at hand are not a record; the message says which check failed."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed part of a record, its checksum found right."""

    payload_crc: int
    body_size: int
    received_at: int
    limits_version: int
    signal: int
    encoding: int
    tenant_size: int
    account_size: int

    @property
    def names_size(self) -> int:
        return self.tenant_size + (0 if self.account_size == _NO_ACCOUNT else self.account_size)

    @property
    def record_size(self) -> int:
        return FIXED.size + self.names_size + self.body_size


def encode_head(record: Record) -> bytes:
    """Header and names of ``record``; the body follows as it is. Reads the body once for its checksum."""
    tenant = record.tenant.encode()
    account = (record.billing_account or "").encode()
    names = tenant + account
    checked = _CHECKED.pack(
        crc32(record.body, crc32(names)),
        len(record.body),
        record.received_at,
        record.limits_version,
        _SIGNALS.index(record.signal),
        _ENCODINGS.index(record.encoding),
        len(tenant),
        _NO_ACCOUNT if record.billing_account is None else len(account),
    )
    return b"".join((MAGIC, crc32(checked).to_bytes(4, "little"), checked, names))


def encoded_size(record: Record) -> int:
    """Bytes that ``record`` takes in a segment."""
    return (
        FIXED.size
        + len(record.tenant.encode())
        + len((record.billing_account or "").encode())
        + len(record.body)
    )


def decode_header(fixed: bytes) -> Header:
    """The header out of its FIXED.size bytes. Raises RecordDamaged where they are none."""
    magic, crc, *fields = FIXED.unpack(fixed)
    if magic != MAGIC:
        raise RecordDamaged("no record starts here")
    if crc32(fixed[_CHECKED_FROM:]) != crc:
        raise RecordDamaged("the header's checksum does not match")
    return Header(*fields)


def decode_record(header: Header, names: bytes, body: bytes) -> Record:
    """The record out of its parts. Raises RecordDamaged where they are not what the header sealed."""
    if crc32(body, crc32(names)) != header.payload_crc:
        raise RecordDamaged("the body's checksum does not match")
    account = None if header.account_size == _NO_ACCOUNT else names[header.tenant_size :].decode()
    return Record(
        received_at=header.received_at,
        limits_version=header.limits_version,
        tenant=names[: header.tenant_size].decode(),
        billing_account=account,
        signal=_SIGNALS[header.signal],
        encoding=_ENCODINGS[header.encoding],
        body=body,
    )
