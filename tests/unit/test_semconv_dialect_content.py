"""Content of instrumentation libraries and tracing products: what the gate takes of it, what evidence keeps, what
redaction finds in it; and the converters of their tables.
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
    "logfire.msg": "prompts",
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
