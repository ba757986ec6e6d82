"""What command-line tools send: Claude Code, Codex, Gemini CLI, Qwen Code, Copilot."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.semconv_meaning import CANARY, event, point, span

# --- Claude Code --------------------------------------------------------------------------------------

CLAUDE_TRACING = "com.anthropic.claude_code.tracing"
CLAUDE_EVENTS = "com.anthropic.claude_code.events"
CLAUDE_IDS = {"session.id": "s-1", "user.id": "device", "user.email": "ann@example.com"}
CLAUDE_USAGE = {
    "input_tokens": 12,
    "output_tokens": 30,
    "cache_read_tokens": 1000,
    "cache_creation_tokens": 200,
    "request_id": "req_1",
    "speed": "fast",
    "ttft_ms": 412,
    "query_source": "repl_main_thread",
}
CLAUDE_CALL = {
    "dialect": "claude_code",
    "role": "llm",
    "operation": "llm_request",
    "provider": "anthropic",
    "session_id": "s-1",
    "agent_name": "repl_main_thread",
    "response_id": "req_1",
    "speed": "fast",
    "time_to_first_token_ms": 412.0,
    "input_tokens": 1212,  # sent without what the cache served and took
    "cache_read_tokens": 1000,
    "cache_write_tokens": 200,
    "output_tokens": 30,
}


def test_claude_codes_span_of_a_call() -> None:
    attributes = {**CLAUDE_IDS, **CLAUDE_USAGE, "model": "claude-sonnet-4-5", "stop_reason": "end_turn"}
    said = ("new_context", "system_prompt", "tools", "response.model_output")
    assert span(CLAUDE_TRACING, "claude_code.llm_request", attributes, *said) == {
        **CLAUDE_CALL,
        "user_id": "device",
        "request_model": "claude-sonnet-4-5",
        "finish_reasons": ["end_turn"],
    }


def test_claude_codes_failed_call_has_the_status_as_error() -> None:
    attributes = {"model": "claude-sonnet-4-5", "success": False, "status_code": 529, "error": CANARY}
    meaning = span(CLAUDE_TRACING, "claude_code.llm_request", attributes)
    assert (meaning["role"], meaning["error_type"]) == ("llm", "529")


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("claude_code.interaction", "agent"),
        ("claude_code.tool", "tool"),
        ("claude_code.tool.execution", "other"),
        ("claude_code.tool.blocked_on_user", "other"),
        ("claude_code.hook", "other"),
    ],
)
def test_of_claude_codes_other_spans_one_is_the_tool(name: str, role: str) -> None:
    """Those within a tool's span carry its name too."""
    attributes = {"session.id": "s-1", "span.type": "x", "tool_name": "Bash", "tool_use_id": "toolu_1"}
    said = ("user_prompt", "full_command", "tool_input", "output")
    meaning = span(CLAUDE_TRACING, name, attributes, *said)
    assert (meaning["role"], meaning["tool_name"], meaning["tool_call_id"]) == (role, "Bash", "toolu_1")


@pytest.mark.parametrize("name", ["api_request", "claude_code.api_request"])
def test_claude_codes_event_of_a_call(name: str) -> None:
    """Its name has the prefix in the body only; its model is the one that answered."""
    attributes = {
        **CLAUDE_IDS,
        **CLAUDE_USAGE,
        "event.name": name,
        "model": "claude-sonnet-4-5",
        "cost_usd": 0.0123,
    }
    meaning = event(CLAUDE_EVENTS, "", attributes, body="claude_code.api_request")
    assert meaning == {
        **CLAUDE_CALL,
        "user_id": "device",
        "response_model": "claude-sonnet-4-5",
        "reported_cost_usd": Decimal("0.0123"),
    }


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"status_code": 429}, "429"),
        ({"status_code": "529", "error_type": "overloaded"}, "overloaded"),
        ({}, "api_error"),
    ],
)
def test_claude_codes_event_of_a_failed_call(attributes: dict[str, Any], error: str) -> None:
    """Where the connection broke there is no status."""
    own = {"event.name": "api_error", "model": "claude-sonnet-4-5", "error": CANARY, **attributes}
    meaning = event(CLAUDE_EVENTS, "", own, body="claude_code.api_error")
    assert (meaning["role"], meaning["error_type"]) == ("llm", error)


@pytest.mark.parametrize(
    "name",
    [
        "api_retries_exhausted",
        "api_refusal",
        "assistant_response",
        "compaction",
        "api_response_body",
        "user_prompt",
    ],
)
def test_claude_codes_other_events_with_a_model_are_no_calls(name: str) -> None:
    attributes = {"event.name": name, "model": "claude-sonnet-4-5", "request_id": "req_1", "input_tokens": 5}
    assert event(CLAUDE_EVENTS, "", attributes, "prompt", "response", "body")["role"] == "other"


def test_claude_codes_event_of_a_tool() -> None:
    attributes = {
        "event.name": "tool_result",
        "tool_name": "Read",
        "tool_use_id": "toolu_1",
        "success": "true",
    }
    meaning = event(CLAUDE_EVENTS, "", attributes, "tool_parameters", "tool_input")
    assert (meaning["role"], meaning["tool_name"], meaning["tool_call_id"]) == ("tool", "Read", "toolu_1")


def test_claude_codes_metrics() -> None:
    attributes = {**CLAUDE_IDS, "type": "cacheRead", "model": "claude-sonnet-4-5"}
    assert point("com.anthropic.claude_code", "claude_code.token.usage", attributes) == {
        "dialect": "claude_code",
        "provider": "anthropic",
        "request_model": "claude-sonnet-4-5",
        "token_type": "cacheRead",
        "session_id": "s-1",
        "user_id": "device",
    }


def test_names_without_a_prefix_mean_nothing_elsewhere() -> None:
    attributes = {
        "model": "T",
        "input_tokens": 5,
        "cost_usd": 1.5,
        "request_id": "r",
        "speed": "7",
        "tool_name": "t",
    }
    for scope in ("shop", "com.anthropic.claude_codex"):
        assert span(scope, "api_request", attributes) == {}
        assert event(scope, "api_request", attributes) == {}
        assert point(scope, "requests", attributes) == {}


# --- Codex --------------------------------------------------------------------------------------------

CODEX = "codex_otel.log_only"
CODEX_IDS = {
    "conversation.id": "c-1",
    "user.account_id": "acc",
    "user.email": "ann@example.com",
    "model": "gpt-5-codex",
    "slug": "gpt-5-codex",
}
CODEX_CALL = {
    "dialect": "codex",
    "role": "llm",
    "operation": "responses",
    "provider": "openai",
    "request_model": "gpt-5-codex",
    "session_id": "c-1",
    "user_id": "acc",
}


@pytest.mark.parametrize("name", ["codex.sse_event", "codex.websocket_event"])
def test_codex_tells_of_a_call_in_events_with_counts_as_text(name: str) -> None:
    """Rust puts the place in the program into the name of the record."""
    attributes = {
        **CODEX_IDS,
        "event.name": name,
        "event.kind": "response.completed",
        "input_token_count": "1200",
        "cached_token_count": "1000",
        "output_token_count": "50",
        "reasoning_token_count": "20",
        "tool_token_count": "1250",  # input and output
    }
    meaning = event(CODEX, "event otel/src/events/session_telemetry.rs:1092", attributes)
    assert meaning == {
        **CODEX_CALL,
        "input_tokens": 1200,
        "cache_read_tokens": 1000,
        "output_tokens": 50,
        "reasoning_tokens": 20,
    }


@pytest.mark.parametrize(("status", "error"), [("200", None), ("429", "429"), (503, "503")])
def test_codex_requests_fail_with_a_status(status: Any, error: str | None) -> None:
    attributes = {
        **CODEX_IDS,
        "event.name": "codex.api_request",
        "http.response.status_code": status,
        "error.message": CANARY,
    }
    meaning = event(CODEX, "", attributes)
    assert meaning == CODEX_CALL | ({"error_type": error} if error else {})


@pytest.mark.parametrize(
    ("endpoint", "role"), [("/responses", "llm"), ("/responses/compact", "llm"), ("/models", "other")]
)
def test_codex_asks_for_more_than_answers(endpoint: str, role: str) -> None:
    attributes = {**CODEX_IDS, "event.name": "codex.api_request", "endpoint": endpoint}
    assert event(CODEX, "", attributes)["role"] == role


@pytest.mark.parametrize(
    "name", ["codex.conversation_starts", "codex.user_prompt", "codex.tool_decision", "codex.new"]
)
def test_codex_other_events_have_a_model_and_are_no_calls(name: str) -> None:
    assert event(CODEX, "", {**CODEX_IDS, "event.name": name}, "prompt")["role"] == "other"


def test_codex_event_of_a_tool() -> None:
    attributes = {**CODEX_IDS, "event.name": "codex.tool_result", "tool_name": "shell", "call_id": "call_1"}
    meaning = event(CODEX, "", attributes, "arguments", "output")
    assert (meaning["role"], meaning["tool_name"], meaning["tool_call_id"]) == ("tool", "shell", "call_1")


def test_codex_spans_of_calls_and_noise() -> None:
    """The usage of a turn is the sum of its calls."""
    usage = {"gen_ai.usage.input_tokens": 1200, "gen_ai.usage.cache_read.input_tokens": 1000}
    usage |= {
        "gen_ai.usage.output_tokens": 50,
        "codex.usage.reasoning_output_tokens": 20,
        "codex.usage.total_tokens": 1250,
    }
    call = span("codex_cli_rs", "completed", usage)
    assert (call["dialect"], call["role"]) == ("codex", "llm")
    assert (call["input_tokens"], call["reasoning_tokens"], call["output_tokens"]) == (1200, 20, 50)

    turn = {f"codex.turn.token_usage.{name}": 5 for name in ("input_tokens", "output_tokens", "total_tokens")}
    assert span("codex_cli_rs", "session_task.turn", {**turn, "model": "gpt-5-codex"}) == {
        "dialect": "codex",
        "role": "agent",
        "operation": "invoke_agent",
    }
    assert span("codex_cli_rs", "run_sampling_request", {"model": "gpt-5-codex", "busy_ns": 5}) == {}


# --- Gemini CLI, Qwen Code ----------------------------------------------------------------------------

GEMINI_COUNTS = {
    "input_token_count": 900,
    "cached_content_token_count": 733,
    "output_token_count": 40,
    "thoughts_token_count": 210,
    "tool_token_count": 0,
    "total_token_count": 1150,
}
GEMINI_RESPONSE = f'[{{"responseId":"resp-1","text":"{CANARY}"}}]'


def test_gemini_clis_event_of_a_call_has_the_thoughts_beside_the_output() -> None:
    attributes = {
        **GEMINI_COUNTS,
        "event.name": "gemini_cli.api_response",
        "session.id": "s-1",
        "user.email": "ann@example.com",
        "model": "gemini-2.5-pro",
        "status_code": 200,
        "response_text": GEMINI_RESPONSE,
        "finish_reasons": ["STOP"],
    }
    assert event("gemini-cli", "", attributes, "prompt", "request_text") == {
        "dialect": "gemini_cli",
        "role": "llm",
        "operation": "generate_content",
        "provider": "gcp.gemini",
        "request_model": "gemini-2.5-pro",
        "response_model": "gemini-2.5-pro",
        "response_id": "resp-1",
        "finish_reasons": ["STOP"],
        "session_id": "s-1",
        "user_id": "ann@example.com",
        "input_tokens": 900,
        "cache_read_tokens": 733,
        "output_tokens": 250,
        "reasoning_tokens": 210,
    }


@pytest.mark.parametrize("scope", ["gemini-cli", "qwen-code"])
@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"error_type": "ApiError", "status_code": 429}, "ApiError"),
        ({"status_code": "503"}, "503"),
        ({}, "api_error"),
    ],
)
def test_failed_calls_of_gemini_cli_and_its_kin(scope: str, attributes: dict[str, Any], error: str) -> None:
    name = f"{scope.replace('gemini-cli', 'gemini_cli')}.api_error"
    own = {"event.name": name, "model": "m-1", "error.message": CANARY, "error": CANARY, **attributes}
    meaning = event(scope, "", own)
    assert (meaning["role"], meaning["request_model"], meaning["error_type"]) == ("llm", "m-1", error)


@pytest.mark.parametrize(
    ("scope", "prefix"), [("gemini-cli", "gemini_cli."), ("qwen-code", "qwen-code.")], ids=["gemini", "qwen"]
)
def test_requests_and_chores_of_gemini_cli_and_its_kin_are_no_calls(scope: str, prefix: str) -> None:
    for name in ("api_request", "config", "user_prompt", "next_speaker_check", "chat_compression"):
        attributes = {"event.name": prefix + name, "model": "m-1", "input_token_count": 5}
        assert event(scope, "", attributes, "prompt", "request_text")["role"] == "other"
    tool = {"event.name": f"{prefix}tool_call", "function_name": "read_file"}
    meaning = event(scope, "", tool, "function_args")
    assert (meaning["role"], meaning["tool_name"]) == ("tool", "read_file")


def test_gemini_clis_spans() -> None:
    usage = {"gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 40}
    attributes = {"gen_ai.operation.name": "llm_call", "gen_ai.request.model": "gemini-2.5-pro", **usage}
    said = ("gen_ai.input.messages", "gen_ai.output.messages")
    call = span("gemini-cli", "llm_call", {"gen_ai.conversation.id": "s-1", **attributes}, *said)
    assert (call["dialect"], call["role"], call["session_id"]) == ("gemini_cli", "llm", "s-1")
    assert (call["request_model"], call["response_model"]) == ("gemini-2.5-pro", "gemini-2.5-pro")
    own = {"gen_ai.operation.name": "tool_call", "gen_ai.tool.name": "shell", "gen_ai.tool.call_id": "t-1"}
    tool = span("gemini-cli", "tool_call", own)
    assert (tool["role"], tool["tool_name"], tool["tool_call_id"]) == ("tool", "shell", "t-1")


def test_the_metrics_of_gemini_cli_and_its_kin() -> None:
    for scope, metric in (("gemini-cli", "gemini_cli.token.usage"), ("qwen-code", "qwen-code.token.usage")):
        meaning = point(scope, metric, {"type": "thought", "model": "m-1", "session.id": "s-1"})
        assert (meaning["token_type"], meaning["request_model"], meaning["session_id"]) == (
            "thought",
            "m-1",
            "s-1",
        )


QWEN_CALL = {
    "dialect": "qwen_code",
    "role": "llm",
    "provider": "alibaba",
    "request_model": "qwen3-coder-plus",
    "response_id": "chatcmpl-1",
    "session_id": "s-1",
    "input_tokens": 900,
    "cache_read_tokens": 733,
    "output_tokens": 250,
}


def test_qwen_codes_event_of_a_call_has_the_thoughts_where_its_provider_has_them() -> None:
    """The total tells: 1150 leaves the thoughts in the output."""
    counts = {**GEMINI_COUNTS, "output_token_count": 250}
    attributes = {
        "event.name": "qwen-code.api_response",
        "session.id": "s-1",
        "response_id": "chatcmpl-1",
        **counts,
    }
    meaning = event("qwen-code", "", {**attributes, "model": "qwen3-coder-plus"}, "response_text", "prompt")
    assert meaning == {**QWEN_CALL, "operation": "generate_content", "reasoning_tokens": 210}
    apart = event("qwen-code", "", {**attributes, **GEMINI_COUNTS, "model": "qwen3-coder-plus"})
    assert (apart["output_tokens"], apart["reasoning_tokens"]) == (250, 210)


def test_qwen_codes_spans() -> None:
    counts = {"input_tokens": 900, "cached_input_tokens": 733, "output_tokens": 250, "ttft_ms": 80}
    attributes = {"session.id": "s-1", "model": "qwen3-coder-plus", "response_id": "chatcmpl-1", **counts}
    call = span("qwen-code", "qwen-code.llm_request", attributes, "system_prompt", "response.model_output")
    assert call == {**QWEN_CALL, "operation": "llm_request", "time_to_first_token_ms": 80.0}
    roles = {
        "interaction": "agent",
        "subagent": "agent",
        "tool": "tool",
        "tool.execution": "other",
        "tool.blocked_on_user": "other",
        "hook": "other",
    }
    for name, role in roles.items():
        own = {"session.id": "s-1", "tool.name": "edit", "tool.call_id": "t-1"}
        assert span("qwen-code", f"qwen-code.{name}", own, "tool_input", "tool_result")["role"] == role


# --- Copilot ------------------------------------------------------------------------------------------

COPILOT_USAGE = {
    "gen_ai.request.model": "claude-sonnet-4.5",
    "gen_ai.usage.input_tokens": 900,
    "gen_ai.usage.cache_read.input_tokens": 700,
    "gen_ai.usage.output_tokens": 20,
}


def test_copilots_credits_are_no_money() -> None:
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "github",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "enduser.pseudo.id": "u-1",
        "github.copilot.cost": 1,
        "github.copilot.aiu": 0.5,
        "github.copilot.nano_aiu": 500_000_000,
        **COPILOT_USAGE,
    }
    assert span("github.copilot", "chat claude-sonnet-4.5", attributes, "gen_ai.input.messages") == {
        "dialect": "copilot_cli",
        "role": "llm",
        "operation": "chat",
        "provider": "github",
        "request_model": "claude-sonnet-4.5",
        "response_id": "msg_1",
        "session_id": "s-1",
        "user_id": "u-1",
        "time_to_first_token_ms": 250.0,
        "input_tokens": 900,
        "cache_read_tokens": 700,
        "output_tokens": 20,
    }


def test_copilots_agent_repeats_its_calls_usage_and_so_does_an_event_of_each_turn() -> None:
    attributes = {"gen_ai.operation.name": "invoke_agent", "github.copilot.turn_count": 3, **COPILOT_USAGE}
    assert span("github.copilot", "invoke_agent", attributes)["role"] == "agent"
    turn = event("copilot-chat", "copilot_chat.agent.turn", {"turn.index": 0, **COPILOT_USAGE})
    assert (turn["dialect"], turn["role"]) == ("copilot_cli", "other")
    old = event("copilot-chat", "", {"event.name": "copilot_chat.agent.turn", **COPILOT_USAGE})
    assert old["role"] == "other"


def test_copilots_chat_has_a_time_and_a_session_of_its_own() -> None:
    attributes = {
        "gen_ai.operation.name": "chat",
        "copilot_chat.time_to_first_token": 640,
        "copilot_chat.chat_session_id": "s-2",
        **COPILOT_USAGE,
    }
    said = ("copilot_chat.user_request", "copilot_chat.reasoning_content", "gen_ai.output.messages")
    call = span("copilot-chat", "chat", attributes, *said)
    assert (call["time_to_first_token_ms"], call["session_id"]) == (640.0, "s-2")
    hook = {"gen_ai.operation.name": "execute_hook", "copilot_chat.hook_type": "PreToolUse"}
    said = ("copilot_chat.hook_input", "copilot_chat.hook_output", "copilot_chat.hook_command")
    assert span("copilot-chat", "execute_hook PreToolUse", hook, *said)["role"] == "other"
