"""What instrumentation libraries send, one small record each, read by their dialect tables.

Expectations are those of each library's own conventions. Values are read off the wire as they are: what they mean
(inclusive or exclusive counts, a provider's canonical name, roles) is resolution's.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.otlp_data import read, traces_message
from tests.unit.semconv_dialect_rows import LANGCHAIN, Rows, columns, text

OPENINFERENCE: Rows = [
    ({"openinference.span.kind": "LLM"}, {"operation": "LLM", "dialect": "openinference"}),
    ({"llm.system": "anthropic", "llm.provider": "aws"}, {"provider": "aws"}),
    ({"llm.system": "openai"}, {"provider": "openai"}),
    ({"metadata": '{"ls_provider": "ollama"}', "llm.model_name": "x"}, {"provider": "ollama"}),
    (
        {"llm.model_name": "gpt-4o-2024-08-06", "llm.invocation_parameters": '{"model": "gpt-4o"}'},
        {"request_model": "gpt-4o", "response_model": "gpt-4o-2024-08-06"},
    ),
    (
        {"llm.model_name": "a", "llm.request.model_name": "b", "llm.response.model_name": "c"},
        {"request_model": "b", "response_model": "c"},
    ),
    ({"llm.invocation_parameters": '{"modelId": "amazon.nova"}'}, {"request_model": "amazon.nova"}),
    (
        {
            "embedding.model_name": "text-embedding-3-small",
            "embedding.invocation_parameters": '{"model": "embed"}',
        },
        {"request_model": "embed", "response_model": "text-embedding-3-small"},
    ),
    (
        {"llm.token_count.prompt": 9, "llm.token_count.completion": 5, "llm.token_count.total": 14},
        {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14},
    ),
    (
        {
            "llm.token_count.prompt_details.cache_read": 1,
            "llm.token_count.prompt_details.cache_write": 2,
            "llm.token_count.prompt_details.audio": 3,
            "llm.token_count.completion_details.audio": 4,
            "llm.token_count.completion_details.reasoning": 5,
        },
        {
            "cache_read_tokens": 1,
            "cache_write_tokens": 2,
            "audio_input_tokens": 3,
            "audio_output_tokens": 4,
            "reasoning_tokens": 5,
        },
    ),
    ({"llm.token_count.prompt_details.cache_input": 6}, {"cache_read_tokens": 6}),
    ({"llm.cost.total": 0.25}, {"reported_cost_usd": Decimal("0.25")}),
    ({"llm.cost.total": 0.0}, {"reported_cost_usd": None, "notes": None}),
    (
        {"output.value": '{"id": "chatcmpl-1", "service_tier": "flex"}'},
        {"response_id": "chatcmpl-1", "service_tier": "flex"},
    ),
    ({"output.value": '{"response_id": "abc=="}'}, {"response_id": "abc=="}),  # Google
    (
        {"output.value": text("ResponseMetadata", "RequestId", value="0b-1")},
        {"response_id": "0b-1"},
    ),  # Bedrock
    (
        {
            "llm.token_count.prompt": 9,
            "output.value": json.dumps(
                {
                    "id": "msg_1",
                    "usage": {
                        "input_tokens": 1,
                        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
                        "service_tier": "priority",
                        "speed": "fast",
                    },
                }
            ),
        },
        {
            "response_id": "msg_1",
            "input_tokens": 9,
            "cache_write_5m_tokens": 3,
            "cache_write_1h_tokens": 4,
            "service_tier": "priority",
            "speed": "fast",
        },
    ),
    # Older versions have no details of the counts.
    (
        {
            "output.value": text(
                "usage", "prompt_tokens_details", value={"cached_tokens": 7, "cache_write_tokens": 8}
            )
        },
        {"cache_read_tokens": 7, "cache_write_tokens": 8},
    ),
    (
        {"output.value": text("usage", "output_tokens_details", value={"thinking_tokens": 6})},
        {"reasoning_tokens": 6},
    ),
    (
        {
            "llm.model_name": "gpt-4o",
            "output.value": text(
                *LANGCHAIN, "response_metadata", value={"id": "resp_1", "model_name": "gpt-4o-1"}
            ),
        },
        {"response_id": "resp_1", "response_model": "gpt-4o-1"},
    ),
    (
        {
            "output.value": text(
                *LANGCHAIN, "usage_metadata", "input_token_details", value={"priority_cache_read": 5}
            )
        },
        {"cache_read_tokens": 5},
    ),
    (
        {"agent.name": "planner", "tool.name": "search", "tool.id": "call_1"},
        {"agent_name": "planner", "tool_name": "search", "tool_call_id": "call_1"},
    ),
    ({"graph.node.id": "writer"}, {"agent_name": "writer"}),
    (
        {"metadata": '{"thread_id": "t", "user_id": "u", "lc_agent_name": "a"}'},
        {"session_id": "t", "user_id": "u", "agent_name": "a"},
    ),
    ({"metadata": '{"thread_id": "t"}', "session.id": "s"}, {"session_id": "s"}),
    ({"llm.invocation_parameters": '{"metadata": {"user_id": "u"}}'}, {"user_id": "u"}),  # Anthropic
    ({"llm.finish_reason": "stop"}, {"finish_reasons": ["stop"]}),
]
OPENLLMETRY: Rows = [
    (
        {"llm.request.type": "chat", "gen_ai.system": "OpenAI", "llm.usage.total_tokens": 9},
        {"operation": "chat", "provider": "OpenAI", "total_tokens": 9},
    ),
    (
        {"gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.completion_tokens": 2},
        {"input_tokens": 7, "output_tokens": 2},
    ),
    (
        {
            "llm.vendor": "OpenAI",
            "llm.request.model": "gpt-4",
            "llm.response.model": "gpt-4-0613",
            "llm.usage.prompt_tokens": 7,
            "llm.usage.completion_tokens": 2,
            "llm.completions.0.finish_reason": "stop",
        },
        {
            "dialect": "openllmetry",
            "provider": "OpenAI",
            "request_model": "gpt-4",
            "response_model": "gpt-4-0613",
            "input_tokens": 7,
            "output_tokens": 2,
            "finish_reasons": ["stop"],
        },
    ),
    ({"llm.usage.reasoning_tokens": 4}, {"reasoning_tokens": 4}),
    (
        {"traceloop.span.kind": "agent", "traceloop.entity.name": "planner"},
        {"operation": "agent", "agent_name": "planner", "tool_name": None, "dialect": "openllmetry"},
    ),
    (
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "search"},
        {"tool_name": "search", "agent_name": None},
    ),
    (
        {"traceloop.span.kind": "task", "traceloop.entity.name": "sum up"},
        {"tool_name": None, "agent_name": None},
    ),
    (
        {
            "traceloop.association.properties.session_id": "s",
            "traceloop.association.properties.user_id": "u",
            "llm.user": "x",
        },
        {"session_id": "s", "user_id": "u"},
    ),
    ({"gen_ai.user": "u"}, {"user_id": "u"}),
]
OPENLIT: Rows = [
    ({"gen_ai.usage.cost": 0.5}, {"reported_cost_usd": Decimal("0.5")}),
    ({"gen_ai.usage.cost": 0}, {"reported_cost_usd": None, "notes": None}),  # it could not fetch its prices
    ({"gen_ai.client.token.usage": 99}, {"input_tokens": None, "output_tokens": None}),
    (
        {"gen_ai.response.service_tier": "flex", "gen_ai.request.service_tier": "auto"},
        {"service_tier": "flex"},
    ),
    (
        {"gen_ai.request.stream": True, "gen_ai.server.time_to_first_token": 0.25},
        {"time_to_first_token_ms": 250.0},
    ),
    (
        {"gen_ai.request.is_stream": True, "gen_ai.server.time_to_first_token": 0.25},
        {"time_to_first_token_ms": 250.0, "stream": True},
    ),
    (
        {"gen_ai.request.stream": False, "gen_ai.server.time_to_first_token": 9.5},
        {"time_to_first_token_ms": None},
    ),
]
LOGFIRE: Rows = [
    (
        {
            "gen_ai.usage.raw": json.dumps(
                {
                    "input_tokens": 1,
                    "cache_read_input_tokens": 2,
                    "cache_creation_input_tokens": 7,
                    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
                    "service_tier": "standard",
                }
            ),
            "gen_ai.usage.input_tokens": 10,
        },
        {
            "input_tokens": 10,
            "cache_read_tokens": 2,
            "cache_write_tokens": 7,
            "cache_write_5m_tokens": 3,
            "cache_write_1h_tokens": 4,
            "service_tier": "standard",
        },
    ),
    (
        {"gen_ai.usage.raw": text("output_tokens_details", "reasoning_tokens", value=4)},
        {"reasoning_tokens": 4},
    ),
    ({"request_data": '{"model": "gpt-4o"}', "gen_ai.system": "openai"}, {"request_model": "gpt-4o"}),
    ({"operation.cost": 0.001}, {"reported_cost_usd": Decimal("0.001")}),
    ({"logfire.msg": "GET /", "logfire.span_type": "span"}, {"dialect": None}),  # Logfire traces all things
]
PYDANTIC_AI: Rows = [
    (
        {
            "gen_ai.usage.details.reasoning_tokens": 1,
            "gen_ai.usage.details.cache_read_tokens": 2,
            "gen_ai.usage.details.cache_write_tokens": 3,
        },
        {"reasoning_tokens": 1, "cache_read_tokens": 2, "cache_write_tokens": 3},
    ),
    # An agent's sum over its calls is no call's usage.
    (
        {
            "gen_ai.aggregated_usage.input_tokens": 9,
            "gen_ai.aggregated_usage.details.reasoning_tokens": 9,
            "agent_name": "a",
        },
        {"input_tokens": None, "reasoning_tokens": None, "agent_name": "a"},
    ),
]
BY_SCOPE = {
    "openinference.instrumentation.openai": OPENINFERENCE,
    "opentelemetry.instrumentation.openai.v1": OPENLLMETRY,
    "openlit.instrumentation.openai": OPENLIT,
    "logfire.openai": LOGFIRE,
    "pydantic-ai": PYDANTIC_AI,
}


@pytest.mark.parametrize(
    ("scope", "attributes", "expected"),
    [(scope, *row) for scope, rows in BY_SCOPE.items() for row in rows],
)
def test_what_a_library_sends_is_read(
    scope: str, attributes: dict[str, Any], expected: dict[str, Any]
) -> None:
    extracted = read(traces_message(attributes, scope=scope))
    [row] = extracted.spans.to_pylist()
    assert columns(row, expected) == expected


@pytest.mark.parametrize("scope", ["pydantic-ai", "my.app"])
def test_pydantic_ai_1_tells_an_agents_span_by_its_name(scope: str) -> None:
    """It repeats the usage of the calls below it and has no operation."""
    message = traces_message({"gen_ai.usage.input_tokens": 5}, {"http.route": "/"}, scope=scope)
    for span in message.resource_spans[0].scope_spans[0].spans:
        span.name = "agent run"
    found = read(message).spans.to_pylist()
    own = scope == "pydantic-ai"
    assert [row["operation"] for row in found] == (["invoke_agent"] * 2 if own else [None, None])
    assert [row["dialect"] for row in found] == ["otel_genai", "pydantic_ai" if own else None]
