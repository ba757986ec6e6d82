"""Texts of people and models, planted wherever instrumentation is known to put them, over real sockets.

Guarantee: with every class off, no file of the data directory, no log and no metric holds one of them once the spool is
drained; with every class on, each of them stands in `contents`, and nowhere else.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.otlp_data import any_value, key_values, logs_message, traces_message
from tests.support import Collector, running, wait_until

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-mini",
    "gen_ai.usage.input_tokens": 12,
}
ON = "capture: {prompts: true, completions: true, tool_inputs: true, tool_outputs: true}\nkeep: {logs: all}\n"
OFF = "keep: {logs: all}\n"
SIGN = "planted"
LETTERS = "abcdefghijklmnopqrstuvwxyz"

# Attributes of spans. Where the key says nothing (the last ones), the text is longer than any identifier.
KEYS = (
    # OpenTelemetry, now and before
    *(
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.definitions",
    ),
    *("gen_ai.prompt", "gen_ai.completion", "gen_ai.prompt.0.content", "gen_ai.completion.0.content"),
    *("gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.retrieval.query.text"),
    # OpenInference
    *("input.value", "output.value", "llm.input_messages.0.message.content", "llm.prompts.0.prompt.text"),
    *("llm.output_messages.0.message.contents.0.message_content.text", "tool.parameters"),
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments",
    *("retrieval.documents.0.document.content", "embedding.embeddings.0.embedding.text"),
    # OpenLLMetry
    *("traceloop.entity.input", "traceloop.entity.output", "gen_ai.completion.0.tool_calls.0.arguments"),
    # AI SDK
    *("ai.prompt", "ai.prompt.messages", "ai.response.text", "ai.response.object", "ai.response.toolCalls"),
    *("ai.toolCall.args", "ai.toolCall.result", "ai.value", "ai.values"),
    # Langfuse, Logfire, pydantic-ai, MLflow, LangSmith, Google ADK, Traceloop
    *(
        "langfuse.observation.input",
        "langfuse.observation.output",
        "langfuse.trace.input",
        "langfuse.trace.output",
    ),
    *("request_data", "response_data", "pydantic_ai.all_messages", "all_messages_events", "tool_arguments"),
    *("tool_response", "final_result", "mlflow.spanInputs", "mlflow.spanOutputs"),
    *("gcp.vertex.agent.llm_request", "gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_call_args"),
    "gcp.vertex.agent.tool_response",
    # of nobody
    *(
        "acme.prompt",
        "acme.llm.completion",
        "acme.messages",
        "acme.input",
        "acme.output",
        "acme.step.arguments",
    ),
    *(
        "acme.step.result",
        "acme.note.content",
        "prompt",
        "Completion",
        "acme.anything",
        "acme.list",
        "acme.map",
    ),
)
LONG = {"acme.anything", "acme.list", "acme.map"}
EVENTS = (
    *(("gen_ai.user.message", "content"), ("gen_ai.system.message", "content"), ("gen_ai.choice", "message")),
    *(("gen_ai.tool.message", "content"), ("gen_ai.content.prompt", "gen_ai.prompt")),
    *(("gen_ai.content.completion", "gen_ai.completion"), ("acme.said", "acme.content")),
    *(("exception", "exception.message"), ("exception", "exception.stacktrace")),
)
# Name, key ("" is the body).
LOGS = (
    *(("gen_ai.user.message", ""), ("gen_ai.choice", ""), ("gen_ai.tool.message", ""), ("acme.said", "")),
    *(
        ("claude_code.user_prompt", "prompt"),
        ("codex.user_prompt", "prompt"),
        ("gemini_cli.user_prompt", "prompt"),
    ),
    *(
        ("codex.tool_result", "arguments"),
        ("codex.tool_result", "output"),
        ("gemini_cli.tool_call", "function_args"),
    ),
    *(
        ("gemini_cli.api_response", "response_text"),
        ("gen_ai.client.inference.operation.details", "gen_ai.input.messages"),
    ),
    *(("acme.failed", "exception.message"), ("acme.failed", "exception.stacktrace")),
)


class Plants:
    """Texts that nothing else could spell by chance, and where each of them was put."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def text(self, place: str) -> str:
        number = len(self.places)
        text = f"{SIGN} {LETTERS[number // 26]}{LETTERS[number % 26]} flower"
        self.places[text] = place
        return text

    def in_key(self, key: str) -> Any:
        text = self.text(key)
        if key == "acme.map":
            return {"inner": {"deep": text + " " * 3000}}
        if key == "acme.list":
            return [text + " " * 3000]
        return text + " " * 3000 if key in LONG else text


def planted_spans(plants: Plants) -> Any:
    """One span for each place, ids by number."""
    request = traces_message(CALL, scope="tests.gate")
    scope = request.resource_spans[0].scope_spans[0]
    template = scope.spans[0]
    message = plants.text("status message")
    template.status.code, template.status.message = 2, message
    for number, key in enumerate(KEYS, 2):
        span = scope.spans.add()
        span.CopyFrom(template)
        span.span_id = number.to_bytes(8, "big")
        span.status.Clear()
        span.attributes.add(key=key).value.CopyFrom(any_value(plants.in_key(key)))
    for number, (name, key) in enumerate(EVENTS, 1000):
        span = scope.spans.add()
        span.CopyFrom(scope.spans[1])
        del span.attributes[len(CALL) :]
        span.span_id = number.to_bytes(8, "big")
        event = span.events.add(name=name, time_unix_nano=span.start_time_unix_nano)
        event.attributes.extend(key_values({key: plants.text(f"event {name}/{key}")}))
    return request


def planted_logs(plants: Plants) -> Any:
    records = []
    for name, key in LOGS:
        text = plants.text(f"log {name}/{key or 'body'}")
        attributes = {"event.name": name, **CALL, **({key: text} if key else {})}
        records.append({"attributes": attributes, **({} if key else {"body": {"content": text}})})
    return logs_message(*records, scope="tests.gate")


def post(collector: Collector, signal: str, body: bytes) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{collector.http}/v1/{signal}", body, headers), timeout=10
    ) as answer:
        assert answer.status == 200


def loaded(data_dir: Path, config: str) -> Iterator[tuple[Collector, Plants]]:
    plants = Plants()
    with running(data_dir, config=config) as collector:
        spans, logs = planted_spans(plants), planted_logs(plants)
        post(collector, "traces", spans.SerializeToString())
        post(collector, "logs", logs.SerializeToString())
        expected = len(spans.resource_spans[0].scope_spans[0].spans), len(LOGS)
        wait_until(lambda: counts(collector) == expected)
        spool = collector.data_dir / "spool"
        wait_until(lambda: not any(SIGN.encode() in file.read_bytes() for file in spool.rglob("*.spool")))
        yield collector, plants


def counts(collector: Collector) -> tuple[int, ...]:
    [row] = collector.sql("SELECT (SELECT count(*) FROM spans) AS s, (SELECT count(*) FROM log_records) AS l")
    return tuple(row.values())


@pytest.fixture(scope="module")
def off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collector, Plants]]:
    yield from loaded(tmp_path_factory.mktemp("gate-off") / "data", OFF)


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collector, Plants]]:
    yield from loaded(tmp_path_factory.mktemp("gate-on") / "data", ON)


def found_in(text: str, plants: Plants) -> dict[str, str]:
    return {found: plants.places[found] for found in re.findall(rf"{SIGN} [a-z]{{2}} flower", text)}


def test_nothing_that_was_said_is_stored(off: tuple[Collector, Plants]) -> None:
    """Neither as bytes (catalog, its log, the collector's own log, metrics) nor in the columns of a Parquet file."""
    collector, plants = off
    files = [path for path in collector.data_dir.rglob("*") if path.is_file()]
    parquet = [path for path in files if path.suffix == ".parquet"]
    assert len(parquet) >= 3
    left: dict[str, str] = {}
    for path in (*files, collector.log):
        left |= found_in(path.read_bytes().decode(errors="replace"), plants)
    for path in parquet:
        left |= found_in(str(duckdb.sql(f"SELECT * FROM '{path}'").fetchall()), plants)
    left |= found_in(collector.metrics(), plants)
    assert left == {}


def test_what_was_taken_is_told_by_its_length(off: tuple[Collector, Plants]) -> None:
    collector, _ = off
    rows = collector.sql("SELECT evidence FROM spans WHERE evidence IS NOT NULL")
    gated = {place: size for row in rows for place, size in json.loads(row["evidence"])["gated"].items()}
    assert gated["gen_ai.input.messages"] == len(f"{SIGN} ab flower")
    assert gated["acme.anything"] > 3000


def test_what_is_switched_on_stands_in_contents_alone(on: tuple[Collector, Plants]) -> None:
    collector, plants = on
    contents = " ".join(row["content"] for row in collector.sql("SELECT content FROM contents"))
    assert set(found_in(contents, plants)) == set(plants.places), "some are nowhere"
    elsewhere = str(collector.sql("SELECT * FROM spans")) + str(collector.sql("SELECT * FROM log_records"))
    elsewhere += str(collector.sql("SELECT * FROM calls")) + collector.log.read_text() + collector.metrics()
    assert found_in(elsewhere, plants) == {}


def test_texts_are_of_the_class_that_switches_them_on(on: tuple[Collector, Plants]) -> None:
    collector, _ = on
    rows = collector.sql("SELECT key, kind FROM contents WHERE span_id <> '' ORDER BY key")
    kinds = {row["key"]: row["kind"] for row in rows}
    assert {kinds[key] for key in ("gen_ai.input.messages", "input.value", "ai.prompt")} == {"prompts"}
    assert {kinds[key] for key in ("gen_ai.output.messages", "output.value", "ai.response.text")} == {
        "completions"
    }
    assert {kinds[key] for key in ("gen_ai.tool.call.arguments", "ai.toolCall.args")} == {"tool_inputs"}
    assert {kinds[key] for key in ("gen_ai.tool.call.result", "ai.toolCall.result")} == {"tool_outputs"}
