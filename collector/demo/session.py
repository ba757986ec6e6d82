"""The made-up session as the data file defines it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# Operations that are calls of a model, as against agents and tools.
MODEL_OPERATIONS: Final = ("chat", "embeddings")


@dataclass(frozen=True, slots=True)
class Step:
    """One span; ``start_ms`` counts from the session's start, ``error`` is a failed span's message."""

    key: str
    name: str
    kind: str
    start_ms: int
    duration_ms: int
    attributes: Mapping[str, Any]
    parent: str | None = None
    error: str | None = None

    @property
    def is_call(self) -> bool:
        return self.attributes["gen_ai.operation.name"] in MODEL_OPERATIONS

    def attributes_for(self, run: str) -> dict[str, Any]:
        """The attributes with ``{run}`` filled in."""
        return {
            key: value.replace("{run}", run) if isinstance(value, str) else value
            for key, value in self.attributes.items()
        }


@dataclass(frozen=True, slots=True)
class Session:
    """Steps in the order of their start, parents first."""

    service: str
    duration_ms: int
    steps: tuple[Step, ...]

    def total(self, attribute: str) -> int:
        """The sum of a count over the session's calls."""
        return sum(step.attributes.get(attribute, 0) for step in self.steps if step.is_call)


def load_session() -> Session:
    document = tomllib.loads(Path(__file__).with_name("session.toml").read_text(encoding="utf-8"))
    return Session(
        service=document["service"],
        duration_ms=document["duration_ms"],
        steps=tuple(Step(**span) for span in document["span"]),
    )
