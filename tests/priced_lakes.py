"""Lakes of calls that have their model's price, for what prices them again: in one connection, one after the other.

USD for a million tokens, input / cache read / output: gpt-4o 2.50 / 1.25 / 10, gpt-4o-mini 0.15 / 0.075 / 0.60,
claude-opus-4-5 5 / 0.50 / 25, claude-sonnet-4-5 3 / 0.30 / 15.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from analyzers import frame, registry
from analyzers.finding import Report
from analyzers.window import Window
from semconv.planned import relation
from semconv.settings import PriceOverride
from tests.calls_table import call, calls_table

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 3, 1)
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MONTH = Decimal("30.436875")
TABLES = ("calls", "spans", "log_records", "price_snapshots")
Row = dict[str, Any]


CONNECTION = calls_table()
TYPES = {name: CONNECTION.execute(f"SELECT * FROM {name} LIMIT 0").to_arrow_table().schema for name in TABLES}


def lake(calls: Iterable[Row], **tables: Iterable[Row]) -> duckdb.DuckDBPyConnection:
    """One connection for every lake, as laying one out takes as long as many of them; it holds these rows alone."""
    for name in TABLES:
        CONNECTION.execute(f"DELETE FROM {name}")
        insert(name, [*calls] if name == "calls" else [*tables.get(name, ())])
    return CONNECTION


def insert(name: str, rows: Sequence[Row]) -> None:
    if rows:
        columns = pa.schema(
            [TYPES[name].field(column) for column in {key: None for row in rows for key in row}]
        )
        with relation(CONNECTION, "inserted", pa.Table.from_pylist(rows, columns)):
            CONNECTION.execute(f"INSERT INTO {name} BY NAME SELECT * FROM inserted")


def report_of(
    name: str,
    connection: duckdb.DuckDBPyConnection,
    over: Window,
    now: dt.datetime = NOW,
    price_overrides: Sequence[PriceOverride] = (),
    **settings: Any,
) -> Report:
    """What an analyzer that prices calls says of a lake, as a run of it alone has it: settled."""
    report = (
        registry.get(name).bind({"price_overrides": tuple(price_overrides)}).run(connection, over, settings)
    )
    return frame.settle(connection, over, now, {name: report})[name]


def named_rows(report: Report) -> list[Row]:
    names = [column.name for column in report.columns]
    return [dict(zip(names, row, strict=True)) for row in report.rows]


def window(days: int = 14, timezone: str = "UTC") -> Window:
    start = START.replace(tzinfo=dt.UTC)
    return Window(start, start + days * DAY, timezone)


def gpt(day: int, at: int, input_tokens: int = 1000, output_tokens: int = 100, **columns: Any) -> Row:
    """A call of gpt-4o in a session of its own: 1,000 tokens in and 100 out cost 0.0035 USD, by gpt-4o-mini 0.00021."""
    cost_input = Decimal(input_tokens) * Decimal("0.0000025")
    cost_output = Decimal(output_tokens) * Decimal("0.00001")
    about = {
        "start_time": START + day * DAY + dt.timedelta(hours=9, minutes=at),
        "agent_name": "tagger",
        "session_id": f"s-{day}-{at}",
        "trace_id": f"t-{day}-{at}",
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "token_semantics": "inclusive",
        "cost_input_usd": cost_input,
        "cost_output_usd": cost_output,
        "cost_usd": cost_input + cost_output,
    }
    return call(**(about | columns))


def opus(day: int, at: int, output_tokens: int = 600, **columns: Any) -> Row:
    """A step of one session a day: 10,000 tokens new, 90,000 read from the cache. With 600 tokens out it costs
    0.05 + 0.045 + 0.015 = 0.11 USD, by Sonnet 0.03 + 0.027 + 0.009 = 0.066; with 100 out 0.0975 and 0.0585."""
    cost_output = Decimal(output_tokens) * Decimal("0.000025")
    about = {
        "start_time": START + day * DAY + dt.timedelta(hours=9, minutes=at),
        "agent_name": "coder",
        "session_id": f"day-{day}",
        "trace_id": f"day-{day}",
        "provider": "anthropic",
        "request_model": "claude-opus-4-5",
        "input_tokens": 100_000,
        "cache_read_tokens": 90_000,
        "output_tokens": output_tokens,
        "token_semantics": "inclusive",
        "cost_input_usd": Decimal("0.05"),
        "cost_cache_read_usd": Decimal("0.045"),
        "cost_output_usd": cost_output,
        "cost_usd": Decimal("0.095") + cost_output,
    }
    return call(**(about | columns))


def every_day(make: Any, count: int = 5, days: int = 14, **columns: Any) -> list[Row]:
    return [make(day, at, **columns) for day in range(days) for at in range(count)]


def tool(trace_id: str, number: int, **columns: Any) -> Row:
    """A span of a tool."""
    about = {
        **{
            "tenant": "",
            "trace_id": trace_id,
            "span_id": f"{trace_id}-{number}",
            "name": "tool",
            "kind": "INTERNAL",
        },
        **{"start_time": START + DAY, "start_unix_nano": 0, "end_unix_nano": 1, "status_code": "UNSET"},
        **{"source": "otlp", "received_at": START, "load_id": "1", "role": "tool"},
    }
    return about | columns


def log(session: str, number: int) -> Row:
    return {
        **{"tenant": "", "record_hash": f"{session}-{number}", "time": START + DAY, "session_id": session},
        **{"role": "tool", "source": "otlp", "received_at": START, "load_id": "1"},
    }


def weeks(pick: random.Random, count: int) -> Iterator[Row]:
    """Weeks, busier from Monday to Friday, with sessions of heavy tails and nothing to claim: a dear model with large
    calls, now and then a small one; the smallest of a family with small ones; a model that nobody knows."""
    for day in range(7 * count):
        for number in range(3 if (START + day * DAY).weekday() < 5 else 1):
            session = f"{day}-{number}"
            for at in range(min(1 + int(pick.paretovariate(1.5)), 15)):
                size = int(pick.lognormvariate(9.5, 0.6)), int(pick.lognormvariate(6.5, 0.6))
                yield gpt(day, number * 20 + at, *size, agent_name="writer", session_id=session)
            yield gpt(day, number, agent_name="router", request_model="gpt-4o-mini", session_id=f"r{session}")
            yield gpt(day, number, agent_name="house", request_model="house-7", session_id=f"h{session}")


DRAWN = """
    INSERT INTO calls BY NAME
    SELECT * EXCLUDE (week, drawn, place)
        REPLACE (start_time + to_days(7 * (place - week)) AS start_time)
    FROM (SELECT *, datediff('day', $start, start_time) // 7 AS week FROM pool)
    JOIN (SELECT unnest($weeks) AS drawn, generate_subscripts($weeks, 1) - 1 AS place) ON drawn = week
"""


def quiet_lakes(count: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """So many lakes, each of four weeks out of 80."""
    pick = random.Random(20260301)
    connection = lake(weeks(pick, 80))
    connection.execute("CREATE OR REPLACE TEMP TABLE pool AS SELECT * FROM calls")
    for _ in range(count):
        connection.execute("DELETE FROM calls")
        connection.execute(DRAWN, {"start": START, "weeks": pick.sample(range(80), 4)})
        yield connection
