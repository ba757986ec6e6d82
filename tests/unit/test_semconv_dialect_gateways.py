"""What gateways, error trackers and frameworks without a corpus of captures send, one small record each.

Names are those of their documentation or source. Each record is read through to its meaning: role, provider, model
and counts as the store has them, which holds no text of what was asked and answered.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.semconv_meaning import CANARY, span


def test_sentrys_counts_of_cache_and_reasoning_are_parts_of_input_and_output() -> None:
    meaning = span(
        "my.app",
        "chat gpt-4o",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.input_tokens.cached": 50,
            "gen_ai.usage.input_tokens.cache_write": 20,
            "gen_ai.usage.output_tokens": 90,
            "gen_ai.usage.output_tokens.reasoning": 30,
            "gen_ai.usage.total_tokens": 190,
        },
    )
    assert counts(meaning) == {
        "input_tokens": 100,
        "cache_read_tokens": 50,
        "cache_write_tokens": 20,
        "output_tokens": 90,
        "reasoning_tokens": 30,
    }


def test_openrouters_broadcast_tells_what_it_charged() -> None:
    """The provider that it names is the model's maker, who was not paid."""
    meaning = span(
        "openrouter",
        "LLM Generation",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "deepseek",
            "gen_ai.request.model": "deepseek/deepseek-chat",
            "gen_ai.usage.input_tokens": 150,
            "gen_ai.usage.input_tokens.cached": 10,
            "gen_ai.usage.output_tokens": 50,
            "gen_ai.usage.output_tokens.reasoning": 5,
            "gen_ai.usage.total_cost": 0.0035,
            "trace.metadata.openrouter.provider_slug": "novita/fp8",
        },
    )
    assert (meaning["dialect"], meaning["provider"]) == ("openrouter", "openrouter")
    assert meaning["reported_cost_usd"] == Decimal("0.0035")
    assert counts(meaning) == {
        "input_tokens": 150,
        "cache_read_tokens": 10,
        "output_tokens": 50,
        "reasoning_tokens": 5,
    }


@pytest.mark.parametrize("key", ["gen_ai.provider.name", "gen_ai.model.provider"])
def test_cloudflares_gateway_names_the_provider_by_either_key(key: str) -> None:
    """Its documentation has the one, its spans the other; neither has an operation."""
    meaning = span(
        "",
        "ai-gateway",
        {
            "gen_ai.request.model": "gpt-4o-mini",
            key: "openai",
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.prompt_json": json.dumps([{"role": "user", "content": CANARY}]),
            "gen_ai.completion_json": json.dumps({"content": CANARY}),
            "gen_ai.usage.cost": 0.00001,
        },
    )
    assert (meaning["role"], meaning["provider"]) == ("llm", "openai")
    assert meaning["reported_cost_usd"] == Decimal("0.00001")


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ("cached_input_tokens", "cache_creation_tokens"),
        ("cached_tokens", "cache_write_tokens"),
        ("cache_read_tokens", "cache_write_tokens"),
        ("input_tokens_details.cached_tokens", "cache_creation_tokens"),
        ("prompt_tokens_details.cached_tokens", "cache_write_tokens"),
    ],
)
def test_spellings_of_the_cache_that_stand_in_no_convention(read: str, written: str) -> None:
    meaning = span(
        "rig",
        "chat",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 900,
            "gen_ai.usage.output_tokens": 1,
            f"gen_ai.usage.{read}": 600,
            f"gen_ai.usage.{written}": 200,
        },
    )
    assert counts(meaning) == {
        "input_tokens": 900,
        "cache_read_tokens": 600,
        "cache_write_tokens": 200,
        "output_tokens": 1,
    }


def test_mastras_steps_repeat_no_call() -> None:
    """A generation is the call; its steps, chunks and processors are spans of their own, without usage."""
    generation = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.audio_input_tokens": 4,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.reasoning_tokens": 2,
    }
    assert span("@mastra/otel-exporter", "chat claude-sonnet-4-5", generation)["role"] == "llm"
    for part in ("model_step", "model_chunk", "model_inference", "processor_run"):
        step = {"gen_ai.operation.name": part, "mastra.span.type": part, "gen_ai.request.model": "claude"}
        assert span("@mastra/otel-exporter", part, step)["role"] == "other"


def test_genkits_model_action_has_its_usage_in_the_answer() -> None:
    """Google's thoughts stand beside its output, as the total shows."""
    answer = {
        "message": {"role": "model", "content": [{"text": CANARY}]},
        "finishReason": "stop",
        "usage": {
            "inputTokens": 42,
            "outputTokens": 17,
            "totalTokens": 64,
            "thoughtsTokens": 5,
            "cachedContentTokens": 8,
        },
    }
    meaning = span(
        "genkit-tracer",
        "googleai/gemini-2.5-flash",
        {
            "genkit:type": "action",
            "genkit:name": "googleai/gemini-2.5-flash",
            "genkit:metadata:subtype": "model",
            "genkit:sessionId": "s-1",
            "genkit:input": json.dumps({"messages": [CANARY]}),
            "genkit:output": json.dumps(answer),
        },
    )
    assert meaning == {
        "dialect": "genkit",
        "role": "llm",
        "operation": "model",
        "provider": "gcp.gemini",
        "request_model": "googleai/gemini-2.5-flash",
        "finish_reasons": ["stop"],
        "session_id": "s-1",
        "input_tokens": 42,
        "cache_read_tokens": 8,
        "output_tokens": 22,
        "reasoning_tokens": 5,
    }


@pytest.mark.parametrize(
    ("subtype", "role"),
    [
        ("flow", "workflow"),
        ("tool", "tool"),
        ("tool.v2", "tool"),
        ("util", "other"),
        ("embedder", "embeddings"),
    ],
)
def test_genkits_other_actions(subtype: str, role: str) -> None:
    attributes = {"genkit:name": "mine", "genkit:metadata:subtype": subtype, "genkit:output": CANARY}
    meaning = span("genkit-tracer", "mine", attributes)
    assert meaning["role"] == role
    assert meaning.get("tool_name") == ("mine" if role == "tool" else None)


def test_braintrusts_documents() -> None:
    metrics = {
        "prompt_tokens": 80,
        "prompt_cached_tokens": 60,
        "completion_tokens": 7,
        "completion_reasoning_tokens": 3,
        "tokens": 87,
        "time_to_first_token": 0.25,
    }
    meaning = span(
        "braintrust",
        "Chat Completion",
        {
            "braintrust.span_attributes": json.dumps({"type": "llm"}),
            "braintrust.metadata": json.dumps({"model": "gpt-4o", "provider": "openai", "topic": "tea"}),
            "braintrust.metrics": json.dumps(metrics),
            "braintrust.input_json": json.dumps([{"content": CANARY}]),
        },
    )
    assert (meaning["dialect"], meaning["role"], meaning["provider"]) == ("braintrust", "llm", "openai")
    assert meaning["request_model"] == "gpt-4o"
    assert counts(meaning) == {
        "input_tokens": 80,
        "cache_read_tokens": 60,
        "output_tokens": 7,
        "reasoning_tokens": 3,
    }


def test_livekits_metrics_complete_the_conventions_names() -> None:
    """What they have in common stands under both; the cache and the wait only in the document."""
    metrics = {"prompt_tokens": 500, "completion_tokens": 150, "prompt_cached_tokens": 400, "ttft": 0.245}
    meaning = span(
        "livekit-agents",
        "llm_request",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 500,
            "gen_ai.usage.output_tokens": 150,
            "gen_ai.request.stream": True,
            "lk.llm_metrics": json.dumps(metrics),
        },
        "lk.chat_ctx",
        "lk.response.text",
    )
    assert meaning["time_to_first_token_ms"] == 245
    assert counts(meaning) == {"input_tokens": 500, "cache_read_tokens": 400, "output_tokens": 150}


@pytest.mark.parametrize(
    "metrics",
    [
        {"prompt_tokens": 11, "completion_tokens": 4, "cost": 0.5},
        {"type": "json", "value": {"promptTokens": 11, "completionTokens": 4, "cost": 0.5}},
    ],
)
def test_langwatchs_metrics_with_and_without_an_envelope(metrics: dict[str, Any]) -> None:
    meaning = span(
        "langwatch",
        "generate",
        {"langwatch.span.type": "llm", "langwatch.thread.id": "t", "langwatch.metrics": json.dumps(metrics)},
        "langwatch.input",
        "langwatch.output",
    )
    assert (meaning["role"], meaning["session_id"]) == ("llm", "t")
    assert meaning["reported_cost_usd"] == Decimal("0.5")
    assert counts(meaning) == {"input_tokens": 11, "output_tokens": 4}


def counts(meaning: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in meaning.items() if name.endswith("_tokens")}
