"""Requests that cannot be loaded, spool bytes and data files that cannot be read: put aside with the reason, never
dropped.

Each lies in ``<data_dir>/quarantine`` as ``<segment>-<offset>.json`` (why, and what the receiver knew) and
``<segment>-<offset>.body`` (the bytes as they were accepted). The name is the place in the spool, so that putting
the same request aside again after a crash leaves one. Of a data file of the lake it is the file's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from collector.spool_files import Position
from collector.store.durability import make_directory, sync
from semconv.request import Request

FOLDER: Final = "quarantine"
# Reasons end up in one line of output.
_LONGEST_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing put aside; `request` is None for damaged spool bytes and data files."""

    name: str
    reason: str
    bytes: int
    request: Request | None


def put_request(data_dir: Path, position: Position, request: Request, reason: str) -> Entry:
    """Put a request aside; `position` is where it ends in the spool. Durable on return. Raises OSError."""
    about = {
        "kind": "request",
        "signal": request.signal,
        "encoding": request.encoding,
        "received_at": request.received_at,
        "tenant": request.tenant,
        "billing_account": request.billing_account,
        "source": request.source,
    }
    return _put(data_dir, position, reason, about, request.body, request)


def put_damage(data_dir: Path, position: Position, damaged: bytes, reason: str) -> Entry:
    """Put spool bytes aside that are no intact record; `position` is where they begin. As put_request."""
    return _put(data_dir, position, reason, {"kind": "damage"}, damaged, None)


def put_file(data_dir: Path, path: Path, reason: str, about: dict[str, Any]) -> Entry:
    """Put a data file of the lake aside: a copy, the file itself stays where it is. As put_request."""
    folder = _folder(data_dir)
    body = folder / f"{path.stem}.body"
    shutil.copyfile(path, body)
    body.chmod(0o600)
    sync(body)
    entry = Entry(path.stem, _one_line(reason), body.stat().st_size, None)
    place = {"kind": "data file", "reason": entry.reason, "bytes": entry.bytes}
    _write(folder / f"{path.stem}.json", orjson.dumps(place | about, option=orjson.OPT_INDENT_2))
    sync(folder)
    return entry


def entries(data_dir: Path) -> Iterator[Entry]:
    """What is put aside, oldest first, each with its request ready to be loaded again."""
    for name in names(data_dir):
        yield entry(data_dir, name)


def names(data_dir: Path) -> list[str]:
    """Of what is put aside, oldest first."""
    return sorted(path.stem for path in (data_dir / FOLDER).glob("*.json"))


def entry(data_dir: Path, name: str) -> Entry:
    """One of them, with its request. Raises OSError or ValueError where it is gone or cannot be read."""
    about = orjson.loads((data_dir / FOLDER / f"{name}.json").read_bytes())
    body = (data_dir / FOLDER / f"{name}.body").read_bytes()
    return Entry(name, about["reason"], len(body), _request(about, body))


def remove(data_dir: Path, name: str) -> None:
    """Forget one for good, durably; as far as it is still there."""
    folder = data_dir / FOLDER
    # In the other order than it was put: without its JSON it is no entry any more.
    (folder / f"{name}.json").unlink(missing_ok=True)
    sync(folder)
    (folder / f"{name}.body").unlink(missing_ok=True)


def count(data_dir: Path) -> int:
    """How many entries there are; cheap."""
    try:
        return sum(entry.name.endswith(".json") for entry in os.scandir(data_dir / FOLDER))
    except OSError:
        return 0  # nothing was ever put aside


def _request(about: dict[str, Any], body: bytes) -> Request | None:
    if about["kind"] != "request":
        return None
    known = ("signal", "encoding", "received_at", "tenant", "billing_account", "source")
    return Request(body=body, **{name: about[name] for name in known})


def _put(
    data_dir: Path,
    position: Position,
    reason: str,
    about: dict[str, Any],
    body: bytes,
    request: Request | None,
) -> Entry:
    folder = _folder(data_dir)
    name = f"{position[0]:012d}-{position[1]:012d}"
    reason = _one_line(reason)
    place = {"reason": reason, "segment": position[0], "offset": position[1], "bytes": len(body)}
    # The body first: an entry is there once its JSON is.
    _write(folder / f"{name}.body", body)
    _write(folder / f"{name}.json", orjson.dumps(place | about, option=orjson.OPT_INDENT_2))
    sync(folder)
    return Entry(name, reason, len(body), request)


def _folder(data_dir: Path) -> Path:
    folder = data_dir / FOLDER
    make_directory(folder)
    return folder


def _one_line(reason: str) -> str:
    return " ".join(reason.split())[:_LONGEST_REASON]


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
        file.write(content)
        file.flush()
        os.fsync(descriptor)
