"""Requests as a fleet of agents sends them: made up front, so that the clock measures the server alone.

One span in four is a model call with its response id; the others are agents, tools, HTTP and application
code, ten spans a trace, about 25 attributes a span. No two requests share a trace, span or response id.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

BATCH: Final = 512
SPANS_PER_TRACE: Final = 10
# How many different requests there are; each is sent many times over under new ids.
_TEMPLATES: Final = 8
# Stands wherever an id must differ from request to request, in bytes and in text alike.
_TOKEN: Final = b"@ID@"
_DIGITS: Final = b"0123456789abcdefghijklmnopqrstuv"
_SECOND: Final = 10**9
_MODELS: Final = (
    ("openai", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
    ("openai", "gpt-4o", "gpt-4o-2024-08-06"),
    ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
    ("gcp.gemini", "gemini-2.5-flash", "gemini-2.5-flash"),
)
_AGENTS: Final = ("planner", "researcher", "writer", "reviewer")
_TOOLS: Final = ("search_documents", "read_file", "run_query", "send_mail")

Value = str | int | float | bool
Attributes = dict[str, Value]


class Traffic:
    """A supply of distinct requests, numbered from ``first``: two supplies with other numbers share no id.

    There are 2**20 of them.
    """

    def __init__(self, batch: int = BATCH, first: int = 0, seed: int = 1) -> None:
        choose = random.Random(seed)
        self._templates = [_Template(batch, choose).request() for _ in range(_TEMPLATES)]
        self._bodies = [template.SerializeToString() for template in self._templates]
        self._next = first

    def bodies(self, count: int) -> list[bytes]:
        """``count`` protobuf requests, none like any before."""
        return [
            self._bodies[number % _TEMPLATES].replace(_TOKEN, _number(number)) for number in self._take(count)
        ]

    def json_lines(self, count: int) -> Iterator[bytes]:
        """``count`` OTLP/JSON requests, none like any before, without line breaks."""
        texts = [json.dumps(_otlp_json(template)).encode() for template in self._templates]
        for number in self._take(count):
            text, name = texts[number % _TEMPLATES], _number(number)
            yield text.replace(_TOKEN, name).replace(_TOKEN.hex().encode(), name.hex().encode())

    def _take(self, count: int) -> range:
        first, self._next = self._next, self._next + count
        return range(first, self._next)


def _number(number: int) -> bytes:
    return bytes(_DIGITS[number >> shift & 31] for shift in (15, 10, 5, 0))


class _Template:
    """One request with the token in its ids."""

    def __init__(self, batch: int, choose: random.Random) -> None:
        self._batch = batch
        self._choose = choose
        self._now = time.time_ns()

    def request(self) -> ExportTraceServiceRequest:
        service = self._choose.choice(_AGENTS)
        scope = ScopeSpans(spans=self._spans())
        scope.scope.name, scope.scope.version = "opentelemetry.instrumentation.openai_v2", "2.1b0"
        request = ExportTraceServiceRequest()
        resource = {
            "service.name": f"{service}-service",
            "service.version": "1.14.2",
            "service.instance.id": f"instance-{self._choose.randrange(16)}",
            "deployment.environment.name": "production",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": "1.38.0",
            "host.name": "worker-7",
        }
        request.resource_spans.add(resource=Resource(attributes=_pairs(resource)), scope_spans=[scope])
        return request

    def _spans(self) -> Iterator[Span]:
        for number in range(self._batch):
            trace, place = divmod(number, SPANS_PER_TRACE)
            yield self._span(trace, place)

    def _span(self, trace: int, place: int) -> Span:
        start = self._now - 600 * _SECOND + trace * _SECOND + place * 20_000_000
        length = self._choose.randrange(10, 900) * 1_000_000 if place else 20 * _SECOND
        name, kind, attributes = self._kind(trace, place)
        return Span(
            trace_id=_TOKEN + trace.to_bytes(12, "big"),
            span_id=_TOKEN + (trace * SPANS_PER_TRACE + place + 1).to_bytes(4, "big"),
            parent_span_id=_TOKEN + (trace * SPANS_PER_TRACE + 1).to_bytes(4, "big") if place else b"",
            name=name,
            kind=kind,
            start_time_unix_nano=start,
            end_time_unix_nano=start + length,
            attributes=_pairs({**attributes, **self._common(trace)}),
        )

    def _kind(self, trace: int, place: int) -> tuple[str, Span.SpanKind.ValueType, Attributes]:
        """Of ten spans the root is an agent, two or three are model calls (one in four), two are tools."""
        if place == 0:
            return self._agent()
        if place in (2, 5) or (place == 8 and trace % 2):
            return self._model_call(trace, place)
        if place in (3, 6):
            return self._tool(trace, place)
        return self._http() if place % 2 else self._application(place)

    def _common(self, trace: int) -> Attributes:
        return {
            "session.id": f"session-{trace % 40:06d}",
            "user.id": f"user-{trace % 25}",
            "app.tenant": f"customer-{trace % 12}",
            "app.feature": "report-builder",
            "app.release": "2026-05-11.3",
            "app.region": "eu-central-1",
            "app.request.priority": self._choose.randrange(5),
            "thread.id": 140_000_000 + trace,
            "thread.name": "worker-loop",
            "code.function.name": "agents.pipeline.run_step",
            "code.line.number": self._choose.randrange(1000),
            "sampling.ratio": 1.0,
        }

    def _agent(self) -> tuple[str, Span.SpanKind.ValueType, Attributes]:
        agent = self._choose.choice(_AGENTS)
        return (
            f"invoke_agent {agent}",
            Span.SPAN_KIND_INTERNAL,
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.provider.name": "openai",
                "gen_ai.agent.name": agent,
                "gen_ai.agent.id": f"agent-{agent}",
                "gen_ai.agent.version": "3",
                "gen_ai.conversation.id": f"conversation-{self._choose.randrange(10**6)}",
                **self._filler(7),
            },
        )

    def _model_call(self, trace: int, place: int) -> tuple[str, Span.SpanKind.ValueType, Attributes]:
        provider, asked, answered = self._choose.choice(_MODELS)
        prompt = self._choose.randrange(300, 9000)
        return (
            f"chat {asked}",
            Span.SPAN_KIND_CLIENT,
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": asked,
                "gen_ai.response.model": answered,
                "gen_ai.response.id": f"chatcmpl-{_TOKEN.decode()}{trace:05d}{place}",
                "gen_ai.response.finish_reasons": "stop",
                "gen_ai.usage.input_tokens": prompt,
                "gen_ai.usage.output_tokens": self._choose.randrange(20, 1500),
                "gen_ai.usage.cache_read.input_tokens": prompt // 3,
                "gen_ai.request.temperature": 0.2,
                "gen_ai.request.max_tokens": 4096,
                "server.address": f"api.{provider}.example",
                "server.port": 443,
            },
        )

    def _tool(self, trace: int, place: int) -> tuple[str, Span.SpanKind.ValueType, Attributes]:
        tool = self._choose.choice(_TOOLS)
        return (
            f"execute_tool {tool}",
            Span.SPAN_KIND_INTERNAL,
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": tool,
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.id": f"call_{_TOKEN.decode()}{trace:05d}{place}",
                **self._filler(9),
            },
        )

    def _http(self) -> tuple[str, Span.SpanKind.ValueType, Attributes]:
        return (
            "POST",
            Span.SPAN_KIND_CLIENT,
            {
                "http.request.method": "POST",
                "http.response.status_code": 200,
                "url.full": f"https://internal.example/documents/{self._choose.randrange(10**6)}?expand=all",
                "server.address": "internal.example",
                "server.port": 443,
                "network.protocol.version": "1.1",
                "user_agent.original": "python-httpx/0.28.1",
                **self._filler(6),
            },
        )

    def _application(self, place: int) -> tuple[str, Span.SpanKind.ValueType, Attributes]:
        return f"pipeline.step_{place}", Span.SPAN_KIND_INTERNAL, {"app.step": place, **self._filler(12)}

    def _filler(self, count: int) -> Attributes:
        return {
            f"app.detail.{n}": f"value {self._choose.randrange(10**6)} of detail {n}" for n in range(count)
        }


def _pairs(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any_value(value)) for key, value in attributes.items()]


def _any_value(value: Value) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(double_value=value)


def _otlp_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """The protobuf mapping with hexadecimal ids and enums as numbers, as OTLP/JSON wants them."""
    document: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    written = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for span, source in zip(written, request.resource_spans[0].scope_spans[0].spans, strict=True):
        span["traceId"], span["spanId"] = source.trace_id.hex(), source.span_id.hex()
        if source.parent_span_id:
            span["parentSpanId"] = source.parent_span_id.hex()
    return document
