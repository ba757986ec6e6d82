"""What calls asked, by hash: from the hashes that the gate kept, else from captured text."""

from __future__ import annotations

from typing import Any, Final

import duckdb
import pyarrow as pa

from analyzers import sql
from analyzers.window import Window
from semconv.dialects import tables
from semconv.planned import relation

# What is said where nothing is known.
HOW_TO_SWITCH_ON: Final = (
    "what calls asked is not known: `capture: {prompt_hashes: true}` keeps hashes of prompts, "
    "without text, of what comes in from then on"
)
MODEL_CALLS: Final = "calls.role = 'llm'"
_COLUMNS: Final = ("call_id", "told_by", "hash")
_BOUNDARIES: Final = ("parts", "prefixes", "texts", "ends")
# Read off the text, as the gate writes it: to parse the document takes six times as long.
_HASH: Final = "'hashes' AS told_by, substr(evidence::VARCHAR, begins + 18, 32) AS hash"
_BYTES: Final = "split_part(substr(evidence::VARCHAR, begins + 60, 20), ',', 1)::BIGINT AS bytes"
_SHAPE: Final = (
    '{"prompt": {"parts": ["VARCHAR"], "prefixes": ["BIGINT"], "texts": ["BIGINT"], "ends": ["BIGINT"]}}'
)
# Of so many boundaries at most; each hash is one of all before it.
_PIECES: Final = """,
    list_transform(pieces[:64], lambda piece: piece.part) AS parts,
    list_transform(range(1, least(len(pieces), 64) + 1), lambda i:
        hash(list_transform(pieces[:i], lambda piece: piece.hash))::HUGEINT - 9223372036854775808
    )::BIGINT[] AS prefixes,
    list_transform(pieces[:64], lambda piece: piece.hash::HUGEINT - 9223372036854775808)::BIGINT[] AS texts,
    list_transform(range(1, least(len(pieces), 64) + 1), lambda i:
        list_sum(list_transform(pieces[:i], lambda piece: piece.bytes)))::BIGINT[] AS ends
"""


def prompts(
    connection: duckdb.DuckDBPyConnection,
    window: Window,
    *,
    boundaries: bool = False,
    of: str = MODEL_CALLS,
) -> pa.Table:
    """One row per call of the window whose prompt is known: call_id, told_by ("hashes", "contents": hashes of different
    kinds are never equal) and hash of the prompt; with ``boundaries`` its bytes, parts, prefixes, texts and ends too
    (semconv/prompt_hashes.py). ``of``: a condition of SQL on `calls`.
    """
    columns = (*_COLUMNS, "bytes", *_BOUNDARIES) if boundaries else _COLUMNS
    parsed = (f"(from_json(evidence, '{_SHAPE}')).prompt.{name} AS {name}" for name in _BOUNDARIES)
    hashes = ", ".join([_HASH, _BYTES, *parsed]) if boundaries else _HASH
    parts = {
        "of": of,
        "of_records": "evidence, begins" if boundaries else _HASH,
        "of_calls": hashes if boundaries else "told_by, hash",
        "sections": sql.read("prompt_sections.sql"),
        "hashes": hashes,
        "pieces": _PIECES if boundaries else "",
        "columns": ", ".join(columns),
    }

    def table(name: str, **parts: Any) -> pa.Table:
        return connection.execute(sql.read(name).format(**parts), window.parameters()).to_arrow_table()

    own = table("prompts_own.sql", **parts).select(columns)
    places = prompt_places(connection, window)
    with (
        relation(connection, "told_already", own.select(["call_id"])),
        relation(connection, "prompt_places", places),
    ):
        if not places.num_rows and not _is_told_elsewhere(connection, window, own.num_rows, of):
            return own
        return pa.concat_tables([own, table("prompts_elsewhere.sql", **parts).select(columns)])


def _is_told_elsewhere(connection: duckdb.DuckDBPyConnection, window: Window, told: int, of: str) -> bool:
    """Whether records beside calls' own spans may tell their prompts, where ``told`` calls have theirs."""
    [[calls]] = connection.execute(sql.read("prompt_calls.sql").format(of=of), window.parameters()).fetchall()
    if calls == told:
        return False
    [[found]] = connection.execute(
        sql.read("prompts_beside.sql").format(of=of), window.parameters()
    ).fetchall()
    return bool(found)


def prompt_places(connection: duckdb.DuckDBPyConnection, window: Window) -> pa.Table:
    """Of the keys of captured text those that hold a part of a prompt, as prompt_sections.sql wants them."""
    found = connection.execute(sql.read("prompt_keys.sql"), window.parameters()).fetchall()
    rules = tables().every_rule
    rows = [(key, *place) for (key,) in found if (place := rules.prompt_place(key)) is not None]
    names = ("key", "part", "source")
    return pa.table(
        [[row[at] for row in rows] for at in range(3)],
        schema=pa.schema([(name, pa.string()) for name in names]),
    )
