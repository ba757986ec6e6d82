"""``python -m tests.bench``: speed, memory and size beside their targets and floors, and where the time goes.

Server and client share two cores. Absolute figures belong to the machine they were taken on, ratios to the floors
travel better. Whatever a part cannot measure it says, and the others go on; each is bounded in time.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from tests import support
from tests.bench import (
    acknowledged,
    analyzers,
    backfill,
    large,
    latency,
    machine,
    repricing,
    stages,
    sustained,
)
from tests.bench.report import missed, print_report
from tests.bench.scale import FULL, SHORT, Figures, Scale, say
from tests.processes import pin_to_two_cores

_RESULTS: Final = Path(__file__).parent / "results.jsonl"
# In the order in which they are measured, the longest last.
PARTS: Final[dict[str, Callable[[Path, Scale], Figures]]] = {
    "stages": stages.measure,
    "acknowledged": acknowledged.measure,
    "latency": latency.measure,
    "queryable": sustained.measure,
    "json": sustained.measure_json,
    "backfill": backfill.measure,
    "reprice": repricing.measure,
    "analyzers": analyzers.measure,
    "large": large.measure,
}
# No part begins later than this: with the longest of them the whole stays under 20 minutes.
_LATEST_START_SECONDS: Final = 900
# Until a server is ready, on a machine that has other things to do.
_READY_SECONDS: Final = 120.0


@click.command()
@click.option(
    "--only", type=click.Choice(list(PARTS)), multiple=True, help="Measure this part; may be repeated."
)
@click.option("--short", is_flag=True, help="See that it all works: too short for figures, and not recorded.")
@click.option("--no-record", is_flag=True, help="Do not append to tests/bench/results.jsonl.")
def main(only: tuple[str, ...], short: bool, no_record: bool) -> None:
    """Measure this machine, loopback only: 10 to 20 minutes for all parts, up to 3 GB of temporary files."""
    figures: Figures = {}
    failed: list[str] = []
    cores = pin_to_two_cores()
    support.READY_SECONDS = _READY_SECONDS
    started = time.monotonic()
    described = machine.describe(Path(tempfile.gettempdir()), cores)
    for part in only or PARTS:
        if time.monotonic() - started > _LATEST_START_SECONDS:
            say(f"{part}: left out, as the time is up")
            failed.append(part)
        elif (found := _measured(part, SHORT if short else FULL)) is None:
            failed.append(part)
        else:
            figures |= found
    figures["bench_seconds"] = time.monotonic() - started
    print_report(figures)
    if not (short or no_record):
        _record(
            {**described, "parts": list(only or PARTS), "failed": failed, "missed": missed(figures)}, figures
        )
    if failed:
        say(f"not measured: {', '.join(failed)}")
        sys.exit(1)


def _measured(part: str, scale: Scale) -> Figures | None:
    try:
        with tempfile.TemporaryDirectory(prefix="spanledger-bench-", ignore_cleanup_errors=True) as directory:
            return PARTS[part](Path(directory), scale)
    except Exception:  # whatever it is, the other parts can be measured
        say(f"{part} could not be measured:\n{traceback.format_exc()}")
        return None


def _record(described: dict[str, object], figures: Figures) -> None:
    rounded = {name: float(f"{value:.5g}") for name, value in figures.items()}
    with _RESULTS.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({**described, "figures": rounded}) + "\n")
    say(f"appended to {_RESULTS}")


if __name__ == "__main__":
    main()
