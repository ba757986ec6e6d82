"""The analyzer `cache-efficacy`: shares, causes and savings, each computed by hand from the rows beside it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from analyzers.cache_rules import rule_of
from analyzers.finding import Finding, Report
from analyzers.honest import Amount
from analyzers.window import Window
from collector.store.lake import Lake
from tests.cached_calls import cached_call, priced_table, report_of
from tests.calls_table import call, replace_calls
from tests.captured_lake import captured_lake

START = dt.datetime(2026, 3, 1)
DAY, MINUTE = dt.timedelta(days=1), dt.timedelta(minutes=1)
WINDOW = Window(START.replace(tzinfo=dt.UTC), (START + 10 * DAY).replace(tzinfo=dt.UTC))
EVER = Window(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
CAUSES = (
    *("untold", "served", "rules_unknown", "below_minimum", "first"),
    *("parallel", "pause", "not_asked_for", "changed", "other"),
)
Row = dict[str, Any]


CONNECTION = priced_table()


def lake(*rows: Row) -> duckdb.DuckDBPyConnection:
    """One connection for every lake; it holds these calls alone."""
    replace_calls(CONNECTION, rows)
    return CONNECTION


def run(connection: duckdb.DuckDBPyConnection, window: Window = WINDOW, **settings: Any) -> Report:
    return report_of("cache-efficacy", connection, window, **settings)


def daily(*calls: tuple[float, int, int, int], model: str = "opus", **columns: Any) -> list[Row]:
    """A session on each of ten days, from 9:00 on: (minute, input, read, written) of each of its calls. Named
    <day>-<number of the call>."""
    return [
        cached_call(
            START + day * DAY + dt.timedelta(hours=9) + minute * MINUTE,
            *tokens,
            model,
            session_id=f"session {day}",
            call_id=f"{day}-{number}",
            **columns,
        )
        for day in range(10)
        for number, (minute, *tokens) in enumerate(calls)
    ]


def the_row(report: Report) -> Row:
    (row,) = report.as_dict()["rows"]
    return row


def savings(report: Report) -> list[Finding]:
    return [one for one in report.findings if one.estimate is not None]


def the_saving(report: Report) -> Finding:
    (found,) = savings(report)
    return found


def the_fact(report: Report) -> Finding:
    (found,) = [one for one in report.findings if one.p_value is None]
    return found


def usd(amount: str, mode: str = "api") -> Amount:
    return Amount(mode, Decimal(amount).quantize(Decimal("1e-12")))


# --- shares


def test_the_share_is_of_all_input_of_calls_that_mention_their_cache() -> None:
    """60,000 of 100,000 read and 10,000 written: reading saved 60,000 x 4.5 USD a million = 0.27, writing cost
    10,000 x 1.25 = 0.0125 more. The call that does not mention its cache is counted and in no share."""
    report = run(
        lake(
            cached_call(START, 100_000, 60_000, 10_000),
            cached_call(START, 50_000, None, None),
            call(role="embeddings"),
        )
    )
    row = the_row(report)
    assert (row["calls"], row["calls_with_cache"], row["input_tokens"]) == (2, 1, 100_000)
    assert (row["cache_read_tokens"], row["cache_write_tokens"], row["cache_share"]) == (60_000, 10_000, 0.6)
    assert row["spend_saved_by_cache_usd"] == Decimal("0.2575")
    assert any(
        note.startswith("1 of 2 calls report their input, do not mention their cache")
        for note in report.notes
    )
    assert report.findings == ()


def test_a_share_is_unknown_where_nobody_mentions_a_cache_or_there_may_be_none() -> None:
    """Senders that never say, and a provider whose cache has no price and was never used: no share, never 0 %."""
    silent = cached_call(START, 500_000, None, None, "gpt")
    unheard = call(
        start_time=START,
        provider="house",
        request_model="own",
        input_tokens=900_000,
        cache_read_tokens=0,
        cache_write_tokens=0,
    )
    report = run(lake(silent, unheard))
    assert [row["cache_share"] for row in report.as_dict()["rows"]] == [None, None]
    assert report.findings == ()
    assert any("house own: whether there is a cache is unknown" in note for note in report.notes)


def test_only_groups_of_enough_input_are_flagged_and_only_below_the_share() -> None:
    """Of 100,000 tokens 29,999 is too little and 30,000 is enough; 99,999 tokens are too few to say."""
    shares = [(100_000, 29_999), (100_000, 30_000), (99_999, 0)]
    rows = [
        cached_call(START, tokens, read, agent_name=f"agent {at}") for at, (tokens, read) in enumerate(shares)
    ]
    assert [one.dimension["agent"] for one in run(lake(*rows)).findings] == ["agent 0"]
    assert len(run(lake(*rows), min_input_tokens=99_999).findings) == 2
    assert len(run(lake(*rows), max_share="0.5").findings) == 2
    assert run(lake(*rows), max_share="0.1").findings == ()


def test_a_cache_that_costs_more_than_it_saves_shows_less_than_nothing() -> None:
    row = the_row(run(lake(cached_call(START, 20_000, 0, 20_000))))
    assert row["spend_saved_by_cache_usd"] == Decimal("-0.025")


# --- causes


@pytest.mark.parametrize(
    ("cause", "second"),
    [
        # The first call of each day is at 9:00, has 40,000 tokens and writes 30,000 of them.
        ("changed", (2, 50_000, 0, 0)),
        ("changed", (2, 50_000, 19_999, 0)),
        ("served", (2, 50_000, 20_000, 0)),
        ("pause", (6, 50_000, 0, 0)),
        ("parallel", (0, 50_000, 0, 0)),
        ("other", (2, 39_999, 0, 0)),
        ("below_minimum", (2, 4_095, 0, 0)),
    ],
)
def test_each_call_has_one_cause(cause: str, second: tuple[int, int, int, int]) -> None:
    """Beside the second call the first: it begins its session with nothing cached."""
    fact = the_fact(run(lake(*daily((0, 40_000, 0, 30_000), second)), max_share=1))
    assert fact.evidence["first_calls"] == fact.evidence[f"{cause}_calls"] == 10
    tokens = second[1]
    assert fact.evidence[f"{cause}_share"] == round(tokens / (40_000 + tokens), 4)


def test_calls_in_batches_and_after_a_call_that_is_silent_have_no_cause() -> None:
    first, second, third = daily((0, 40_000, 0, 30_000), (2, 50_000, 0, 0), (4, 60_000, 0, 0))[:3]
    silent = second | {"cache_read_tokens": None, "cache_write_tokens": None}
    fact = the_fact(run(lake(first, silent, third)))
    assert (fact.evidence["untold_calls"], fact.evidence["other_calls"]) == (1, 1)
    assert the_fact(run(lake(first, second | {"batch": True}, third))).evidence["other_calls"] == 1


def test_what_was_written_for_an_hour_outlives_a_pause_of_half_an_hour() -> None:
    first, second = daily((0, 80_000, 0, 80_000), (30, 80_000, 0, 0))[:2]
    assert "pause_calls" in the_fact(run(lake(first, second))).evidence
    assert "changed_calls" in the_fact(run(lake(first | {"cache_write_1h_tokens": 80_000}, second))).evidence


def test_calls_of_another_session_agent_model_or_tenant_are_no_predecessors() -> None:
    first, second = daily((0, 80_000, 0, 80_000), (2, 80_000, 0, 0))[:2]
    assert "changed_calls" in the_fact(run(lake(first, second))).evidence
    for other in (
        {"session_id": "x"},
        {"agent_name": "x"},
        {"tenant": "x"},
        {"response_model": "claude-opus-4-6"},
    ):
        facts = run(lake(first, second | other), min_input_tokens=1).findings
        assert all("changed_calls" not in fact.evidence for fact in facts)


def test_without_a_session_the_trace_is_the_session() -> None:
    first, second = daily((0, 80_000, 0, 80_000), (2, 80_000, 0, 0))[:2]
    nobody = {"session_id": None}
    traced = nobody | {"trace_id": "t"}
    assert "changed_calls" in the_fact(run(lake(first | traced, second | traced))).evidence
    assert the_fact(run(lake(first | nobody, second | nobody))).evidence["first_calls"] == 2


# --- what could be saved


def test_prompts_that_change_at_their_beginning() -> None:
    """Each day 20,000 tokens that are written, and a minute later 30,000 that are written again, of which 20,000 could
    have been read: 20,000 x (6.25 - 0.5) a million = 0.115 USD a day. At the low end nothing: nothing was ever read."""
    report = run(lake(*daily((0, 20_000, 0, 20_000), (1, 30_000, 0, 30_000))))
    found = the_saving(report)
    assert (found.dimension["agent"], found.evidence["missed_tokens"]) == ("planner", 200_000)
    assert found.title.startswith("prompts of planner with anthropic claude-opus-4-5 change")
    assert (found.estimate.low, found.estimate.high) == (usd("0"), usd("1.15"))
    assert set(found.examples) <= {f"{day}-1" for day in range(10)}
    assert the_fact(report).evidence["changed_cost"] == usd("1.15")


def test_what_the_call_before_did_read_could_be_read_again_for_sure() -> None:
    """The second call reads 15,000, the third, as long, nothing: of its 30,000 at least these could have been read. New
    input costs 5, so 30,000 x 4.5 = 0.135 USD a day at most, 15,000 x 4.5 = 0.0675 at least."""
    report = run(lake(*daily((0, 20_000, 0, 20_000), (1, 30_000, 15_000, 0), (2, 30_000, 0, 0))))
    (found,) = [one for one in savings(report) if one.title.startswith("prompts of")]
    assert (found.estimate.low, found.estimate.high) == (usd("0.675"), usd("1.35"))


def test_pauses_longer_than_the_cache_lives() -> None:
    """Each day 20,000 tokens are written for 5 minutes and after 20 minutes again: kept for an hour they would have
    been read. Saved: 20,000 x (6.25 - 0.5) = 0.115; the first write costs 20,000 x (10 - 6.25) = 0.075 more, and there
    are no others: 0.04 USD a day at both ends."""
    report = run(lake(*daily((0, 20_000, 0, 20_000), (20, 20_000, 0, 20_000))))
    found = the_saving(report)
    assert found.title.startswith("pauses between calls of planner")
    assert (found.estimate.low, found.estimate.high) == (usd("0.4"), usd("0.4"))
    assert the_fact(report).title.endswith("most: pauses between calls are longer than the cache lives")


def test_an_hours_cache_is_charged_to_sessions_without_pauses_at_the_low_end() -> None:
    """Beside these, each day a session of one call that writes 8,000: 8,000 x 3.75 = 0.03 USD a day more."""
    rows = daily((0, 20_000, 0, 20_000), (20, 20_000, 0, 20_000))
    alone = [
        row | {"call_id": f"alone {row['call_id']}", "session_id": f"alone {row['call_id']}"}
        for row in daily((0, 8_000, 0, 8_000))
    ]
    found = [one for one in savings(run(lake(*rows, *alone))) if one.title.startswith("pauses")]
    assert [(one.estimate.low, one.estimate.high) for one in found] == [(usd("0.1"), usd("0.4"))]


def test_a_pause_that_no_cache_outlives_claims_nothing() -> None:
    """Two hours: no cache of this model lives so long. What is written was never read."""
    report = run(lake(*daily((0, 20_000, 0, 20_000), (120, 20_000, 0, 20_000))))
    assert [one.title[:9] for one in savings(report)] == ["the cache"]
    assert the_fact(report).evidence["pause_calls"] == 10


def test_requests_that_do_not_ask_for_caching() -> None:
    """Each day 20,000, 30,000 and 40,000 new tokens. With a cache the second reads 20,000, the third 30,000: 50,000 x
    4.5 = 0.225; written are 20,000 + 10,000 + 10,000, each 1.25 more than new: 0.05. Saved 0.175 USD a day at most."""
    found = the_saving(run(lake(*daily((0, 20_000, 0, 0), (1, 30_000, 0, 0), (2, 40_000, 0, 0)))))
    assert found.title.startswith("requests of planner")
    assert (found.estimate.low, found.estimate.high) == (usd("0"), usd("1.75"))


def test_a_provider_that_caches_by_itself_is_not_asked() -> None:
    """OpenAI: 20,000, then 20,000 tokens a minute later, at 2.5 and from the cache 1.25 USD a million."""
    found = the_saving(run(lake(*daily((0, 20_000, 0, 0), (1, 20_000, 0, 0), model="gpt"))))
    assert found.title.startswith("prompts of planner")
    assert found.estimate.high == usd("0.25")


def test_writes_that_nobody_reads_cost_more_than_no_cache() -> None:
    """Each day one call that writes 20,000: 20,000 x 1.25 = 0.025 USD more than without a cache, both ends."""
    report = run(lake(*daily((0, 20_000, 0, 20_000))))
    found = the_saving(report)
    assert found.title.startswith(
        "the cache of planner with anthropic claude-opus-4-5 costs more than no cache"
    )
    assert (found.estimate.low, found.estimate.high) == (usd("0.25"), usd("0.25"))
    assert the_fact(report).title.endswith("what is written to the cache is not read again")


def test_what_reading_saved_elsewhere_is_taken_off_the_low_end() -> None:
    """A tenth of 0.25 USD: 5,556 tokens read save 5,556 x 4.5 = 0.025002, which leaves 0.224998."""
    reading = cached_call(START + DAY, 20_000, 5_556, 0, call_id="reads", session_id="reads")
    found = the_saving(run(lake(*daily((0, 20_000, 0, 20_000)), reading)))
    assert found.estimate.high == usd("0.25")
    assert float(found.estimate.low.usd) <= 0.224998


def test_prompts_below_the_minimum_claim_nothing() -> None:
    report = run(lake(*daily(*((minute, 4_000, 0, 0) for minute in range(5)))))
    assert savings(report) == []
    assert the_fact(report).title.endswith("prompts are shorter than what the provider caches")


def test_a_subscription_is_worth_less_and_spends_nothing() -> None:
    """The same calls in two modes stand apart, under their own names."""
    calls = [(0, 20_000, 0, 20_000), (1, 30_000, 0, 30_000)]
    flat = [
        row | {"call_id": f"flat {row['call_id']}", "plan_tier": "max_5x", "pricing_mode": "subscription"}
        for row in daily(*calls)
    ]
    found = savings(run(lake(*daily(*calls), *flat)))
    assert {(one.estimate.basis, one.estimate.high) for one in found} == {
        ("spend", usd("1.15")),
        ("implied API value", usd("1.15", "subscription")),
    }


def test_without_prices_causes_are_told_and_no_money() -> None:
    rows = [
        row
        | dict.fromkeys(
            ("cost_usd", "cost_input_usd", "cost_cache_read_usd", "cost_cache_write_usd", "price_id")
        )
        for row in daily((0, 20_000, 0, 20_000), (1, 30_000, 0, 30_000))
    ]
    report = run(lake(*rows))
    assert savings(report) == []
    assert the_row(report)["spend_saved_by_cache_usd"] is None
    assert (the_fact(report).evidence["changed_calls"], the_fact(report).evidence["saved_by_cache"].usd) == (
        10,
        None,
    )


# --- whatever the lake holds


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [
        *daily((0, 20_000, 0, 20_000), (1, 30_000, 15_000, 0), (2, 33_333, 0, 0), (30, 40_001, 0, 40_001)),
        *(
            row | {"call_id": f"a{row['call_id']}", "agent_name": "other"}
            for row in daily((0, 21_001, 7, 20_003))
        ),
    ]
    assert run(lake(*rows)) == run(lake(*reversed(rows)))


def mixed(zone: str) -> tuple[Report, Report]:
    """The same hours in winter and in summer time: the clock is put forward on 29 March 2026."""
    spring = dt.datetime(2026, 3, 24)
    rows = [
        row | {"start_time": row["start_time"] + (spring - START)}
        for row in daily((0, 20_000, 0, 20_000), (1, 30_000, 0, 30_000))
    ]
    window = Window(spring.replace(tzinfo=dt.UTC), (spring + 10 * DAY).replace(tzinfo=dt.UTC), zone)
    return run(lake(*rows), window), run(lake(*rows), Window(window.start, window.end))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_time_zones_move_days_and_no_causes(zone: str) -> None:
    local, utc = mixed(zone)
    assert the_saving(local).estimate.high == the_saving(utc).estimate.high
    assert the_fact(local) == the_fact(utc)


def test_an_empty_lake_and_one_call() -> None:
    report = run(lake())
    assert (report.rows, report.findings) == ((), ())
    assert report.notes[0].startswith("no calls from")
    assert run(lake(cached_call(START, 200, 0, 0))).findings == ()


def test_nothing_known_of_any_token() -> None:
    names = (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cost_usd",
        "price_id",
    )
    rows = [row | dict.fromkeys(names) for row in daily((0, 20_000, 0, 20_000), (1, 30_000, 0, 30_000))]
    report = run(lake(*rows))
    assert the_row(report)["cache_share"] is None
    assert report.findings == ()
    assert report.notes[0].startswith("20 of 20 calls do not report their input")


def test_modes_without_a_plan_say_how_to_declare_it() -> None:
    rows = daily((0, 20_000, 0, 20_000), pricing_mode="unknown", plan_tier="unknown")
    report = run(lake(*rows))
    assert the_saving(report).estimate.basis == "list price, plan not declared"
    assert any("Declare the plan" in note for note in report.notes)


def test_names_that_read_like_amounts_are_names() -> None:
    """Names come from the network: they are told in quotes, and no analyzer stumbles over them."""
    named = {"agent_name": 'the "$5" bot', "provider": "p1", "request_model": "USD 7"}
    rows = [row | named for row in daily((0, 20_000, 0, 20_000), (1, 30_000, 0, 30_000))]
    report = run(lake(*rows))
    assert r'the input of "the \"$5\" bot" with p1 "USD 7"' in the_fact(report).title
    assert any(note.startswith('p1 "USD 7": how long the cache lives') for note in report.notes)


def test_no_more_groups_than_asked_for_and_the_rest_is_said() -> None:
    rows = [cached_call(START, 200_000 + at, 0, 0, agent_name=f"agent {at}") for at in range(4)]
    report = run(lake(*rows), top=3)
    assert [row["agent"] for row in report.as_dict()["rows"]] == ["agent 3", "agent 2", "agent 1"]
    assert len(report.findings) == 3
    assert report.notes[0] == "1 groups with less input are not shown"
    assert len(run(lake(*rows), top=0).rows) == 4


def test_captures_of_real_libraries() -> None:
    """Of all that was captured each model call is in a row, and in one cause where its group is flagged; where a cache
    was read, real prices say that something was saved."""
    with Lake.open(captured_lake(), read_only=True, threads=1) as read:
        ((calls,),) = read.connection.execute("SELECT count(*) FROM calls WHERE role = 'llm'").fetchall()
        report = run(read.connection, EVER, min_input_tokens=1, max_share=1, top=0)
    rows = report.as_dict()["rows"]
    assert sum(row["calls"] for row in rows) == calls > 100
    assert all(row["cache_share"] is None or 0 <= row["cache_share"] <= 1 for row in rows)
    assert any((row["list_price_saved_by_cache_usd"] or 0) > 0 for row in rows)
    for found in report.findings:
        causes = [found.evidence[f"{cause}_share"] for cause in CAUSES if f"{cause}_share" in found.evidence]
        assert sum(causes) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("anthropic", "claude-opus-4-5-20251101", (4096, 3600, True)),
        ("anthropic", "claude-opus-4-1-20250805", (2048, 3600, True)),
        ("anthropic", "claude-opus-4-20250514", (2048, 3600, True)),
        ("anthropic", "claude-haiku-4-5", (4096, 3600, True)),
        ("aws.bedrock", "us.anthropic.claude-3-5-haiku-20241022-v1:0", (2048, 3600, True)),
        ("aws.bedrock", "amazon.nova-pro-v1:0", (1000, None, True)),
        ("openai", "gpt-4o-2024-08-06", (1024, None, False)),
        ("openai", "gpt-5.1-codex", (1024, 86_400, False)),
        ("gcp.gemini", "gemini-2.5-flash", (1024, None, False)),
        ("gcp.vertex_ai", "gemini-3-pro-preview", (4096, None, False)),
        ("deepseek", "deepseek-chat", (64, None, False)),
        ("gcp.gemini", "gemini-1.5-pro", None),
        ("openai", "gpt-3.5-turbo", None),
        ("house", "claude-opus-4-5", None),
        (None, None, None),
    ],
)
def test_each_models_rule(
    provider: str | None, model: str | None, expected: tuple[int, int | None, bool] | None
) -> None:
    rule = rule_of(provider, model)
    assert (rule and (rule.min_tokens, rule.longer, rule.on_request)) == expected
