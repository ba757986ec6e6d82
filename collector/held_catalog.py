"""An idle connection to the lake's catalog. While it is open, SQLite keeps the two files beside the catalog that each
reader needs: without them no reader could begin on a full disk, and none who may only read the directory.

For a process that has no DuckDB: two copies of SQLite in one process do not see each other's locks.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from collector.data_dir import CATALOG

# A commit of the lake holds the catalog for some milliseconds.
_BUSY_SECONDS = 10.0


def hold(data_dir: Path) -> sqlite3.Connection:
    """Open, and between two reads, so that nobody waits for it. Close it in whichever thread. Raises sqlite3.Error."""
    path = f"{(data_dir / CATALOG).absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
    )
    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    return connection
