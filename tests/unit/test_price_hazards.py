"""Eight ways in which others get a bill of model calls wrong, each as requests taken the whole way: extracted,
resolved, built into calls, priced and stored. Every sum is made by hand beside it, and so is the one that a naive
reading gives.

The clock of these requests stands at noon of 10 March 2026. Per million tokens, claude-sonnet-4-5 takes 3 USD for
input, 0.30 for what is read from the cache, 3.75 for what is written to it for five minutes and 6 for an hour, and
15 for output.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from analyzers import registry
from analyzers.window import Window
from semconv.request import Request
from semconv.settings import AccountPlan, Settings
from tests.otlp_data import key_values, logs_message
from tests.store_support import HOUR, NOON, NOON_NANOS, SECOND, Span, Store, span, store, traces

DAY_NANOS = 24 * HOUR
SONNET = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
}


def usage(
    fresh: int, output: int, read: int = 0, write: int = 0, *, of: dict[str, str] = SONNET, **more: Any
) -> dict[str, Any]:
    """Attributes of a call as the conventions have them: input includes what the cache took, a total decides it."""
    counts = {
        "gen_ai.usage.input_tokens": fresh + read + write,
        "gen_ai.usage.output_tokens": output,
        "gen_ai.usage.total_tokens": fresh + read + write + output,
        "gen_ai.usage.cache_read.input_tokens": read,
        "gen_ai.usage.cache_creation.input_tokens": write,
    }
    return of | counts | {key.replace("__", "."): value for key, value in more.items()}


def usd(million: str, tokens: int) -> Decimal:
    return Decimal(million) * tokens / 1_000_000


def sonnet(fresh: int, output: int, read: int = 0, write_5m: int = 0, write_1h: int = 0) -> Decimal:
    """What a call costs, by the prices above."""
    counted = zip(("3", "15", "0.3", "3.75", "6"), (fresh, output, read, write_5m, write_1h), strict=True)
    return sum((usd(price, tokens) for price, tokens in counted), Decimal(0))


def logs(*records: dict[str, Any], scope: str) -> Request:
    message = logs_message(*records, scope=scope)
    message.resource_logs[0].resource.attributes.extend(key_values({"service.name": "shop"}))
    return Request("logs", "protobuf", message.SerializeToString(), NOON_NANOS + HOUR)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path / "data") as opened:
        yield opened


def total(lake: Store) -> tuple[int, Decimal]:
    """Calls and what they cost."""
    [(calls, cost)] = lake.ask("SELECT count(*), sum(cost_usd) FROM calls")
    return calls, cost


def in_span(trace: int, number: int) -> dict[str, bytes]:
    return {"trace_id": trace.to_bytes(16, "big"), "span_id": number.to_bytes(8, "big")}


# --- H1: one message repeated per content block


def test_h1_a_message_repeated_for_each_of_its_content_blocks_is_one_call(lake: Store) -> None:
    """An answer of three blocks (thinking, text, a tool's use) is told by its span and by one event per block, each
    with the message's id and all of its usage: 1,000 in and 300 out were billed once; adding up bills them four
    times."""
    said = usage(1000, 300, gen_ai__response__id="msg_1")
    blocks = [
        {
            "time_unix_nano": NOON_NANOS + SECOND,
            "event_name": "gen_ai.client.inference.operation.details",
            "attributes": {**said, "block": block},
            **in_span(1, 1),
        }
        for block in ("thinking", "text", "tool_use")
    ]
    lake.load(traces(span(1, 1, attributes=said)), logs(*blocks, scope="events"))
    once = usd("3", 1000) + usd("15", 300)
    assert once == Decimal("0.0075")
    assert total(lake) == (1, once)
    assert 4 * once == Decimal("0.03") != once
    assert lake.one("SELECT json_array_length(members) FROM calls") == 4


def test_h1_spans_of_one_message_that_cannot_be_told_from_parallel_calls_are_flagged(lake: Store) -> None:
    """Three spans beside each other with one id: a server that repeats its ids sends the same. All are kept, and the
    cost analyzer says that they may be too many."""
    said = usage(1000, 300, gen_ai__response__id="msg_1")
    lake.load(traces(*(span(1, number, attributes={**said, "block": number}) for number in (1, 2, 3))))
    assert lake.one("SELECT count(*) FROM calls WHERE possible_duplicate") == 3
    assert any("3 of 3 calls may be second reports" in note for note in analyzed(lake, "cost").notes)


# --- H2: counts that are sent again


def test_h2_what_is_sent_again_after_a_lost_answer_is_counted_once(lake: Store) -> None:
    """An exporter that got no answer sends its batch again, with a new span besides; a wrapper's span above, of another
    library, repeats the call's usage, as does an event within it. Three calls at most are in 6 records."""
    first, second = (
        usage(1000, 300, gen_ai__response__id="msg_1"),
        usage(500, 100, gen_ai__response__id="msg_2"),
    )
    wrapper = span(1, 1, lasts=3 * SECOND, scope="framework", attributes=first)
    inner = span(1, 2, parent=1, at=SECOND, scope="client", attributes=first)
    later = span(2, 3, at=5 * SECOND, scope="client", attributes=second)
    event = {
        "time_unix_nano": NOON_NANOS + 2 * SECOND,
        "event_name": "x",
        "attributes": first,
        **in_span(1, 2),
    }
    lake.load(traces(wrapper, inner))
    lake.load(traces(wrapper, inner, later))
    lake.load(logs(event, scope="events"))
    lake.load(logs(event, scope="events"))
    once, naive = sonnet(1000, 300) + sonnet(500, 100), 6 * sonnet(1000, 300) + sonnet(500, 100)
    assert (once, naive) == (Decimal("0.0105"), Decimal("0.048"))
    assert total(lake) == (2, once)


# --- H3: cumulative totals, summed


def test_h3_an_agents_totals_over_its_calls_are_not_added_to_them(lake: Store) -> None:
    """Three calls of a conversation, and agents' spans above that repeat what was used so far: 3,300 in and 60 out
    after three turns. The sum over all spans with usage is 200 % of the truth."""
    turns = [(1000, 10), (1100, 20), (1200, 30)]
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "ann"}
    total_usage = {"gen_ai.usage.input_tokens": 3300, "gen_ai.usage.output_tokens": 60}
    calls = [
        span(
            1,
            2 + turn,
            parent=1,
            at=turn * SECOND,
            attributes=usage(*counts, gen_ai__response__id=f"r{turn}"),
        )
        for turn, counts in enumerate(turns)
    ]
    lake.load(
        traces(span(1, 1, name="invoke_agent", lasts=9 * SECOND, attributes=agent | total_usage), *calls)
    )
    assert total(lake) == (3, sonnet(3300, 60))
    assert sonnet(3300, 60) == Decimal("0.0108")
    assert lake.one("SELECT sum(input_tokens) FROM spans") == 2 * 3300


def test_h3_cumulative_metrics_are_not_added_up_and_cost_nothing(lake: Store) -> None:
    """A counter that is exported three times says 1,000, 2,100 and 3,300 of the same tokens: what was used is its last
    point, as the calls say too. Its sum, 6,400, would have been reported as calls that are missing."""
    calls = [
        span(1, 2 + turn, at=turn * SECOND, attributes=SONNET | {"gen_ai.usage.input_tokens": count})
        for turn, count in enumerate((1000, 1100, 1200))
    ]
    for one in calls:
        one["attributes"]["gen_ai.usage.output_tokens"] = 10
    metric = Request("metrics", "protobuf", cumulative(1000, 2100, 3300), NOON_NANOS + HOUR)
    lake.load(traces(*calls), metric)
    assert total(lake) == (3, sonnet(3300, 30))
    assert lake.one("SELECT sum(value_int) FROM metric_points") == 6400
    assert [one.title for one in analyzed(lake, "data-quality").findings if "metrics of" in one.title] == []


def cumulative(*counts: int) -> bytes:
    """One counter since noon, exported once a minute."""
    message = ExportMetricsServiceRequest()
    sender = message.resource_metrics.add()
    sender.resource.attributes.extend(key_values({"service.name": "shop"}))
    metric = sender.scope_metrics.add().metrics.add(name="gen_ai.client.token.usage", unit="{token}")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
    for minute, count in enumerate(counts, 1):
        metric.sum.data_points.add(
            start_time_unix_nano=NOON_NANOS,
            time_unix_nano=NOON_NANOS + minute * 60 * SECOND,
            attributes=key_values({"gen_ai.token.type": "input", **SONNET}),
            as_int=count,
        )
    return message.SerializeToString()


# --- H4: quota windows crossed


def test_h4_tokens_of_two_billing_cycles_are_not_held_against_one_quota(tmp_path: Path) -> None:
    """A plan of 1,000 tokens a cycle that begins on the 15th. 700 were used on the 10th, 800 on the 20th: 1,500 within
    March, and neither cycle over. Looking at the 20th to the 28th alone, the 300 of the 16th count
    too: 1,100 is over."""
    plan = AccountPlan("coding", "max_20x", cycle_start_day=15, quota_tokens=1000)
    within = [used(1, 10, 700), used(2, 20, 800)]
    with store(tmp_path / "within", Settings(account_plans=(plan,))) as lake:
        lake.load(Request("traces", "protobuf", traces(*within).body, NOON_NANOS + 30 * DAY_NANOS))
        march = analyzed(lake, "accounts", march_days(1, 31), account_plans=(plan,))
    assert march.findings == ()
    assert sum(row["input_tokens"] + row["output_tokens"] for row in march.as_dict()["rows"]) == 1500
    with store(tmp_path / "over", Settings(account_plans=(plan,))) as lake:
        spans = [used(1, 16, 300), used(2, 20, 800)]
        lake.load(Request("traces", "protobuf", traces(*spans).body, NOON_NANOS + 30 * DAY_NANOS))
        late = analyzed(lake, "accounts", march_days(20, 28), account_plans=(plan,))
    assert sum(row["input_tokens"] + row["output_tokens"] for row in late.as_dict()["rows"]) == 800
    [finding] = late.findings
    assert (finding.evidence["tokens"], finding.evidence["quota_tokens"]) == (1100, 1000)


def used(trace: int, day: int, tokens: int) -> Span:
    """A call on a day of March that took so many tokens, a hundred of them in its answer."""
    told = usage(tokens - 100, 100, billing_account="coding")
    return span(trace, 1, at=(day - 10) * DAY_NANOS, attributes=told)


def march_days(first: int, last: int) -> Window:
    start, end = dt.datetime(2026, 3, first, tzinfo=dt.UTC), dt.datetime(2026, 3, last, tzinfo=dt.UTC)
    return Window(start, end + dt.timedelta(days=1))


# --- H5: what input includes, and how long the cache keeps it


def test_h5_input_with_and_without_cache_comes_to_the_same_bill(lake: Store) -> None:
    """One answer of 100 new tokens, 9,000 read from the cache, 900 written to it and 200 out, told by three libraries:
    two count the cache within their input, one beside it. Read alike, their bills would differ by a factor of nine."""
    inclusive = usage(100, 200, read=9000, write=900)
    del inclusive["gen_ai.usage.total_tokens"]
    bedrock = inclusive | {"gen_ai.usage.input_tokens": 100}
    told = [
        ("opentelemetry.instrumentation.genai.anthropic", inclusive),
        ("opentelemetry.util.genai", inclusive | {"gen_ai.usage.total_tokens": 10_200}),
        ("openlit.otel.tracing", bedrock | {"gen_ai.usage.total_tokens": 300}),
    ]
    lake.load(
        *(
            traces(span(n, n, at=n * HOUR, scope=scope, attributes=own))
            for n, (scope, own) in enumerate(told, 1)
        )
    )
    once = sonnet(100, 200, read=9000, write_5m=900)
    assert once == Decimal("0.009375")
    # The input as it was sent at the full price, and the cache on top of it.
    assert sonnet(10_000, 200, read=9000, write_5m=900) == Decimal("0.039075")
    assert lake.ask("SELECT DISTINCT input_tokens, cache_read_tokens, cost_usd FROM calls") == [
        (10_000, 9000, once)
    ]


def test_h5_what_is_cached_for_an_hour_costs_more_than_for_five_minutes(lake: Store) -> None:
    """1,000 tokens written for five minutes and 2,000 for an hour: 0.00375 and 0.012 USD, not 3,000 at either price. A
    sender that tells only the sum leaves both ends open."""
    split = {
        "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 1000,
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 2000,
    }
    known = span(1, 1, scope="com.anthropic.sdk.python", attributes=usage(0, 10, write=3000) | split)
    vague = span(2, 2, at=HOUR, attributes=usage(0, 10, write=3000))
    lake.load(traces(known, vague))
    told, open_ended = lake.ask("SELECT cost_usd, cost_low_usd, cost_high_usd FROM calls ORDER BY start_time")
    true = usd("3.75", 1000) + usd("6", 2000) + usd("15", 10)
    assert true == Decimal("0.0159")
    assert told == (true, true, true)
    assert open_ended[1:] == (sonnet(0, 10, write_5m=3000), sonnet(0, 10, write_1h=3000))
    assert open_ended[1:] == (Decimal("0.0114"), Decimal("0.01815"))


# --- H6: resumed and forked sessions


def test_h6_a_resumed_session_sends_nothing_twice_and_a_fork_pays_for_its_own_turns(lake: Store) -> None:
    """Session `main` makes two calls. It is resumed: its client sends the old spans again and makes a third call, in a
    new trace, under a span that repeats the whole session's totals. Then it is forked: the fork's only call reads all
    that was said before from the cache. Its own 100 new tokens are the fork's, the history is not."""
    one, two = turn(1, 1, "main", 1000, 100), turn(1, 2, "main", 500, 100, read=1100)
    three, forked = turn(2, 3, "main", 400, 100, read=1700), turn(3, 4, "fork", 100, 50, read=2200)
    totals = {"gen_ai.usage.input_tokens": 1000 + 1600 + 2100, "gen_ai.usage.output_tokens": 300}
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "main"} | totals
    resumed = span(2, 9, at=3 * 60 * SECOND - SECOND, lasts=9 * SECOND, attributes=agent)
    lake.load(traces(one, two))
    lake.load(traces(one, two, resumed, three | {"parent": 9}))
    lake.load(traces(forked))
    main = sonnet(1000, 100) + sonnet(500, 100, read=1100) + sonnet(400, 100, read=1700)
    fork = sonnet(100, 50, read=2200)
    assert (main, fork) == (Decimal("0.01104"), Decimal("0.00171"))
    report = analyzed(lake, "unit-cost", by="session").as_dict()
    assert {row["session"]: (row["calls"], sum_of(row)) for row in report["rows"]} == {
        "main": (3, main),
        "fork": (1, fork),
    }
    # What was read anew and what was said again, added up.
    naive = main + fork + sonnet(1000, 100) + sonnet(500, 100, read=1100) + sonnet(4700, 300)
    assert naive == Decimal("0.03918")


def turn(trace: int, number: int, session: str, fresh: int, output: int, read: int = 0) -> Span:
    """A call of a session, a minute after the one before."""
    told = usage(fresh, output, read, gen_ai__conversation__id=session, gen_ai__response__id=f"msg_{number}")
    return span(trace, number, at=number * 60 * SECOND, attributes=told)


def sum_of(row: dict[str, Any]) -> Decimal:
    """The one amount of a row, under whichever name its plan allows."""
    [amount] = (
        row[name]
        for name in ("spend_usd", "implied_api_value_usd", "list_price_usd")
        if row[name] is not None
    )
    return amount


# --- H7: prices that change, and differ by region


def test_h7_a_call_costs_what_its_model_cost_at_that_time(lake: Store) -> None:
    """o3 took 10 and 40 USD per million until 10 June 2025, 2 and 8 from then on. A million in and a million out, a
    second before midnight and at midnight: 50 and 10 USD. At today's price both would be 10, at the old one 50."""
    o3 = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "o3"}
    midnight = int((dt.datetime(2025, 6, 10, tzinfo=dt.UTC) - NOON).total_seconds()) * SECOND
    told = usage(10**6, 10**6, of=o3)
    lake.load(
        traces(*(span(n, n, at=at, attributes=told) for n, at in enumerate((midnight - SECOND, midnight), 1)))
    )
    costs = [cost for (cost,) in lake.ask("SELECT cost_usd FROM calls ORDER BY start_time")]
    assert costs == [Decimal(50), Decimal(10)]
    assert lake.one("SELECT count(DISTINCT price_id) FROM calls") == 2


def test_h7_a_region_has_a_price_of_its_own(lake: Store) -> None:
    """Bedrock takes a tenth more where an answer must come from one region: 3.30 and 16.50 USD instead of 3 and 15."""
    bedrock = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "aws.bedrock"}
    spans = []
    for number, place in enumerate(("global", "eu", "us"), 1):
        model = {"gen_ai.request.model": f"{place}.anthropic.claude-sonnet-4-5-20250929-v1:0"}
        told = usage(100_000, 10_000, of=bedrock | model)
        spans.append(span(number, number, at=number * HOUR, attributes=told))
    lake.load(traces(*spans))
    everywhere, regional = usd("3", 100_000) + usd("15", 10_000), usd("3.3", 100_000) + usd("16.5", 10_000)
    assert (everywhere, regional) == (Decimal("0.45"), Decimal("0.495"))
    costs = [cost for (cost,) in lake.ask("SELECT cost_usd FROM calls ORDER BY start_time")]
    assert costs == [everywhere, regional, regional]


# --- H8: the counts of a stream, added twice


def test_h8_a_stream_and_the_wrapper_that_waits_for_it_are_one_call(lake: Store) -> None:
    """The AI SDK has a span for the request and one above it for the whole stream, both with the final usage of 1,000
    and 300: 0.0075 USD, not 0.015."""
    stream = {
        "ai.operationId": "ai.streamText.doStream",
        "ai.model.provider": "anthropic.messages",
        "ai.model.id": "claude-sonnet-4-5",
        "ai.response.model": "claude-sonnet-4-5",
        "ai.usage.promptTokens": 1000,
        "ai.usage.completionTokens": 300,
    }
    outer = stream | {"ai.operationId": "ai.streamText"}
    lake.load(
        traces(
            span(1, 1, name="ai.streamText", lasts=3 * SECOND, scope="ai", attributes=outer),
            span(1, 2, name="ai.streamText.doStream", parent=1, at=SECOND, scope="ai", attributes=stream),
        )
    )
    assert sonnet(1000, 300) == Decimal("0.0075")
    assert total(lake) == (1, sonnet(1000, 300))


def test_h8_a_streams_beginning_and_its_end_are_one_call(lake: Store) -> None:
    """Logfire's span ends when the stream begins and has no usage; 4 s later a span without length tells it."""
    ended = usage(1000, 300) | {"logfire.span_type": "log", "duration": "3"}
    scope = "logfire.anthropic"
    lake.load(
        traces(
            span(1, 1, scope=scope, attributes=SONNET),
            span(2, 2, scope=scope, at=4 * SECOND, lasts=0, attributes=ended),
        )
    )
    assert total(lake) == (1, sonnet(1000, 300))
    assert lake.one("SELECT count(*) FROM calls WHERE input_tokens IS NULL") == 0


def test_h8_the_first_count_of_a_stream_is_not_added_to_the_last(lake: Store) -> None:
    """Anthropic's streams begin with a count of 3 tokens out, which the last count, 300, includes. One library adds the
    two; the SDK's own span below it, which tells more, says 300: neither 303 nor 603 tokens were billed."""
    wrong = usage(1000, 303, gen_ai__response__id="msg_1")
    right = usage(1000, 300, gen_ai__response__id="msg_1") | {
        "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 0,
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 0,
    }
    added = span(1, 1, scope="opentelemetry.instrumentation.anthropic", lasts=3 * SECOND, attributes=wrong)
    native = span(1, 2, parent=1, scope="com.anthropic.sdk.python", at=SECOND, attributes=right)
    lake.load(traces(added, native))
    assert lake.ask("SELECT count(*), sum(output_tokens) FROM calls") == [(1, 300)]
    assert total(lake) == (1, sonnet(1000, 300))
    assert sonnet(1000, 303) + sonnet(1000, 300) == Decimal("0.015045")


# --- what looks at the lake


def analyzed(lake: Store, name: str, window: Window | None = None, **settings: Any) -> Any:
    analyzer = registry.get(name)
    facts = {"now": NOON, **{key: settings.pop(key) for key in list(settings) if key in analyzer.needs}}
    lake.ask("USE lake")
    connection = lake._reader.connection
    seen = window or Window(NOON - dt.timedelta(hours=12), NOON + dt.timedelta(hours=12))
    return analyzer.bind(facts).run(connection, seen, settings)
