"""The server's certificates, taken from their files and taken again when these change.

A renewed certificate is tried in a handshake of its own before it is used: whatever is wrong with it, the one
before stays. Connections that are open go on as they began.
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from collector.config_access import TlsConfig
from collector.config_section import ConfigError
from collector.config_values import read_small

if TYPE_CHECKING:
    import grpc

# Of clients: "optional" leaves it to the server what those without one may ask for.
ClientCertificates = Literal["required", "optional"]

# A chain has some KiB; a bundle of all public authorities 250 KiB.
_MOST_BYTES: Final = 1 << 20
_MODES: Final[dict[ClientCertificates, ssl.VerifyMode]] = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
}
# Why OpenSSL refuses a certificate, by its names for it; whatever else it says of a pair is about the key.
_OF_THE_CERTIFICATE: Final = frozenset(
    {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "EE_MD_TOO_WEAK"}
)
# A handshake has two flights each way in TLS 1.2, fewer in 1.3.
_FLIGHTS: Final = 3


@dataclass(frozen=True, slots=True)
class Presented:
    """What clients see: the DNS names and addresses of the certificate, and whom they have to trust."""

    names: tuple[str, ...]
    publicly_trusted: bool
    self_contained: bool  # cert_file holds the authority too, and is what a client needs

    def is_for(self, host: str) -> bool:
        """Whether a client that connects to ``host`` accepts the certificate (RFC 6125, 6.4)."""
        _, _, domain = host.lower().partition(".")
        return host.lower() in self.names or f"*.{domain}" in self.names


@dataclass(frozen=True, slots=True)
class _Files:
    """The files' contents; all of one moment."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    files: _Files
    contexts: dict[ClientCertificates, ssl.SSLContext]


class Certificates:
    """The certificate of all ports; without one in the configuration everything is in plain text."""

    def __init__(self, tls: TlsConfig) -> None:
        """Raises ConfigError: one line that names the file and what is wrong with it."""
        self._tls = tls
        self._loaded = None if tls.cert_file is None else _load(tls)

    def renew(self) -> bool:
        """Take the files anew if they changed; whether they did. For any one thread.

        Raises ConfigError where they cannot be used; everything stays as it was then.
        """
        if self._loaded is None or _read(self._tls) == self._loaded.files:
            return False
        self._loaded = _load(self._tls)
        return True

    def server_context(self, *, client_certificates: ClientCertificates) -> ssl.SSLContext | None:
        """For servers that speak HTTP/1.1; it follows every renewal."""
        if self._loaded is None:
            return None
        context = self._loaded.contexts[client_certificates]
        context.sni_callback = self._switch(client_certificates, context)
        return context

    def grpc_credentials(self) -> grpc.ServerCredentials | None:
        """For gRPC, with client certificates required where authorities are configured; as above."""
        import grpc  # noqa: PLC0415 - the commands that only look at the files start faster without it

        if self._loaded is None:
            return None
        served = self._loaded.files

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Called for each connection; None is: as before."""
            nonlocal served
            loaded = self._loaded
            if loaded is None or loaded.files is served:
                return None
            served = loaded.files
            return configuration(served)

        def configuration(files: _Files) -> grpc.ServerCertificateConfiguration:
            pairs = [(files.key, files.certificate)]
            return grpc.ssl_server_certificate_configuration(pairs, files.client_ca)

        required = self._tls.client_ca_file is not None
        # grpc-stubs does not know that the answer may be None.
        return grpc.dynamic_ssl_server_credentials(configuration(served), fetch, required)  # type: ignore[arg-type]

    def presented(self) -> Presented | None:
        """None without a certificate. Raises ConfigError."""
        if self._loaded is None:
            return None
        server = _context(self._tls)
        own = _client_trusting(self._tls.cert_file)
        own.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN
        return Presented(
            names=_names(_rehearse(server, self._tls).getpeercert()),
            publicly_trusted=_accepts(_client_trusting(None), server),
            self_contained=_accepts(own, server),
        )

    def _switch(
        self, client_certificates: ClientCertificates, first: ssl.SSLContext
    ) -> Callable[..., int | None]:
        """OpenSSL asks at the beginning of every handshake, for clients that name no host too. The new
        context brings certificate and authorities; loading them into the first one would leave it with half
        of them where the second half fails, and authorities could never be taken away."""

        def switch(connection: ssl.SSLObject, _host: str | None, _context: ssl.SSLContext) -> int | None:
            assert self._loaded is not None  # noqa: S101 - there is a context
            newest = self._loaded.contexts[client_certificates]
            if newest is first:
                return None
            connection.context = newest
            # A client of TLS 1.2 that resumes a session was accepted by the authorities of before. It comes
            # again without the session, and is accepted or not.
            resumed = connection.session_reused and newest.verify_mode != ssl.CERT_NONE
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if resumed else None

        return switch


def _load(tls: TlsConfig) -> _Loaded:
    files = _read(tls)
    contexts = {mode: _context(tls) for mode in _MODES}
    _rehearse(contexts["required"], tls)
    if tls.client_ca_file:
        for mode, context in contexts.items():
            _trust(context, "client_ca_file", tls.client_ca_file)
            context.verify_mode = _MODES[mode]
    if _read(tls) != files:
        raise ConfigError(f"{tls.cert_file}: the certificate changed while it was being read")
    return _Loaded(files, contexts)


def _read(tls: TlsConfig) -> _Files:
    ca = tls.client_ca_file
    return _Files(
        _content("cert_file", tls.cert_file),
        _content("key_file", tls.key_file),
        _content("client_ca_file", ca) if ca else None,
    )


def _content(name: str, path: Path | None) -> bytes:
    assert path is not None  # noqa: S101 - the configuration has all of them or none
    try:
        return read_small(path, _MOST_BYTES)
    except (OSError, ValueError) as error:
        raise _unusable(path, name, getattr(error, "strerror", None) or str(error)) from None


def _unusable(path: Path | None, name: str, reason: str) -> ConfigError:
    return ConfigError(f"{path}: tls.{name}: {reason}")


def _context(tls: TlsConfig) -> ssl.SSLContext:
    """A server's context with the certificate, asking nobody for theirs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A resumed session would go on with a client's certificate after its authority was taken away.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    _load_chain(context, tls)
    return context


class _Encrypted(Exception):  # noqa: N818 - the name says what is the case
    """The key asks for a password."""


def _no_password() -> str:
    """Without this OpenSSL would ask on the terminal."""
    raise _Encrypted


def _load_chain(context: ssl.SSLContext, tls: TlsConfig) -> None:
    assert tls.cert_file is not None  # noqa: S101 - asked before
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "cert_file", tls.cert_file)
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
    except _Encrypted:
        reason = "the key is encrypted, and there is nobody to ask for its password; decrypt it"
    except ssl.SSLError as error:
        if error.reason in _OF_THE_CERTIFICATE:
            raise _unusable(tls.cert_file, "cert_file", _words(error)) from None
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        reason = (
            f"it is not the key of {tls.cert_file}" if mismatch else "there is no private key in PEM in it"
        )
    else:
        return
    raise _unusable(tls.key_file, "key_file", reason)


def _trust(context: ssl.SSLContext, name: str, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise _unusable(path, name, "there is no certificate in PEM in it") from None


def _rehearse(server: ssl.SSLContext, tls: TlsConfig) -> ssl.SSLObject:
    """The client's end of a handshake, the client trusting this very certificate: where it fails, all will.

    Raises ConfigError.
    """
    try:
        return _shake_hands(_client_trusting(tls.cert_file), server)
    except ssl.SSLCertVerificationError as error:
        raise _unusable(tls.cert_file, "cert_file", error.verify_message) from None
    except ssl.SSLError as error:
        raise _unusable(
            tls.cert_file, "cert_file", f"no handshake succeeds with it: {_words(error)}"
        ) from None


def _client_trusting(path: Path | None) -> ssl.SSLContext:
    """A client that takes ``path`` for an authority, whether it is one or not; None: the system's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if path is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(path)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLObject:
    """The client's end. Raises ssl.SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(_FLIGHTS):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends[0]


def _accepts(client: ssl.SSLContext, server: ssl.SSLContext) -> bool:
    try:
        _shake_hands(client, server)
    except ssl.SSLError:
        return False
    return True


def _names(certificate: Any) -> tuple[str, ...]:
    """DNS names in lower case and addresses in their short form, out of what ``getpeercert`` gives."""
    alternatives = (certificate or {}).get("subjectAltName", ())
    names = [value.lower() for kind, value in alternatives if kind == "DNS"]
    addresses = [str(ipaddress.ip_address(value)) for kind, value in alternatives if kind == "IP Address"]
    return (*names, *addresses)


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
