"""Pages that send telemetry: what a browser asks, and what it is told, over real sockets."""

import pytest
from google.rpc import status_pb2

from collector.spool import SpoolFull
from tests.unit.http_support import BODY, TRACES, send
from tests.unit.receivers_support import JSON, PROTOBUF, Receivers, config

PAGE = "https://app.example.com"
OTHER = "https://other.example.com"
TOKEN = "a-token-of-some-length"
ASKING = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    settings = {
        "http": {"cors_origins": [PAGE, "http://localhost:3000"]},
        "tokens": [{"name": "page", "token": TOKEN}],
    }
    with Receivers(config(tmp_path_factory.mktemp("data"), **settings)) as receivers:
        yield receivers


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with Receivers(config(tmp_path_factory.mktemp("data"))) as receivers:
        yield receivers


def cors(headers):
    return {name: value for name, value in headers.items() if name.startswith("Access-Control")}


def listed(header):
    return {part.strip().lower() for part in header.split(",")}


@pytest.mark.parametrize("path", [TRACES, "/v1/logs", "/v1/metrics", "/api/public/otel/v1/traces"])
def test_a_preflight_is_answered_without_a_token(configured, path):
    """Browsers send tokens only once they are allowed to; what they ask to send they may."""
    asked = {**ASKING, "Access-Control-Request-Headers": "authorization,content-type,x-team"}
    status, headers, content = send(configured, None, asked, path, "OPTIONS")
    assert (status, content) == (204, b"")
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert listed(headers["Access-Control-Allow-Methods"]) == {"post"}
    assert listed(headers["Access-Control-Allow-Headers"]) == {"authorization", "content-type", "x-team"}
    assert int(headers["Access-Control-Max-Age"]) > 0
    assert {"origin", "access-control-request-headers"} <= listed(headers["Vary"])


def test_a_preflight_that_names_no_headers(configured):
    status, headers, _ = send(configured, None, ASKING, TRACES, "OPTIONS")
    assert (status, headers["Access-Control-Allow-Headers"]) == (204, "Content-Type")


def test_a_preflight_cannot_write_into_the_answer(configured):
    """What is no list of header names is not repeated."""
    asked = {**ASKING, "Access-Control-Request-Headers": 'x"; <script>'}
    _, headers, _ = send(configured, None, asked, TRACES, "OPTIONS")
    assert headers["Access-Control-Allow-Headers"] == "Content-Type"


@pytest.mark.parametrize(
    ("headers", "path", "expected"),
    [
        ({**ASKING, "Origin": OTHER}, TRACES, 405),
        ({**ASKING, "Origin": "null"}, TRACES, 405),
        ({**ASKING, "Origin": "*"}, TRACES, 405),
        ({**ASKING, "Origin": PAGE + ":8443"}, TRACES, 405),
        ({**ASKING, "Origin": "http://app.example.com"}, TRACES, 405),
        ({"Access-Control-Request-Method": "POST"}, TRACES, 405),
        ({"Origin": PAGE}, TRACES, 405),
        (ASKING, "/nothing", 404),
    ],
)
def test_other_options_are_refused(configured, headers, path, expected):
    """Other origins, no preflight, no such path; only the configured origin may read the refusal."""
    status, answered, content = send(configured, None, {**headers, **PROTOBUF}, path, "OPTIONS")
    assert status == expected
    assert status_pb2.Status.FromString(content).message
    assert bool(cors(answered)) is (headers.get("Origin") == PAGE)


@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_answers_can_be_read_by_the_page(configured, headers):
    """Successes and refusals, those of the token too; Retry-After with them."""
    allowed = {**headers, "Origin": PAGE, "Authorization": f"Bearer {TOKEN}"}
    body = BODY if headers is PROTOBUF else b"{}"
    for sent, path, expected in (
        (allowed, TRACES, 200),
        (allowed, "/nothing", 404),
        ({**headers, "Origin": PAGE}, TRACES, 401),
        ({**allowed, "Content-Type": "text/plain"}, TRACES, 415),
    ):
        status, answered, _ = send(configured, body, sent, path)
        assert status == expected
        assert answered["Access-Control-Allow-Origin"] == PAGE
        assert listed(answered["Access-Control-Expose-Headers"]) == {"retry-after"}
        assert "origin" in listed(answered["Vary"])


def test_a_busy_server_tells_the_page_when_to_try_again(configured):
    configured.spool.failure = SpoolFull(5.0)
    try:
        headers = {**PROTOBUF, "Origin": PAGE, "Authorization": f"Bearer {TOKEN}"}
        status, answered, _ = send(configured, headers=headers)
    finally:
        configured.spool.failure = None
    assert (status, answered["Retry-After"], answered["Access-Control-Allow-Origin"]) == (503, "5", PAGE)


def test_other_pages_are_told_nothing(configured):
    """Nor clients that are no pages; that it depends on the origin is said all the same."""
    for origin in ({"Origin": OTHER}, {}):
        headers = {**PROTOBUF, **origin, "Authorization": f"Bearer {TOKEN}"}
        status, answered, _ = send(configured, headers=headers)
        assert (status, cors(answered)) == (200, {})
        assert "origin" in listed(answered["Vary"])


def test_without_configured_origins_there_is_no_cors(plain):
    """OPTIONS is a method like any other, and no header ever says anything to a page."""
    status, answered, _ = send(plain, None, ASKING, TRACES, "OPTIONS")
    assert (status, answered["Allow"], cors(answered)) == (405, "POST", {})
    status, answered, _ = send(plain, headers={**PROTOBUF, "Origin": PAGE})
    assert (status, cors(answered), answered["Vary"]) == (200, {}, "Accept-Encoding")
