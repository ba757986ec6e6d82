"""What the SDKs of tracing products send, one small record each, read by their dialect tables.

Expectations are those of each product's own conventions. Values are read off the wire as they are: what they mean
(inclusive or exclusive counts, a provider's canonical name, roles) is resolution's.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.otlp_data import read, span_of, traces_message
from tests.unit.semconv_dialect_rows import LANGCHAIN, Rows, columns, text

LANGFUSE: Rows = [
    (
        {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o"},
        {"dialect": "langfuse", "operation": "generation", "response_model": "gpt-4o", "agent_name": None},
    ),
    (
        {
            "langfuse.observation.usage_details": json.dumps(
                {
                    "prompt_tokens": 9,
                    "completion_tokens": 5,
                    "total_tokens": 14,
                    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
                    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 2},
                }
            )
        },
        {
            "input_tokens": 9,
            "output_tokens": 5,
            "total_tokens": 14,
            "cache_read_tokens": 4,
            "audio_input_tokens": 1,
            "audio_output_tokens": 2,
            "reasoning_tokens": 3,
        },
    ),
    (
        {
            "langfuse.observation.usage_details": json.dumps(
                {
                    "input": 1,
                    "output": 2,
                    "cache_read_input_tokens": 3,
                    "cache_creation_input_tokens": 4,
                    "total": 10,
                }
            )
        },
        {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_read_tokens": 3,
            "cache_write_tokens": 4,
            "total_tokens": 10,
        },
    ),
    (
        {
            "langfuse.observation.usage_details": json.dumps(
                {"input": 1, "input_cache_read": 3, "output": 2, "output_reasoning": 4}
            )
        },
        {"input_tokens": 1, "cache_read_tokens": 3, "output_tokens": 2, "reasoning_tokens": 4},
    ),
    (
        {"langfuse.observation.cost_details": '{"input": 0.1, "total": 0.3}'},
        {"reported_cost_usd": Decimal("0.3")},
    ),
    ({"langfuse.observation.cost_details": '{"total": 0}'}, {"reported_cost_usd": None}),
    ({"langfuse.observation.metadata.finish_reason": '"stop"'}, {"finish_reasons": ["stop"]}),
    ({"langfuse.session.id": "s", "langfuse.user.id": "u"}, {"session_id": "s", "user_id": "u"}),
    ({"langfuse.observation.type": "agent"}, {"agent_name": "chat", "tool_name": None}),  # the span's name
    ({"langfuse.observation.type": "tool"}, {"tool_name": "chat", "agent_name": None}),
    (
        {"langfuse.observation.model.parameters": '{"max_tokens": "Infinity", "service_tier": "flex"}'},
        {"service_tier": "flex"},
    ),
]
LANGSMITH: Rows = [
    ({"gen_ai.operation.name": "chat", "langsmith.span.kind": "llm"}, {"operation": "chat"}),
    # It calls templates "chat" and retrievers "embeddings".
    ({"gen_ai.operation.name": "chat", "langsmith.span.kind": "prompt"}, {"operation": "prompt"}),
    ({"gen_ai.operation.name": "embeddings", "langsmith.span.kind": "retriever"}, {"operation": "retriever"}),
    ({"gen_ai.system": "langchain", "langsmith.metadata.ls_provider": "openai"}, {"provider": "openai"}),
    (
        {
            "langsmith.metadata.thread_id": "t",
            "langsmith.metadata.user_id": "u",
            "langsmith.metadata.lc_agent_name": "a",
        },
        {"dialect": "langsmith", "session_id": "t", "user_id": "u", "agent_name": "a"},
    ),
    # That is the project.
    ({"langsmith.trace.session_name": "demo", "langsmith.trace.session_id": "p"}, {"session_id": None}),
    (
        {
            "langsmith.metadata.usage_metadata": text(
                "input_token_details",
                value={"cache_read": 3, "ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 1},
            )
        },
        {"cache_read_tokens": 3, "cache_write_5m_tokens": 2, "cache_write_1h_tokens": 1},
    ),
    # Another tier than the default renames the counts.
    (
        {
            "langsmith.metadata.usage_metadata": text(
                "input_token_details", value={"priority": 6, "priority_cache_read": 3}
            )
        },
        {"cache_read_tokens": 3},
    ),
    (
        {"langsmith.metadata.usage_metadata": text("output_token_details", value={"flex_reasoning": 3})},
        {"reasoning_tokens": 3},
    ),
    (
        {
            "gen_ai.completion": text(
                *LANGCHAIN,
                "response_metadata",
                value={
                    "id": "chatcmpl-1",
                    "model_name": "m-1",
                    "service_tier": "flex",
                    "finish_reason": "stop",
                },
            )
        },
        {
            "response_id": "chatcmpl-1",
            "response_model": "m-1",
            "service_tier": "flex",
            "finish_reasons": ["stop"],
        },
    ),
    (
        {
            "gen_ai.completion": text(
                "llm_output", "token_usage", "prompt_tokens_details", value={"cache_write_tokens": 5}
            )
        },
        {"cache_write_tokens": 5},
    ),
]
MLFLOW: Rows = [
    (
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.llm.model": '"gpt-4o-1"',
            "mlflow.llm.provider": '"openai"',
            "model": '"gpt-4o"',
        },
        {
            "dialect": "mlflow",
            "operation": "CHAT_MODEL",
            "response_model": "gpt-4o-1",
            "provider": "openai",
            "request_model": "gpt-4o",
        },
    ),
    (
        {
            "mlflow.chat.tokenUsage": json.dumps(
                {
                    "input_tokens": 9,
                    "output_tokens": 5,
                    "total_tokens": 14,
                    "cache_read_input_tokens": 2,
                    "cache_creation_input_tokens": 3,
                    "cache_creation_input_tokens_above_1hr": 1,
                }
            )
        },
        {
            "input_tokens": 9,
            "output_tokens": 5,
            "total_tokens": 14,
            "cache_read_tokens": 2,
            "cache_write_tokens": 3,
            "cache_write_1h_tokens": 1,
        },
    ),
    (
        {
            "mlflow.spanOutputs": json.dumps(
                {
                    "id": "chatcmpl-1",
                    "model": "m-1",
                    "service_tier": "flex",
                    "usage": {"prompt_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}},
                }
            )
        },
        {
            "response_id": "chatcmpl-1",
            "response_model": "m-1",
            "service_tier": "flex",
            "input_tokens": 9,
            "reasoning_tokens": 4,
        },
    ),
    ({"mlflow.llm.cost": '{"total_cost": 0.5}'}, {"reported_cost_usd": Decimal("0.5")}),
    ({"mlflow.spanType": '"TOOL"', "mlflow.spanFunctionName": '"search"'}, {"tool_name": "search"}),
    ({"mlflow.spanType": '"CHAIN"', "mlflow.spanFunctionName": '"step"'}, {"tool_name": None}),
    (
        {"mlflow.spanType": '"LLM"', "session.id": '"s"', "user.id": '"u"'},
        {"session_id": "s", "user_id": "u"},
    ),
    ({"mlflow.spanType": '"LLM"', "user": '"u"'}, {"user_id": "u"}),
]
BY_SCOPE = {
    "langfuse-sdk": LANGFUSE,
    "langsmith": LANGSMITH,
    "mlflow.tracing.provider": MLFLOW,
}


@pytest.mark.parametrize(
    ("scope", "attributes", "expected"),
    [(scope, *row) for scope, rows in BY_SCOPE.items() for row in rows],
)
def test_what_a_product_sends_is_read(
    scope: str, attributes: dict[str, Any], expected: dict[str, Any]
) -> None:
    extracted = read(traces_message(attributes, scope=scope))
    [row] = extracted.spans.to_pylist()
    assert columns(row, expected) == expected


def test_bare_names_of_mlflows_parameters_mean_nothing_elsewhere() -> None:
    row = span_of({"model": "T", "user": "u", "stream": True, "gen_ai.system": "openai"})
    assert (row["request_model"], row["user_id"], row["stream"]) == (None, None, None)
