"""The lake's price lists: which one is active, which ones were, and the rows that every `calls.price_id` is found in.

`price_snapshots` is append-only: one row per activation, with the whole list as text, so that calls can be priced by
it wherever the lake is and whatever is installed there. The newest activation is the active list.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa

from semconv.planned import relation
from semconv.prices import PriceBook, PriceList, installed
from semconv.prices import stored as stored_lists
from semconv.prices.price_list import PACKAGE
from semconv.settings import Settings

# How long a process that writes calls may go on with a list that is not the active one any more.
_LOOK_SECONDS: Final = 10.0
_OF_ACTIVATION: Final = "snapshot_id, activated_at, source, source_version, data_as_of"
_TABLE: Final = "lake.price_snapshots"


@dataclass(frozen=True, slots=True)
class Activation:
    """From when on (naive UTC) a list was the active one."""

    snapshot_id: str
    activated_at: dt.datetime
    source: str
    source_version: str
    data_as_of: dt.date | None


def history(connection: duckdb.DuckDBPyConnection) -> list[Activation]:
    """Every activation, oldest first; none in a lake of a version that had no lists yet."""
    try:
        found = connection.execute(f"SELECT {_OF_ACTIVATION} FROM {_TABLE} ORDER BY activated_at")
    except duckdb.CatalogException:
        return []
    return [Activation(*row) for row in found.fetchall()]


def active(connection: duckdb.DuckDBPyConnection) -> PriceList:
    """The active list; where none is active yet, the installed one."""
    return stored_lists.active(connection, _TABLE)


def active_on(connection: duckdb.DuckDBPyConnection, date: dt.date) -> PriceList | None:
    """The list that was active at the end of that day (UTC); None where none was yet."""
    end = dt.datetime.combine(date, dt.time()) + dt.timedelta(days=1)
    before = [each for each in history(connection) if each.activated_at < end]
    return stored(connection, before[-1].snapshot_id) if before else None


def stored(connection: duckdb.DuckDBPyConnection, snapshot_id: str) -> PriceList:
    """The list of that id. Raises KeyError for one that was never active here."""
    return stored_lists.stored(connection, snapshot_id, _TABLE)


def activate(connection: duckdb.DuckDBPyConnection, price_list: PriceList) -> bool:
    """Make it the active list, in the caller's transaction; False where it is that already."""
    activations = history(connection)
    if activations and activations[-1].snapshot_id == price_list.snapshot_id:
        return False
    add_rows(connection, price_list.rows)
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    if activations:  # a clock that was set back must not hide the newest
        now = max(now, activations[-1].activated_at + dt.timedelta(microseconds=1))
    connection.execute(
        f"INSERT INTO {_TABLE} ({_OF_ACTIVATION}, document) VALUES (?, ?, ?, ?, ?, ?)",
        [
            price_list.snapshot_id,
            now,
            price_list.source,
            price_list.source_version,
            price_list.data_as_of,
            price_list.to_json(),
        ],
    )
    return True


def activate_installed(connection: duckdb.DuckDBPyConnection) -> bool:
    """At start-up: another version of the package replaces the one before, and nothing that came from a file."""
    activations = history(connection)
    if activations and activations[-1].source != PACKAGE:
        return False
    return activate(connection, installed())


def add_rows(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> int:
    """Put price rows into `prices`, in the caller's transaction; how many. Those of a snapshot that is there stay
    as they are."""
    with relation(connection, "priced_rows", rows):
        missing = connection.execute(
            "SELECT DISTINCT snapshot_id FROM priced_rows ANTI JOIN lake.prices USING (snapshot_id)"
        ).fetchall()
        if not missing:  # an insert of nothing would be a snapshot of the lake too
            return 0
        added = connection.execute(
            "INSERT INTO lake.prices BY NAME SELECT * FROM priced_rows WHERE snapshot_id IN (SELECT unnest(?))",
            [[snapshot_id for (snapshot_id,) in missing]],
        ).fetchone()
        return int(added[0]) if added else 0


class WriterPrices:
    """What one writer of calls prices by: the lake's active list and the configuration's overrides."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
        self._connection = connection
        self.price_list = active(connection)
        self._book = PriceBook(self.price_list, settings.price_overrides)
        self._looked = time.monotonic()
        self._are_stored = False

    def are_outdated(self) -> bool:
        """Whether another list has become active; looks every 10 s."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return False
        self._looked = now
        activations = history(self._connection)
        return bool(activations) and activations[-1].snapshot_id != self.price_list.snapshot_id

    def store(self) -> None:
        """The rows that calls priced by these name: in each transaction that may store such calls, first of all."""
        if not self._are_stored:
            add_rows(self._connection, self._book.rows)

    def committed(self) -> None:
        """A transaction that began with `store` stands: nothing is missing any more."""
        self._are_stored = True
