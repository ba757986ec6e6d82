"""The `loads` row: what one commit read, stored, dropped, and how far the spool is loaded with it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from semconv.sqltext import literal

if TYPE_CHECKING:  # the process that extracts needs no database
    import duckdb

Position = tuple[int, int]
_EPOCH: Final = dt.datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a batch comes from. Times in Unix nanoseconds; `position`: (segment, offset) after its last record."""

    source: str  # otlp, backfill:<file name>
    position: Position | None = None
    requests: int = 0
    bytes: int = 0
    first_received_at: int | None = None
    last_received_at: int | None = None


@dataclass(frozen=True, slots=True)
class LoadRow:
    """One row of `loads`; the fields are its columns, in their order."""

    load_id: str
    loaded_at: dt.datetime
    source: str
    spool_segment: int | None
    spool_offset: int | None
    requests: int
    bytes: int
    first_received_at: dt.datetime | None
    last_received_at: dt.datetime | None
    spans_read: int = 0
    spans_stored: int = 0
    spans_duplicate: int = 0
    spans_not_kept: int = 0
    spans_rejected: int = 0
    log_records_read: int = 0
    log_records_stored: int = 0
    log_records_duplicate: int = 0
    log_records_not_kept: int = 0
    log_records_rejected: int = 0
    metric_points_read: int = 0
    metric_points_stored: int = 0
    metric_points_duplicate: int = 0
    metric_points_not_kept: int = 0
    metric_points_rejected: int = 0
    calls_written: int = 0
    duration_ms: float = 0.0

    @classmethod
    def of(cls, load_id: str, origin: Origin, counts: Mapping[str, int], started: float) -> LoadRow:
        """The row of a commit that began at `started` (time.monotonic()); unknown counts are ignored."""
        segment, offset = origin.position or (None, None)
        return cls(
            load_id=load_id,
            loaded_at=dt.datetime.now(dt.UTC).replace(tzinfo=None),
            source=origin.source,
            spool_segment=segment,
            spool_offset=offset,
            requests=origin.requests,
            bytes=origin.bytes,
            first_received_at=_timestamp(origin.first_received_at),
            last_received_at=_timestamp(origin.last_received_at),
            duration_ms=round((time.monotonic() - started) * 1000, 3),
            **{name: counts.get(name, 0) for name in COUNTS},
        )

    def plus(self, later: LoadRow) -> LoadRow:
        """Both commits as one: sums, and the later one's identity and position."""
        totals = {name: getattr(self, name) + getattr(later, name) for name in (*_SUMMED, *COUNTS)}
        return replace(later, **totals)

    def as_json(self) -> dict[str, Any]:
        """Column → value with times as ISO 8601 UTC, ready for JSON."""
        return {
            name: f"{value.isoformat()}Z" if isinstance(value, dt.datetime) else value
            for name, value in asdict(self).items()
        }


_SUMMED: Final = ("requests", "bytes", "duration_ms")
COUNTS: Final = tuple(
    field.name for field in fields(LoadRow) if field.default == 0 and field.name != "duration_ms"
)


def insert_load(connection: duckdb.DuckDBPyConnection, row: LoadRow) -> None:
    """Write the row; the caller's transaction holds it together with what it counts."""
    # In the statement itself: for each parameter DuckDB looks twice for a library that is not there, 10 ms in all.
    connection.execute(f"INSERT INTO lake.loads VALUES ({', '.join(map(_as_sql, astuple(row)))})")


def _as_sql(value: str | float | dt.datetime | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, dt.datetime):
        return f"TIMESTAMP '{value}'"
    return literal(value) if isinstance(value, str) else repr(value)


def _timestamp(unix_nanos: int | None) -> dt.datetime | None:
    if unix_nanos is None:
        return None
    return _EPOCH + dt.timedelta(microseconds=unix_nanos // 1000)
