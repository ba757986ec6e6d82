"""Reading and writing SQL text."""

from __future__ import annotations

from importlib import resources


def sql_text(name: str) -> str:
    """The text of a .sql file of this package."""
    return resources.files("semconv").joinpath(name).read_text(encoding="utf-8")


def literal(text: str) -> str:
    """`text` as a string literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """`name` as a quoted identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'
