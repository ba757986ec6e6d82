"""Certificates from files: what is refused and in which words, and what a renewal changes."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from collector.config_access import TlsConfig
from collector.config_section import ConfigError
from collector.tls import Certificates

CA, CLIENTS = trustme.CA(), trustme.CA(organization_name="clients")
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def tls(tmp_path: Path) -> TlsConfig:
    """A pair for localhost and the authority of the clients."""
    write(tmp_path, CA.issue_cert("localhost"))
    CLIENTS.cert_pem.write_to_path(tmp_path / "clients.pem")
    return TlsConfig(
        cert_file=tmp_path / "server.crt",
        key_file=tmp_path / "server.key",
        client_ca_file=tmp_path / "clients.pem",
    )


def write(folder: Path, issued: trustme.LeafCert) -> None:
    (folder / "server.crt").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (folder / "server.key").write_bytes(issued.private_key_pem.bytes())


def encrypted(key: bytes, form: serialization.PrivateFormat) -> bytes:
    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(
        serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"password")
    )


def weak() -> bytes:
    """Self-signed by an RSA key of 1024 bits, which no client takes any more."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, NOW - dt.timedelta(1), NOW + dt.timedelta(9)
    )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form) + pem


def expired() -> bytes:
    old = CA.issue_cert("localhost", not_before=NOW - dt.timedelta(9), not_after=NOW - dt.timedelta(1))
    return old.private_key_and_cert_chain_pem.bytes()


def early() -> bytes:
    new = CA.issue_cert("localhost", not_before=NOW + dt.timedelta(1), not_after=NOW + dt.timedelta(9))
    return new.private_key_and_cert_chain_pem.bytes()


PAIR = ("server.crt", "server.key")
KEY = CA.issue_cert("localhost").private_key_pem.bytes()


@pytest.mark.parametrize(
    ("files", "content", "setting", "reason"),
    [
        (PAIR, None, "cert_file", "No such file"),
        (("server.key",), None, "key_file", "No such file"),
        (("clients.pem",), None, "client_ca_file", "No such file"),
        (("server.crt",), b"", "cert_file", "no certificate in PEM"),
        (("server.crt",), b"\x30\x82\x01\x00", "cert_file", "no certificate in PEM"),
        (("server.crt",), KEY, "cert_file", "no certificate in PEM"),
        (("server.key",), b"", "key_file", "no private key in PEM"),
        (("server.key",), b"-----BEGIN PRIVATE KEY-----\nx\n", "key_file", "no private key in PEM"),
        (("server.key",), KEY, "key_file", "not the key of .*server.crt"),
        (("server.key",), encrypted(KEY, serialization.PrivateFormat.PKCS8), "key_file", "is encrypted"),
        (
            ("server.key",),
            encrypted(KEY, serialization.PrivateFormat.TraditionalOpenSSL),
            "key_file",
            "is encrypted",
        ),
        (("clients.pem",), b"nothing", "client_ca_file", "no certificate in PEM"),
        (PAIR, expired(), "cert_file", "certificate has expired"),
        (PAIR, early(), "cert_file", "not yet valid"),
        (PAIR, weak(), "cert_file", "key too small"),
        (("server.crt",), b"x" * (2 << 20), "cert_file", "larger than"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_the_file_and_the_reason(
    tmp_path: Path, tls: TlsConfig, files: tuple[str, ...], content: bytes | None, setting: str, reason: str
) -> None:
    """Before any port opens; nobody is asked for a password."""
    for name in files:
        (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/.*: tls\.{setting}: .*{reason}") as caught:
        Certificates(tls)
    assert "\n" not in str(caught.value)


def test_a_pipe_or_a_directory_is_no_certificate(tmp_path: Path, tls: TlsConfig) -> None:
    (tmp_path / "server.key").unlink()
    os.mkfifo(tmp_path / "server.key")
    with pytest.raises(ConfigError, match=r"tls\.key_file: it is not a file"):
        Certificates(tls)


def test_without_a_certificate_everything_is_in_plain_text() -> None:
    certificates = Certificates(TlsConfig())
    assert certificates.server_context(client_certificates="required") is None
    assert certificates.grpc_credentials() is None
    assert certificates.presented() is None
    assert not certificates.renew()


# --- renewal: handshakes in memory, both ends of the real library


class Refused(Exception):  # noqa: N818 - as in the product
    """The server's end did not accept the client."""


def handshake(
    server: ssl.SSLContext, *, trusting: trustme.CA = CA, showing: Any = None, **options: Any
) -> Any:
    """The server's end of a handshake with a client. Raises ssl.SSLError of the client, or Refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.configure_trust(context)
    if showing:
        showing.configure_cert(context)
    for name, value in options.items():
        setattr(context, name, value)
    return connected(context, server)[1]


def connected(
    client: ssl.SSLContext, server: ssl.SSLContext, session: Any = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        step(near)
        try:
            step(far)
        except ssl.SSLError as error:
            raise Refused(error.reason) from error
    return near, far


def step(end: ssl.SSLObject) -> None:
    with contextlib.suppress(ssl.SSLWantReadError):
        end.do_handshake()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_renewal_brings_certificate_and_authorities_together(
    tmp_path: Path, tls: TlsConfig, version: ssl.TLSVersion
) -> None:
    """What clients trusted before is not shown any more, and clients of the old authority stay out."""
    certificates = Certificates(tls)
    context = certificates.server_context(client_certificates="required")
    assert context is not None
    newer, newer_clients = trustme.CA(), trustme.CA()
    of_old, of_new = CLIENTS.issue_cert("a@x.org"), newer_clients.issue_cert("a@x.org")
    assert handshake(context, showing=of_old, maximum_version=version).getpeercert()
    assert not certificates.renew()

    write(tmp_path, newer.issue_cert("localhost"))
    newer_clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    assert certificates.renew()
    end = handshake(context, trusting=newer, showing=of_new, maximum_version=version)
    assert (end.version(), bool(end.getpeercert())) == (version.name.replace("_", "."), True)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context, showing=of_new, maximum_version=version)
    for stranger in (of_old, None):
        with pytest.raises(Refused):
            handshake(context, trusting=newer, showing=stranger, maximum_version=version)


@pytest.mark.parametrize("part", ["server.crt", "server.key", "clients.pem"])
def test_a_renewal_that_is_half_done_changes_nothing_until_it_is_whole(
    tmp_path: Path, tls: TlsConfig, part: str
) -> None:
    certificates = Certificates(tls)
    context = certificates.server_context(client_certificates="required")
    assert context is not None
    before = (tmp_path / part).read_bytes()
    for broken in (KEY if part == "server.key" else b"", b"garbage"):
        (tmp_path / part).write_bytes(broken)
        with pytest.raises(ConfigError):
            certificates.renew()
        handshake(context, showing=CLIENTS.issue_cert("a@x.org"))
    (tmp_path / part).write_bytes(before)
    assert not certificates.renew()
    newer = trustme.CA()
    write(tmp_path, newer.issue_cert("localhost"))
    assert certificates.renew()
    handshake(context, trusting=newer, showing=CLIENTS.issue_cert("a@x.org"))


def test_a_renewal_is_seen_where_a_link_is_swapped(tmp_path: Path) -> None:
    """As Kubernetes renews secrets: a link to a directory is replaced, times and sizes may all be the same."""
    first, second = trustme.CA(), trustme.CA()
    for name, authority in (("1", first), ("2", second)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, authority.issue_cert("localhost"))
        for file in PAIR:
            os.utime(tmp_path / name / file, (1e9, 1e9))
    (tmp_path / "data").symlink_to("1")
    for file in PAIR:
        (tmp_path / file).symlink_to(f"data/{file}")
    certificates = Certificates(TlsConfig(cert_file=tmp_path / PAIR[0], key_file=tmp_path / PAIR[1]))
    context = certificates.server_context(client_certificates="required")
    assert context is not None
    handshake(context, trusting=first)
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").rename(tmp_path / "data")
    assert certificates.renew()
    handshake(context, trusting=second)


def test_an_optional_certificate_may_be_missing_and_must_not_be_a_stranger_s(tls: TlsConfig) -> None:
    context = Certificates(tls).server_context(client_certificates="optional")
    assert context is not None
    assert not handshake(context).getpeercert()
    assert handshake(context, showing=CLIENTS.issue_cert("a@x.org")).getpeercert()
    with pytest.raises(Refused):
        handshake(context, showing=CA.issue_cert("a@x.org"))


def test_nothing_older_than_tls_1_2_is_spoken(tls: TlsConfig) -> None:
    context = Certificates(tls).server_context(client_certificates="optional")
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.warns(DeprecationWarning), pytest.raises((Refused, ssl.SSLError)):
        handshake(
            context,
            minimum_version=ssl.TLSVersion.TLSv1,
            maximum_version=ssl.TLSVersion.TLSv1_1,
        )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_outlives_the_authority_of_its_client(
    tmp_path: Path, tls: TlsConfig, version: ssl.TLSVersion
) -> None:
    """Whoever resumed it would get in without showing a certificate that anybody trusts."""
    certificates = Certificates(tls)
    context = certificates.server_context(client_certificates="required")
    assert context is not None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.maximum_version = version
    CA.configure_trust(client)
    CLIENTS.issue_cert("a@x.org").configure_cert(client)
    near, far = connected(client, context)
    far.write(b"x")
    assert near.read(1) == b"x"  # a ticket would have come before it

    trustme.CA().cert_pem.write_to_path(tmp_path / "clients.pem")
    assert certificates.renew()
    with pytest.raises(Refused):
        connected(client, context, near.session)
