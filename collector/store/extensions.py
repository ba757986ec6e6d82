"""DuckDB extensions from the installed wheels, so that nothing is fetched at run time."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import duckdb

from semconv.sqltext import literal

# Wheel and file name → the name that INSTALL and LOAD know.
EXTENSIONS: Final = {"ducklake": "ducklake", "sqlite_scanner": "sqlite"}


def load_extensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Load what the lake needs: the wheel's signed file by path, else by INSTALL, which needs a network."""
    for wheel, name in EXTENSIONS.items():
        path = extension_path(wheel)
        if path is not None:
            connection.execute(f"LOAD {literal(str(path))}")
        else:
            connection.execute(f"INSTALL {name}; LOAD {name}")


def extension_path(wheel: str) -> Path | None:
    """Where the wheel put its extension for exactly this DuckDB version; None without such a wheel."""
    spec = importlib.util.find_spec(f"duckdb_extension_{wheel}")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{wheel}.duckdb_extension"
        if path.is_file():
            return path
    return None
