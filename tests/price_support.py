"""Price lists of a few models, in the source's published form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def price_file(folder: Path, name: str = "prices.json", model: str = "gpt-4.1-mini", **prices: str) -> Path:
    """A file in which OpenAI has one model, whose dated ids mean it too; `prices` are texts by unit, in USD."""
    path = folder / name
    path.write_text(json.dumps([_openai(model, dict(prices))]))
    return path


def _openai(model: str, prices: dict[str, str]) -> dict[str, Any]:
    return {
        "id": "openai",
        "name": "OpenAI",
        "model_match": {"starts_with": "gpt-"},
        "models": [{"id": model, "match": {"starts_with": model}, "prices": prices}],
    }
