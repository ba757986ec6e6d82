"""How much of everything is measured: enough for a figure to repeat, or just enough to see that it all works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import click

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """Times are in seconds; a part that cannot do all it is asked for in its time does less, and says how much."""

    rounds: int
    requests: int  # of 512 spans, a round
    sustained_seconds: float
    json_seconds: float
    one_span_seconds: float
    light_requests: int
    backfill_bytes: int
    backfill_seconds: float
    large_rows: int
    large_fill_seconds: float
    large_seconds: float
    repriced_calls: int
    analyzed_calls: int
    analyzers_seconds: float


FULL: Final = Scale(
    rounds=3,
    requests=160,
    sustained_seconds=60,
    json_seconds=20,
    one_span_seconds=5,
    light_requests=100,
    backfill_bytes=10**9,
    backfill_seconds=180,
    large_rows=10_000_000,
    large_fill_seconds=120,
    large_seconds=20,
    repriced_calls=1_000_000,
    analyzed_calls=1_000_000,
    analyzers_seconds=10,
)
SHORT: Final = Scale(
    rounds=1,
    requests=32,
    sustained_seconds=6,
    json_seconds=5,
    one_span_seconds=1,
    light_requests=6,
    backfill_bytes=20_000_000,
    backfill_seconds=60,
    large_rows=100_000,
    large_fill_seconds=10,
    large_seconds=5,
    repriced_calls=20_000,
    analyzed_calls=20_000,
    analyzers_seconds=3,
)


def say(text: str) -> None:
    """Where it is, for who waits."""
    click.echo(text, err=True)
