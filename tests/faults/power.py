"""What a disk may hold after the power failed, worked out from a trace of a program's system calls.

A file keeps what it held when it was last synced; of what was written since, any page may have got there. A directory
keeps the names it had when it was last synced, and of later changes those up to some one. That is what POSIX promises,
and less than most file systems keep.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_CALLS: Final = (
    "openat,open,creat,lseek,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,rename,renameat,"
    "renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,fsync,fdatasync,sendto,sendmsg"
)
_PAGE: Final = 4096
_LINE: Final = re.compile(r"(\d+) +(.*)")
_CALL: Final = re.compile(r"(\w+)\((.*)\) += (-?\d+)(.*)", re.DOTALL)
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PLACE: Final = re.compile(r"(?:\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})+)>(?!\(deleted\))")
_PEER: Final = re.compile(r"\d+<TCP:\[[^]]*:(\d+)->[^]]*:(\d+)\]>")


def traced(output: Path) -> list[str]:
    """The beginning of a command whose calls are written to ``output``; its process is the program's."""
    options = ["-D", "-f", "-yy", "--seccomp-bpf", "-xx", "-s", str(100 << 20)]
    return ["strace", *options, "-e", f"trace={_CALLS}", "-e", "signal=none", "-o", str(output)]


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that succeeded, by the numbers of the trace's lines where it started and ended."""

    started: int
    ended: int
    name: str
    arguments: str
    result: int
    returned: str  # what stands behind the result


def calls(trace: Path) -> Iterator[Call]:
    """In the order in which they ended."""
    begun: dict[str, tuple[int, str]] = {}
    with trace.open() as lines:
        for number, line in enumerate(lines):
            found = _LINE.match(line)
            if found is None:
                continue
            thread, text = found[1], found[2].rstrip("\n")
            if text.endswith("<unfinished ...>"):
                begun[thread] = number, text.removesuffix("<unfinished ...>")
                continue
            started = number
            if text.startswith("<... ") and thread in begun:
                started, beginning = begun.pop(thread)
                text = beginning + text.partition("resumed>")[2]
            call = _CALL.fullmatch(text)
            if call is not None and int(call[3]) >= 0:
                yield Call(started, number, call[1], call[2].strip(), int(call[3]), call[4])


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass(slots=True)
class File:
    """Changes are (line, offset, bytes); without bytes the file is cut, or grows, to the offset."""

    changes: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    syncs: list[tuple[int, int]] = field(default_factory=list)  # when each ended, and when it started
    size: int = 0

    def change(self, at: int, offset: int, data: bytes | None) -> None:
        self.changes.append((at, offset, data))
        self.size = offset if data is None else max(self.size, offset + len(data))

    def content(self, at: int, chance: random.Random | None) -> bytes:
        """What is left of it when the power fails behind line ``at``; None for chance: all."""
        safe = _synced(self.syncs, at)
        held = bytearray()
        survives = _fate(chance)
        for when, offset, data in self.changes[
            : bisect_right(self.changes, at, key=lambda change: change[0])
        ]:
            for start, piece in _pages(offset, data):
                if when < safe or survives():
                    _apply(held, start, piece)
        return bytes(held)


@dataclass(slots=True)
class Folder:
    """Changes are (line, names with what they came to stand for)."""

    changes: list[tuple[int, dict[str, File | Folder | None]]] = field(default_factory=list)
    syncs: list[tuple[int, int]] = field(default_factory=list)
    names: dict[str, File | Folder] = field(default_factory=dict)

    def change(self, at: int, names: dict[str, File | Folder | None]) -> None:
        self.changes.append((at, names))
        _rename(self.names, names)

    def left(self, at: int, chance: random.Random | None) -> dict[str, File | Folder]:
        """As `File.content`: the names, and what they stand for."""
        safe = _synced(self.syncs, at)
        held: dict[str, File | Folder] = {}
        survives = _fate(chance)
        for when, names in self.changes:
            if when > at or not (when < safe or survives()):
                break
            _rename(held, names)
        return held


def _rename(held: dict[str, File | Folder], names: dict[str, File | Folder | None]) -> None:
    for name, node in names.items():
        if node is None:
            held.pop(name, None)
        else:
            held[name] = node


def _synced(syncs: Sequence[tuple[int, int]], at: int) -> int:
    """Changes before this line are on disk at line ``at``."""
    return max((started for ended, started in syncs if ended <= at), default=-1)


class Worst(random.Random):
    """For a chance of which nothing survives that was not synced."""

    def choice(self, seq: Sequence[Any]) -> Any:
        return seq[0]


def _fate(chance: random.Random | None) -> Callable[[], bool]:
    """Whether the next change that was not synced is on disk nevertheless: often none is, sometimes all are."""
    if chance is None:
        return lambda: True
    likely = chance.choice((0.0, 0.0, 0.5, 0.9, 1.0))
    return lambda: chance.random() < likely


def _pages(offset: int, data: bytes | None) -> Iterator[tuple[int, bytes | None]]:
    if data is None or len(data) <= _PAGE:
        yield offset, data
        return
    start = 0
    while start < len(data):
        end = start + _PAGE - (offset + start) % _PAGE
        yield offset + start, data[start:end]
        start = end


def _apply(held: bytearray, offset: int, data: bytes | None) -> None:
    end = offset if data is None else offset + len(data)
    if len(held) < end:
        held.extend(bytes(end - len(held)))
    if data is None:
        del held[offset:]
    else:
        held[offset:end] = data


class Disk:
    """What happened below ``root``, which was not there before, and the answers that went out meanwhile."""

    def __init__(self, root: Path, trace: Path) -> None:
        self._root = root
        self._above = Folder()
        self._offsets: dict[tuple[str, str], int] = {}
        self.answers: dict[tuple[int, int], list[int]] = defaultdict(list)
        """Lines at which an HTTP answer of 200 was sent, by the ports of both ends (ours, the other)."""
        self.lines: list[int] = []
        for call in calls(trace):
            self._take(call)

    def node(self, path: str | Path) -> File | Folder | None:
        """What stands at a path at the end."""
        node: File | Folder | None = self._above
        for part in Path(path).relative_to(self._root.parent).parts:
            node = node.names.get(part) if isinstance(node, Folder) else None
        return node

    def write_image(self, target: Path, at: int, chance: random.Random | None) -> bool:
        """What is left when the power fails behind line ``at``, below ``target``; whether anything is."""
        top = self._above.left(at, chance).get(self._root.name)
        if isinstance(top, Folder):
            _write_folder(top, target, at, chance)
        return top is not None

    def _take(self, call: Call) -> None:
        handle = getattr(self, f"_{_KINDS.get(call.name, call.name)}", None)
        if handle is not None and handle(call) is not False:
            self.lines.append(call.ended)

    # --- each takes one kind of call; False: it concerns nothing below the root -----------------------------------

    def _openat(self, call: Call) -> bool:
        path = _place(f"{call.result}{call.returned}")
        if path is None or not self._is_ours(path):
            return False
        self._offsets[path, str(call.result)] = 0
        file = self.node(path)
        changed = False
        if file is None and "O_CREAT" in call.arguments:
            file, changed = File(), True
            self._enter(call, path, file)
        if isinstance(file, File) and "O_TRUNC" in call.arguments and file.size:
            file.change(call.ended, 0, None)
            changed = True
        return changed

    def _lseek(self, call: Call) -> bool:
        if (place := _place(call.arguments)) is not None:
            self._offsets[place, call.arguments.partition("<")[0]] = call.result
        return False

    def _write(self, call: Call) -> bool:
        place = _place(call.arguments)
        if place is None:
            return self._answer(call)
        file = self.node(place) if self._is_ours(place) else None
        if not isinstance(file, File):
            return False
        data = b"".join(map(_decoded, _TEXT.findall(call.arguments)))[: call.result]
        key = place, call.arguments.partition("<")[0]
        if call.name.startswith("p"):
            offset = _numbers(call.arguments)[-2 if call.name == "pwritev2" else -1]
        else:
            offset = self._offsets[key]
            self._offsets[key] = offset + len(data)
        file.change(call.ended, offset, data)
        return True

    def _answer(self, call: Call) -> bool:
        peer = _PEER.match(call.arguments)
        sent = _TEXT.search(call.arguments)
        if peer is None or sent is None or not _decoded(sent[1]).startswith(b"HTTP/1.1 200"):
            return False
        self.answers[int(peer[1]), int(peer[2])].append(call.started)
        return True

    def _ftruncate(self, call: Call) -> bool:
        place = _place(call.arguments)
        file = self.node(place) if place and self._is_ours(place) else None
        if isinstance(file, File):
            file.change(call.ended, _numbers(call.arguments)[-1], None)
        return isinstance(file, File)

    def _fsync(self, call: Call) -> bool:
        place = _place(call.arguments)
        if place is None or not (self._is_ours(place) or place == str(self._root.parent)):
            return False
        node = self.node(place)
        if node is not None:
            node.syncs.append((call.ended, call.started))
        return node is not None

    def _mkdir(self, call: Call) -> bool:
        (path,) = _paths(call)
        if self._is_ours(path):
            self._enter(call, path, Folder())
        return self._is_ours(path)

    def _unlink(self, call: Call) -> bool:
        (path,) = _paths(call)
        if self._is_ours(path):
            self._enter(call, path, None)
        return self._is_ours(path)

    def _rename(self, call: Call) -> bool:
        old, new = _paths(call)
        if not self._is_ours(new):
            return False
        node = self.node(old)
        folder = self.node(Path(old).parent)
        assert isinstance(folder, Folder) and Path(old).parent == Path(new).parent, (old, new)
        folder.change(call.ended, {Path(old).name: None, Path(new).name: node})
        return True

    def _link(self, call: Call) -> bool:
        old, new = _paths(call)
        if self._is_ours(new):
            self._enter(call, new, self.node(old))
        return self._is_ours(new)

    def _enter(self, call: Call, path: str, node: File | Folder | None) -> None:
        folder = self.node(Path(path).parent)
        assert isinstance(folder, Folder), path
        folder.change(call.ended, {Path(path).name: node})

    def _is_ours(self, path: str) -> bool:
        return path == str(self._root) or path.startswith(f"{self._root}/")


_KINDS: Final = {
    "open": "openat", "creat": "openat",
    "pwrite64": "write", "writev": "write", "pwritev": "write", "pwritev2": "write",
    "sendto": "write", "sendmsg": "write",
    "fdatasync": "fsync", "mkdirat": "mkdir", "unlinkat": "unlink", "rmdir": "unlink",
    "renameat": "rename", "renameat2": "rename", "linkat": "link",
}  # fmt: skip


def _place(text: str) -> str | None:
    found = _PLACE.match(text.lstrip())
    return _decoded(found[1]).decode() if found else None


def _paths(call: Call) -> list[str]:
    """The paths of a call, absolute: the directory that a path starts from stands before it where there is one."""
    found = []
    for match in _TEXT.finditer(call.arguments):
        path = _decoded(match[1]).decode()
        if not path.startswith("/"):
            start = re.search(r"<((?:\\x[0-9a-f]{2})+)>, $", call.arguments[: match.start()])
            path = str((Path(_decoded(start[1]).decode()) if start else Path.cwd()) / path)
        found.append(path)
    return found


def _numbers(arguments: str) -> list[int]:
    return [int(number) for number in re.findall(r", (\d+)(?=,|$)", arguments)]


def _write_folder(folder: Folder, target: Path, at: int, chance: random.Random | None) -> None:
    target.mkdir(mode=0o700)
    for name, node in folder.left(at, chance).items():
        if isinstance(node, Folder):
            _write_folder(node, target / name, at, chance)
        else:
            (target / name).write_bytes(node.content(at, chance))
