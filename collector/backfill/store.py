"""The lake as the backfill needs it."""

from __future__ import annotations

from collector.store.commit import Committer
from collector.store.lake import Lake
from collector.store.load_row import LoadRow, Origin
from semconv.extract import Extracted
from semconv.settings import Settings


class LakeStore:
    """See ``collector.backfill.writer.Store``."""

    def __init__(self, lake: Lake, settings: Settings) -> None:
        self._lake = lake
        self._committer = Committer(lake, settings)

    def commit(self, extracted: Extracted, origin: Origin, *, dry_run: bool = False) -> LoadRow:
        return self._committer.commit(extracted, origin, dry_run=dry_run)

    def stored_by_source(self, load_id: str, table: str) -> dict[str, int]:
        found = self._lake.connection.execute(
            f"SELECT source, count(*) FROM lake.{table} WHERE load_id = ? GROUP BY source", [load_id]
        )
        return dict(found.fetchall())
