"""The data directory: private to its owner, and one server's at a time."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from collector.store.durability import make_directory
from collector.store.lock import LockTimeout, file_lock

SERVER_LOCK: Final = "server.lock"
SPOOL: Final = "spool"
CATALOG: Final = "catalog.sqlite"


class CannotStart(Exception):  # noqa: N818 - the name says what is the case
    """The server cannot start; the message is one line for its operator."""


def prepare(data_dir: Path) -> None:
    """Create the directory with mode 0700, or check that nobody else can use it. Raises CannotStart."""
    try:
        make_directory(data_dir)
        mode = stat.S_IMODE(data_dir.stat().st_mode)
    except FileExistsError:
        raise CannotStart(f"--data-dir {data_dir} is not a directory") from None
    except OSError as error:
        raise CannotStart(f"--data-dir {data_dir} cannot be used: {error.strerror}") from None
    if mode & 0o077:
        raise CannotStart(
            f"--data-dir {data_dir} is open to other users (mode {mode:04o}); it has to be 0700: "
            f"chmod 0700 {shlex.quote(str(data_dir))}"
        )
    if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        raise CannotStart(f"--data-dir {data_dir} is not writable for user {os.geteuid()}")


@contextmanager
def server_lock(data_dir: Path) -> Iterator[None]:
    """Be the one server of this directory. Raises CannotStart where another is running."""
    try:
        with file_lock(data_dir / SERVER_LOCK, timeout_seconds=0):
            yield
    except LockTimeout:
        raise CannotStart(f"another server is running on --data-dir {data_dir}") from None
