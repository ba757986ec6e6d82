"""The sections of the configuration that say who gets in and what is hidden: TLS, tokens, redaction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from collector import config_values as values
from collector import redaction_key
from collector.config_section import ConfigError, RuleBroken, Section, Text
from semconv.settings import RedactionRules

UserFile = Annotated[Path, AfterValidator(lambda path: path.expanduser())]
RedactedKey = Annotated[str, AfterValidator(values.check_redacted_key)]

# A token with an end of line, however that is written.
_TOKEN_FILE_BYTES: Final = values.MAXIMUM_TOKEN_LENGTH + 2


class TlsConfig(Section):
    """Certificates for all three ports; with ``client_ca_file`` a client must show one of its own too."""

    cert_file: UserFile | None = Field(default=None, description="Certificate chain of the server (PEM).")
    key_file: UserFile | None = Field(default=None, description="Private key of the certificate (PEM).")
    client_ca_file: UserFile | None = Field(
        default=None, description="Authorities of clients' certificates (PEM): mutual TLS."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file come together")
        if self.client_ca_file and not self.cert_file:
            raise ValueError("client_ca_file needs cert_file and key_file")
        return self


class Secret(Section):
    """A bearer token, from the configuration (and with ``${env:NAME}`` the environment) or a file."""

    token: Annotated[str, AfterValidator(values.check_token)] | None = Field(default=None, repr=False)
    token_file: UserFile | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.token is None) == (self.token_file is None):
            raise ValueError("a token comes from exactly one of token and token_file")
        return self

    @property
    def label(self) -> str:
        """What messages call it."""
        return "metrics_token"

    def secret(self) -> str:
        """The token itself; a file is read anew at each call. Raises ConfigError."""
        if self.token_file is None:
            assert self.token is not None  # noqa: S101 - there is exactly one of them
            return self.token
        try:
            content = values.read_small(self.token_file, _TOKEN_FILE_BYTES)
            return values.check_token(content.decode("utf-8").strip())
        except UnicodeDecodeError:
            reason = "it is not UTF-8 text"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{self.token_file}: token_file of {self.label}: {reason}")


class Token(Secret):
    """A token of senders, and what it binds them to."""

    name: Annotated[str, AfterValidator(values.check_token_name)]
    billing_account: Text | None = None
    tenant: str = ""

    @property
    def label(self) -> str:
        return f"token {self.name!r}"


class RedactionConfig(Section):
    """What is taken out of attributes, wherever they stand, before anything is stored."""

    # Attribute keys; a * at the end stands for any further characters.
    drop: tuple[RedactedKey, ...] = ()
    hash: tuple[RedactedKey, ...] = ()
    user_ids: Literal["keep", "hash", "drop"] = Field(
        default="keep", description="What becomes of user ids, under whichever key they came."
    )
    secret_file: UserFile | None = Field(
        default=None, description="Key of the hashes; default redaction.key in the data directory."
    )

    @property
    def active(self) -> bool:
        return bool(self.drop or self.hash or self.user_ids != "keep")

    def check(self) -> None:
        """Raises RuleBroken for a key that is to be dropped and hashed."""
        for index, key in enumerate(self.hash):
            if key in self.drop:
                raise RuleBroken(
                    ("redaction", "hash", index), f"{key!r} is in redaction.drop too; choose one"
                )

    def make_key(self, data_dir: Path, *, of_prompts: bool = False) -> Path | None:
        """The default key where one is needed, by redaction or by hashes of prompts, and missing; the new file's path.
        Raises ConfigError."""
        path = data_dir / redaction_key.FILE_NAME
        needed = (self.active or of_prompts) and self.secret_file is None
        return path if needed and redaction_key.make(path) else None

    def key(self, data_dir: Path, spare_key: bytes) -> bytes:
        """The key; ``spare_key`` is taken where the default one is missing. Raises ConfigError where there is no key
        that can be used."""
        path = self.secret_file or data_dir / redaction_key.FILE_NAME
        spare = spare_key if self.secret_file is None and not path.exists() else b""
        return spare or redaction_key.read(path)

    def rules(self, data_dir: Path, spare_key: bytes) -> RedactionRules | None:
        """What extraction is to do, with the key of :meth:`key`. Raises ConfigError."""
        if not self.active:
            return None
        return RedactionRules(self.drop, self.hash, self.user_ids, self.key(data_dir, spare_key))
