"""The figures as tables, each beside its target and its floor where it has them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from collector.cli.render import write_table
from tests.bench.scale import Figures

_MEASURES: Final = tomllib.loads((Path(__file__).parent / "measures.toml").read_text())["measure"]
_STAGE: Final = "stage: "


def print_report(figures: Figures) -> None:
    """What is promised first, then CPU time by stage, then everything else that was measured."""
    write_table(
        ("measure", "measured", "of its floor", "target", ""),
        [_row(one, figures) for one in _measured(figures)],
    )
    if stages := [
        (name.removeprefix(_STAGE), f"{us:.2f}") for name, us in figures.items() if name.startswith(_STAGE)
    ]:
        click.echo()
        write_table(("stage", "CPU µs a span"), stages)
    shown = {one["figure"] for one in _MEASURES}
    rest = [
        (name, f"{value:,.2f}")
        for name, value in figures.items()
        if name not in shown and not name.startswith(_STAGE)
    ]
    click.echo()
    write_table(("also measured", ""), rest)


def missed(figures: Figures) -> list[str]:
    """The figures that were measured and do not reach their target."""
    return [one["figure"] for one in _measured(figures) if not _is_reached(one, figures)]


def _measured(figures: Figures) -> list[Mapping[str, Any]]:
    return [one for one in _MEASURES if one["figure"] in figures]


def _value(measure: Mapping[str, Any], figures: Figures) -> float:
    return float(figures[measure["figure"]] / measure.get("per", 1))


def _is_reached(measure: Mapping[str, Any], figures: Figures) -> bool:
    value = _value(measure, figures)
    return bool(value <= measure["at_most"] if "at_most" in measure else value >= measure["reach"])


def _row(measure: Mapping[str, Any], figures: Figures) -> tuple[str, ...]:
    target = f"at most {measure['at_most']:,}" if "at_most" in measure else f"{measure['reach']:,}"
    if "stretch" in measure:
        target += f", better {measure['stretch']:,}"
    floor = figures.get(measure.get("floor", ""))
    ratio = f"{figures[measure['figure']] / floor:.1%}" if floor else ""
    unit = measure["unit"]
    return (
        measure["title"],
        f"{_short(_value(measure, figures))} {unit}".rstrip(),
        ratio,
        f"{target} {unit}".rstrip(),
        "reached" if _is_reached(measure, figures) else "missed",
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
