"""A lake of everything that was captured from real libraries, for tests that read it: written once in a process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.renormalize_support import CORPUS, captures
from tests.store_support import store


@cache
def captured_lake() -> Path:
    """Nobody changes it. A scenario of a library is a tenant."""
    directory = Path(tempfile.mkdtemp(prefix="captured-lake-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    libraries = sorted({file.parent.name for file in CORPUS.glob("*/*.pb")})
    with store(directory / "data") as written:
        written.load(*captures(*libraries))
    return directory / "data"
