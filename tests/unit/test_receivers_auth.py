"""Tokens and addresses: who may send, and where the receivers may listen."""

import http.client
import socket

import grpc
import pytest

from collector.receivers.endpoint import EndpointInvalid, EndpointTaken, bind
from collector.receivers.grpc import start_grpc
from collector.receivers.http import start_http
from tests.unit.receivers_support import PROTOBUF, TRACES, Receivers, config, request

BODY = request().SerializeToString()
SECRET, OTHER = "s" * 32, "o" * 32


@pytest.fixture(scope="module")
def receivers(tmp_path_factory):
    token_file = tmp_path_factory.mktemp("secrets") / "token"
    token_file.write_text(OTHER + "\n")
    tokens = [
        {"name": "team-a", "token": SECRET, "billing_account": "account-a", "tenant": "a"},
        {"name": "team-b", "token_file": str(token_file)},
    ]
    with Receivers(config(tmp_path_factory.mktemp("data"), tokens=tokens)) as receivers:
        yield receivers


def send(receivers, authorization):
    connection = http.client.HTTPConnection("127.0.0.1", receivers.http.port, timeout=10)
    headers = PROTOBUF if authorization is None else {**PROTOBUF, "Authorization": authorization}
    connection.request("POST", "/v1/traces", BODY, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


WRONG = [
    None,
    "",
    "Bearer",
    "Bearer " + "x" * 32,
    "Basic " + SECRET,
    SECRET,
    "Bearer " + SECRET[:-1],
    "Bearer é",
]


@pytest.mark.parametrize("authorization", WRONG)
def test_http_without_a_known_token_is_401(receivers, authorization):
    """With the challenge that RFC 9110 demands; nothing is spooled."""
    receivers.spool.records.clear()
    answer = send(receivers, authorization)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert receivers.spool.records == []


@pytest.mark.parametrize(
    ("authorization", "tenant", "account"),
    [("Bearer " + SECRET, "a", "account-a"), ("bearer  " + OTHER, "", None)],
)
def test_a_token_binds_its_sender(receivers, authorization, tenant, account):
    """Tenant and billing account go into the spool with the request, over both transports."""
    receivers.spool.records.clear()
    assert send(receivers, authorization).status == 200
    with receivers.channel() as channel:
        channel.unary_unary(TRACES)(BODY, metadata=[("authorization", authorization)], timeout=10)
    for record in receivers.spool.records:
        assert (record.tenant, record.billing_account) == (tenant, account)
    assert len(receivers.spool.records) == 2


@pytest.mark.parametrize("metadata", [[], [("authorization", "Bearer wrong")]])
def test_grpc_without_a_known_token_is_unauthenticated(receivers, metadata):
    """Not retryable."""
    with receivers.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(TRACES)(BODY, metadata=metadata, timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_token_is_asked_for_before_the_body(receivers):
    """Nobody unknown has a body read into memory: the answer comes while it is still to be sent."""
    with socket.create_connection(("127.0.0.1", receivers.http.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            b"Content-Length: 1000000\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("server", ["http", "grpc"])
def test_a_taken_port_is_said_to_be_taken(tmp_path, server):
    """One line with the setting, the address and the flag; two servers never share a port."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Receivers(config(tmp_path)) as receivers:
            start = {"http": start_http, "grpc": start_grpc}[server]
            for endpoint in (f"127.0.0.1:{port}", f"127.0.0.1:{getattr(receivers, server).port}"):
                with pytest.raises(EndpointTaken) as caught:
                    receivers.run(start(receivers.intake, endpoint, receivers.config))
                assert str(caught.value) == (
                    f"{server}_endpoint {endpoint} is already in use; stop the other process or choose "
                    f"another with --{server}-endpoint"
                )


@pytest.mark.parametrize("endpoint", ["192.0.2.1:4318", "no-such-host.invalid:4318"])
def test_an_address_of_elsewhere_is_invalid(endpoint):
    """Named in one line, with the reason."""
    with pytest.raises(
        EndpointInvalid, match=f"http_endpoint {endpoint} cannot be listened on: .*--http-endpoint"
    ):
        bind("http_endpoint", endpoint)


def test_every_address_of_a_name_gets_one_port():
    """Port 0 on localhost, which can be two addresses."""
    sockets = bind("http_endpoint", "localhost:0")
    assert len({listening.getsockname()[1] for listening in sockets}) == 1
    for listening in sockets:
        listening.close()
