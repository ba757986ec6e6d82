"""A lake with ten million spans and as many calls: how fast it takes more, and what a report over it costs."""

from __future__ import annotations

import datetime as dt
import statistics
import time
from pathlib import Path
from typing import Final

import duckdb

from analyzers import registry
from analyzers.window import Window
from collector.store.commit import Committer
from collector.store.lake import Lake
from collector.store.load_row import Origin
from collector.store.migrate import open_current
from collector.traffic.requests import Traffic
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Settings
from tests.bench.scale import Figures, Scale, say
from tests.bench.sustained import sustained
from tests.support import running

_FOLDER: Final = Path(__file__).parent
# What the loader has of a file when it is behind: all are copies of these.
_REQUESTS: Final = 40
# At once, so that files get the size that maintenance gives them.
_ROWS_AT_ONCE: Final = 400_000
_QUERIES: Final = 3
_DAYS: Final = 90


def measure(directory: Path, scale: Scale) -> Figures:
    """Loading first on an empty lake, then on the large one, both for as long; their ratio is what counts."""
    figures: Figures = {}
    with running(directory / "empty") as server:
        say("loading into an empty lake ...")
        figures["empty_queryable_per_second"] = sustained(server, "http/protobuf", scale.large_seconds)[
            "queryable_per_second"
        ]
    data_dir = directory / "large"
    say(f"making {scale.large_rows:,} spans and calls ...")
    figures |= _fill(data_dir, scale)
    figures |= _cost(data_dir)
    with running(data_dir) as server:
        say("loading into a large lake ...")
        figures["large_queryable_per_second"] = sustained(server, "http/protobuf", scale.large_seconds)[
            "queryable_per_second"
        ]
    empty = figures["empty_queryable_per_second"]
    figures["large_against_empty"] = figures["large_queryable_per_second"] / empty if empty else 0.0
    return figures


def _fill(data_dir: Path, scale: Scale) -> Figures:
    """Spans and calls, as many as the time allows of each; how many there are."""
    open_current(data_dir, {}).close()
    with Lake.open(data_dir, threads=2, memory_limit="2GB") as lake:
        traffic, now = Traffic(), time.time_ns()
        requests = [Request("traces", "protobuf", traffic.request(), now) for _ in range(_REQUESTS)]
        Committer(lake, Settings()).commit(extract(requests, Settings()), Origin("otlp"))
        return {
            "large_spans": _copy(lake.connection, "spans", scale),
            "large_calls": _copy(lake.connection, "calls", scale),
        }


def _copy(connection: duckdb.DuckDBPyConnection, table: str, scale: Scale) -> int:
    statement = (_FOLDER / f"large_{table}.sql").read_text(encoding="utf-8")
    connection.execute(f"CREATE TEMP TABLE loaded_{table} AS FROM lake.{table}")
    ((loaded,),) = connection.execute(f"SELECT count(*) FROM loaded_{table}").fetchall()
    wanted, step = scale.large_rows // loaded, max(1, _ROWS_AT_ONCE // loaded)
    deadline = time.monotonic() + scale.large_fill_seconds
    for first in range(0, wanted, step):
        if time.monotonic() > deadline:
            break
        connection.execute(statement.format(first=first, copies=min(step, wanted - first)))
    ((found,),) = connection.execute(f"SELECT count(*) FROM lake.{table}").fetchall()
    return int(found)


def _cost(data_dir: Path) -> Figures:
    """The analyzer as `otlp-analyze cost --by day,model,agent` runs it, and its one aggregate by itself."""
    now = dt.datetime.now(dt.UTC)
    window = Window(now - dt.timedelta(days=_DAYS), now)
    analyzer = registry.get("cost").bind({"now": now})
    with Lake.open(data_dir, read_only=True, threads=2) as lake:
        report, query = [], []
        for _ in range(_QUERIES):
            started = time.monotonic()
            analyzer.run(lake.connection, window, {"by": "day,model,agent"})
            report.append(time.monotonic() - started)
            started = time.monotonic()
            lake.connection.execute(
                "SELECT start_time::DATE, response_model, agent_name, pricing_mode, count(*), sum(cost_usd)"
                " FROM calls GROUP BY ALL"
            ).fetchall()
            query.append(time.monotonic() - started)
    return {"cost_report_s": statistics.median(report), "cost_query_s": statistics.median(query)}
