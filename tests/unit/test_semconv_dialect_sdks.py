"""What SDKs and gateways send: the AI SDK, LiteLLM, the Anthropic SDK."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.semconv_meaning import CANARY, span

# --- Vercel AI SDK ------------------------------------------------------------------------------------

CLAUDE = "claude-sonnet-4-5"
ANSWER = "claude-sonnet-4-5-20250929"
AI_CALL = {
    "ai.operationId": "ai.generateText.doGenerate",
    "ai.model.provider": "anthropic.messages",
    "ai.model.id": CLAUDE,
    "ai.response.id": "msg_1",
    "ai.response.model": ANSWER,
    "ai.response.finishReason": "stop",
    "ai.telemetry.functionId": "support",
    "ai.telemetry.metadata.sessionId": "s-1",
    "ai.telemetry.metadata.userId": "ann",
}
AI_SAID = ("ai.prompt.messages", "ai.response.text", "ai.response.toolCalls", "ai.response.reasoning")
AI_MEANING = {
    "dialect": "vercel_ai",
    "role": "llm",
    "operation": "ai.generateText.doGenerate",
    "provider": "anthropic",
    "request_model": CLAUDE,
    "response_model": ANSWER,
    "response_id": "msg_1",
    "finish_reasons": ["stop"],
    "agent_name": "support",
    "session_id": "s-1",
    "user_id": "ann",
    "input_tokens": 1212,
    "cache_read_tokens": 1000,
    "cache_write_tokens": 200,
    "output_tokens": 30,
}


def metadata(**providers: Any) -> dict[str, str]:
    return {"ai.response.providerMetadata": json.dumps(providers)}


def test_ai_sdk_4_tells_of_anthropics_cache_in_the_providers_metadata_alone() -> None:
    counts = {"ai.usage.promptTokens": 12, "ai.usage.completionTokens": 30}
    cache = metadata(
        anthropic={"cacheReadInputTokens": 1000, "cacheCreationInputTokens": 200, "note": CANARY}
    )
    assert span("ai", "ai.generateText.doGenerate", {**AI_CALL, **counts, **cache}, *AI_SAID) == AI_MEANING


def test_ai_sdk_5_has_anthropics_own_usage_in_it() -> None:
    counts = {"ai.usage.inputTokens": 12, "ai.usage.outputTokens": 30, "ai.usage.totalTokens": 42}
    usage = {
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
        "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
        "service_tier": "priority",
        "speed": "fast",
        "inference_geo": "us",
    }
    own = {**AI_CALL, **counts, "ai.usage.cachedInputTokens": 1000, **metadata(anthropic={"usage": usage})}
    assert span("ai", "ai.generateText.doGenerate", own, *AI_SAID) == {
        **AI_MEANING,
        "cache_write_5m_tokens": 150,
        "cache_write_1h_tokens": 50,
        "service_tier": "priority",
        "speed": "fast",
        "model_region": "us",
    }


def test_ai_sdk_6_tells_the_parts_apart_and_its_input_is_the_whole() -> None:
    counts = {
        "ai.usage.inputTokens": 1212,
        "ai.usage.inputTokenDetails.noCacheTokens": 12,
        "ai.usage.inputTokenDetails.cacheReadTokens": 1000,
        "ai.usage.inputTokenDetails.cacheWriteTokens": 200,
        "ai.usage.outputTokens": 30,
        "ai.usage.outputTokenDetails.textTokens": 20,
        "ai.usage.outputTokenDetails.reasoningTokens": 10,
        "ai.usage.totalTokens": 1242,
    }
    own = {
        **AI_CALL,
        **counts,
        "ai.operationId": "ai.streamText.doStream",
        "ai.response.msToFirstChunk": 612.5,
    }
    assert span("ai", "ai.streamText.doStream", own, *AI_SAID) == {
        **AI_MEANING,
        "operation": "ai.streamText.doStream",
        "reasoning_tokens": 10,
        "time_to_first_token_ms": 612.5,
    }


def test_ai_sdk_6_of_openai() -> None:
    """provider.api names the provider; Vercel's gateway tells the cost, in text."""
    own = {
        "ai.operationId": "ai.generateObject.doGenerate",
        "ai.model.provider": "openai.responses",
        "ai.model.id": "gpt-5",
        "ai.usage.inputTokens": 40,
        "ai.usage.cachedInputTokens": 8,
        "ai.usage.outputTokens": 20,
        "ai.usage.reasoningTokens": 15,
        **metadata(openai={"responseId": "resp_1", "serviceTier": "flex"}, gateway={"cost": "0.0123"}),
    }
    assert span("ai", "ai.generateObject.doGenerate", own, "ai.response.object", "ai.schema") == {
        "dialect": "vercel_ai",
        "role": "llm",
        "operation": "ai.generateObject.doGenerate",
        "provider": "openai",
        "request_model": "gpt-5",
        "response_id": "resp_1",
        "service_tier": "flex",
        "input_tokens": 40,
        "cache_read_tokens": 8,
        "output_tokens": 20,
        "reasoning_tokens": 15,
        "reported_cost_usd": Decimal("0.0123"),
    }


@pytest.mark.parametrize("name", ["openai", "azure"])
def test_ai_sdk_4_of_openai(name: str) -> None:
    counts = {"ai.usage.promptTokens": 40, "ai.usage.completionTokens": 20}
    own = {"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "gpt-4o", **counts}
    meaning = span("ai", "x", own | metadata(**{name: {"cachedPromptTokens": 8, "reasoningTokens": 15}}))
    assert (meaning["cache_read_tokens"], meaning["reasoning_tokens"]) == (8, 15)


@pytest.mark.parametrize("name", ["google", "vertex"])
def test_ai_sdk_of_google(name: str) -> None:
    usage = {"usageMetadata": {"cachedContentTokenCount": 8, "thoughtsTokenCount": 15}}
    counts = {"ai.usage.inputTokens": 40, "ai.usage.outputTokens": 20}
    own = {"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "gemini-2.5-pro", **counts}
    meaning = span("ai", "x", own | metadata(**{name: usage}))
    assert (meaning["cache_read_tokens"], meaning["reasoning_tokens"]) == (8, 15)


@pytest.mark.parametrize(
    "operation",
    ["ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject", "ai.embed", "ai.embedMany"],
)
def test_ai_sdks_spans_around_a_call_repeat_its_usage_and_are_none(operation: str) -> None:
    usage = {"ai.usage.inputTokens": 12, "ai.usage.outputTokens": 30, "ai.usage.tokens": 12}
    own = {**AI_CALL, **usage, "ai.operationId": operation}
    assert span("ai", operation, own, "ai.prompt", "ai.value", "ai.values")["role"] not in (
        "llm",
        "embeddings",
    )


@pytest.mark.parametrize("operation", ["ai.embed.doEmbed", "ai.embedMany.doEmbed"])
def test_ai_sdks_embeddings(operation: str) -> None:
    model = "text-embedding-3-small"
    own = {"ai.operationId": operation, "ai.model.id": model, "ai.model.provider": "openai.embedding"}
    assert span("ai", operation, {**own, "ai.usage.tokens": 12}, "ai.values", "ai.embeddings") == {
        "dialect": "vercel_ai",
        "role": "embeddings",
        "operation": operation,
        "provider": "openai",
        "request_model": model,
        "response_model": model,  # the answer names none
        "input_tokens": 12,
    }


def test_ai_sdks_tools() -> None:
    own = {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "weather", "ai.toolCall.id": "call_1"}
    assert span("ai", "ai.toolCall", own, "ai.toolCall.args", "ai.toolCall.result") == {
        "dialect": "vercel_ai",
        "role": "tool",
        "operation": "ai.toolCall",
        "tool_name": "weather",
        "tool_call_id": "call_1",
    }


def test_ai_sdk_7_speaks_the_conventions() -> None:
    """Its steps repeat the usage of the call within; its time is in seconds."""
    usage = {"gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 20}
    own = {
        "gen_ai.request.model": "gpt-5",
        "ai.settings.context.userId": "ann",
        "gen_ai.client.operation.time_to_first_chunk": 0.25,
        **usage,
    }
    call = span("gen_ai", "chat gpt-5", {"gen_ai.operation.name": "chat", **own})
    assert (call["role"], call["user_id"], call["time_to_first_token_ms"]) == ("llm", "ann", 250.0)
    assert span("gen_ai", "step 1", {"gen_ai.operation.name": "agent_step", **own})["role"] == "agent"
    assert span("gen_ai", "rerank x", {"gen_ai.operation.name": "rerank", **own})["role"] == "retrieval"


# --- LiteLLM ------------------------------------------------------------------------------------------

LITELLM_USAGE = {
    "completion_tokens": 20,
    "prompt_tokens": 40,
    "total_tokens": 60,
    "completion_tokens_details": {"audio_tokens": 3, "reasoning_tokens": 15, "text_tokens": None},
    "prompt_tokens_details": {
        "audio_tokens": 2,
        "cached_tokens": 8,
        "image_tokens": 1,
        "cache_creation_tokens": 5,
    },
    "service_tier": None,
}
LITELLM_CALL = {
    "gen_ai.request.model": "gpt-5",
    "gen_ai.system": "openai",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.cost.total_cost": 0.0123,
    "llm.is_streaming": "False",
    "metadata.user_api_key_end_user_id": "ann",
    "metadata.requester_metadata": str({"session_id": "s-1", "note": CANARY}),
}


@pytest.mark.parametrize("write", [str, json.dumps], ids=["Python", "JSON"])
def test_litellm_tells_most_of_usage_in_a_dictionary_as_python_writes_it(write: Any) -> None:
    own = {**LITELLM_CALL, "llm.request.type": "acompletion", "metadata.usage_object": write(LITELLM_USAGE)}
    assert span("litellm", "litellm_request", own, "gen_ai.prompt.0.content") == {
        "dialect": "litellm",
        "role": "llm",
        "operation": "acompletion",
        "provider": "openai",
        "request_model": "gpt-5",
        "response_id": "chatcmpl-1",
        "session_id": "s-1",
        "user_id": "ann",
        "input_tokens": 40,
        "cache_read_tokens": 8,
        "cache_write_tokens": 5,
        "output_tokens": 20,
        "reasoning_tokens": 15,
        "audio_input_tokens": 2,
        "audio_output_tokens": 3,
        "image_input_tokens": 1,
        "reported_cost_usd": Decimal("0.0123"),
    }


@pytest.mark.parametrize(
    ("word", "role"), [("aembedding", "embeddings"), ("aresponses", "llm"), ("arerank", "retrieval")]
)
def test_litellm_names_how_it_was_called(word: str, role: str) -> None:
    counts = {"gen_ai.usage.prompt_tokens": 40}
    assert (
        span("litellm", "litellm_request", {**LITELLM_CALL, "llm.request.type": word, **counts})["role"]
        == role
    )


def test_litellm_of_the_second_version_tells_the_cost_by_another_name() -> None:
    own = {"gen_ai.operation.name": "chat", "litellm.cost.total": 0.5, "litellm.provider.model": "gpt-5"}
    meaning = span("litellm", "chat gpt-5", own)
    assert (meaning["dialect"], meaning["reported_cost_usd"]) == ("litellm", Decimal("0.5"))
    assert meaning["request_model"] == "gpt-5"


def test_what_litellms_inner_span_repeats_of_the_providers_json_is_no_usage() -> None:
    own = {"llm.openai.usage": str({"prompt_tokens": 40}), "llm.openai.id": "chatcmpl-1"}
    assert span("litellm", "raw_gen_ai_request", own).get("role") is None


# --- Anthropic SDK ------------------------------------------------------------------------------------

ANTHROPIC = "com.anthropic.sdk.python"


def test_the_anthropic_sdks_own_span() -> None:
    own = {
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": CLAUDE,
        "gen_ai.response.model": ANSWER,
        "gen_ai.response.id": "msg_1",
        "gen_ai.usage.input_tokens": 1212,
        "gen_ai.usage.cache_read.input_tokens": 1000,
        "gen_ai.usage.cache_creation.input_tokens": 200,
        "gen_ai.usage.output_tokens": 30,
        "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 150,
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 50,
        "anthropic.message.stop_reason": "end_turn",
        "anthropic.response.service_tier": "priority",
        "anthropic.response.speed": "fast",
        "anthropic.request.speed": "standard",
        "anthropic.response.inference_geo": "us",
        "http.response.status_code": 200,
    }
    assert span(ANTHROPIC, "anthropic.messages.create", own) == {
        "dialect": "anthropic_sdk",
        "role": "llm",
        "operation": "chat",
        "provider": "anthropic",
        "request_model": CLAUDE,
        "response_model": ANSWER,
        "response_id": "msg_1",
        "finish_reasons": ["end_turn"],
        "service_tier": "priority",
        "speed": "fast",
        "model_region": "us",
        "input_tokens": 1212,
        "cache_read_tokens": 1000,
        "cache_write_tokens": 200,
        "cache_write_5m_tokens": 150,
        "cache_write_1h_tokens": 50,
        "output_tokens": 30,
    }


@pytest.mark.parametrize(
    "name", ["anthropic.messages.count_tokens", "anthropic.sessions.create", "anthropic.models.list"]
)
def test_the_anthropic_sdks_other_requests_are_no_calls(name: str) -> None:
    own = {"gen_ai.request.model": CLAUDE, "gen_ai.usage.input_tokens": 40}
    assert span(ANTHROPIC, name, own)["role"] == "other"


def test_a_failed_request_of_the_anthropic_sdk() -> None:
    own = {"gen_ai.request.model": CLAUDE, "http.response.status_code": 529}
    meaning = span(ANTHROPIC, "anthropic.messages.create", own)
    assert (meaning["role"], meaning["error_type"]) == ("llm", "529")
    named = span(ANTHROPIC, "anthropic.messages.create", {**own, "error.type": "overloaded_error"})
    assert named["error_type"] == "overloaded_error"
    tool = span(
        ANTHROPIC,
        "anthropic.tool_use weather",
        {"gen_ai.tool.name": "weather"},
        "anthropic.tool_result.content",
    )
    assert (tool["role"], tool["tool_name"]) == ("tool", "weather")
