"""The demo: what it sends, over real sockets to a small OTLP server, and what it says where that fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from genai_prices import Usage, calc_price
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.cli.main import main
from collector.demo import send
from collector.demo.session import load_session

SESSION = load_session()
# The provider ids of genai-prices, where they differ from the conventions'.
PRICED_AS = {"gcp.gemini": "google"}


class Receiver:
    """What arrived, and the answer that every request gets."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.endpoint = ""

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        self.requests.append(ExportTraceServiceRequest.FromString(body))
        self.headers.append({name.lower(): value for name, value in headers.items()})

    def spans(self, number: int = 0) -> list[Span]:
        (resource,) = self.requests[number].resource_spans
        (scope,) = resource.scope_spans
        return list(scope.spans)


@pytest.fixture
def http_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(self.rfile.read(int(self.headers["Content-Length"])), dict(self.headers))
            self.send_response(receiver.status if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


@pytest.fixture
def grpc_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        receiver.take(body, {str(key): str(value) for key, value in context.invocation_metadata()})
        return b""

    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    handler = grpc.method_handlers_generic_handler(
        service, {"Export": grpc.unary_unary_rpc_method_handler(export)}
    )
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((handler,))
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield receiver
    server.stop(None).wait()


def demo(*arguments: str, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(main, ["demo", "--no-wait", *arguments])


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


def test_the_session_arrives_whole_over_http(http_receiver: Receiver) -> None:
    before = time.time_ns()
    answer = demo("--endpoint", http_receiver.endpoint, "--json")
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.output)
    spans = http_receiver.spans()
    assert len(spans) == said["spans"] == len(SESSION.steps)
    assert {span.trace_id.hex() for span in spans} == {said["trace_id"]}
    by_name = {step.name for step in SESSION.steps}
    assert {span.name for span in spans} == by_name
    for key in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"):
        assert sum(attributes(span).get(key, 0) for span in spans) == SESSION.total(key)
    (root,) = (span for span in spans if not span.parent_span_id)
    assert attributes(root)["gen_ai.conversation.id"] == said["session_id"]
    assert before <= root.end_time_unix_nano <= time.time_ns()
    ids = {span.span_id for span in spans}
    assert all(span.parent_span_id in ids for span in spans if span is not root)


def test_the_session_arrives_over_grpc_too(grpc_receiver: Receiver) -> None:
    answer = demo("--endpoint", grpc_receiver.endpoint, "--protocol", "grpc")
    assert answer.exit_code == 0, answer.output
    assert len(grpc_receiver.spans()) == len(SESSION.steps)


def test_every_run_has_ids_of_its_own(http_receiver: Receiver) -> None:
    for _ in range(2):
        assert demo("--endpoint", http_receiver.endpoint).exit_code == 0
    first, second = ({span.span_id for span in http_receiver.spans(number)} for number in (0, 1))
    assert not first & second
    responses = [
        {attributes(span).get("gen_ai.response.id") for span in http_receiver.spans(number)} - {None}
        for number in (0, 1)
    ]
    assert responses[0]
    assert not responses[0] & responses[1]


def test_opentelemetrys_own_variables_are_followed(http_receiver: Receiver) -> None:
    answer = demo(
        OTEL_EXPORTER_OTLP_ENDPOINT=http_receiver.endpoint,
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20from-variable",
        OTEL_RESOURCE_ATTRIBUTES="service.name=other",
        OTEL_TRACES_SAMPLER="always_off",
    )
    assert answer.exit_code == 0, answer.output
    assert http_receiver.headers[0]["authorization"] == "Bearer from-variable"
    (pair,) = http_receiver.requests[0].resource_spans[0].resource.attributes
    assert pair.value.string_value == SESSION.service


def test_a_configured_token_is_sent(http_receiver: Receiver, tmp_path: Any) -> None:
    path = tmp_path / "collector.yaml"
    host = http_receiver.endpoint.removeprefix("http://")
    path.write_text(f"http_endpoint: {host}\ntokens: [{{name: a, token: 0123456789abcdef}}]\n")
    answer = demo("--config", str(path))
    assert answer.exit_code == 0, answer.output
    assert http_receiver.headers[0]["authorization"] == "Bearer 0123456789abcdef"


def test_what_to_look_at_next_can_be_pasted(http_receiver: Receiver, tmp_path: Any) -> None:
    answer = demo("--endpoint", http_receiver.endpoint, "--data-dir", str(tmp_path / "my lake"))
    lines = answer.output.splitlines()
    for command in ("otlp-collector sql ", "otlp-analyze cost ", "otlp-collector status"):
        (line,) = (line for line in lines if line.startswith(f"  {command}"))
        assert line.endswith(f"--data-dir '{tmp_path / 'my lake'}'")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_where_nothing_listens_it_says_so_at_once(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guarantee: no exporter is asked, which would try again for seconds."""
    monkeypatch.setattr(send, "_exporter", lambda *_: pytest.fail("an exporter was made"))
    answer = demo("--endpoint", "http://127.0.0.1:1", "--protocol", protocol)
    assert (answer.exit_code, answer.output.count("\n")) == (2, 1)
    assert "nothing answers at http://127.0.0.1:1" in answer.output
    assert "otlp-collector serve" in answer.output


def test_a_refusal_is_told_with_its_reason(http_receiver: Receiver) -> None:
    http_receiver.status = 401
    answer = demo("--endpoint", http_receiver.endpoint)
    assert answer.exit_code == 2
    assert "did not take the session" in answer.output
    assert "401" in answer.output or "Unauthorized" in answer.output


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "ftp://x", "http://"])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    answer = demo("--endpoint", endpoint)
    assert answer.exit_code == 2
    assert "is not an endpoint; use a URL" in answer.output


def test_the_session_is_as_rich_as_it_says() -> None:
    """Guarantee: what the demo is meant to show is in it."""
    calls = [step for step in SESSION.steps if step.is_call]
    assert len({step.attributes["gen_ai.provider.name"] for step in calls}) >= 4
    agents = {step.attributes.get("gen_ai.agent.name") for step in SESSION.steps} - {None}
    assert len(agents) == 4
    for key in (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.reasoning.output_tokens",
    ):
        assert SESSION.total(key) > 0
    (refused,) = (step for step in calls if step.error)
    retry = next(step for step in calls if step.start_ms > refused.start_ms)
    assert retry.attributes["gen_ai.request.model"] == refused.attributes["gen_ai.request.model"]
    assert {step.attributes.get("plan_tier") for step in calls} == {"api", "max_5x", "local", None}


def test_every_step_lies_within_its_parent_and_subsets_within_their_sums() -> None:
    steps = {step.key: step for step in SESSION.steps}
    for step in SESSION.steps:
        end = step.start_ms + step.duration_ms
        assert end <= SESSION.duration_ms
        if step.parent:
            parent = steps[step.parent]
            assert parent.start_ms <= step.start_ms
            assert end <= parent.start_ms + parent.duration_ms
        usage = {key.removeprefix("gen_ai.usage."): value for key, value in step.attributes.items()}
        cached = usage.get("cache_read.input_tokens", 0) + usage.get("cache_write.input_tokens", 0)
        assert cached <= usage.get("input_tokens", 0)
        assert usage.get("reasoning.output_tokens", 0) <= usage.get("output_tokens", 0)


@pytest.mark.parametrize(
    "key", [step.key for step in SESSION.steps if step.is_call and not step.error and step.key != "guard"]
)
def test_every_hosted_call_has_a_known_price(key: str) -> None:
    """Else the demo would show a cost of NULL for a model that has one."""
    (step,) = (step for step in SESSION.steps if step.key == key)
    provider = step.attributes["gen_ai.provider.name"]
    usage = Usage(
        input_tokens=step.attributes["gen_ai.usage.input_tokens"],
        cache_read_tokens=step.attributes.get("gen_ai.usage.cache_read.input_tokens"),
        cache_write_tokens=step.attributes.get("gen_ai.usage.cache_write.input_tokens"),
        output_tokens=step.attributes.get("gen_ai.usage.output_tokens"),
    )
    model = step.attributes["gen_ai.response.model"]
    price = calc_price(usage, model_ref=model, provider_id=PRICED_AS.get(provider, provider))
    assert price.total_price > Decimal(0)
