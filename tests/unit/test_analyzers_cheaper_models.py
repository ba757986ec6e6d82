"""The table of cheaper models against the price list: every step can be taken somewhere, and is one down in price."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from analyzers.cheaper_models import Step, _steps, step
from semconv.prices import PriceBook, installed
from semconv.prices.sheets import STANDARD, by_model

BOOK = PriceBook(installed())
LISTED = by_model(installed().sheets)
MAKERS: Final = ("anthropic", "aws", "deepseek", "google", "mistral", "openai")


def test_every_step_can_be_taken_at_its_maker_and_costs_less():
    """Of each kind of token that both have a price for, in any context tier that both begin with."""
    taken = list(steps_at_makers())
    assert len({found.model for _, found in taken}) >= len(_steps())
    for provider, found in taken:
        dear, cheap = (newest(provider, model) for model in (found.model, found.cheaper))
        for unit in ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"):
            if unit in dear and unit in cheap:
                assert cheap[unit] <= dear[unit], (provider, found, unit)
        assert cheap["input_mtok"] < dear["input_mtok"], (provider, found)


def steps_at_makers() -> Iterator[tuple[str, Step]]:
    for provider, model in sorted(LISTED):
        if provider in MAKERS:
            sent = model.replace("regional.", "us.")
            found = step(
                BOOK, {"aws": "aws.bedrock", "google": "gcp.gemini"}.get(provider, provider), sent, None
            )
            if isinstance(found, Step):
                yield provider, found


def newest(provider: str, model: str) -> dict[str, object]:
    """The base prices of the standard sheet that holds last."""
    sheets = [sheet for sheet in LISTED[provider, model] if sheet.variant == STANDARD]
    return dict(sheets[-1].tiers[0][1])


@pytest.mark.parametrize(
    ("provider", "sent", "cheaper"),
    [
        ("openai", "gpt-4o-2024-08-06", "gpt-4o-mini"),
        ("azure.ai.openai", "gpt-5", "gpt-5-mini"),
        ("anthropic", "claude-opus-4-5-20251101", "claude-sonnet-4-5"),
        ("aws.bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        (
            "aws.bedrock",
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "global.anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
        ("gcp.vertex_ai", "claude-opus-4-5@20251101", "claude-sonnet-4-5"),
        ("gcp.gemini", "gemini-2.5-pro", "gemini-2.5-flash"),
        ("openrouter", "openai/gpt-4o", "openai/gpt-4o-mini"),
        ("litellm", "openai/gpt-4o", "gpt-4o-mini"),
    ],
)  # fmt: skip
def test_the_cheaper_model_goes_by_the_ids_of_the_calls_own_provider(provider, sent, cheaper):
    """What is sent means, at that provider, the model that is named."""
    found = step(BOOK, provider, sent, None)
    assert isinstance(found, Step)
    assert found.sent == cheaper
    assert BOOK.listed(provider, found.sent, None)[1] == found.cheaper


def test_the_response_says_which_model_it_was():
    found = step(BOOK, "openai", "gpt-4.1-2025-04-14", "my-router")
    assert isinstance(found, Step)
    assert found.cheaper == "gpt-4.1-mini"


@pytest.mark.parametrize(
    ("provider", "sent", "reason"),
    [
        ("openai", "gpt-4o-mini", "last"),
        ("anthropic", "claude-haiku-4-5", "last"),
        ("house", "house-model-7", "unknown"),
        ("openai", None, "unknown"),
        (None, None, "unknown"),
        ("cohere", "command-r-plus", "unknown"),
    ],
)
def test_where_there_is_no_step_the_reason_is_said(provider, sent, reason):
    assert step(BOOK, provider, sent, None) == reason
