"""Calls whose prompts are known by their hashes, as the gate keeps them, for tests of what compares prompts."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from collector.store.lake import Lake
from collector.store.lock import writer_lock
from semconv.planned import relation
from tests.cached_calls import cached_call, insert_prices
from tests.calls_table import lake_with_calls

# Role, what it says, and how many tokens that has.
Section = tuple[str, str, int]
BYTES_A_TOKEN = 4


def evidence(sections: Sequence[Section], bytes_a_token: float = BYTES_A_TOKEN) -> str:
    """What the gate keeps of a prompt; hashes of made-up texts stand for those of real ones."""
    digest, end = hashlib.md5(usedforsecurity=False), 0
    prefixes, texts, ends = [], [], []
    for role, text, tokens in sections:
        digest.update(f"{role}\x1f{text}\x1e".encode())
        end += round(tokens * bytes_a_token)
        prefixes.append(int.from_bytes(digest.digest()[:8], "big", signed=True))
        own = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        texts.append(int.from_bytes(own[:8], "big", signed=True))
        ends.append(end)
    parts = [role for role, _, _ in sections]
    boundaries = {"parts": parts, "prefixes": prefixes, "texts": texts, "ends": ends}
    prompt = {"hash": digest.hexdigest(), "bytes": end, **boundaries}
    return json.dumps({"gated": {"gen_ai.input.messages": end}, "prompt": prompt}, separators=(",", ":"))


def prompted_call(
    start: dt.datetime,
    sections: Sequence[Section],
    read: int | None = 0,
    written: int | None = 0,
    **columns: Any,
) -> dict[str, Any]:
    """A call (tests/cached_calls.py) with as many input tokens as its sections have, and its span's `evidence`."""
    tokens = sum(section[2] for section in sections)
    row = cached_call(start, tokens, read, written, **columns)
    return {**row, "trace_id": row["call_id"], "span_id": "1", "evidence": evidence(sections)}


def insert_prompted(connection: duckdb.DuckDBPyConnection, rows: Sequence[dict[str, Any]]) -> None:
    """These calls and their spans in the place of all. Rows without `evidence` get a span without."""
    connection.execute("DELETE FROM calls; DELETE FROM spans")
    if not rows:
        return
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    with relation(connection, "prompted", table):
        connection.execute("INSERT INTO calls BY NAME SELECT * EXCLUDE (evidence) FROM prompted")
        connection.execute(
            "INSERT INTO spans BY NAME SELECT tenant, trace_id, span_id, 'chat' AS name, 'CLIENT' AS kind, start_time,"
            " 0 AS start_unix_nano, 0 AS end_unix_nano, 'UNSET' AS status_code, evidence::JSON AS evidence,"
            " 'otlp' AS source, start_time AS received_at, 'load' AS load_id FROM prompted WHERE trace_id IS NOT NULL"
        )


def lake_with_prompts(data_dir: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A real lake with these calls, their spans and the prices of tests/cached_calls.py."""
    lake_with_calls(data_dir)
    with Lake.open(data_dir) as lake, writer_lock(data_dir):
        lake.connection.execute("USE lake")
        lake.connection.begin()
        insert_prompted(lake.connection, rows)
        insert_prices(lake.connection)
        lake.connection.commit()
    return data_dir
