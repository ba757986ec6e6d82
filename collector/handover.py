"""Messages between two processes over a Unix socket: pickles, with the Arrow tables in memory that both share.

The tables of a message are written to an anonymous file, as Arrow IPC streams one behind the other; its descriptor
goes along, and in the pickle stand their places. The receiver maps the file: no row is copied again, and the memory
is free as soon as nobody refers to it, however the two processes end.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import socket
import struct
import tempfile
from collections.abc import Iterable
from typing import IO, Any, Final

import pyarrow as pa

# Bytes of the pickle, bytes of the tables.
_HEAD: Final = struct.Struct("<QQ")
# A table is some hundred buffers, most of them with a few bytes of padding.
_WRITE_BUFFER: Final = 1 << 20

Place = tuple[int, int]
"""(offset, bytes) of a table in the file."""


class Message:
    """Parts that are packed one after the other: none is held once the next one is made. To be sent once."""

    def __init__(self, parts: Iterable[object]) -> None:
        self._pickled = io.BytesIO()
        self._file = _anonymous_file()
        try:
            tables = pa.PythonFile(self._file, "w")
            for part in parts:
                _Pickler(self._pickled, tables).dump(part)
                del part
            self._size = tables.tell()
            self._file.flush()
        except BaseException:
            self._file.close()
            raise

    def send(self, channel: socket.socket) -> None:
        """Waits while the other side does not read. Raises ConnectionError where it is gone."""
        with self._file:
            head = _HEAD.pack(self._pickled.tell(), self._size)
            if self._size:
                socket.send_fds(channel, [head], [self._file.fileno()])
            else:
                channel.sendall(head)
            channel.sendall(self._pickled.getbuffer())


def receive(channel: socket.socket) -> list[Any]:
    """The parts of the next message. Raises EOFError where the other side has closed its end, or is gone."""
    try:
        head, descriptors, _, _ = socket.recv_fds(channel, _HEAD.size, 1, socket.MSG_WAITALL)
        if len(head) < _HEAD.size:
            raise EOFError
        pickled_size, size = _HEAD.unpack(head)
        tables = _mapped(descriptors, size)
        pickled = io.BytesIO(_take(channel, pickled_size))
    except ConnectionError as error:
        raise EOFError from error
    parts = []
    while pickled.tell() < pickled_size:
        parts.append(_Unpickler(pickled, tables).load())
    return parts


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, tables: pa.NativeFile) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._tables = tables

    def persistent_id(self, value: object) -> Place | None:
        if not isinstance(value, pa.Table):
            return None
        start = self._tables.tell()
        with pa.ipc.new_stream(self._tables, value.schema) as stream:
            stream.write_table(value)
        return start, self._tables.tell() - start


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, tables: pa.Buffer | None) -> None:
        super().__init__(file)
        self._tables = tables

    def persistent_load(self, place: Place) -> pa.Table:
        assert self._tables is not None  # noqa: S101 - a place is a place in them
        return pa.ipc.open_stream(self._tables.slice(*place)).read_all()


def _anonymous_file() -> IO[bytes]:
    """In memory where the system has that (Linux), else on disk without a name."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("handover"), "wb", _WRITE_BUFFER)
    return tempfile.TemporaryFile("wb", _WRITE_BUFFER)


def _mapped(descriptors: list[int], size: int) -> pa.Buffer | None:
    """What the descriptor, if there is one, leads to; takes it."""
    for descriptor in descriptors:
        try:
            return pa.py_buffer(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)
    return None


def _take(channel: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = channel.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data
