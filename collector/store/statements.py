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
def migrations() -> dict[int, str]:
    """Version → SQL, ascending. Version 1 is schema.sql; later ones are migrations/NNNN_what.sql."""
    found = {1: sql("schema.sql") + sql("sql/layout.sql")}
    folder = _PACKAGE.joinpath("migrations")
    for file in folder.iterdir() if folder.is_dir() else ():  # a wheel has no empty folders
        if file.name.endswith(".sql"):
            found[int(file.name.split("_")[0])] = sql(f"migrations/{file.name}")
    return dict(sorted(found.items()))


LATEST_VERSION: Final = max(migrations())
