"""The results as tables."""

from __future__ import annotations

from typing import Any, Final

import click

from collector.cli.render import write_table
from tests.bench.stages import PRICING

TARGETS: Final = {"acknowledged": 100_000, "queryable": 20_000, "memory": 600 << 20}


def print_report(results: dict[str, Any]) -> None:
    """Throughput with its ratios, CPU time by stage, and the rest, each beside its target where it has
    one."""
    parse = 1e6 / results["stages"]["upb parse only"]
    click.echo(f"Medians of {results['rounds']} rounds on {results['cores']} cores, client included.")
    columns = ("", "spans/s", "of accept and drop", "of upb parse only", "target")
    rows = [row for name in ("http", "grpc") for row in _throughput(name, results[name], parse)]
    write_table(columns, rows)
    click.echo(f"upb parse only, one core: {parse:,.0f} spans/s")
    write_table(("stage", "CPU µs a span"), [(name, f"{us:.2f}") for name, us in _stages(results["stages"])])
    write_table(("", "measured", "target"), _rest(results))


def _throughput(name: str, figures: dict[str, float], parse: float) -> list[tuple[str, ...]]:
    floor = figures["floor_per_second"]
    rows = [(f"{name}: accept and drop", floor, "")]
    for kind in ("acknowledged", "queryable"):
        rows.append((f"{name}: {kind}", figures[f"{kind}_per_second"], f"{TARGETS[kind]:,}"))
    return [
        (label, f"{rate:,.0f}", f"{rate / floor:.1%}", f"{rate / parse:.1%}", target)
        for label, rate, target in rows
    ]


def _stages(stages: dict[str, float]) -> list[tuple[str, float]]:
    """The stages, and what one span costs from the socket to the lake over HTTP."""
    apart = ("upb parse only", "receive, grpc", PRICING)
    total = sum(us for name, us in stages.items() if name not in apart)
    return [*stages.items(), ("all, over HTTP", total)]


def _rest(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    waited = results["seconds_to_queryable"]
    memory, target = _mebibytes(results["peak_memory_bytes"]), _mebibytes(TARGETS["memory"])
    return [
        ("peak memory of all processes (PSS)", memory, target),
        ("bytes on disk a span", f"{results['disk_bytes_per_span']:,.0f}", ""),
        ("OK to queryable at light load, median", f"{waited['median']:.2f} s", "3 s"),
        ("OK to queryable at light load, maximum", f"{waited['maximum']:.2f} s", "3 s"),
        ("acknowledged, not stored in time", f"{results['spans_missing']:,.0f}", "0"),
        ("requests refused", f"{results['requests_refused']:,.0f}", "0"),
        *_repricing(results["repricing"]),
        ("this took", f"{results['seconds']:.0f} s", "300 s"),
    ]


def _repricing(figures: dict[str, float]) -> list[tuple[str, str, str]]:
    calls = f"{figures['calls_changed']:,.0f} calls"
    return [
        (f"reprice {calls}, the command", f"{figures['seconds']:.1f} s", ""),
        (f"reprice {calls}, its work", f"{figures['seconds_of_work']:.1f} s", "5 s"),
        (f"reprice {calls}, peak memory", _mebibytes(figures["peak_memory_bytes"]), "1,024 MiB"),
    ]


def _mebibytes(count: float) -> str:
    return f"{count / (1 << 20):,.0f} MiB"
