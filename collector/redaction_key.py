"""The key of the hashes that redaction puts in the place of values: read with care, made once.

Who lost it cannot tell whether two hashes, one from before and one from after, stand for one value. So it is
never replaced by another, and without it nothing is loaded.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from collector.config_section import ConfigError
from collector.config_values import read_small
from collector.store.durability import sync

FILE_NAME: Final = "redaction.key"
# HMAC-SHA-256 gains nothing from a key longer than its digest (RFC 2104, 3).
_BYTES: Final = 32
_FEWEST_BYTES: Final = 16
_MOST_BYTES: Final = 4096


def read(path: Path) -> bytes:
    """The key, all bytes of the file as they are. Raises ConfigError."""
    try:
        _check_private(path)
        key = read_small(path, _MOST_BYTES)
    except OSError as error:
        hint = "; otlp-collector serve makes it" if path.name == FILE_NAME and not path.exists() else ""
        raise ConfigError(f"{path}: key of the redaction: {error.strerror}{hint}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: key of the redaction: {error}") from None
    if len(key) < _FEWEST_BYTES:
        raise ConfigError(
            f"{path}: key of the redaction: it has {len(key)} bytes, {_FEWEST_BYTES} are needed"
        )
    return key


def make(path: Path) -> bool:
    """Write a new random key where there is no file yet; whether there was none. Raises ConfigError.

    Complete or not there at all, whatever else starts or ends meanwhile: who comes second finds the first's.
    """
    if path.exists():
        return False
    try:
        draft = _write_draft(path)
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        finally:
            Path(draft).unlink()
        sync(path.parent)
    except OSError as error:
        raise ConfigError(f"{path}: the key of the redaction cannot be written: {error.strerror}") from None
    return True


def _check_private(path: Path) -> None:
    status = path.stat()
    # Files that root owns and lends to a group are how Kubernetes mounts secrets for another user.
    lent = status.st_uid == 0 and os.geteuid() != 0
    if stat.S_IMODE(status.st_mode) & (0o037 if lent else 0o077):
        mode = stat.S_IMODE(status.st_mode)
        raise ValueError(f"it is open to other users (mode {mode:04o}): chmod 0600 it")


def _write_draft(path: Path) -> str:
    """A new file of mode 0600 with a new key, beside ``path``."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return draft
