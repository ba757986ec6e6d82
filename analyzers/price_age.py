"""The note beside money that was worked out from old prices: providers change theirs every few weeks."""

from __future__ import annotations

import datetime as dt
from typing import Final

import duckdb

from analyzers import sql

OLD_DAYS: Final = 30


def note(source: str, as_of: dt.date | None, today: dt.date) -> str | None:
    """What to say of a price list; None where it is not old, or carries no date."""
    if as_of is None or (today - as_of).days <= OLD_DAYS:
        return None
    return f"the prices are {(today - as_of).days} days old (data as of {as_of}); {advice(source)}"


def advice(source: str) -> str:
    """How a list of this source is renewed."""
    if source.startswith("file:"):
        return f"take a newer {source.removeprefix('file:')} with: otlp-collector prices update --from FILE"
    return f"renew them with: pip install --upgrade {source} && otlp-collector prices update"


def notes(connection: duckdb.DuckDBPyConnection, today: dt.date | None = None) -> tuple[str, ...]:
    """The note for the active list of a lake; none in one that has no lists."""
    try:
        found = connection.execute(sql.read("active_prices.sql")).fetchone()
    except duckdb.CatalogException:
        return ()
    if found is None:
        return ()
    said = note(found[0], found[1], today or dt.datetime.now(dt.UTC).date())
    return (said,) if said else ()
