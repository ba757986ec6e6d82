"""What libraries for JavaScript send that differs from the same product's Python, or has no Python, one record each.

Names and what the counts include were read off the libraries' own exporters. Each record is read through to its
meaning: role, provider, model and counts as the store has them, which holds no text of what was asked and answered.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.otlp_data import key_values, read, traces_message
from tests.unit.semconv_meaning import CANARY, SAID, span

CLAUDE_USAGE = {
    "input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 40,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 7,
    "service_tier": "standard",
}
WHOLE = {"input_tokens": 170, "cache_read_tokens": 40, "cache_write_tokens": 30, "output_tokens": 7}
LIFETIMES = {"cache_write_5m_tokens": 20, "cache_write_1h_tokens": 10}


def columns_of(meaning: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {name: meaning.get(name) for name in expected}


def genkit(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The span of a model's action."""
    attributes = {"genkit:type": "action", "genkit:name": name, "genkit:metadata:subtype": "model"}
    message = {"role": "model", "content": [{"text": CANARY}]}
    documents = {"genkit:input": SAID, "genkit:output": json.dumps({"message": message, **answer})}
    return span("genkit-tracer", name, {**attributes, **documents})


@pytest.mark.parametrize("handed_on", ["raw", "custom"])
def test_genkits_input_of_anthropic_lacks_the_cache_that_the_answer_tells(handed_on: str) -> None:
    usage = {"inputTokens": 100, "outputTokens": 7}
    message = {"id": "msg_1", "model": "claude-sonnet-4-5-20250929", "usage": CLAUDE_USAGE}
    meaning = genkit("anthropic/claude-sonnet-4-5", {"usage": usage, handed_on: message})
    names = {"provider": "anthropic", "response_model": "claude-sonnet-4-5-20250929", "response_id": "msg_1"}
    assert columns_of(meaning, names | WHOLE) == names | WHOLE


def test_genkits_own_names_for_anthropics_cache() -> None:
    told = {
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 40,
        "ephemeral_5m_input_tokens": 20,
        "ephemeral_1h_input_tokens": 10,
    }
    usage = {"inputTokens": 100, "outputTokens": 7, "custom": told}
    meaning = genkit("anthropic/claude-sonnet-4-5", {"usage": usage})
    assert columns_of(meaning, WHOLE | LIFETIMES) == WHOLE | LIFETIMES


def test_genkits_answer_of_openai_tells_cache_and_reasoning() -> None:
    raw = {
        "id": "chatcmpl-1",
        "model": "gpt-5-mini-2025-08-07",
        "service_tier": "default",
        "usage": {
            "prompt_tokens": 100,
            "prompt_tokens_details": {"cached_tokens": 40},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
    }
    usage = {"inputTokens": 100, "outputTokens": 7, "totalTokens": 107}
    expected = {
        "response_id": "chatcmpl-1",
        "response_model": "gpt-5-mini-2025-08-07",
        "service_tier": "default",
        "input_tokens": 100,
        "cache_read_tokens": 40,
        "output_tokens": 7,
        "reasoning_tokens": 5,
    }
    assert columns_of(genkit("openai/gpt-5-mini", {"usage": usage, "raw": raw}), expected) == expected


def bedrock(output: dict[str, Any], counts: dict[str, int]) -> dict[str, Any]:
    """A span of OpenInference's instrumentation of the AWS SDK."""
    attributes = {
        "openinference.span.kind": "LLM",
        "llm.provider": "aws",
        "llm.system": "anthropic",
        "llm.model_name": "claude-sonnet-4-5-20250929",
        "output.value": json.dumps(output),
        **{f"llm.token_count.{name}": count for name, count in counts.items()},
    }
    return span("@arizeai/openinference-instrumentation-bedrock", "bedrock.converse", attributes)


def test_openinference_hands_bedrocks_counts_on_and_the_answer_tells_the_cache() -> None:
    usage = {"inputTokens": 100, "outputTokens": 7, "cacheReadInputTokens": 40, "cacheWriteInputTokens": 30}
    output = {"output": CANARY, "usage": usage, "$metadata": {"requestId": "0b-1", "attempts": 1}}
    meaning = bedrock(output, {"prompt": 100, "completion": 7, "total": 177})
    expected = {"provider": "aws.bedrock", "response_id": "0b-1", **WHOLE}
    assert columns_of(meaning, expected) == expected


def test_of_a_stream_of_bedrock_only_the_total_tells_the_cache() -> None:
    meaning = bedrock({"text": CANARY, "streaming": True}, {"prompt": 100, "completion": 7, "total": 177})
    expected = {"input_tokens": 170, "output_tokens": 7}
    assert columns_of(meaning, expected) == expected


def test_langchains_answer_has_the_providers_id_but_not_one_of_its_own() -> None:
    def read(kwargs: dict[str, Any]) -> dict[str, Any]:
        output = json.dumps({"generations": [[{"text": CANARY, "message": {"kwargs": kwargs}}]]})
        attributes = {"openinference.span.kind": "LLM", "llm.model_name": "asked", "output.value": output}
        return span("@arizeai/openinference-instrumentation-langchain", "ChatOpenAI", attributes)

    assert read({"id": "chatcmpl-1"})["response_id"] == "chatcmpl-1"
    assert "response_id" not in read({"id": "run-7d1f"})
    stream = read({"id": "msg_1", "additional_kwargs": {"model": "answered"}})
    assert (stream["response_id"], stream["response_model"]) == ("msg_1", "answered")


def test_laminar_names_session_and_user_of_any_instrumentation() -> None:
    context = {
        "lmnr.association.properties.session_id": "s",
        "lmnr.association.properties.user_id": "u",
        "lmnr.span.path": ["root", "chat gpt-5-mini"],
    }
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5-mini"}
    expected = {"dialect": "otel_genai", "role": "llm", "session_id": "s", "user_id": "u"}
    assert columns_of(span("@traceloop/instrumentation-openai", "chat", context | call), expected) == expected
    root = span("lmnr.tracer", "root", context, "lmnr.span.input", "lmnr.span.output")
    assert columns_of(root, {"dialect": "", "role": "", "session_id": ""}) == {
        "dialect": "laminar",
        "role": "other",
        "session_id": "s",
    }


def test_laminars_tools_are_named_by_their_spans() -> None:
    meaning = span("lmnr.tracer", "get_weather", {"lmnr.span.type": "TOOL"}, "lmnr.span.input")
    assert (meaning["role"], meaning["tool_name"]) == ("tool", "get_weather")


def test_mastras_metadata_names_session_and_user_and_holds_answers() -> None:
    step = {"gen_ai.operation.name": "agent_step", "mastra.span.type": "model_step"}
    metadata = {"mastra.metadata.sessionId": "s", "mastra.metadata.userId": "u"}
    body = json.dumps({"id": "chatcmpl-1", "choices": [{"message": {"content": CANARY}}]})
    meaning = span("@mastra/otel-exporter", "agent_step", {**step, **metadata, "mastra.metadata.body": body})
    assert (meaning["role"], meaning["session_id"], meaning["user_id"]) == ("agent", "s", "u")
    memory = {"mastra.metadata.threadId": "t", "mastra.metadata.resourceId": "r"}
    meaning = span("@mastra/otel-exporter", "agent_step", step | memory)
    assert (meaning["session_id"], meaning["user_id"]) == ("t", "r")


def test_voltagents_spans_say_under_general_names_what_they_are_of() -> None:
    context = {"user.id": "u", "conversation.id": "s", "entity.type": "agent", "entity.name": "planner"}
    call = {
        "span.type": "llm",
        "llm.operation": "generateText",
        "llm.model": "gpt-5-mini",
        "llm.usage.prompt_tokens": 100,
        "llm.usage.completion_tokens": 7,
        "llm.usage.total_tokens": 107,
        "llm.usage.cached_tokens": 40,
        "llm.usage.reasoning_tokens": 5,
        "llm.finish_reason": "stop",
    }
    meaning = span("@voltagent/core", "llm:generateText", context | call, "llm.messages", "output")
    expected = {
        "dialect": "voltagent",
        "role": "llm",
        "provider": "openai",
        "request_model": "gpt-5-mini",
        "agent_name": "planner",
        "session_id": "s",
        "user_id": "u",
        "input_tokens": 100,
        "cache_read_tokens": 40,
        "output_tokens": 7,
        "reasoning_tokens": 5,
        "finish_reasons": ["stop"],
    }
    assert columns_of(meaning, expected) == expected
    said = ("input", "agent.instructions", "agent.stateSnapshot", "agent.messages.ui")
    assert span("@voltagent/core", "planner", context, *said)["role"] == "agent"
    tool = {"span.type": "tool", "tool.name": "get_weather", "tool.call.id": "call_1"}
    meaning = span("@voltagent/core", "tool.execution:get_weather", context | tool, "input", "output")
    assert (meaning["role"], meaning["tool_name"], meaning["tool_call_id"]) == (
        "tool",
        "get_weather",
        "call_1",
    )
    assert "dialect" not in span("my.app", "anything", {"span.type": "llm", "entity.type": "agent"})


def test_langwatch_repeats_the_metadata_of_langchains_runs() -> None:
    metadata = {"langwatch.langgraph.thread_id": "t", "langwatch.langgraph.user_id": "u"}
    meaning = span(
        "langwatch.instrumentation.langchain", "openai gpt", metadata | {"langwatch.span.type": "llm"}
    )
    assert (meaning["role"], meaning["session_id"], meaning["user_id"]) == ("llm", "t", "u")


def test_langfuse_tells_a_failure_by_its_level() -> None:
    generation = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-5-mini"}

    def error_type(level: str) -> str | None:
        message = {"langfuse.observation.level": level, "langfuse.observation.status_message": CANARY}
        meaning = span("langfuse-sdk", "OpenAI.chat", generation | message)
        error: str | None = meaning.get("error_type")
        return error

    assert (error_type("ERROR"), error_type("WARNING")) == ("ERROR", None)


def test_mastra_tells_a_failure_by_its_finish_reason() -> None:
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5-mini"}

    def error_type(reasons: str) -> str | None:
        finished = {"gen_ai.response.finish_reasons": reasons}
        error: str | None = span("@mastra/otel-exporter", "chat", call | finished).get("error_type")
        return error

    assert (error_type('["error"]'), error_type('["stop"]')) == ("error", None)


def test_an_exception_event_is_all_that_tells_of_a_run_of_langsmiths_that_failed() -> None:
    """Its JavaScript sets the status OK whatever came of the run."""
    message = traces_message({"langsmith.span.kind": "llm"}, {"gen_ai.operation.name": "chat"})
    for sent in message.resource_spans[0].scope_spans[0].spans:
        sent.status.code = 1
        sent.events.add(name="exception", attributes=key_values({"exception.type": "Error"}))
    assert read(message).spans["error_type"].to_pylist() == ["Error", None]
