"""Costs against genai-prices' own calculation, over every provider and model it has."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage, calc_price, data_snapshot
from genai_prices.types import PriceCalculation

from semconv.prices import installed
from tests.unit.price_calls import PARTS, Row, call, price

# Each part is rounded once to 1e-12 USD, half of that is the most it can be off.
TOLERANCE = len(PARTS) * Decimal("0.5e-12")
CONTEXTS: list[Row] = [
    {},
    {},
    {"service_tier": "default", "speed": "standard", "batch": False},
    {"batch": True},
    {"service_tier": "flex"},
    {"service_tier": "priority", "batch": True},
    {"service_tier": "fast"},
    {"service_tier": "scale"},
    {"speed": "fast"},
    {"speed": "fast", "batch": True},
]
SNAPSHOT = data_snapshot.get_snapshot()
MODELS = [(provider.id, model.id) for provider in SNAPSHOT.providers for model in provider.models]


def random_call(pick: random.Random, provider: str, model: str) -> Row:
    given = pick.choice([0, 32_000, 128_001, 200_000, 200_001, 272_001, pick.randrange(2_000_000)])
    read, written = pick.choice(
        [(None, None), (given // 3, None), (given // 3, given // 4), (given, 0), (None, given // 2)]
    )
    audio, image = pick.choice(
        [(None, None), (given // 5, None), (None, given // 7), (given // 5, given // 7)]
    )
    output = pick.randrange(50_000)
    return call(
        provider=provider,
        request_model=model,
        start_time=dt.datetime(2024, 6, 1) + dt.timedelta(minutes=pick.randrange(1_350_000)),
        **pick.choice(CONTEXTS),
        input_tokens=given,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=pick.choice([None, written and written // 2]),
        cache_write_5m_tokens=pick.choice([None, written and written // 3]),
        audio_input_tokens=audio,
        image_input_tokens=image,
        output_tokens=output,
        reasoning_tokens=pick.choice([None, output // 2]),
        audio_output_tokens=pick.choice([None, output // 3]),
    )


def random_calls(times: int) -> list[Row]:
    """Every model of every provider so many times."""
    pick = random.Random(7)
    return [random_call(pick, *model) for model in times * MODELS]


def usage_of(row: Row) -> Usage:
    """Counts by the source's names. What was cached of audio and images no telemetry tells: as much as did not fit
    beside the cache."""
    uncached = row["input_tokens"] - (row["cache_read_tokens"] or 0) - (row["cache_write_tokens"] or 0)
    audio, image = row["audio_input_tokens"] or 0, row["image_input_tokens"] or 0
    audio_read = max(0, audio - uncached)
    image_read = max(0, image - max(0, uncached - audio))
    return Usage(
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cache_read_tokens=row["cache_read_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        cache_write_1h_tokens=row["cache_write_1h_tokens"],
        input_audio_tokens=audio,
        input_image_tokens=image,
        cache_audio_read_tokens=audio_read,
        cache_image_read_tokens=image_read,
        cache_audio_write_tokens=0,
        cache_image_write_tokens=0,
        output_audio_tokens=row["audio_output_tokens"],
        output_reasoning_tokens=row["reasoning_tokens"],
    )


def context_of(row: Row) -> dict[str, str]:
    given = {
        "processing": "batch" if row.get("batch") else None,
        "service_tier": row.get("service_tier"),
        "speed": row.get("speed"),
    }
    return {key: value for key, value in given.items() if value is not None}


def oracle(row: Row) -> PriceCalculation | Exception:
    try:
        return calc_price(
            usage_of(row),
            row["request_model"],
            provider_id=row["provider"],
            genai_request_timestamp=row["start_time"].replace(tzinfo=dt.UTC),
            price_context=context_of(row),
        )
    except (LookupError, ValueError) as error:
        return error


# --- every disagreement there is, each by its reason


def found_behind_a_gateways_path(_: Row, theirs: Any, ours: Row) -> bool:
    """ "openai/gpt-4o" at a provider that knows "gpt-4o" only: we look behind the path, the source does not."""
    return isinstance(theirs, LookupError) and "/" in _["request_model"] and ours["price_id"] is not None


def unknown_to_both(_: Row, theirs: Any, ours: Row) -> bool:
    return (
        isinstance(theirs, LookupError) and ours["cost_usd"] is None and ours["cost_note"] == "unknown_model"
    )


def not_priced_by_tokens(_: Row, theirs: Any, ours: Row) -> bool:
    """By hours, pages, characters or images, of which telemetry has no counts: theirs is 0 for them, ours unknown."""
    return (
        isinstance(theirs, PriceCalculation)
        and theirs.model_price.input_mtok is None
        and (ours["cost_usd"], ours["cost_note"]) == (None, "no_price")
    )


REASONS = (unknown_to_both, not_priced_by_tokens)


def agrees(theirs: Any, ours: Row) -> bool:
    if isinstance(theirs, Exception) or ours["cost_usd"] is None:
        return False
    return bool(abs(ours["cost_usd"] - theirs.total_price) <= TOLERANCE)


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_costs_agree_with_the_sources_own_calculation(times: int) -> None:
    """All providers, models, dates of over two years, times of day, context tiers, variants and cache splits."""
    calls = random_calls(times)
    unexplained = []
    reasons: Counter[str] = Counter()
    for row, ours in zip(calls, price(calls), strict=True):
        theirs = oracle(row)
        if agrees(theirs, ours):
            reasons["agrees"] += 1
        elif reason := next((each for each in REASONS if each(row, theirs, ours)), None):
            reasons[reason.__name__] += 1
        else:
            unexplained.append((row, theirs, ours))
    assert unexplained[:1] == []
    assert reasons.total() == len(calls)
    assert reasons["agrees"] > 0.8 * len(calls)


# --- which model an id means


def references() -> list[tuple[str | None, str]]:
    """Every model's id as it is, dated, in capitals, behind a gateway's path, at other providers and at none."""
    pick = random.Random(11)
    providers = [
        None,
        "litellm",
        "house",
        "Azure.AI.OpenAI",
        "amazon-bedrock",
        *(each.id for each in SNAPSHOT.providers),
    ]
    made: list[tuple[str | None, str]] = []
    for provider, model in MODELS:
        spellings = pick.sample(
            [
                *(
                    model.upper(),
                    f"{model}-20250929",
                    f"{model}-2025-09-29",
                    f"{model}-20251340",
                    f"{model}:free",
                ),
                *(f"us.{model}", f"{provider}/{model}", f"models/{model}", f"{model}@20250929", model[:-1]),
            ],
            k=3,
        )
        made.append((provider, model))
        made += [(pick.choice([provider, provider, None, "litellm"]), spelling) for spelling in spellings]
        made.append((pick.choice(providers), model))
    return made


def test_models_are_found_as_the_source_finds_them() -> None:
    owners = {
        id(model): (provider.id, model.id) for provider in SNAPSHOT.providers for model in provider.models
    }
    finder = installed().finder
    compared, different = 0, []
    for provider, model in references():
        try:
            _, found = SNAPSHOT.find_provider_model(model, None, provider, None)
            theirs = owners[id(found)]
        except LookupError:
            theirs = None
        compared += theirs is not None
        if (ours := finder.find_reference(provider, model)) != theirs:
            different.append((provider, model, ours, theirs))
    assert different == []
    assert compared > 3_000
