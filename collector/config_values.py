"""Values of the configuration that need more than a type: sizes, endpoints, zones, cron, names."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import stat
import zoneinfo
from functools import cache
from pathlib import Path
from typing import Final

_UNITS: Final = {
    "": 1,
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", start=1)},
}
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_ENDPOINT: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})")
# What browsers send as Origin (RFC 6454, 6.2), in lower case and without a default port.
_ORIGIN: Final = re.compile(r"https?://(?:\[[0-9a-f:]+\]|[a-z0-9._-]+)(?::\d{1,5})?")
_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# A bearer token stands in an HTTP header: visible ASCII only (RFC 9110, 5.5).
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_TOKEN_NAME: Final = re.compile(r"[\w. /-]{1,64}")
_CALLS_TABLE: Final = re.compile(r"CREATE TABLE calls \((.*?)\n\);", re.DOTALL)

MINIMUM_TOKEN_LENGTH: Final = 16
# All headers of a gRPC request are 8 KiB by default; what is longer could not be sent.
MAXIMUM_TOKEN_LENGTH: Final = 4096

# What `otlp-analyze cost --by` already calls something else; a dimension of that name could not be asked for.
GROUPING_NAMES: Final = frozenset({"day", "model", "service", "environment", "agent", "session", "user"})

# DuckDB 1.5.5, `SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'`: a column of
# such a name could only be queried in quotes.
_RESERVED: Final = """
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint
    create default deferrable desc describe distinct do else end except false fetch for foreign from
    group having in initially intersect into lambda lateral leading limit not null offset on only or
    order pivot pivot_longer pivot_wider placing primary qualify references returning select show some
    summarize symmetric table then to trailing true union unique unpivot using variadic when where
    window with
"""
RESERVED_WORDS: Final = frozenset(_RESERVED.split())


def parse_size(value: object) -> int:
    """Bytes out of 1048576, "64MiB" (powers of 1024) or "512MB" (powers of 1000). ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise ValueError(
            'a size is a whole number of bytes, or a number with a unit such as "64MiB" or "512MB"'
        )
    return int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


def check_memory_limit(value: object) -> str:
    """The size as DuckDB's ``memory_limit`` reads it; an integer is bytes."""
    parse_size(value)
    return value if isinstance(value, str) and not value.strip().isdigit() else f"{value}B"


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """("127.0.0.1", 4317) out of "127.0.0.1:4317"; IPv6 in brackets. ValueError otherwise."""
    match = _ENDPOINT.fullmatch(endpoint)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(
            "an endpoint is host:port, such as 127.0.0.1:4317 or [::1]:4317, with a port up to 65535"
        )
    return match["v6"] or match["host"], int(match["port"])


def is_loopback(endpoint: str) -> bool:
    """Whether only this machine can reach the endpoint, for certain.

    What other names and spellings ("127.1", "0x7f000001", "[::ffff:127.0.0.1]") mean is up to the resolver.
    """
    host, _ = split_endpoint(endpoint)
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def check_endpoint(endpoint: str) -> str:
    split_endpoint(endpoint)
    return endpoint


def check_origin(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise ValueError("an origin is a scheme and a host, such as https://app.example.com, without a path")
    return origin


def check_timezone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("a time zone is an IANA name, such as UTC or Europe/Berlin") from None
    return name


def check_cron(expression: str) -> str:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only a config with a schedule pays for it

    try:
        next(CronSim(expression, dt.datetime(2026, 1, 1)))
    except (CronSimError, StopIteration):
        raise ValueError(
            'a cron expression has five fields (minute hour day month weekday), such as "15 6 * * 1-5"'
        ) from None
    return expression


def check_token(token: str) -> str:
    """The message never repeats the token."""
    if not (MINIMUM_TOKEN_LENGTH <= len(token) <= MAXIMUM_TOKEN_LENGTH and _TOKEN.fullmatch(token)):
        raise ValueError(
            f"a token is at least {MINIMUM_TOKEN_LENGTH} visible ASCII characters, without spaces, "
            f"and at most {MAXIMUM_TOKEN_LENGTH}"
        )
    return token


def check_token_name(name: str) -> str:
    """A name goes into the lines that `serve` prints to be pasted into a shell."""
    if not _TOKEN_NAME.fullmatch(name):
        raise ValueError("the name of a token is 1 to 64 letters, digits, spaces, dots, _, - or /")
    return name


def check_redacted_key(key: str) -> str:
    if not key.strip("*") or "*" in key[:-1]:
        raise ValueError("an attribute key, or the beginning of one with a * at its end, such as app.user.*")
    return key


def read_small(path: Path, most_bytes: int) -> bytes:
    """The whole file. Raises OSError, and ValueError for what is too large or would be waited for, a pipe."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes} bytes")
    return content


@cache
def call_columns() -> frozenset[str]:
    """The columns that the lake's contract gives `calls`."""
    schema = (Path(__file__).parent / "store" / "schema.sql").read_text()
    table = _CALLS_TABLE.search(schema)
    if table is None:
        raise RuntimeError("store/schema.sql has no table calls")
    return frozenset(line.split()[0] for line in table[1].strip().splitlines())


def check_dimension_name(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(
            "a dimension becomes a column: lower-case letters, digits and _, at most 63, no digit first"
        )
    if name in RESERVED_WORDS:
        raise ValueError("a dimension cannot be named like a reserved word of SQL")
    if name in call_columns() or name in GROUPING_NAMES:
        raise ValueError("a dimension cannot be named like a column of calls or a built-in grouping")
    return name
