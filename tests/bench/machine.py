"""What the figures were taken on."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = (
    "spanledger",
    "duckdb",
    "pyarrow",
    "grpcio",
    "protobuf",
    "aiohttp",
    "orjson",
    "uvloop",
)
_ROOT: Final = Path(__file__).parents[2]


def describe(directory: Path, cores: int) -> dict[str, Any]:
    """Time, commit, machine and versions; ``directory`` is where the data lies while it is measured."""
    return {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": {
            "processor": _found(Path("/proc/cpuinfo"), r"model name\s*: (.+)"),
            "cores": cores,
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "system": f"{platform.system()} {platform.release()}",
            "file_system": _file_system(directory),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _found(path: Path, pattern: str) -> str | None:
    try:
        found = re.search(pattern, path.read_text())
    except OSError:
        return None
    return found[1] if found else None


def _file_system(directory: Path) -> str | None:
    """Of the mount that holds it: the longest mount point that is one of its parents."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return None
    parents = {str(parent) for parent in (directory, *directory.resolve().parents)}
    return max(([len(point), kind] for point, kind in mounts if point in parents), default=[0, None])[1]
