"""What status and doctor tell about a data directory: out of the lake, the spool and the quarantine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from analyzers import honest
from analyzers.window import Window, naive_utc
from collector.spool_files import Position, SpoolDamaged, read_records, segment_path, segments

if TYPE_CHECKING:
    import duckdb

_QUERIES: Final = Path(__file__).parent / "queries"


class ModeTotals(NamedTuple):
    """The calls of one pricing mode; ``list_price_usd`` is spend in mode api alone."""

    pricing_mode: str
    calls: int
    failed: int
    calls_without_cost: int
    list_price_usd: Decimal | None

    def as_dict(self) -> dict[str, Any]:
        """The list price under the one name that the mode allows; the other names are null."""
        amounts = honest.amounts(self.pricing_mode, self.list_price_usd)
        return {
            "pricing_mode": self.pricing_mode,
            "calls": self.calls,
            "failed_calls": self.failed,
            "calls_without_cost": self.calls_without_cost,
            **{column.name: amount for column, amount in zip(honest.COLUMNS, amounts, strict=True)},
        }


class LoadTotals(NamedTuple):
    """Of all loads there ever were."""

    loads: int
    last_received_at: dt.datetime | None
    spans_not_kept: int
    log_records_not_kept: int
    metric_points_not_kept: int
    spans_rejected: int
    log_records_rejected: int
    metric_points_rejected: int

    def not_kept(self) -> dict[str, int]:
        return {
            "spans": self.spans_not_kept,
            "log_records": self.log_records_not_kept,
            "metric_points": self.metric_points_not_kept,
        }

    def rejected(self) -> dict[str, int]:
        return {
            "spans": self.spans_rejected,
            "log_records": self.log_records_rejected,
            "metric_points": self.metric_points_rejected,
        }


class PriceSource(NamedTuple):
    """The active price list."""

    source: str
    source_version: str
    data_as_of: dt.date | None
    prices: int

    def age_days(self, today: dt.date) -> int | None:
        return (today - self.data_as_of).days if self.data_as_of else None


@dataclass(frozen=True, slots=True)
class LakeFacts:
    """One reading of the lake, all of it from one connection."""

    today: Window
    modes: tuple[ModeTotals, ...]
    loads: LoadTotals
    position: Position | None
    prices: PriceSource | None
    undeclared: tuple[str, ...]


def query(connection: duckdb.DuckDBPyConnection, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of one of this package's .sql files; the lake is the default schema."""
    statement = (_QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    return connection.execute(statement, parameters).fetchall()


def today(timezone: str, now: dt.datetime) -> Window:
    """The calendar day of ``timezone`` that ``now`` is in."""
    zone = ZoneInfo(timezone)
    date = now.astimezone(zone).date()
    start, end = (dt.datetime.combine(day, dt.time(), zone) for day in (date, date + dt.timedelta(days=1)))
    return Window(start.astimezone(dt.UTC), end.astimezone(dt.UTC), timezone)


def read_lake(connection: duckdb.DuckDBPyConnection, day: Window) -> LakeFacts:
    """What the lake says about ``day`` and about itself."""
    position = query(connection, "position")
    prices = _prices(connection)
    return LakeFacts(
        today=day,
        modes=_in_order(ModeTotals(*row) for row in query(connection, "today", **day.parameters())),
        loads=LoadTotals(*query(connection, "loads")[0]),
        position=position[0] if position else None,
        prices=prices,
        undeclared=honest.undeclared_plans(connection, day),
    )


def _prices(connection: duckdb.DuckDBPyConnection) -> PriceSource | None:
    """None where none is active yet, and in a lake that an older version laid."""
    try:
        found = query(connection, "prices")
    except duckdb.CatalogException:
        return None
    return PriceSource(*found[0]) if found else None


def _in_order(modes: Iterable[ModeTotals]) -> tuple[ModeTotals, ...]:
    return tuple(sorted(modes, key=lambda mode: honest.MODES.index(mode.pricing_mode)))


def clocks_ahead(connection: duckdb.DuckDBPyConnection, now: dt.datetime) -> list[tuple[str, int, float]]:
    """(service, spans, seconds) of the last day's senders whose spans ended after they arrived."""
    rows = query(connection, "clock", since=naive_utc(now - dt.timedelta(days=1)))
    return [(service, spans, seconds) for service, spans, seconds in rows]


@dataclass(frozen=True, slots=True)
class SpoolFacts:
    """What is accepted and not in the lake yet; ``oldest_received_at`` is of the first such request."""

    waiting_bytes: int
    oldest_received_at: dt.datetime | None
    damage: str | None


def read_spool(directory: Path, loaded: Position | None) -> SpoolFacts:
    """Requests after ``loaded`` (None = nothing is); reads the first of them only, unlike ``scan_spool``."""
    if not directory.is_dir():
        return SpoolFacts(0, None, None)
    waiting = sum(_waiting_bytes(directory, loaded))
    try:
        first = next(_records(directory, loaded), None) if waiting else None
    except SpoolDamaged as error:
        return SpoolFacts(waiting, None, str(error))
    return SpoolFacts(waiting, _moment(first) if first is not None else None, None)


def scan_spool(directory: Path, loaded: Position | None) -> str | None:
    """What is damaged in the requests that wait, None = nothing. Reads them all and checks every checksum."""
    try:
        for _ in _records(directory, loaded):
            pass
    except SpoolDamaged as error:
        return str(error)
    return None


def _waiting_bytes(directory: Path, loaded: Position | None) -> Iterator[int]:
    reached, offset = loaded or (-1, 0)
    for segment in segments(directory):
        if segment >= reached:
            try:
                size = segment_path(directory, segment).stat().st_size
            except FileNotFoundError:
                continue  # loaded and freed meanwhile
            yield max(0, size - offset) if segment == reached else size


def _records(directory: Path, loaded: Position | None) -> Iterator[int]:
    """received_at (unix nanoseconds) of each request that waits."""
    numbers = segments(directory)
    # Past the last segment: what is half-written at its end is being written, not damaged.
    end = (numbers[-1] + 1, 0) if numbers else (0, 0)
    for _, record in read_records(directory, loaded, end):
        yield record.received_at


def _moment(unix_ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(unix_ns / 1e9, dt.UTC)
