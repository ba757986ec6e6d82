"""What `serve` prints to be pasted: read by a real shell and by the parser of the Python SDK."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme
from opentelemetry.util.re import parse_env_headers

from collector.banner import banner
from collector.config import Config

ENDPOINTS = {"grpc": "127.0.0.1:4317", "http": "127.0.0.1:4318", "admin": "127.0.0.1:4320"}
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
PLAIN = "0123456789abcdef"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - printed, not bound to


def pasted(text: str) -> dict[str, str]:
    """The environment after all the printed lines that say export went through a shell."""
    lines = "\n".join(line.strip() for line in text.splitlines() if line.strip().startswith(("export", "#")))
    shell = subprocess.run(
        ["/bin/sh", "-eu", "-c", f"{lines}\nenv -0"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert shell.stderr == ""
    variables = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line)
    return {name: value for name, value in variables.items() if name.startswith("OTEL_")}


def printed(tmp_path: Path, *, terminal: bool, endpoints: dict[str, str] = ENDPOINTS, **values: Any) -> str:
    return banner(Config(data_dir=tmp_path, **values), endpoints, terminal)


def header(text: str) -> str:
    headers = parse_env_headers(pasted(text)["OTEL_EXPORTER_OTLP_HEADERS"])
    assert list(headers) == ["authorization"]
    return headers["authorization"]


def test_without_tokens_and_tls_three_lines_do(tmp_path: Path) -> None:
    assert pasted(printed(tmp_path, terminal=True)) == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }


def test_the_lines_for_grpc_stand_there_too(tmp_path: Path) -> None:
    """As comments: whoever pastes everything sends over HTTP."""
    text = printed(tmp_path, terminal=True).replace("# export", "export")
    assert pasted(text) == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }


@pytest.mark.parametrize(
    "token",
    [
        PLAIN,
        VISIBLE,
        VISIBLE[::-1],
        "%41%2C" * 4,
        "$(id)`id`" * 3,
        "a+b/c==" * 4,
        "\"'\\!#&;|<>" * 2,
        "," * 16,
    ],
)
@pytest.mark.parametrize("source", ["token", "token_file"])
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "journal"])
def test_any_token_survives_the_shell_and_the_sdk(
    tmp_path: Path, token: str, source: str, terminal: bool
) -> None:
    """All of visible ASCII; into a journal goes a token from a file only as the command that reads it, and one
    from the configuration not at all."""
    file = tmp_path / "the token's file"
    file.write_text(token + "\n")
    text = printed(
        tmp_path, terminal=terminal, tokens=[{"name": "team a", source: token if source == "token" else file}]
    )
    if terminal or source == "token_file":
        assert header(text) == f"Bearer {token}"
    else:
        assert 'HEADERS="Authorization=Bearer%20<token team a>"' in text
    assert "# token team a" in text
    if not terminal:
        assert token not in text


def test_a_plain_token_stands_there_as_it_is(tmp_path: Path) -> None:
    text = printed(tmp_path, terminal=True, tokens=[{"name": "a", "token": PLAIN}])
    assert f'  export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20{PLAIN}"\n' in text


def test_a_file_with_a_plain_token_needs_no_more_than_cat(tmp_path: Path) -> None:
    """And what was encoded stays right when the file is renewed."""
    file = tmp_path / "token"
    file.write_text(PLAIN + "\n")
    text = printed(tmp_path, terminal=False, tokens=[{"name": "a", "token_file": file}])
    assert f'HEADERS="Authorization=Bearer%20$(cat {file})"' in text
    file.write_text("another-plain-token\n")
    assert header(text) == "Bearer another-plain-token"


def test_every_token_has_its_line_and_its_name(tmp_path: Path) -> None:
    tokens = [{"name": "a", "token": "a" * 16}, {"name": "b", "token": "b" * 16}]
    text = printed(tmp_path, terminal=True, tokens=tokens, metrics_token={"token": "m" * 16})
    assert re.findall(r"# token (\w)\n.*Bearer%20(\w+)", text) == [("a", "a" * 16), ("b", "b" * 16)]
    assert "m" * 16 not in text


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def files(folder: Path, authority: trustme.CA, *names: str, with_authority: bool = False) -> dict[str, Path]:
    """A certificate for ``names`` as the configuration wants it."""
    issued = authority.issue_cert(*names)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    (folder / "server.crt").write_bytes(chain + (authority.cert_pem.bytes() if with_authority else b""))
    issued.private_key_pem.write_to_path(folder / "server.key")
    return {"cert_file": folder / "server.crt", "key_file": folder / "server.key"}


def test_with_tls_the_endpoint_is_https_and_the_authority_is_asked_for(
    tmp_path: Path, authority: trustme.CA
) -> None:
    variables = pasted(printed(tmp_path, terminal=True, tls=files(tmp_path, authority, "127.0.0.1")))
    assert variables == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "<authority of the certificate, PEM>",
    }


def test_a_chain_that_ends_in_its_own_authority_is_named(tmp_path: Path, authority: trustme.CA) -> None:
    tls = files(tmp_path, authority, "127.0.0.1", with_authority=True)
    variables = pasted(printed(tmp_path, terminal=True, tls=tls))
    assert variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] == str(tls["cert_file"])


def test_a_certificate_that_the_system_trusts_needs_no_line(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a public authority; clients would not take the system's others any more."""
    authority.cert_pem.write_to_path(tmp_path / "system.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    text = printed(tmp_path, terminal=True, tls=files(tmp_path, authority, "127.0.0.1"))
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" not in text


def test_mutual_tls_leaves_places_for_the_application_s_own_certificate(
    tmp_path: Path, authority: trustme.CA
) -> None:
    tls = files(tmp_path, authority, "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "clients.pem")
    variables = pasted(
        printed(tmp_path, terminal=True, tls={**tls, "client_ca_file": tmp_path / "clients.pem"})
    )
    assert variables["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"].startswith("<")
    assert variables["OTEL_EXPORTER_OTLP_CLIENT_KEY"].startswith("<")


@pytest.mark.parametrize(
    ("names", "listening", "host"),
    [
        (["localhost"], "127.0.0.1", "localhost"),
        (["collector.example.com"], "127.0.0.1", "collector.example.com"),
        (["collector.example.com", "other.example.com"], EVERYWHERE, "collector.example.com"),
        (["*.example.com", "x.example.org"], EVERYWHERE, "x.example.org"),
        ([socket.gethostname(), "x.example.org"], EVERYWHERE, socket.gethostname()),
        (["::1"], "[::1]", "[::1]"),
        (["192.0.2.7"], "127.0.0.1", "192.0.2.7"),
        # Nothing better is known than where it listens.
        (["*.example.com"], "127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_endpoint_is_a_name_that_the_certificate_is_for(
    tmp_path: Path, authority: trustme.CA, names: list[str], listening: str, host: str
) -> None:
    """A client would refuse any other."""
    text = printed(
        tmp_path,
        terminal=True,
        tls=files(tmp_path, authority, *names),
        endpoints=dict.fromkeys(ENDPOINTS, f"{listening}:4000"),
    )
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT=https://{host}:4000\n" in text
    assert f"https://{host}:4000/readyz" in text
