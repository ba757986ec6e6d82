"""Connections to lakes that a store leaves to the next one: another lake is attached to them.

To make one, to create the resolver's macros and to plan its statements takes half a second of CPU; a server does it
once, a test for each lake. A plan reads no table of a lake, so it serves all of them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Final
from unittest import mock

import duckdb

from collector.store import commit
from collector.store.commit import Committer
from collector.store.lake import Lake
from semconv.prices import PriceList
from semconv.resolve import Resolver
from semconv.settings import Settings

# A committer leaves statements behind that are prepared for it alone.
_MOST_USES: Final = 40
_MOST_SPARE: Final = 3
# Settings of which a resolver knows nothing.
_OF_EXTRACTION: Final = {
    name: getattr(Settings(), name)
    for name in (
        *("capture", "prompt_hash_key", "keep_spans", "keep_logs", "keep_metrics"),
        *("max_value_bytes", "max_attributes"),
    )
}
_LEFT_BEHIND: Final = """
    SELECT table_name FROM duckdb_tables()
    WHERE temporary AND table_name NOT IN ('provider_names', 'operation_roles')
"""
_MACROS: Final = """
    SELECT hash(list((function_name, macro_definition) ORDER BY function_name, macro_definition))
    FROM duckdb_functions() WHERE database_name = 'temp' AND NOT internal
"""


def _known_to_a_resolver(settings: Settings) -> Settings:
    """Redaction is in it for the account rules' sake alone."""
    redaction = settings.redaction if settings.account_rules else None
    return replace(settings, redaction=redaction, **_OF_EXTRACTION)


@dataclass(eq=False)
class KeptLake:
    """A writer's lake and the resolver on its connection."""

    lake: Lake
    settings: Settings
    price_list: PriceList | None = None
    resolver: Resolver | None = None
    connection: duckdb.DuckDBPyConnection | None = None
    macros: object = None
    uses: int = 0

    @classmethod
    def open(cls, data_dir: Path, settings: Settings) -> KeptLake:
        """A lake's, on the connection of one that was given back, where there is one whose resolver fits."""
        for number, spare in enumerate(_spare):
            if _known_to_a_resolver(spare.settings) == _known_to_a_resolver(settings):
                del _spare[number]
                spare.settings = settings
                spare.lake.data_dir = data_dir
                spare.lake._attach(read_only=False)
                return spare
        return cls(Lake.open(data_dir, threads=1, memory_limit="256MB"), settings)

    def committer(self) -> Committer:
        with self.lends_resolver(commit):
            return Committer(self.lake, self.settings)

    def lends_resolver(self, module: ModuleType) -> AbstractContextManager[object]:
        """What makes a resolver of its own in `module` has this one meanwhile."""
        return mock.patch.object(module, "Resolver", self._resolver)

    def give_back(self) -> None:
        """For the next; closed where that would find it otherwise than it was. Safe to call twice."""
        if self in _spare:
            return
        self.uses += 1
        if not self._left_as_it_was():
            self.lake.close()
            return
        _spare.append(self)
        for old in _spare[:-_MOST_SPARE]:
            old.lake.close()
        del _spare[:-_MOST_SPARE]

    def _left_as_it_was(self) -> bool:
        """Not after too many uses, nor where it was spoilt, closed or replaced, or has the macros of other settings."""
        connection = self.lake.connection
        if connection is not self.connection or self.uses >= _MOST_USES:
            return False
        try:
            connection.execute("DETACH lake")
            for (name,) in connection.execute(_LEFT_BEHIND).fetchall():
                connection.execute(f'DROP TABLE temp."{name}"')
            return self.macros == connection.execute(_MACROS).fetchone()
        except duckdb.Error:
            return False

    def _resolver(
        self, connection: duckdb.DuckDBPyConnection, settings: Settings, price_list: PriceList
    ) -> Resolver:
        if _known_to_a_resolver(settings) != _known_to_a_resolver(self.settings):
            return Resolver(connection, settings, price_list)
        if self.resolver is None or self.connection is not connection or self.price_list != price_list:
            self.resolver = Resolver(connection, settings, price_list)
            self.connection, self.price_list = connection, price_list
            self.macros = connection.execute(_MACROS).fetchone()
        return self.resolver


_spare: Final[list[KeptLake]] = []
