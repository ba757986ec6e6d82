"""The .sql files of this package."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

_PACKAGE: Final = resources.files("collector.store")


@cache
def sql(name: str) -> str:
    """The text of one file, by its path inside this package."""
    return _PACKAGE.joinpath(name).read_text(encoding="utf-8")


@cache
def layout() -> str:
    """What lays an empty lake, of the newest version."""
    return sql("schema.sql") + sql("sql/layout.sql")


@cache
def migrations() -> dict[int, str]:
    """Version → the SQL that brings a lake of the version before to it, ascending: migrations/NNNN_what.sql."""
    folder = _PACKAGE.joinpath("migrations")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return {int(name.split("_")[0]): sql(f"migrations/{name}") for name in names}


LATEST_VERSION: Final = max(migrations())
