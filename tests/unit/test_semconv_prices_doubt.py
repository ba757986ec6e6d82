"""What holds of every cost, and the brackets of what is in doubt. gpt-4o lists 2.50 USD in, 1.25 cached, 10 out;
claude-sonnet-4-5 3 in, 0.30 cached, 3.75 and 6 for an hour written, 15 out, per million tokens."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from itertools import islice, pairwise, product
from typing import Any

import duckdb
import pytest

from semconv import macros
from semconv.prices import COST_NOTES, PriceBook, Pricer, installed
from semconv.settings import Settings
from tests.unit.price_calls import Row, call, calls_table, cost, parts, price

SONNET = {"provider": "anthropic", "request_model": "claude-sonnet-4-5"}
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-5"),
    ("openai", "gpt-audio-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-4-6"),
    ("gcp.gemini", "gemini-2.5-pro"),
    ("deepseek", "deepseek-chat"),
    ("perplexity", "sonar-deep-research"),
    ("house", "unknown"),
]


def random_call(pick: random.Random) -> Row:
    provider, model = pick.choice(MODELS)
    given = pick.choice([0, 1, 1_000, 200_000, 200_001, 5_000_000])
    return call(
        provider=provider,
        request_model=model,
        start_time=dt.datetime(2026, 1, 1) + dt.timedelta(minutes=pick.randrange(450_000)),
        input_tokens=pick.choice([given, given, given, None]),
        output_tokens=pick.choice([0, 7, 90_000, None]),
        cache_read_tokens=pick.choice([None, 0, given // 2, given + 1]),
        cache_write_tokens=pick.choice([None, given // 3, given * 2]),
        cache_write_1h_tokens=pick.choice([None, given // 4]),
        cache_write_30m_tokens=pick.choice([None, given // 5]),
        audio_input_tokens=pick.choice([None, given // 2, given * 3]),
        reasoning_tokens=pick.choice([None, 5, 100_000]),
        token_semantics=pick.choice(["inclusive", "unknown"]),
        service_tier=pick.choice([None, "default", "priority", "flex", "scale"]),
        batch=pick.choice([None, True]),
        plan_tier=pick.choice(["api", "local", "max_5x", None]),
    )


def random_calls(count: int = 1_500) -> list[Row]:
    pick = random.Random(3)
    return [random_call(pick) for _ in range(count)]


def test_parts_add_up_exactly_and_none_is_negative() -> None:
    for row in price(random_calls()):
        assert all(part >= 0 for part in parts(row)), row
        assert row["cost_usd"] == (sum(parts(row)) if parts(row) else None), row


def test_the_cost_lies_within_its_bracket_and_a_missing_cost_says_why() -> None:
    for row in price(random_calls()):
        assert row["cost_note"] in COST_NOTES | {None}
        if row["cost_usd"] is None:
            assert row["cost_note"] is not None
            assert (row["cost_low_usd"], row["cost_high_usd"], row["price_id"]) == (None, None, None)
        else:
            assert row["cost_low_usd"] <= row["cost_usd"] <= row["cost_high_usd"], row
            assert row["price_id"] is not None
            if row["cost_note"] is None:
                assert row["cost_low_usd"] == row["cost_high_usd"], row


def test_what_is_priced_twice_costs_the_same_alone_and_among_others() -> None:
    calls = random_calls(200)
    together = price(calls)
    assert price(calls) == together
    for number in (0, 17, 101):
        [alone] = price([calls[number]])
        assert alone | {"node": number} == together[number]


GROWING = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"]


def with_more_and_more(count: str, provider: str, model: str) -> list[Row]:
    """Tokens of the cache come on top of the input that is there."""
    base = {"provider": provider, "request_model": model, "cache_read_tokens": 0, "cache_write_tokens": 0}
    calls = []
    for tokens in (0, 1, 2, 999, 10_000, 50_000):
        given: dict[str, Any] = base | {"input_tokens": 30_000, count: tokens}
        if count.startswith("cache"):
            given["input_tokens"] += tokens
        calls.append(call(**given))
    return calls


@pytest.fixture(scope="module")
def costs_of_more() -> dict[tuple[str, ...], list[Decimal]]:
    """By count, provider and model, in the order of their tokens."""
    cases = list(product(GROWING, MODELS[:-1]))
    costs = iter(price([call for count, model in cases for call in with_more_and_more(count, *model)]))
    return {(count, *model): [row["cost_usd"] for row in islice(costs, 6)] for count, model in cases}


@pytest.mark.parametrize("count", GROWING)
@pytest.mark.parametrize(("provider", "model"), MODELS[:-1])
def test_more_tokens_never_cost_less_within_a_tier(
    costs_of_more: dict[tuple[str, ...], list[Decimal]], count: str, provider: str, model: str
) -> None:
    costs = costs_of_more[count, provider, model]
    assert len(costs) == 6
    assert all(less <= more for less, more in pairwise(costs)), costs


def test_sums_over_windows_are_the_sum_over_all() -> None:
    calls = random_calls(500)
    split = dt.datetime(2026, 6, 1)
    windows = [[row for row in calls if (row["start_time"] < split) is early] for early in (True, False)]
    whole, first, second = (sum(row["cost_usd"] or 0 for row in price(part)) for part in (calls, *windows))
    assert whole == first + second


def test_counts_beyond_64_bits_of_money_are_priced_exactly() -> None:
    """The most tokens that are read as a count, a million million, for 2.50 and 10 USD a million."""
    row = cost(input_tokens=10**12, output_tokens=10**12, cache_read_tokens=0)
    assert row["cost_usd"] == Decimal(12_500_000)
    [small, large] = price([call(), call(input_tokens=10**12, output_tokens=10**12, cache_read_tokens=0)])
    assert (small["cost_usd"], large["cost_usd"]) == (cost()["cost_usd"], Decimal(12_500_000))


def test_a_transaction_that_is_rolled_back_does_not_unlearn_prices() -> None:
    """What the pricer learned in it stays known."""
    connection = duckdb.connect(config={"threads": 1})
    macros.install(connection, Settings())
    pricer = Pricer(connection, PriceBook(installed()))
    found = []
    for end in ("ROLLBACK", "COMMIT", "ROLLBACK", "COMMIT"):
        connection.execute("BEGIN")
        for models in (["gpt-4o"], ["gpt-4o-2024-08-06", "gpt-4.1"]):
            costs = pricer.price(calls_table([call(request_model=model) for model in models]))
            found += [(row["cost_usd"],) for row in costs.sort_by("node").to_pylist()]
        connection.execute(end)
    assert found == [(Decimal("0.21"),), (Decimal("0.21"),), (Decimal("0.148"),)] * 4


# --- brackets by hand


def test_without_a_cache_split_all_of_the_input_may_have_been_read_from_the_cache() -> None:
    row = cost(cache_read_tokens=None)
    assert (row["cost_low_usd"], row["cost_usd"], row["cost_high_usd"]) == (
        Decimal("0.135"),
        Decimal("0.26"),
        Decimal("0.26"),
    )
    assert row["cost_note"] == "cache_split_unknown"


def test_a_split_of_none_read_is_no_doubt() -> None:
    row = cost(cache_read_tokens=0)
    assert (row["cost_low_usd"], row["cost_high_usd"], row["cost_note"]) == (
        row["cost_usd"],
        row["cost_usd"],
        None,
    )


def test_writes_of_an_unknown_time_may_live_for_an_hour() -> None:
    """60,000 in at 3, 20,000 read at 0.30, 20,000 written at 3.75 or 6, 1,000 out at 15."""
    row = cost(**SONNET, cache_read_tokens=20_000, cache_write_tokens=20_000)
    assert (row["cost_usd"], row["cost_high_usd"]) == (Decimal("0.276"), Decimal("0.321"))
    assert (row["cost_low_usd"], row["cost_note"]) == (row["cost_usd"], "cache_ttl_unknown")


@pytest.mark.parametrize("told", [{"cache_write_5m_tokens": 20_000}, {"cache_write_1h_tokens": 0}])
def test_writes_of_a_known_time_are_no_doubt(told: dict[str, int]) -> None:
    row = cost(**SONNET, cache_read_tokens=20_000, cache_write_tokens=20_000, **told)
    assert (row["cost_usd"], row["cost_high_usd"], row["cost_note"]) == (
        Decimal("0.276"),
        Decimal("0.276"),
        None,
    )


def test_an_input_of_unknown_meaning_may_lie_beside_its_cache() -> None:
    row = cost(token_semantics="unknown")
    assert (row["cost_low_usd"], row["cost_usd"], row["cost_high_usd"]) == (
        Decimal("0.21"),
        Decimal("0.21"),
        Decimal("0.31"),
    )
    assert row["cost_note"] == "token_semantics_unknown"


def test_an_input_of_unknown_meaning_may_reach_the_next_context_tier() -> None:
    """150,000 with 100,000 read, or 250,000 with 100,000 read, all at the rates above 200,000: 6 in, 0.60 cached, 22.50
    out. What was written is nothing, so that no time to live is in doubt."""
    row = cost(**SONNET, token_semantics="unknown", input_tokens=150_000, cache_read_tokens=100_000)
    assert row["cost_usd"] == Decimal("0.195")
    assert row["cost_high_usd"] == Decimal("0.9825")


def test_a_tier_without_a_price_is_bracketed_by_the_models_other_tiers() -> None:
    """gpt-4.1 lists 2 in, 0.50 cached, 8 out; priority 3.50, 0.875 and 14; batch 1 and 4, per million tokens."""
    given = {"request_model": "gpt-4.1", "start_time": dt.datetime(2026, 11, 1)}
    row = cost(**given, service_tier="scale")
    assert row["cost_note"] == "tier_not_priced"
    assert row["cost_usd"] == cost(**given)["cost_usd"] == Decimal("0.148")
    assert row["cost_low_usd"] <= cost(**given, batch=True)["cost_usd"] < row["cost_usd"]
    assert row["cost_high_usd"] == cost(**given, service_tier="priority")["cost_usd"] == Decimal("0.259")


@pytest.mark.parametrize(
    ("given", "variant"),
    [
        ({"batch": True}, "batch"),
        ({"service_tier": "batch"}, "batch"),
        ({"service_tier": "Priority"}, "priority"),
        ({"service_tier": "flex", "request_model": "gpt-5"}, "flex"),
        ({"batch": True, "service_tier": "priority"}, "batch+priority"),
        ({"service_tier": "auto", "speed": "normal", "batch": False}, "standard"),
        ({"speed": "fast", **SONNET, "request_model": "claude-opus-5"}, "speed-fast"),
    ],
)
def test_the_variant_is_read_off_batch_tier_and_speed(given: dict[str, Any], variant: str) -> None:
    row = cost(**{"request_model": "gpt-4.1", "start_time": dt.datetime(2026, 11, 1)} | given)
    assert row["price_id"].split("/")[3] == variant
    assert row["cost_note"] is None


def test_a_part_of_a_context_that_has_no_price_leaves_the_rest() -> None:
    given: dict[str, Any] = {
        "request_model": "gpt-4.1",
        "start_time": dt.datetime(2026, 11, 1),
        "batch": True,
    }
    row = cost(**given, speed="ludicrous")
    assert (row["price_id"].split("/")[3], row["cost_note"]) == ("batch", "tier_not_priced")


def test_a_tier_is_priced_from_midnight_utc_of_its_first_day() -> None:
    """The source has priority for gpt-4.1 from 12 October 2026 on."""
    before, after = (
        cost(request_model="gpt-4.1", service_tier="priority", start_time=dt.datetime.fromisoformat(time))
        for time in ("2026-10-11T23:59:59.999999", "2026-10-12T00:00:00")
    )
    assert (before["cost_note"], before["cost_usd"]) == ("tier_not_priced", Decimal("0.148"))
    assert (after["cost_note"], after["cost_usd"]) == (None, Decimal("0.259"))


def test_a_reseller_has_none_of_the_makers_variants() -> None:
    """Azure's models fall back to OpenAI's list, whose batch price is not Azure's."""
    row = cost(
        provider="azure.ai.openai", request_model="gpt-4.1", batch=True, start_time=dt.datetime(2026, 11, 1)
    )
    assert row["cost_note"] == "tier_not_priced"


@pytest.mark.parametrize(
    ("model", "region", "note"),
    [
        ("claude-opus-5", "europe-west1", "region_not_priced"),
        ("claude-opus-5", "global", None),
        ("claude-opus-5", None, None),
        ("gemini-2.5-flash", "europe-west1", None),
    ],
)
def test_a_region_is_noted_where_the_source_says_that_it_costs_something_else(
    model: str, region: str | None, note: str | None
) -> None:
    given: dict[str, Any] = {"provider": "gcp.vertex_ai", "request_model": model}
    row = cost(**given, model_region=region)
    assert row["cost_note"] == note
    assert row["cost_usd"] == cost(**given)["cost_usd"]


def test_a_regional_profile_has_its_own_price() -> None:
    """AWS sells a model in a region for a tenth more than across the world."""
    sonnet = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    given = {"provider": "aws.bedrock", "cache_read_tokens": 0}
    world, region = (
        cost(**given, request_model=f"{where}.{sonnet}", model_region=where) for where in ("global", "eu")
    )
    assert region["cost_usd"] == world["cost_usd"] * Decimal("1.1")
    assert (world["cost_note"], region["cost_note"]) == (None, None)


# --- embeddings that tell no tokens


def embedding(**given: Any) -> Row:
    """text-embedding-3-small, 0.02 USD a million tokens, of 1,600 bytes of text."""
    untold = {"input_tokens": None, "cache_read_tokens": None, "output_tokens": None}
    row = {"role": "embeddings", "request_model": "text-embedding-3-small", "input_text_bytes": 1_600}
    return cost(**(untold | row | given))


def test_an_embedding_without_tokens_has_two_ends_by_the_length_of_its_text_and_no_cost() -> None:
    """At most a token a byte, and at least one in 16: 1,600 and 100 tokens."""
    row = embedding()
    assert row["cost_usd"] is None
    assert parts(row) == []
    assert (row["cost_low_usd"], row["cost_high_usd"]) == (Decimal("0.000002"), Decimal("0.000032"))
    assert row["cost_note"] == "estimated_from_text"
    assert row["price_id"].split("/")[1:3] == ["openai", "text-embedding-3-small"]


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"input_text_bytes": None}, "no_usage"),
        ({"status_code": "ERROR"}, "no_usage"),
        ({"role": "llm"}, "no_usage"),
        ({"plan_tier": "local"}, "local"),
        ({"request_model": "nobody-knows"}, "no_usage"),
        ({"input_tokens": 5}, None),
    ],
    ids=["no text", "failed", "a chat", "local", "unknown model", "tokens"],
)
def test_what_is_not_estimated(given: Row, note: str | None) -> None:
    row = embedding(**given)
    assert row["cost_note"] == note
    assert (row["cost_low_usd"], row["cost_high_usd"]) == (row["cost_usd"], row["cost_usd"])
