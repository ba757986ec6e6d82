"""What instrumentation libraries and tracing products send, one small record each, read by their dialect tables.

Expectations are those of each library's own conventions. Values are read off the wire as they are: what they mean
(inclusive or exclusive counts, a provider's canonical name, roles) is resolution's.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from semconv.converters import CONVERTERS
from semconv.settings import CONTENT_CLASSES, RedactionRules, Settings
from tests.otlp_data import only_span, read, span_of, traces_message

CANARY = "canary who sings"
LANGCHAIN = "generations", 0, 0, "message", "kwargs"


def nested(*steps: str | int, value: Any) -> Any:
    """A document with one value, its lists of one element."""
    for step in reversed(steps):
        value = [value] if isinstance(step, int) else {step: value}
    return value


def text(*steps: str | int, value: Any) -> str:
    """The same as JSON text."""
    return json.dumps(nested(*steps, value=value))


def columns(row: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {column: row[column] for column in expected}


OPENINFERENCE: list[tuple[dict[str, Any], dict[str, Any]]] = [
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
OPENLLMETRY: list[tuple[dict[str, Any], dict[str, Any]]] = [
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
OPENLIT: list[tuple[dict[str, Any], dict[str, Any]]] = [
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
LANGFUSE: list[tuple[dict[str, Any], dict[str, Any]]] = [
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
LOGFIRE: list[tuple[dict[str, Any], dict[str, Any]]] = [
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
PYDANTIC_AI: list[tuple[dict[str, Any], dict[str, Any]]] = [
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
LANGSMITH: list[tuple[dict[str, Any], dict[str, Any]]] = [
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
MLFLOW: list[tuple[dict[str, Any], dict[str, Any]]] = [
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
    "openinference.instrumentation.openai": OPENINFERENCE,
    "opentelemetry.instrumentation.openai.v1": OPENLLMETRY,
    "openlit.instrumentation.openai": OPENLIT,
    "langfuse-sdk": LANGFUSE,
    "logfire.openai": LOGFIRE,
    "pydantic-ai": PYDANTIC_AI,
    "langsmith": LANGSMITH,
    "mlflow.tracing.provider": MLFLOW,
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


@pytest.mark.parametrize(
    "value",
    [
        f'{{"id": "{CANARY}"}}',
        '{"id": "7"}',
        '{"id": "customer-12"}',
        '{"id": "run-1"}',
        '{"usage": "much"}',
        "7",
    ],
)
@pytest.mark.parametrize("key", ["output.value", "gen_ai.completion", "mlflow.spanOutputs"])
def test_an_answer_that_is_json_itself_gives_no_response_id(key: str, value: str) -> None:
    """Structured output stands where a response may stand, and has ids of its own."""
    row = span_of({key: value, "gen_ai.system": "x"})
    assert (row["response_id"], row["notes"]) == (None, None)
    assert "kept" not in json.loads(row["evidence"])


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


def test_bare_names_of_mlflows_parameters_mean_nothing_elsewhere() -> None:
    row = span_of({"model": "T", "user": "u", "stream": True, "gen_ai.system": "openai"})
    assert (row["request_model"], row["user_id"], row["stream"]) == (None, None, None)


CONTENT: dict[str, str] = {
    **dict.fromkeys(
        ["input.value", "llm.input_messages.0.message.content", "llm.prompts.0.prompt.text"], "prompts"
    ),
    "llm.input_messages.1.message.contents.0.message_content.text": "prompts",
    "llm.invocation_parameters": "prompts",
    "llm.tools.0.tool.json_schema": "prompts",
    "embedding.embeddings.0.embedding.text": "prompts",
    "output.value": "completions",
    "llm.output_messages.0.message.content": "completions",
    "llm.choices.0.completion.text": "completions",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "tool_inputs",
    "tool.parameters": "tool_inputs",
    "retrieval.documents.3.document.content": "tool_outputs",
    "reranker.query": "prompts",
    "traceloop.entity.input": "prompts",
    "traceloop.entity.output": "completions",
    "llm.prompts.0.content": "prompts",
    "llm.completions.0.content": "completions",
    "llm.request.functions.0.description": "prompts",
    "gen_ai.completion.0.tool_calls.0.arguments": "tool_inputs",
    "gen_ai.tool.args": "tool_inputs",
    "gen_ai.response.tool_calls": "tool_inputs",
    "langfuse.observation.input": "prompts",
    "langfuse.observation.output": "completions",
    "langfuse.observation.status_message": "prompts",
    "langfuse.trace.output": "completions",
    "request_data": "prompts",
    "response_data": "completions",
    "pydantic_ai.all_messages": "prompts",
    "final_result": "completions",
    "tool_arguments": "tool_inputs",
    "tool_response": "tool_outputs",
    "model_request_parameters": "prompts",
    "gen_ai.prompt": "prompts",
    "gen_ai.completion": "completions",
    "mlflow.spanInputs": "prompts",
    "mlflow.spanOutputs": "completions",
    "mlflow.chat.tools": "prompts",
}


@pytest.mark.parametrize("key", CONTENT)
@pytest.mark.parametrize("document", [True, False], ids=["in a document", "as text"])
def test_content_of_each_library_is_taken_and_goes_to_its_class(key: str, document: bool) -> None:
    value = (
        json.dumps([{"id": CANARY, "model": CANARY, "usage": {"total_tokens": CANARY}}])
        if document
        else CANARY
    )
    message = traces_message({"gen_ai.system": "x", key: value})
    assert CANARY not in str(read(message).spans.to_pylist())
    captured = read(message, settings=Settings(capture=frozenset(CONTENT_CLASSES)))
    assert CANARY not in str(captured.spans.to_pylist())
    [content] = captured.contents.to_pylist()
    assert (content["kind"], content["content"]) == (CONTENT[key], value)


def test_evidence_tells_what_the_taken_documents_told() -> None:
    """With attributes and evidence alone the same columns can be filled again."""
    usage = {"prompt_tokens": 9, "completion_tokens": 5}
    answer = {"id": "chatcmpl-1", "service_tier": "flex", "usage": usage, "choices": [{"message": CANARY}]}
    row = span_of(
        {"output.value": json.dumps(answer), "llm.invocation_parameters": '{"model": "gpt-4o", "top_p": 1}'}
    )
    assert json.loads(row["evidence"])["kept"] == {
        "llm.invocation_parameters": {"model": "gpt-4o"},
        "output.value": {
            "id": "chatcmpl-1",
            "service_tier": "flex",
            "usage.prompt_tokens": 9,
            "usage.completion_tokens": 5,
        },
    }


@pytest.mark.parametrize(
    ("attributes", "key"),
    [
        ({"metadata": '{"user_id": "u-1"}'}, "metadata"),
        ({"metadata": {"user_id": "u-1"}}, "metadata"),
        ({"llm.invocation_parameters": '{"user": "u-1", "model": "m"}'}, "llm.invocation_parameters"),
        ({"llm.invocation_parameters": '{"metadata": {"user_id": "u-1"}}'}, "llm.invocation_parameters"),
    ],
)
def test_user_ids_within_documents_are_redacted_before_they_are_read(
    attributes: dict[str, Any], key: str
) -> None:
    rules = RedactionRules(user_ids="hash", secret=b"secret")
    row = only_span(traces_message(attributes), Settings(redaction=rules))
    assert row["user_id"].startswith("hmac:")
    assert "u-1" not in str(row)
    dropped = only_span(
        traces_message(attributes), Settings(redaction=RedactionRules(user_ids="drop", secret=b"s"))
    )
    assert dropped["user_id"] is None
    assert "u-1" not in str(dropped)


@pytest.mark.parametrize(
    ("converter", "value", "expected"),
    [
        ("quoted_string", '"gpt-4o"', "gpt-4o"),
        ("quoted_string", "gpt-4o", "gpt-4o"),
        ("quoted_string", '"broken', '"broken'),
        ("time_to_first_token", 250, 250.0),
        ("time_to_first_token", 0.25, 250.0),
        ("money_or_none", 0, None),
        ("money_or_none", "0.0", None),
        ("money_or_none", "0.5", Decimal("0.5")),
        ("strings", '"stop"', ["stop"]),
        ("response_id", "msg_1", "msg_1"),
    ],
)
def test_converters_take_each_spelling(converter: str, value: Any, expected: Any) -> None:
    assert CONVERTERS[converter](value) == expected


@pytest.mark.parametrize(
    ("converter", "value"),
    [
        ("quoted_string", '"' + "x" * 3000 + '"'),
        ("quoted_string", True),
        ("time_to_first_token", "soon"),
        ("response_id", "7"),
        ("response_id", 7),
        ("response_id", "msg_" + "x" * 3000),
        ("money_or_none", "much"),
    ],
)
def test_converters_refuse_what_is_none_of_theirs(converter: str, value: Any) -> None:
    with pytest.raises(ValueError, match="not a"):
        CONVERTERS[converter](value)
