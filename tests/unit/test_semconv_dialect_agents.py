"""What agent frameworks send: Strands, Google ADK, Microsoft Agent Framework, Semantic Kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.otlp_data import only_span, span_json, traces_json
from tests.unit.semconv_meaning import CANARY, event, span

# --- Strands ------------------------------------------------------------------------------------------

STRANDS = "strands.telemetry.tracer"
STRANDS_USAGE = {
    "gen_ai.system": "strands-agents",
    "gen_ai.usage.prompt_tokens": 12,
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.completion_tokens": 30,
    "gen_ai.usage.output_tokens": 30,
    "gen_ai.usage.total_tokens": 1242,
    "gen_ai.usage.cache_read_input_tokens": 1000,
    "gen_ai.usage.cache_write_input_tokens": 200,
}


def test_strands_tells_time_in_whole_milliseconds() -> None:
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    own = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, **STRANDS_USAGE}
    meaning = span(STRANDS, "chat", {**own, "gen_ai.server.time_to_first_token": 412})
    assert (meaning["dialect"], meaning["role"], meaning["time_to_first_token_ms"]) == (
        "strands",
        "llm",
        412.0,
    )
    assert {name: meaning[name] for name in meaning if name.endswith("_tokens")} == {
        "input_tokens": 1212,
        "cache_read_tokens": 1000,
        "cache_write_tokens": 200,
        "output_tokens": 30,
    }


@pytest.mark.parametrize("name", ["execute_event_loop_cycle", "Cycle 5"])
def test_strands_cycles_repeat_usage_with_no_operation(name: str) -> None:
    own = {"event_loop.cycle_id": "c", "gen_ai.request.model": "m-1", **STRANDS_USAGE}
    assert span(STRANDS, name, own, "tool.result")["role"] == "other"
    assert (
        span(STRANDS, "invoke_agent Ann", {**own, "gen_ai.operation.name": "invoke_agent"})["role"] == "agent"
    )


def test_strands_before_it_knew_the_conventions() -> None:
    own = {
        "gen_ai.system": "strands-agents",
        "model.id": "m-1",
        "agent.name": "Ann",
        "gen_ai.usage.prompt_tokens": 5,
    }
    call = span(STRANDS, "Model invoke", own)
    assert (call["role"], call["request_model"], call["agent_name"]) == ("llm", "m-1", "Ann")
    tool = span(
        STRANDS, "Tool: weather", {"tool.name": "weather", "tool.id": "t-1"}, "tool.parameters", "tool.result"
    )
    assert (tool["role"], tool["tool_name"], tool["tool_call_id"]) == ("tool", "weather", "t-1")
    assert span("shop", "Tool: weather", {"model.id": "T"}) == {}


# --- Google ADK ---------------------------------------------------------------------------------------

ADK = "gcp.vertex.agent"
ADK_RESPONSES = {
    "Python": {
        "model_version": "gemini-2.5-pro-002",
        "content": {"parts": [{"text": CANARY}]},
        "finish_reason": "STOP",
        "usage_metadata": {
            "prompt_token_count": 40,
            "cached_content_token_count": 8,
            "candidates_token_count": 20,
            "thoughts_token_count": 15,
            "total_token_count": 75,
        },
    },
    "JavaScript": {
        "modelVersion": "gemini-2.5-pro-002",
        "content": {"parts": [{"text": CANARY}]},
        "finishReason": "STOP",
        "usageMetadata": {
            "promptTokenCount": 40,
            "cachedContentTokenCount": 8,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 15,
            "totalTokenCount": 75,
        },
    },
}


def adk_call(response: dict[str, Any]) -> dict[str, Any]:
    return {
        "gen_ai.system": "gcp.vertex.agent",
        "gcp.vertex.agent.session_id": "s-1",
        "gcp.vertex.agent.llm_request": json.dumps({"model": "gemini-2.5-pro", "contents": CANARY}),
        "gcp.vertex.agent.llm_response": json.dumps(response),
    }


@pytest.mark.parametrize("language", ADK_RESPONSES)
def test_adks_calls_have_no_operation_and_their_usage_in_a_response_of_json(language: str) -> None:
    meaning = span(ADK, "call_llm", adk_call(ADK_RESPONSES[language]))
    del meaning["provider"]
    assert meaning == {
        "dialect": "adk",
        "role": "llm",
        "operation": "call_llm",
        "request_model": "gemini-2.5-pro",
        "response_model": "gemini-2.5-pro-002",
        "finish_reasons": ["STOP"],
        "session_id": "s-1",
        "input_tokens": 40,
        "cache_read_tokens": 8,
        "output_tokens": 35,  # the total tells that the thoughts stand beside it
        "reasoning_tokens": 15,
    }


def test_of_adks_documents_the_numbers_stay_and_no_text() -> None:
    body = traces_json(span_json(adk_call(ADK_RESPONSES["Python"]), name="call_llm"), scope=ADK)
    row = only_span(body)
    assert "llm_response" not in row["attributes"]
    kept = json.loads(row["evidence"])["kept"]["gcp.vertex.agent.llm_response"]
    assert kept["usage_metadata.prompt_token_count"] == 40
    assert CANARY not in str(row)


@pytest.mark.parametrize(
    ("name", "role"),
    [("invocation", "other"), ("agent_run [weather]", "agent"), ("managed_agent_interaction", "other")],
)
def test_adks_other_spans_are_known_by_name(name: str, role: str) -> None:
    assert span(ADK, name, {"gen_ai.system": "gcp.vertex.agent"}, "gcp.vertex.agent.data")["role"] == role


def test_adks_tools() -> None:
    own = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "weather",
        "gen_ai.tool.call.id": "t-1",
    }
    said = ("gcp.vertex.agent.tool_call_args", "gcp.vertex.agent.tool_response")
    tool = span(ADK, "execute_tool weather", {**own, "gcp.vertex.agent.llm_response": "{}"}, *said)
    assert (tool["role"], tool["tool_name"], tool["tool_call_id"]) == ("tool", "weather", "t-1")


# --- Microsoft Agent Framework, Semantic Kernel -------------------------------------------------------


def test_agent_framework_writes_lists_as_json_text() -> None:
    own = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.response.finish_reasons": '["stop"]',
        "gen_ai.usage.input_tokens": 40,
        "gen_ai.usage.output_tokens": 20,
    }
    call = span("agent_framework", "chat gpt-5", own, "gen_ai.input.messages")
    assert (call["dialect"], call["role"], call["finish_reasons"]) == ("agent_framework", "llm", ["stop"])
    assert (call["input_tokens"], call["output_tokens"]) == (40, 20)


@pytest.mark.parametrize(
    ("name", "role"),
    [("workflow.run", "workflow"), ("executor.process writer", "other"), ("message.send", "other")],
)
def test_agent_frameworks_workflows_are_known_by_name(name: str, role: str) -> None:
    for scope in ("agent_framework", "Microsoft.Agents.AI.Workflows"):
        said = ("executor.input", "executor.output", "message.content", "workflow.definition")
        assert span(scope, name, {"workflow.id": "w-1"}, *said)["role"] == role
    assert span("shop", name, {"workflow.id": "w-1"}) == {}


def test_semantic_kernels_calls_of_several_generations() -> None:
    own = {
        "gen_ai.operation.name": "chat.completions",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.finish_reason": "FinishReason.STOP",
        "gen_ai.response.prompt_tokens": 40,
        "gen_ai.response.completion_tokens": 20,
    }
    meaning = span("semantic_kernel.utils.telemetry.model_diagnostics.decorators", "chat gpt-4o", own)
    assert meaning == {
        "dialect": "semantic_kernel",
        "role": "llm",
        "operation": "chat.completions",
        "provider": "openai",
        "request_model": "gpt-4o",
        "finish_reasons": ["FinishReason.STOP"],
        "input_tokens": 40,
        "output_tokens": 20,
    }


def test_semantic_kernels_tools_have_their_plugins_name_and_its_events_content() -> None:
    scope = "Microsoft.SemanticKernel.Diagnostics"
    own = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "Weather-get_forecast"}
    tool = span(scope, "execute_tool", own, "gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    assert (tool["role"], tool["tool_name"]) == ("tool", "Weather-get_forecast")
    assert (
        event(scope, "gen_ai.user.message", {"gen_ai.system": "openai"}, "gen_ai.event.content")["role"]
        == "other"
    )
