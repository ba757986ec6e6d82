"""What a call's unit is: one of its columns, or whatever attribute its records carry."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

import duckdb

from analyzers import sql
from analyzers.cost import dimensions
from analyzers.setting import BadSetting
from analyzers.window import Window
from semconv.sqltext import literal

_LONGEST_KEY: Final = 255


class UnitKey(NamedTuple):
    """An expression over a row of ``calls``, and the join that it needs, if any."""

    name: str
    expression: str
    join: str = ""


def unit_key(connection: duckdb.DuckDBPyConnection, window: Window, name: str) -> UnitKey:
    """A dimension of `cost` by that name, else the attribute. Raises BadSetting."""
    columns = dimensions(connection, window)
    return UnitKey(name, columns[name]) if name in columns else attribute(name, "unit_of_call")


def attribute(key: str, alias: str) -> UnitKey:
    """The value of an attribute as call_attribute.sql finds it; ``alias`` is what the join is called.

    Raises BadSetting for what is no attribute's key.
    """
    check_key(key)
    values = sql.read("call_attribute.sql").format(
        path=literal(f'$."{key}"'), mark=literal(json.dumps(key, ensure_ascii=False))
    )
    return UnitKey(
        key, f"{alias}.value", f"LEFT JOIN ({values}) AS {alias} ON {alias}.call_id = calls.call_id"
    )


def check_key(key: str) -> None:
    """Raises BadSetting for what is no attribute's key."""
    # What ends a key of a JSON path or changes it, and the one that stands for all.
    if not key or len(key) > _LONGEST_KEY or not key.isprintable() or key == "*" or '"' in key or "\\" in key:
        raise BadSetting(f"{key!r} is no key of an attribute")
