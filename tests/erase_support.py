"""Looks for texts in every file of a data directory, as whoever holds its disk could."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def files_with(folder: Path, *texts: str) -> dict[str, set[str]]:
    """Path below `folder` → those of the texts that it holds: as bytes, and in Parquet as values too."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += b"\n".join(text.encode() for text in _values(path))
            held = {text for text in texts if text.encode() in content}
            if held:
                found[str(path.relative_to(folder))] = held
    return found


def _values(path: Path) -> Iterable[str]:
    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowInvalid:  # cut off by a kill
        return
    for column in table.columns:
        if pa.types.is_list(column.type) or pa.types.is_string(column.type):
            for value in column.to_pylist():
                yield from _texts(value)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    for item in value if isinstance(value, list) else ():
        yield from _texts(item)
