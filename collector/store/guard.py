"""What may run as `sql`: exactly one SELECT or EXPLAIN that only names the lake's relations.

An attached DuckLake opens its catalog through the same connection, READ_ONLY alone does not protect it, and a
SELECT can call functions that write. So the statement is judged by its parse tree before it runs.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any, Final

import duckdb

# Comments, then EXPLAIN [ANALYZE] [(options)].
_EXPLAIN: Final = re.compile(
    r"\A(?P<comments>(?:\s|--[^\n]*\n|/\*.*?\*/)*)EXPLAIN\b(?:\s+ANALYZE\b)?\s*(?:\((?P<options>[\w\s,]*)\))?",
    re.IGNORECASE | re.DOTALL,
)
# A name that could be a path, a pattern or a URL would make DuckDB look for a file.
_PLAIN_NAME: Final = re.compile(r"[^\W\d][\w $-]*")
_HIDDEN: Final = "__ducklake"
_LAKE_SCHEMAS: Final = {("", ""), ("", "main"), ("lake", ""), ("", "lake"), ("lake", "main")}


class Refused(ValueError):  # noqa: N818 - the name says what is the case
    """The statement is not one that `sql` runs; the message says why, in one sentence."""


def check(statement: str) -> None:
    """Raises Refused unless `statement` is one SELECT, or one EXPLAIN of a SELECT, over the lake alone."""
    with duckdb.connect(":memory:") as parser:
        _check_kind(parser, statement)
        tree = _parse_tree(parser, _explained(statement))
    for node in _nodes(tree):
        _check_node(node)


def sentence(error: duckdb.Error) -> str:
    """DuckDB's message without the excerpt of the statement."""
    return " ".join(str(error).split("\n\n")[0].split())


def _check_kind(parser: duckdb.DuckDBPyConnection, statement: str) -> None:
    try:
        statements = parser.extract_statements(statement)
    except duckdb.Error as error:
        raise Refused(sentence(error)) from None
    if len(statements) != 1:
        raise Refused(
            f"sql runs exactly one statement, this is {len(statements) or 'none'}{_hint(statements)}"
        )
    kind = statements[0].type
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise Refused(f"sql only reads: a SELECT or EXPLAIN, not {kind.name}")


def _hint(statements: list[Any]) -> str:
    """PIVOT without its values is two statements to DuckDB: the first collects them into a type."""
    kinds = [statement.type for statement in statements]
    if kinds == [duckdb.StatementType.CREATE, duckdb.StatementType.SELECT]:
        return "; a PIVOT has to list its values: PIVOT … ON column IN ('a', 'b')"
    return ""


def _explained(statement: str) -> str:
    """The statement without EXPLAIN; the SELECT inside is what is judged."""
    return _EXPLAIN.sub("", statement, count=1)


def _parse_tree(parser: duckdb.DuckDBPyConnection, statement: str) -> dict[str, Any]:
    try:
        row = parser.execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
        tree: dict[str, Any] = json.loads(row[0]) if row else {}
    except duckdb.Error as error:
        raise Refused(sentence(error)) from None
    except RecursionError:
        raise Refused("the statement is nested too deeply") from None
    if tree.get("error", True):
        raise Refused("sql only reads: this is no SELECT, nor EXPLAIN of one")
    return tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree; not by recursion, because nesting is the sender's choice."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _check_node(node: dict[str, Any]) -> None:
    match node.get("type"):
        case "TABLE_FUNCTION":
            _check_table_function(node["function"])
        case "BASE_TABLE":
            _check_table(node["catalog_name"], node["schema_name"], node["table_name"])
        case "SHOW_REF":
            _check_show(node)
        case _ if "function_name" in node:
            _check_function(node["function_name"])


def _check_table_function(function: dict[str, Any]) -> None:
    name = function["function_name"]
    qualified = function.get("schema") or function.get("catalog")
    if qualified or name.lower() not in _rules()["table_functions"]["allowed"]:
        raise Refused(f"the table function {name} is not one of those that sql runs")


def _check_function(name: str) -> None:
    if name.lower() in _rules()["functions"]["refused"]:
        raise Refused(f"the function {name} is not one of those that sql runs")


def _check_table(catalog: str, schema: str, name: str) -> None:
    if _HIDDEN in f"{catalog}.{schema}.{name}".lower():
        raise Refused("the lake's own catalog is not open to sql")
    if not _PLAIN_NAME.fullmatch(name):
        raise Refused(f"{name!r} is no relation of the lake, and sql reads no files")
    if schema.lower() in _rules()["schemas"]["allowed"] and catalog.lower() in ("", "lake"):
        return
    if (catalog.lower(), schema.lower()) not in _LAKE_SCHEMAS:
        raise Refused(f"{'.'.join(filter(None, (catalog, schema, name)))} is not in the lake")


def _check_show(node: dict[str, Any]) -> None:
    """DESCRIBE and SUMMARIZE hold their query, which is judged like any; SHOW TABLES names the lake's."""
    if node.get("query") is None and node.get("table_name", "").strip('"').lower() != "tables":
        raise Refused("of the SHOW statements sql only runs SHOW TABLES")


@cache
def _rules() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(
        resources.files("collector.store").joinpath("guard.toml").read_text(encoding="utf-8")
    )
