"""DuckDB extensions from the installed wheels, so that nothing is fetched at run time."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import duckdb

from semconv.sqltext import literal

# Wheel and file name → the name that INSTALL and LOAD know.
EXTENSIONS: Final = {"ducklake": "ducklake", "sqlite_scanner": "sqlite"}

Setting = str | bool | int | float | list[str]


def connect_with_extensions(config: Mapping[str, Setting]) -> duckdb.DuckDBPyConnection:
    """A database in memory that has loaded what the lake needs.

    Files of installed wheels are loaded unchecked: whoever can change them can change DuckDB's own library beside
    them, which nobody checks, and checking two signatures takes 0.7 s of each command. Where a wheel is missing,
    INSTALL fetches the extensions, and DuckDB checks what it was given.
    """
    paths = [extension_path(wheel) for wheel in EXTENSIONS]
    are_installed = None not in paths
    connection = duckdb.connect(":memory:", config={**config, "allow_unsigned_extensions": are_installed})
    for path, name in zip(paths, EXTENSIONS.values(), strict=True):
        connection.execute(f"LOAD {literal(str(path))}" if are_installed else f"INSTALL {name}; LOAD {name}")
    # From here on nothing unsigned is loaded any more; it cannot be allowed again.
    connection.execute("SET allow_unsigned_extensions = false")
    return connection


def extension_path(wheel: str) -> Path | None:
    """Where the wheel put its extension for exactly this DuckDB version; None without such a wheel."""
    spec = importlib.util.find_spec(f"duckdb_extension_{wheel}")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{wheel}.duckdb_extension"
        if path.is_file():
            return path
    return None
