"""Who may see what on the admin port, and what its errors look like, over real sockets."""

import asyncio
import http.client
import json
import ssl
import threading
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest
import trustme
import uvloop

from collector.admin.app import start_admin
from collector.budgets.desk import Desk
from collector.children import LoaderKeeper
from collector.config import Config
from collector.health import Health
from collector.receivers.auth import ANYBODY
from collector.receivers.status import Unauthenticated
from collector.spool import Spool
from collector.telemetry import Telemetry

TOKEN = {"Authorization": "Bearer a-token-of-some-length"}
WRONG = {"Authorization": "Bearer another-token-altogether"}


def authorize(header):
    if header != TOKEN["Authorization"]:
        raise Unauthenticated("no token")


@dataclass
class Doorkeeper:
    """Lets in by one rule, and knows nobody by name."""

    authorize: Callable[[str | None], None]

    def asker(self, header):
        self.authorize(header)
        return ANYBODY


@contextmanager
def admin(tmp_path, allow=authorize, context=None, **settings):
    """The port of an admin server in a thread."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    async def start():
        spool = Spool.open(tmp_path / "spool")
        health = Health(tmp_path, spool, LoaderKeeper([], {}, lambda _message: None))
        config = Config(data_dir=tmp_path, admin_endpoint="127.0.0.1:0", **settings)
        return spool, await start_admin(health, Telemetry(), config, Doorkeeper(allow), Desk(config), context)

    spool, server = run(start())
    try:
        yield server.port
    finally:
        run(server.close())
        run(spool.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def ask(port, path, method="GET", headers=(), tls=None):
    """Status, headers and body of one answer."""
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    options = {"context": tls} if tls else {}
    with closing(kind("127.0.0.1", port, timeout=10, **options)) as connection:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with admin(tmp_path_factory.mktemp("admin")) as bound:
        yield bound


@pytest.mark.parametrize(("path", "expected"), [("/healthz", 200), ("/readyz", 503)])
@pytest.mark.parametrize("headers", [{}, WRONG])
def test_health_needs_no_token(port, path, expected, headers):
    """Nor does a wrong one do harm: what restarts containers has none. (Nothing is ready here.)"""
    assert ask(port, path, headers=headers)[0] == expected


@pytest.mark.parametrize(("headers", "expected"), [({}, 401), (WRONG, 401), (TOKEN, 200)])
def test_metrics_need_leave(port, headers, expected):
    status, answered, _ = ask(port, "/metrics", headers=headers)
    assert status == expected
    assert answered["WWW-Authenticate"] == ("Bearer" if expected == 401 else None)


@pytest.mark.parametrize(
    ("path", "method", "headers", "expected", "code"),
    [
        ("/metrics", "GET", {}, 401, 16),
        ("/nothing", "GET", {}, 401, 16),
        ("/nothing", "GET", TOKEN, 404, 12),
        ("/", "GET", TOKEN, 404, 12),
        ("/healthz/", "GET", TOKEN, 404, 12),
        ("/healthz", "POST", {}, 405, 12),
        ("/readyz", "DELETE", {}, 405, 12),
        ("/metrics", "OPTIONS", TOKEN, 405, 12),
    ],
)
def test_errors_have_one_shape(port, path, method, headers, expected, code):
    """A google.rpc.Status in JSON; whoever has no leave does not learn what there is."""
    status, answered, content = ask(port, path, method, headers)
    assert (status, answered["Content-Type"]) == (expected, "application/json")
    assert json.loads(content)["code"] == code
    assert json.loads(content)["message"]
    assert answered["Allow"] == ("GET, HEAD" if expected == 405 else None)
    assert answered["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("path", "headers"), [("/healthz", {}), ("/metrics", TOKEN), ("/nothing", TOKEN)])
def test_head_is_get_without_the_body(port, path, headers):
    status, answered, content = ask(port, path, "HEAD", headers)
    expected, of_get, body = ask(port, path, "GET", headers)
    assert (status, content) == (expected, b"")
    assert answered["Content-Type"] == of_get["Content-Type"]
    if path != "/metrics":  # which counts what happens meanwhile
        assert int(answered["Content-Length"]) == len(body)


def test_a_body_is_not_read(port):
    """64 MiB sent with a GET are nobody's business: the answer comes."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.putrequest("GET", "/healthz")
        connection.putheader("Content-Length", str(64 << 20))
        connection.endheaders()
        assert connection.getresponse().status == 200


def test_the_limits_of_connections_hold_here_too(tmp_path):
    with admin(tmp_path, limits={"max_connections": 1, "max_header_bytes": 1000}) as port:
        assert ask(port, "/healthz", headers={"Big": "x" * 2000})[0] == 431
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as only:
            only.connect()
            status, headers, content = ask(port, "/healthz")
            assert (status, headers["Retry-After"], json.loads(content)["code"]) == (503, "1", 14)


# Mutual TLS.


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(directory / "key.pem")
    server.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    return {
        "cert_file": directory / "cert.pem",
        "key_file": directory / "key.pem",
        "client_ca_file": directory / "ca.pem",
    }


def server_tls(files):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert_file"], files["key_file"])
    context.load_verify_locations(files["client_ca_file"])
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_tls(authority, certificate_of=None):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate_of is not None:
        certificate_of.issue_cert("client@example.com").configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("tokens", "allow"),
    [([{"name": "a", "token": "a-token-of-some-length"}], authorize), ([], lambda _header: None)],
    ids=["tokens", "no tokens"],
)
def test_mutual_tls(tmp_path, authority, files, tokens, allow):
    """Health for everybody; the rest, as on the other ports, for who shows a certificate, and a token as well
    where there are any. Where there are none a header opens nothing."""
    with admin(tmp_path, allow, server_tls(files), tls=files, tokens=tokens) as port:
        shown, hidden = client_tls(authority, authority), client_tls(authority)
        assert ask(port, "/healthz", tls=hidden)[0] == 200
        assert ask(port, "/readyz", tls=hidden)[0] == 503
        assert ask(port, "/metrics", headers=TOKEN, tls=shown)[0] == 200
        assert ask(port, "/metrics", tls=shown)[0] == (401 if tokens else 200)
        assert ask(port, "/nothing", tls=hidden)[0] == 401
        for headers in ({}, WRONG, TOKEN):
            status, _, content = ask(port, "/metrics", headers=headers, tls=hidden)
            assert (status, json.loads(content)["message"]) == (401, "show a client certificate")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(port, "/metrics", tls=client_tls(authority, trustme.CA()))


def test_tls_of_the_server_alone_is_no_leave(tmp_path, authority, files):
    """A client certificate that nobody asked for opens nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert_file"], files["key_file"])
    own = {name: path for name, path in files.items() if name != "client_ca_file"}
    with admin(tmp_path, authorize, context, tls=own) as port:
        assert ask(port, "/metrics", tls=client_tls(authority, authority))[0] == 401
        assert ask(port, "/metrics", headers=TOKEN, tls=client_tls(authority))[0] == 200
