"""The requests that could not be loaded and were put aside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from collector.quarantine import FOLDER


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One request's file and why it is there."""

    path: Path
    reason: str


def read_quarantine(data_dir: Path) -> list[Quarantined]:
    """What lies in the quarantine, oldest first; empty where there is none."""
    folder = data_dir / FOLDER
    if not folder.is_dir():
        return []
    return [Quarantined(path, _reason(path)) for path in sorted(folder.glob("*.json"))]


def _reason(path: Path) -> str:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "no reason can be read"
    reason = document.get("reason") if isinstance(document, dict) else None
    return str(reason or "no reason given")
