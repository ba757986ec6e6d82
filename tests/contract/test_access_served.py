"""Who gets in: real collectors with TLS, client certificates and tokens, and the exporters that users have.

Guarantee: the lines that `serve` prints let an unmodified exporter in over both transports; without the right
certificate or token nobody gets in; tokens and certificates are renewed without a restart; and a sender is the tenant
that its token says, whatever else it says of itself. Not proved here: what other languages' TLS makes of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import trustme
import yaml
from google.rpc import status_pb2
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.support import BIN, Collector, free_port, run_here, wait_until

# Nothing of this may be left out by an encoding, a shell or an SDK.
TOKEN_A = "a,b=c;d%20e\"f$(g)`h`'i\\j+k/l"
TOKEN_B = "token-b-as-it-was-first"
METRICS = "the-token-of-the-metrics"
LOADED = 'otelcol_exporter_sent_spans_total{exporter="lake"}'
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass
class Guarded(Collector):
    """A collector that asks for everything, on a terminal; its files, and who its clients are."""

    folder: Path
    servers: trustme.CA
    clients: trustme.CA
    screen: list[str]

    def show(self, folder: Path, certificate: trustme.LeafCert) -> dict[str, str]:
        """The variables that give an exporter a certificate of its own."""
        certificate.private_key_pem.write_to_path(folder / "app.key")
        certificate.cert_chain_pems[0].write_to_path(folder / "app.crt")
        return {
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(folder / "app.crt"),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(folder / "app.key"),
        }

    def context(self, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.servers.configure_trust(context)
        if client:
            client.configure_cert(context)
        return context

    def get(self, path: str, token: str = "", client: trustme.LeafCert | None = None) -> int:
        """The status that the admin port answers."""
        return self.read(path, token, client)[0]

    def read(self, path: str, token: str, client: trustme.LeafCert | None) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"https://localhost:{self.admin_port}{path}", headers=headers)
        return answered(request, self.context(client))

    def loaded(self) -> float:
        """How many spans are in the lake."""
        metrics = self.read("/metrics", METRICS, self.clients.issue_cert("prometheus@example.com"))[1]
        return float(re.findall(rf"^{re.escape(LOADED)} (.*)$", metrics.decode(), re.M)[0])

    def post(
        self, token: str, client: trustme.LeafCert | None, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body of an empty request."""
        body = b"{}" if content_type == "application/json" else b""
        headers = {"Content-Type": content_type, "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"https://localhost:{self.http_port}/v1/traces", body, headers)
        return answered(request, self.context(client))

    def call(self, token: str, client: trustme.LeafCert | None, servers: trustme.CA | None = None) -> str:
        """The code of an empty request over gRPC."""
        chain = client and b"".join(pem.bytes() for pem in client.cert_chain_pems)
        credentials = grpc.ssl_channel_credentials(
            (servers or self.servers).cert_pem.bytes(), client and client.private_key_pem.bytes(), chain
        )
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(f"localhost:{self.grpc_port}", credentials, options) as channel:
            return code_of(channel, [("authorization", f"Bearer {token}")])


def answered(request: urllib.request.Request, context: ssl.SSLContext) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def code_of(channel: grpc.Channel, metadata: list[tuple[str, str]]) -> str:
    try:
        channel.unary_unary(EXPORT)(b"", metadata=metadata, timeout=60)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def write_pair(folder: Path, authority: trustme.CA) -> None:
    """Certificate, authority and key of a server on this machine."""
    folder.mkdir()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    chain = [*issued.cert_chain_pems, authority.cert_pem]
    (folder / "server.crt").write_bytes(b"".join(pem.bytes() for pem in chain))
    issued.private_key_pem.write_to_path(folder / "server.key")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    servers, clients = trustme.CA(), trustme.CA(organization_name="clients")
    write_pair(folder / "first", servers)
    (folder / "live").symlink_to("first")
    clients.cert_pem.write_to_path(folder / "clients.pem")
    (folder / "token b").write_text(TOKEN_B + "\n")
    (folder / "metrics").write_text(METRICS)
    ports = [free_port() for _ in range(3)]
    names = ("grpc_endpoint", "http_endpoint", "admin_endpoint")
    config = {
        **{name: f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)},
        "data_dir": str(folder / "data"),
        "tls": {
            "cert_file": str(folder / "live/server.crt"),
            "key_file": str(folder / "live/server.key"),
            "client_ca_file": str(folder / "clients.pem"),
        },
        "tokens": [
            {"name": "a", "token": "${env:TEAM_A}", "tenant": "a", "billing_account": "account-a"},
            {
                "name": "b",
                "token_file": str(folder / "token b"),
                "tenant": "b",
                "billing_account": "account-b",
            },
        ],
        "metrics_token": {"token_file": str(folder / "metrics")},
    }
    (folder / "collector.yaml").write_text(yaml.safe_dump(config))
    with serving_on_a_terminal(folder) as (process, screen):
        collector = Guarded(
            process, folder / "data", *ports, folder / "log", folder, servers, clients, screen
        )
        wait_until(lambda: listening(collector) and collector.get("/readyz") == 200, 30)
        yield collector


@contextlib.contextmanager
def serving_on_a_terminal(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    ours, theirs = os.openpty()
    command = [str(BIN / "otlp-collector"), "serve", "--config", str(folder / "collector.yaml")]
    environment = {**os.environ, "TEAM_A": TOKEN_A}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=theirs, stderr=log, env=environment)
    os.close(theirs)
    screen: list[str] = []
    reader = threading.Thread(target=read_screen, args=[ours, screen])
    reader.start()
    try:
        yield process, screen
    finally:
        process.terminate()
        process.wait(12)
        reader.join()
        os.close(ours)


def read_screen(terminal: int, screen: list[str]) -> None:
    with contextlib.suppress(OSError):  # the other end is closed
        while text := os.read(terminal, 4096):
            screen.append(text.decode())


def listening(collector: Collector) -> bool:
    if collector.process.poll() is not None:
        raise AssertionError(collector.log.read_text())
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", collector.admin_port), 1):
        return True
    return False


# --- the lines to paste


def printed(collector: Guarded) -> str:
    return wait_until(lambda: (text := "".join(collector.screen)) and "PROTOCOL=grpc" in text and text)


def pasted(collector: Guarded, transport: str, tenant: str) -> dict[str, str]:
    """The environment of a shell after the lines for one token."""
    lines = printed(collector).replace("\r", "")
    if transport == "grpc":
        lines = lines.replace("# export", "export")
    other = {"a": "b", "b": "a"}[tenant]
    lines = re.sub(rf"# token {other}\n.*\n", "", lines)
    exports = "\n".join(re.findall(r"^ *(export .*)$", lines, re.M))
    shell = subprocess.run(
        ["/bin/sh", "-eu", "-c", f"{exports}\nenv -0"], capture_output=True, text=True, check=True
    )
    variables = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line)
    return {name: value for name, value in variables.items() if name.startswith("OTEL_EXPORTER_")}


def spans_of_a_call(service: str) -> Sequence[ReadableSpan]:
    """An agent and its model call, which claim to be somebody else's."""
    memory = InMemorySpanExporter()
    claims = {"billing_account": "mine", "gen_ai.billing_account": "mine", "tenant": "mine"}
    provider = TracerProvider(resource=Resource({"service.name": service, **claims}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("access")
    usage = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10}
    model = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
    with (
        tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}),
        tracer.start_as_current_span(
            "chat",
            kind=SpanKind.CLIENT,
            attributes={**model, **usage, **claims, "gen_ai.request.model": "gpt-4.1-mini"},
        ),
    ):
        pass
    provider.shutdown()
    return memory.get_finished_spans()


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_who_sends_is_what_the_token_says_and_two_tenants_share_nothing(
    guarded: Guarded, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: two applications with the pasted lines and their certificates send the same ids, and claim another
    tenant and account in attributes, resource and headers. Both are kept, each with its own call."""
    service = f"access-{transport}"
    spans = spans_of_a_call(service)
    before = guarded.loaded()
    for tenant in ("a", "b"):
        variables = pasted(guarded, transport, tenant)
        assert variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] == str(guarded.folder / "live/server.crt")
        variables |= guarded.show(tmp_path, guarded.clients.issue_cert("app@example.com"))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        # The Python exporter over HTTP would take this instead of what it is told.
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_HEADERS",
            variables["OTEL_EXPORTER_OTLP_HEADERS"] + ",x-tenant=mine,tenant=mine,x-scope-orgid=mine",
        )
        exporter = HttpExporter() if transport == "http" else GrpcExporter()
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        exporter.shutdown()
    where = f"WHERE service_name = '{service}' ORDER BY tenant"
    wait_until(lambda: guarded.loaded() == before + 4)
    columns = (
        "tenant, trace_id, span_id, billing_account, input_tokens, json_array_length(members) AS members"
    )
    first, second = guarded.sql(f"SELECT {columns} FROM calls {where}")
    assert (first["tenant"], first["billing_account"]) == ("a", "account-a")
    assert (second["tenant"], second["billing_account"]) == ("b", "account-b")
    for same in ("trace_id", "span_id", "input_tokens", "members"):
        assert first[same] == second[same]
    assert (first["input_tokens"], first["members"]) == (100, 1)
    accounts = guarded.sql(f"SELECT DISTINCT tenant, billing_account FROM spans {where}")
    assert [(row["tenant"], row["billing_account"]) for row in accounts] == [
        ("a", "account-a"),
        ("b", "account-b"),
    ]


# --- who does not get in


def test_no_certificate_or_a_stranger_s_is_the_end_of_it(guarded: Guarded) -> None:
    """The token does not help. TLS 1.3 tells the client with the first bytes it reads."""
    for client in (None, trustme.CA().issue_cert("app@example.com")):
        with pytest.raises(OSError, match=r"CERTIFICATE_REQUIRED|UNKNOWN_CA|reset|closed|EOF"):
            guarded.post(TOKEN_A, client)
        assert guarded.call(TOKEN_A, client) == "UNAVAILABLE"


def test_a_client_that_does_not_trust_the_server_does_not_send(guarded: Guarded) -> None:
    client, strangers = guarded.clients.issue_cert("app@example.com"), trustme.CA()
    context = ssl.create_default_context()
    strangers.configure_trust(context)
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        answered(urllib.request.Request(f"https://localhost:{guarded.http_port}/v1/traces", b""), context)
    assert guarded.call(TOKEN_A, client, strangers) == "UNAVAILABLE"


@pytest.mark.parametrize("token", ["", TOKEN_A[:-1], TOKEN_A + "x", METRICS])
def test_a_certificate_without_a_token_of_senders_is_not_enough(guarded: Guarded, token: str) -> None:
    """401 and a Status in the request's own encoding; what reads metrics does not send."""
    client = guarded.clients.issue_cert("app@example.com")
    status, body = guarded.post(token, client)
    assert (status, json.loads(body)["code"]) == (401, grpc.StatusCode.UNAUTHENTICATED.value[0])
    status, body = guarded.post(token, client, "application/x-protobuf")
    assert (status, status_pb2.Status.FromString(body).code) == (
        401,
        grpc.StatusCode.UNAUTHENTICATED.value[0],
    )
    assert guarded.call(token, client) == "UNAUTHENTICATED"


@pytest.mark.parametrize("port", ["http_port", "grpc_port", "admin_port"])
def test_plain_text_on_a_port_of_tls_ends_at_once(guarded: Guarded, port: str) -> None:
    """Nothing of the request is answered, and nothing of it is logged."""
    log = guarded.log.read_text()
    with socket.create_connection(("127.0.0.1", getattr(guarded, port)), timeout=60) as connection:
        connection.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        answer = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(1000):
                answer += data
    assert b"HTTP/1" not in answer
    assert guarded.get("/readyz") == 200
    assert guarded.log.read_text() == log


def test_health_is_for_everybody_and_metrics_for_whom_they_are_meant(guarded: Guarded) -> None:
    """A probe has neither certificate nor token; a sender's token does not open the metrics that have their own."""
    client = guarded.clients.issue_cert("prometheus@example.com")
    assert [guarded.get(path) for path in ("/healthz", "/readyz", "/metrics", "/anything")] == [
        200,
        200,
        401,
        401,
    ]
    assert guarded.get("/metrics", METRICS) == 401
    assert [guarded.get("/metrics", token, client) for token in ("", TOKEN_A, METRICS)] == [401, 401, 200]


def test_status_and_doctor_find_a_collector_behind_tls(guarded: Guarded) -> None:
    config = ("--config", guarded.folder / "collector.yaml")
    environment = {**os.environ, "TEAM_A": TOKEN_A}
    status = json.loads(run_here("otlp-collector", "status", *config, "--json", env=environment).stdout)
    assert status["server"] == {"running": True, "ready": True}
    doctor = json.loads(run_here("otlp-collector", "doctor", *config, "--json", env=environment).stdout)
    assert [check["name"] for check in doctor["checks"] if check["level"] == "fail"] == []


# --- renewal, in the order of the tests


def test_a_token_is_renewed_without_a_restart(guarded: Guarded) -> None:
    """The new one opens within 2 s or so and the one before does not, over both transports; half a file changes
    nothing."""
    client, file = guarded.clients.issue_cert("app@example.com"), guarded.folder / "token b"
    assert guarded.post(TOKEN_B, client)[0] == 200
    file.write_text("half")
    wait_until(lambda: "token cannot be renewed" in guarded.log.read_text())
    assert (guarded.post(TOKEN_B, client)[0], guarded.call(TOKEN_B, client)) == (200, "OK")
    file.write_text("token-b-as-it-is-now")
    wait_until(lambda: guarded.post("token-b-as-it-is-now", client)[0] == 200)
    assert guarded.call("token-b-as-it-is-now", client) == "OK"
    assert (guarded.post(TOKEN_B, client)[0], guarded.call(TOKEN_B, client)) == (401, "UNAUTHENTICATED")


def test_a_certificate_is_renewed_without_a_restart(guarded: Guarded) -> None:
    """Scenario: a key that does not fit, then the link is swapped to a pair of a new authority. An open connection goes
    on; those who do not know the authority stop at the new certificate, on all ports."""
    client, before = guarded.clients.issue_cert("app@example.com"), guarded.servers
    after = trustme.CA()
    write_pair(guarded.folder / "second", after)
    write_pair(guarded.folder / "broken", after)
    (guarded.folder / "broken/server.key").write_bytes((guarded.folder / "first/server.key").read_bytes())

    credentials = grpc.ssl_channel_credentials(
        before.cert_pem.bytes(), client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()
    )
    with grpc.secure_channel(f"localhost:{guarded.grpc_port}", credentials) as open_before:
        metadata = [("authorization", f"Bearer {TOKEN_A}")]
        assert code_of(open_before, metadata) == "OK"
        swap(guarded.folder, "broken")
        wait_until(lambda: "certificate cannot be renewed" in guarded.log.read_text())
        assert (guarded.post(TOKEN_A, client)[0], guarded.call(TOKEN_A, client)) == (200, "OK")
        swap(guarded.folder, "second")
        wait_until(lambda: "certificate renewed" in guarded.log.read_text())
        assert code_of(open_before, metadata) == "OK"
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        guarded.post(TOKEN_A, client)
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        guarded.get("/healthz")
    assert guarded.call(TOKEN_A, client) == "UNAVAILABLE"
    guarded.servers = after
    assert (guarded.post(TOKEN_A, client)[0], guarded.call(TOKEN_A, client)) == (200, "OK")
    assert guarded.get("/healthz") == 200


def swap(folder: Path, target: str) -> None:
    """As Kubernetes renews a mounted secret."""
    (folder / "next").symlink_to(target)
    (folder / "next").rename(folder / "live")


def test_no_token_is_in_the_log(guarded: Guarded) -> None:
    """Last: of all that was tried above."""
    log = guarded.log.read_text()
    assert "token renewed" in log
    assert [word for word in (TOKEN_A, TOKEN_B, METRICS, "token-b-as-it-is-now", "half") if word in log] == []


# --- what does not start


@pytest.mark.parametrize(
    ("endpoint", "config"),
    [
        ("grpc", ""),
        ("http", ""),
        ("admin", ""),
        ("http", "tls: {cert_file: FOLDER/live/server.crt, key_file: FOLDER/live/server.key}"),
    ],
)
def test_an_address_for_other_machines_needs_a_guard(
    guarded: Guarded, tmp_path: Path, endpoint: str, config: str
) -> None:
    """Exit code 2 and one line, and nothing listens; a certificate of the server alone lets everybody in."""
    (tmp_path / "c.yaml").write_text(config.replace("FOLDER", str(guarded.folder)))
    ports = {name: free_port() for name in ("grpc", "http", "admin")}
    addresses = [
        word
        for name, port in ports.items()
        for word in (f"--{name}-endpoint", f"{'0.0.0.0' if name == endpoint else '127.0.0.1'}:{port}")  # noqa: S104
    ]
    answer = run_here(
        "otlp-collector",
        "serve",
        "--data-dir",
        tmp_path / "data",
        "--config",
        tmp_path / "c.yaml",
        *addresses,
    )
    assert answer.returncode == 2
    assert re.fullmatch(rf"Error: .*{endpoint}_endpoint: 0\.0\.0\.0:.* --insecure-no-auth\n", answer.stderr)
    assert not (tmp_path / "data").exists()


def test_a_certificate_that_cannot_be_used_starts_nothing(guarded: Guarded, tmp_path: Path) -> None:
    """Named by `serve` and by `validate`."""
    broken = guarded.folder / "broken"
    flags = ("--tls-cert-file", broken / "server.crt", "--tls-key-file", broken / "server.key")
    for command in ("serve", "validate"):
        answer = run_here("otlp-collector", command, "--data-dir", tmp_path / "data", *flags)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert answer.stderr == (
            f"Error: {broken}/server.key: tls.key_file: it is not the key of {broken}/server.crt\n"
        )
    assert not (tmp_path / "data").exists()
