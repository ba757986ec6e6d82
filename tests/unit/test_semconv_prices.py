"""What calls cost: against genai-prices' own calculation, and where there is no price to be had."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from decimal import Decimal

import duckdb
import pytest
from genai_prices import Usage, calc_price, data_snapshot

from semconv.prices import COST_NOTES, PriceBook, installed
from semconv.resolve import Resolver
from semconv.settings import Settings
from semconv.sqltext import sql_text
from tests.unit.semconv_records import NOON, Row, build, chat, nanos, seeded

PARTS = (
    *("cost_input_usd", "cost_output_usd", "cost_cache_read_usd", "cost_cache_write_usd"),
    *("cost_reasoning_usd", "cost_audio_usd", "cost_request_usd"),
)
# Our provider names for the source's.
PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "cohere": "cohere",
    "mistral": "mistral_ai",
    "groq": "groq",
    "deepseek": "deepseek",
    "perplexity": "perplexity",
    "x-ai": "x_ai",
    "moonshotai": "moonshot_ai",
    "openrouter": "openrouter",
    "together": "together",
    "fireworks": "fireworks",
}


def cost(**given: object) -> Row:
    [call] = build(chat("a", **given))
    return call


# --- the snapshot


def test_one_release_of_the_source_always_compiles_to_the_same_rows() -> None:
    """A new release changes the id; then check the compiled prices and pin the new one here."""
    snapshot = installed()
    assert (snapshot.source_version, snapshot.snapshot_id) == ("0.2.3", "0ca12ec608f1f2ca")


def test_prices_of_a_model_cover_all_time_without_gap_or_overlap() -> None:
    rows = installed().rows  # noqa: F841 (the SQL reads it)
    ranges = duckdb.connect(config={"threads": 1}).execute(
        "SELECT provider, model, list(valid_to ORDER BY valid_from NULLS FIRST),"
        " list(valid_from ORDER BY valid_from NULLS FIRST)"
        " FROM (SELECT DISTINCT provider, model, valid_from, valid_to FROM rows WHERE variant = 'standard')"
        " GROUP BY provider, model"
    )
    for provider, model, ends, starts in ranges.fetchall():
        assert [*ends[:-1], None] == [*starts[1:], None], f"{provider}/{model}"


def test_a_price_id_names_one_price_in_one_range_of_dates() -> None:
    rows = installed().rows
    [(repeated,)] = (
        duckdb.connect(config={"threads": 1})
        .execute("SELECT count(*) - count(DISTINCT (price_id, tier_start, unit)) FROM rows")
        .fetchall()
    )
    assert rows.num_rows > 5000
    assert repeated == 0


# --- against the source's own calculation


def priceable_models() -> list[tuple[str, str]]:
    providers = {provider.id: provider for provider in data_snapshot.get_snapshot().providers}
    return [(theirs, model.id) for theirs in PROVIDERS for model in providers[theirs].models]


def random_calls(count: int) -> list[Row]:
    pick = seeded(7)
    models = priceable_models()
    rows = []
    for n in range(count):
        theirs, model = models[n % len(models)] if n < len(models) else pick.choice(models)
        time = dt.datetime(2025, 1, 1) + dt.timedelta(minutes=pick.randrange(1_100_000))
        given = pick.choice([200_000, 200_001, 128_000, 272_001, pick.randrange(2_000_000)])
        read, written = pick.choice([(None, None), (given // 3, None), (given // 3, given // 4), (given, 0)])
        rows.append(
            chat(
                f"{n}",
                trace_id=f"{n}",
                provider=PROVIDERS[theirs],
                request_model=model,
                response_id=f"{n}",
                start_time=time,
                start_unix_nano=nanos(time),
                end_unix_nano=nanos(time),
                input_tokens=given,
                cache_read_tokens=read,
                cache_write_tokens=written,
                cache_write_1h_tokens=pick.choice([None, written and written // 2]),
                audio_input_tokens=pick.choice([None, given // 5]) if read is None else None,
                image_input_tokens=pick.choice([None, given // 7]) if read is None else None,
                audio_output_tokens=pick.choice([None, 40]),
                output_tokens=40 + pick.randrange(50_000),
                scope_name="opentelemetry.instrumentation.genai.openai",
            )
        )
    return rows


def oracle(row: Row) -> Decimal | str:
    """The source's price in USD, or why it has none."""
    usage = {
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "cache_read_tokens": row["cache_read_tokens"],
        "cache_write_tokens": row["cache_write_tokens"],
        "cache_write_1h_tokens": row["cache_write_1h_tokens"],
        "input_audio_tokens": row["audio_input_tokens"],
        "input_image_tokens": row["image_input_tokens"],
        "output_audio_tokens": row["audio_output_tokens"],
    }
    theirs = next(theirs for theirs, ours in PROVIDERS.items() if ours == row["provider"])
    try:
        price = calc_price(
            Usage(**usage),
            row["request_model"],
            provider_id=theirs,
            genai_request_timestamp=row["start_time"].replace(tzinfo=dt.UTC),
        )
    except (LookupError, ValueError) as error:
        return str(error)
    if price.model_price.input_mtok is None:
        return "no token price"
    return price.total_price


def test_costs_agree_with_the_sources_own_calculation() -> None:
    """All providers we name, every model of theirs, dates over two years, context tiers and cache splits.

    Every part is rounded once to 1e-12 USD, so a sum of parts may differ from the exact total by that much each.
    """
    rows = random_calls(800)
    ours = {call["span_id"]: call for call in build(*rows)}
    disagreements: Counter[str] = Counter()
    compared = 0
    for row in rows:
        theirs, call = oracle(row), ours[row["span_id"]]
        if isinstance(theirs, str):
            disagreements[f"theirs: {theirs[:60]} ours: {call['cost_note']}"] += call["cost_usd"] is not None
            continue
        compared += 1
        if call["cost_usd"] is None or abs(call["cost_usd"] - theirs) > Decimal("4e-12"):
            disagreements[f"{row['provider']}/{row['request_model']}: {theirs}, ours {call['cost_usd']}"] += 1
    assert +disagreements == Counter()
    assert compared > 600


@pytest.mark.parametrize(
    ("exact", "rounded"),
    [(0, 0), (499, 0), (500, 0), (501, 1), (1_500, 2), (2_500, 2), (9 * 10**18 + 1_500, 9 * 10**15 + 2)],
)
def test_a_part_is_rounded_half_even_to_the_last_decimal(exact: int, rounded: int) -> None:
    """From 1e-15 USD to 1e-12 USD."""
    connection = duckdb.connect(config={"threads": 1})
    Resolver(connection, Settings())
    assert connection.execute("SELECT half_even(?::BIGINT, 1000)", [exact]).fetchall() == [(rounded,)]


# --- parts


def test_the_total_is_the_sum_of_the_parts_and_no_part_counts_a_token_twice() -> None:
    """claude-sonnet-4-5: 3 USD in, 0.30 cache read, 3.75 and 6 cache write, 15 out, per million tokens."""
    call = cost(
        provider="anthropic",
        request_model="claude-sonnet-4-5",
        scope_name="opentelemetry.instrumentation.genai.anthropic",
        input_tokens=100_000,
        cache_read_tokens=50_000,
        cache_write_tokens=30_000,
        cache_write_1h_tokens=10_000,
        output_tokens=1_000,
    )
    assert call["cost_input_usd"] == Decimal("0.06")
    assert call["cost_cache_read_usd"] == Decimal("0.015")
    assert call["cost_cache_write_usd"] == Decimal("0.135")
    assert call["cost_output_usd"] == Decimal("0.015")
    assert [call[part] for part in PARTS[4:]] == [None, None, None]
    assert call["cost_usd"] == sum(call[part] for part in PARTS if call[part] is not None)
    assert (call["cost_low_usd"], call["cost_high_usd"]) == (call["cost_usd"], call["cost_usd"])
    assert (call["cost_note"], call["price_id"].partition("/")[2]) == (
        None,
        "anthropic/claude-sonnet-4-5/standard/always",
    )


def test_reasoning_and_requests_are_parts_where_they_are_priced_apart() -> None:
    """sonar-deep-research prices reasoning apart; sonar a request at 12 USD per thousand."""
    deep = cost(
        provider="perplexity", request_model="sonar-deep-research", output_tokens=900, reasoning_tokens=600
    )
    sonar = cost(provider="perplexity", request_model="sonar")
    assert (deep["cost_output_usd"], deep["cost_reasoning_usd"]) == (Decimal("0.0024"), Decimal("0.0018"))
    assert sonar["cost_request_usd"] == Decimal("0.012")


def test_audio_is_a_part_where_it_is_priced_apart() -> None:
    """Audio 3 USD in and 12 out, text 0.75 and 4.50, per million tokens."""
    live = {"provider": "gcp.gemini", "request_model": "gemini-3.1-flash-live-preview"}
    call = cost(**live, audio_input_tokens=60, audio_output_tokens=4)
    assert call["cost_audio_usd"] == Decimal("0.000228")
    assert (call["cost_input_usd"], call["cost_output_usd"]) == (Decimal("0.00003"), Decimal("0.000027"))


def test_cache_counts_beyond_the_input_never_make_a_part_negative() -> None:
    """Read and written together exceed an input that the library is known to mean as the total."""
    merged = build(
        chat("a", response_id="r", scope_name="one", input_tokens=100, cache_read_tokens=80),
        chat("b", response_id="r", scope_name="two", input_tokens=100, cache_write_tokens=90),
    )
    assert [(call["cost_note"], call["cost_input_usd"]) for call in merged] == [("cache_exceeds_input", 0)]


# --- what cannot be priced, or not for certain


@pytest.mark.parametrize(
    ("claims", "note"),
    [
        ({"input_tokens": None, "output_tokens": None}, "no_usage"),
        ({"input_tokens": None}, "no_input_tokens"),
        ({"output_tokens": None}, "no_output_tokens"),
        ({"request_model": None}, "no_model"),
        ({"request_model": "house-model"}, "unknown_model"),
        ({"provider": "house"}, "unknown_model"),
        ({"request_model": "whisper-1"}, "no_price"),
        ({"plan_tier": "local"}, "local"),
    ],
)
def test_no_cost_without_tokens_model_or_price(claims: Row, note: str) -> None:
    call = cost(**claims)
    assert call["cost_note"] == note
    assert [call[name] for name in ("cost_usd", "cost_low_usd", "cost_high_usd", "price_id", *PARTS)] == [
        None
    ] * 11


def test_the_vocabulary_of_cost_notes_is_what_the_sql_writes() -> None:
    cases = sql_text("prices/price.sql").partition("-- The notes.")[2]
    written = set(re.findall(r"'([a-z_]+)'", cases))
    assert written - {"llm", "ERROR"} == COST_NOTES


def test_embeddings_are_priced_by_their_input_alone() -> None:
    call = cost(operation="embeddings", request_model="text-embedding-3-small", output_tokens=None)
    assert (call["cost_usd"], call["cost_output_usd"]) == (Decimal("0.000002"), None)


def test_where_nothing_decides_what_input_includes_the_cost_is_bracketed() -> None:
    """gpt-4o, 2.50 USD in and 1.25 cached: 100 tokens that include 40 cached, or 100 besides 40 cached."""
    call = cost(cache_read_tokens=40)
    assert (call["token_semantics"], call["cost_note"]) == ("unknown", "token_semantics_unknown")
    assert call["cost_usd"] == call["cost_low_usd"] == Decimal("0.0003")
    assert call["cost_high_usd"] == Decimal("0.0004")


@pytest.mark.parametrize("tier", ["default", "standard", "auto", None])
def test_the_standard_tier_is_priced_without_a_note(tier: str | None) -> None:
    assert cost(service_tier=tier, cache_read_tokens=0)["cost_note"] is None


def test_the_response_model_is_priced_and_else_the_requested_one() -> None:
    answered = cost(request_model="gpt-4o", response_model="gpt-4o-mini-2024-07-18")
    aliased = cost(request_model="gpt-4o", response_model="house-deployment")
    assert answered["price_id"].split("/")[2] == "gpt-4o-mini"
    assert aliased["price_id"].split("/")[2] == "gpt-4o"


@pytest.mark.parametrize(
    ("provider", "model", "priced"),
    [
        ("gcp.gemini", "models/gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        ("azure.ai.openai", "gpt-4o-2024-08-06", ("openai", "gpt-4o")),
        ("gcp.vertex_ai", "claude-sonnet-4-5@20250929", ("google", "claude-sonnet-4-5")),
        (None, "gpt-4o", ("openai", "gpt-4o")),
        ("house", "gpt-4o", None),
        ("openai", "house-model", None),
    ],
)
def test_models_are_matched_by_the_sources_own_clauses(
    provider: str | None, model: str, priced: tuple[str, str] | None
) -> None:
    assert PriceBook(installed()).find(provider, None, model) == priced


def test_a_price_of_the_time_of_day_holds_at_that_time() -> None:
    """deepseek-chat is dearer from 00:30 to 16:30 UTC, when most of its users are awake."""
    day, night = (
        cost(provider="deepseek", request_model="deepseek-chat", start_time=NOON.replace(hour=hour))
        for hour in (12, 20)
    )
    assert day["cost_usd"] > night["cost_usd"]
    assert (day["price_id"].endswith("T00:30"), night["price_id"].endswith("T16:30")) == (True, True)
