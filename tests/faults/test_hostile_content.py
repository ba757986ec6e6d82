"""Valid requests whose content is made to hurt whoever stores it: the loader, its lake and what it builds of calls.

Guarantee: they are stored like any others, by the same process, and what comes behind them is stored; in the long form,
in time that grows with their number and no faster.
"""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store_support import HOUR, Span, Store, call, store, traces
from tests.support import Collector, running, wait_until

MAX_INT64 = (1 << 63) - 1
DAY = 24 * HOUR


def loop(size: int) -> list[Span]:
    return [call(1, number, parent=number % size + 1) for number in range(1, size + 1)]


def chain(size: int) -> list[Span]:
    return [call(1, number, parent=number - 1) for number in range(1, size + 1)]


def two_libraries(size: int) -> list[Span]:
    """Identical calls, any of which may be one of the other library's."""
    return [call(1, number, scope=f"library {number % 2}") for number in range(1, size + 1)]


EXPENSIVE = [loop, chain, two_libraries]


def test_what_is_expensive_is_stored(tmp_path: Path) -> None:
    with store(tmp_path / "lake") as lake:
        for size, make in zip((300, 301, 302), EXPENSIVE, strict=True):
            seconds_to_load(lake, make(size))


@pytest.mark.soak
@pytest.mark.parametrize("make", EXPENSIVE)
def test_what_is_expensive_costs_its_number(tmp_path: Path, make: Callable[[int], list[Span]]) -> None:
    """Four times as much takes six times as long at most; a square would take sixteen times. In processor time."""
    with store(tmp_path / "lake") as lake:
        lake.load(traces(call(99, 1)))  # what is planned and read once is not counted
        small, large = seconds_to_load(lake, make(400)), seconds_to_load(lake, make(1600))
    assert large < 6 * small + 0.5, f"{small:.2f} s, {large:.2f} s"


def seconds_to_load(lake: Store, spans: list[Span]) -> float:
    """A trace of its own, by its number of spans."""
    request = traces(*({**span, "trace": len(spans)} for span in spans))
    start = time.process_time()
    row = lake.load(request)
    assert row.spans_stored == len(spans)
    return time.process_time() - start


def test_places_far_apart_fit_into_the_loaders_memory_again_and_again(tmp_path: Path) -> None:
    """A span every third day, in as many months as one commit has, and more files each time."""
    with store(tmp_path / "lake") as lake:
        for round_number in range(3):
            spans = [call(1000 * round_number + day, 1, at=day * 3 * DAY) for day in range(1, 211)]
            assert lake.load(traces(*spans)).spans_stored == len(spans)


# --- a running collector --------------------------------------------------------------------------


def json_span(trace_id: str, number: int, attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    kinds = {int: "intValue", str: "stringValue", float: "doubleValue"}
    return {
        "traceId": trace_id,
        "spanId": f"{number:016x}",
        "name": "chat",
        "startTimeUnixNano": "1795000000000000000",
        "endTimeUnixNano": "1795000001000000000",
        "attributes": [
            {"key": key, "value": {kinds[type(value)]: value}}
            for key, value in {**CHAT, **attributes}.items()
        ],
        **fields,
    }


CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.output_tokens": 3}
COUNTS = [MAX_INT64, -MAX_INT64 - 1, 0, -1, 10**12, 10**18, "many", 1.5, "NaN"]
MONEY = [1e308, -1e308, "NaN", "Infinity", 1e26, 0.1234567890123456789, "1e400", "9" * 60, -0.0]
TIMES = [(0, 0), (1, MAX_INT64), (MAX_INT64, MAX_INT64), (MAX_INT64, 0), (0, MAX_INT64), (5, 4)]
TEXTS = {
    "messages nested 900 deep": {"gen_ai.input.messages": "[" * 900 + "]" * 900},
    "messages nested 100,000 deep": {"gen_ai.output.messages": "[" * 100_000 + "]" * 100_000},
    "50,000 messages": {"gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": []}] * 50_000)},
    "9,000 prompts": {f"gen_ai.prompt.{number}.content": "hi" for number in range(9000)},
    "an id of 100 KB": {"gen_ai.response.id": "r" * 100_000},
    "a model of 100 KB": {"gen_ai.response.model": "gpt-4o-" * 14_000},
    "a model of digits": {"gen_ai.response.model": "1-2-" * 60 + "x"},
    "a user of 100 KB": {"user.id": "u" * 100_000},
    "an account of 100 KB": {"billing_account": "b" * 100_000},
}


def hostile_spans(trace_id: str) -> list[dict[str, Any]]:
    counts = [{"gen_ai.usage.input_tokens": value} for value in COUNTS]
    money = [{"gen_ai.usage.cost": value, "operation.cost": value} for value in MONEY]
    spans = [
        json_span(trace_id, number, attributes)
        for number, attributes in enumerate([*counts, *money, *TEXTS.values()], 1)
    ]
    for start, end in TIMES:
        times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(end)}
        spans.append(json_span(trace_id, len(spans) + 1, {}, **times))
    events = [{"name": "exception", "timeUnixNano": str(2**64 - 1), "attributes": []}] * 20_000
    spans.append(json_span(trace_id, len(spans) + 1, {}, events=events, status={"code": 2}))
    own = f"{len(spans) + 1:016x}"
    return [*spans, json_span(trace_id, len(spans) + 1, {}, parentSpanId=own)]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with running(tmp_path_factory.mktemp("content") / "data") as process:
        yield process


def post(collector: Collector, spans: list[dict[str, Any]]) -> None:
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    request = urllib.request.Request(
        f"{collector.http}/v1/traces", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer) == {}


def test_every_hostile_content_is_stored_by_a_loader_that_lives_on(collector: Collector) -> None:
    hostile, good = uuid.uuid4().hex, uuid.uuid4().hex
    spans = hostile_spans(hostile)
    for span in spans:  # one request each, so that none hides behind another's failure
        post(collector, [span])
    post(collector, [json_span(good, 1, {})])
    wait_until(lambda: counted(collector, "otelcol_exporter_sent_spans_total") == len(spans) + 1, 60, 0.5)
    rows = collector.sql(f"SELECT span_id, input_tokens, cost_usd FROM calls WHERE trace_id = '{hostile}'")
    assert 0 < len(rows) <= len(spans)
    assert all(row["cost_usd"] is None or 0 <= row["cost_usd"] < 1e9 for row in rows), rows
    for series in ("spanledger_quarantined_requests_total", "spanledger_loader_restarts"):
        assert counted(collector, series) == 0
    assert "level=error" not in collector.log.read_text()


def counted(collector: Collector, series: str) -> float:
    lines = collector.metrics().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))
