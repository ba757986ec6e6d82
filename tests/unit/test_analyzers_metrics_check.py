"""Token metrics beside `calls`: what each exporter's points add up to, computed by hand from the points."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import duckdb

from analyzers import sql
from tests.calls_table import call, calls_table

NOON = dt.datetime(2026, 3, 10, 12)
WINDOW = {"start": NOON, "end": NOON + dt.timedelta(hours=1)}

Point = dict[str, Any]


def nanos(time: dt.datetime) -> int:
    return int(time.replace(tzinfo=dt.UTC).timestamp()) * 1_000_000_000


def point(name: str, tokens: int, *, at: float = 1, since: float | None = 0, **given: Any) -> Point:
    """A sum of `tokens` exported `at` minutes after noon by a series that began at `since`."""
    time = NOON + dt.timedelta(minutes=at)
    began = None if since is None else nanos(NOON + dt.timedelta(minutes=since))
    return {
        "tenant": "",
        "record_hash": "h",
        "time": time,
        "time_unix_nano": nanos(time),
        "start_time_unix_nano": began,
        "metric_name": name,
        "metric_type": "sum",
        "temporality": "cumulative",
        "value_int": tokens,
        "service_name": "shop",
        "request_model": "gpt-4o",
        "source": "otlp",
        "received_at": time,
        "load_id": "l",
    } | given


def usage(tokens: int, word: str = "input", **given: Any) -> Point:
    """A point of the conventions' older histogram."""
    histogram = {"metric_type": "histogram", "value_int": None, "sum": float(tokens), "token_type": word}
    return point(
        "gen_ai.client.token.usage", 0, **(histogram | {"attributes": f'{{"type":"{word}"}}'} | given)
    )


def check(*points: Point, calls: duckdb.DuckDBPyConnection | None = None) -> list[dict[str, Any]]:
    connection = calls or calls_table()
    for row in points:
        names = ", ".join(row)
        values = ", ".join("?" for _ in row)
        connection.execute(f"INSERT INTO metric_points ({names}) VALUES ({values})", [*row.values()])
    return connection.execute(sql.read("metrics_check.sql"), WINDOW).to_arrow_table().to_pylist()


def tokens(rows: list[dict[str, Any]]) -> list[tuple[int | None, int | None]]:
    return [(row["metric_input_tokens"], row["metric_output_tokens"]) for row in rows]


def test_cumulative_points_are_never_added() -> None:
    """Every export repeats all that was counted since the series began."""
    exports = [usage(count, at=at) for at, count in ((1, 100), (2, 100), (3, 250), (4, 250))]
    assert tokens(check(*exports, usage(30, "output", at=4))) == [(250, 30)]


def test_what_was_counted_before_the_window_is_taken_off() -> None:
    exports = [
        usage(count, at=at, since=-90) for at, count in ((-30, 400), (-1, 1000), (10, 1100), (50, 1700))
    ]
    assert tokens(check(*exports)) == [(700, None)]


def test_a_series_of_unknown_past_counts_from_its_first_point_in_the_window() -> None:
    assert tokens(check(usage(1000, at=1, since=-90), usage(1300, at=20, since=-90))) == [(300, None)]
    assert tokens(check(usage(1000, at=1, since=None), usage(1300, at=20, since=None))) == [(300, None)]


def test_a_restart_begins_a_series_of_its_own() -> None:
    """By its start time: 500 before the restart and 40 after it."""
    assert tokens(check(usage(500, at=5), usage(40, at=20, since=15), usage(40, at=25, since=15))) == [
        (540, None)
    ]


def test_series_are_told_apart_by_resource_and_attributes() -> None:
    both = [
        usage(100, resource_attributes='{"service.instance.id":"a"}'),
        usage(200, resource_attributes='{"service.instance.id":"b"}'),
        usage(
            300,
            resource_attributes='{"service.instance.id":"b"}',
            attributes='{"type":"input","tier":"flex"}',
        ),
    ]
    assert tokens(check(*both)) == [(600, None)]


def test_delta_points_are_added() -> None:
    """Claude Code: the cache beside the input, so that all three are the input."""
    words = {"input": 10, "cacheRead": 200, "cacheCreation": 30, "output": 4}
    exports = [
        point("claude_code.token.usage", count, at=at, temporality="delta", token_type=word)
        for at in (-1, 1, 2)
        for word, count in words.items()
    ]
    assert tokens(check(*exports)) == [(480, 8)]


def test_gemini_clis_thoughts_are_output_and_its_cache_is_input_already() -> None:
    """It sends the conventions' histogram too, without the thoughts: one of the two tells, not both."""
    words = {"input": 1527, "output": 297, "thought": 133, "cache": 500, "tool": 7}
    own = [
        point("gemini_cli.token.usage", count, token_type=word, attributes=json.dumps({"type": word}))
        for word, count in words.items()
    ]
    rows = check(*own, usage(1527), usage(297, "output"))
    assert tokens(rows) == [(1534, 430)]
    assert rows[0]["metric_names"] == ["gemini_cli.token.usage"]


def test_codexs_parts_are_not_counted_beside_their_wholes() -> None:
    words = {"input": 900, "cached_input": 700, "output": 80, "reasoning_output": 50, "total": 980}
    exports = [
        point("codex.turn.token_usage", count, temporality="delta", token_type=word)
        for word, count in words.items()
    ]
    assert tokens(check(*exports)) == [(900, 80)]


def test_the_newer_counters_and_their_modalities() -> None:
    """input_tokens of one modality are part of those without; where all have one, they are the parts of a whole."""
    name = "gen_ai.client.inference.usage.input_tokens"
    audio, text = ('{"gen_ai.token.modality":"audio"}', '{"gen_ai.token.modality":"text"}')
    output = point("gen_ai.client.inference.usage.output_tokens", 20)
    read = point("gen_ai.client.inference.usage.cache_read.input_tokens", 70)
    parts = [point(name, 30, attributes=audio), point(name, 60, attributes=text)]
    assert tokens(check(point(name, 100, attributes="{}"), *parts, output, read)) == [(100, 20)]
    assert tokens(check(*parts, output, read)) == [(90, 20)]


def test_two_libraries_that_count_the_same_calls_are_not_added() -> None:
    one, other = (
        {"scope_name": name}
        for name in ("opentelemetry.instrumentation.genai.openai", "openlit.otel.metrics")
    )
    assert tokens(check(usage(100, **one), usage(9, "output", **one), usage(90, **other))) == [(100, 9)]


def test_points_of_no_temporality_gauges_and_other_metrics_say_nothing() -> None:
    assert (
        check(
            usage(100, temporality="unspecified"),
            point("gen_ai.client.token.usage", 5, metric_type="gauge", temporality=None, token_type="input"),
            point("house.tokens", 5),
        )
        == []
    )


def test_metrics_stand_beside_the_calls_of_their_service_and_model() -> None:
    """A model that only metrics know has a row as well; one that only calls know has nothing to compare."""
    calls = calls_table(
        call(service_name="shop", start_time=NOON, input_tokens=60, cache_read_tokens=20, output_tokens=5),
        call(service_name="shop", start_time=NOON, input_tokens=40, output_tokens=None),
        call(service_name="shop", start_time=NOON, request_model="o3", input_tokens=1, output_tokens=1),
        call(service_name="shop", start_time=NOON - dt.timedelta(hours=1), input_tokens=999),
    )
    rows = check(usage(100), usage(5, "output"), usage(8, request_model="gpt-5"), calls=calls)
    kept = ("model", "metric_input_tokens", "calls", "call_input_tokens", "call_uncached_input_tokens")
    assert [tuple(row[name] for name in kept) for row in rows] == [
        ("gpt-4o", 100, 2, 100, 80),
        ("gpt-5", 8, 0, None, None),
    ]
