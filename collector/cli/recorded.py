"""What otlp-analyze has recorded: the latest results without computing anything, and the runs there were."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from collector.cli.render import iso_time, write_csv, write_json, write_table

if TYPE_CHECKING:
    import duckdb

    from analyzers.window import Window

_QUERIES: Final = Path(__file__).parent / "queries"
# Runs that were carried out together are settled together; these were perhaps not.
_OVERLAP: Final = (
    "computed at different times, several results may claim the same savings: do not add them up"
)


def last_results(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> list[dict[str, Any]]:
    """The latest recorded result of each analyzer (of `names`, where there are any), as it was printed then; with when
    that was, under `recorded`."""
    query = (_QUERIES / "last_results.sql").read_text()
    found = connection.execute(query, {"analyzers": list(names) or None}).fetchall()
    results = []
    for run_id, trigger, finished_at, result in found:
        recorded = {"run_id": run_id, "trigger": trigger, "finished_at": iso_time(finished_at)}
        results.append(json.loads(result, parse_float=Decimal) | {"recorded": recorded})
    estimating = [result for result in results if any(one.get("estimate") for one in result["findings"])]
    if len(estimating) > 1:
        for result in estimating:
            result["notes"].append(_OVERLAP)
    return results


def _to_the_second(value: Any) -> Any:
    return value.replace(microsecond=0) if isinstance(value, dt.datetime) else value


def print_runs(
    connection: duckdb.DuckDBPyConnection, window: Window, names: Sequence[str], form: str
) -> None:
    """The runs that began in the window, latest first."""
    parameters = {**window.parameters(), "analyzers": list(names) or None}
    found = connection.execute((_QUERIES / "runs.sql").read_text(), parameters)
    columns = [column[0] for column in found.description or ()]
    rows = found.fetchall()
    if form == "json":
        write_json(columns, rows, sys.stdout)
    elif form == "csv":
        write_csv(columns, rows, sys.stdout)
    elif rows:
        cells = [[_to_the_second(value) for value in row[1:]] for row in rows]
        write_table([name.replace("_", " ") for name in columns[1:]], cells, sys.stdout)
    else:
        click.echo(f"no runs began from {window}")
