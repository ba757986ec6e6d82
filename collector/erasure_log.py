"""What was erased when: one JSON line per step in ``<data_dir>/erasures.jsonl``. It never holds an id.

Of the id there is an HMAC-SHA-256 by a key of its own (``erasures.key``), so that who asks whether somebody was erased
can be answered, and nobody can read off who was.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from collector import redaction_key
from collector.store.durability import append_line

LOG: Final = "erasures.jsonl"
KEY: Final = "erasures.key"
# `begun`; rows `deleted` from the lake; live files `rewritten`, all before `mark` to go; none left: `finished`.
State = Literal["begun", "deleted", "rewritten", "finished"]


def note(data_dir: Path, state: State, kind: str, hashed: str, **facts: Any) -> None:
    """Append one line, durable on return. Raises OSError."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
    entry = {"at": now, "state": state, "kind": kind, "id": hashed, **facts}
    append_line(data_dir / LOG, orjson.dumps(entry))


def entries(data_dir: Path) -> Iterator[Mapping[str, Any]]:
    """The lines, oldest first; one that a crash cut off is left out."""
    try:
        lines = (data_dir / LOG).read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue


def hashed_id(data_dir: Path, kind: str, identifier: str) -> str:
    """What stands in the log for an id; the key is made where there is none. Raises ConfigError."""
    path = data_dir / KEY
    redaction_key.make(path)
    digest = hmac.digest(redaction_key.read(path), f"{kind}\x1f{identifier}".encode(), "sha256")
    return f"hmac:{digest.hex()}"


def pending(data_dir: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """(kind, hash of the id) → mark, of erasures whose old files are still there."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for entry in entries(data_dir):
        key = (entry["kind"], entry["id"])
        if entry["state"] == "rewritten":
            snapshot, file = entry["mark"]
            found[key] = (snapshot, file)
        elif entry["state"] == "finished":
            found.pop(key, None)
    return found


def erased_since(data_dir: Path, moment: dt.datetime) -> bool:
    """Whether anything was erased after an aware moment: what was read before must not be written down now."""
    return any(
        entry["state"] in ("begun", "deleted") and dt.datetime.fromisoformat(entry["at"]) >= moment
        for entry in entries(data_dir)
    )
