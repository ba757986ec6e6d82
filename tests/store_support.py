"""Small batches of real OTLP requests, and a lake to commit them to."""

from __future__ import annotations

import atexit
import datetime as dt
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.store.lake import Lake
from collector.store.load_row import LoadRow, Origin
from collector.store.migrate import open_current
from semconv.extract import Extracted, extract
from semconv.request import Request
from semconv.settings import Settings
from tests.kept_lake import KeptLake

NOON = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOON_NANOS = int(NOON.timestamp()) * SECOND
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-mini",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
}

Span = dict[str, Any]


def span(
    trace: int, number: int, *, parent: int = 0, at: int = 0, lasts: int = SECOND, **options: Any
) -> Span:
    """A span `at` nanoseconds after noon. `options`: name, scope, attributes."""
    return {"trace": trace, "span": number, "parent": parent, "at": at, "lasts": lasts, **options}


def call(trace: int, number: int, *, response_id: str | None = None, **options: Any) -> Span:
    """A model call with usage."""
    attributes = CHAT | options.pop("attributes", {})
    if response_id is not None:
        attributes["gen_ai.response.id"] = response_id
    return span(trace, number, attributes=attributes, **options)


def traces_body(spans: list[Span]) -> bytes:
    """One OTLP request; spans of one scope name stand together."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    for name in dict.fromkeys(one.get("scope", "test") for one in spans):
        scope = resource.scope_spans.add()
        scope.scope.name = name
        for one in spans:
            if one.get("scope", "test") == name:
                _fill(scope.spans.add(), one)
    return request.SerializeToString()


def _fill(message: Any, one: Span) -> None:
    message.trace_id = one["trace"].to_bytes(16, "big")
    message.span_id = one["span"].to_bytes(8, "big")
    if one["parent"]:
        message.parent_span_id = one["parent"].to_bytes(8, "big")
    message.name = one.get("name", "chat")
    message.kind = 3
    message.start_time_unix_nano = NOON_NANOS + one["at"]
    message.end_time_unix_nano = NOON_NANOS + one["at"] + one["lasts"]
    for key, value in one.get("attributes", {}).items():
        any_value = message.attributes.add(key=key).value
        if isinstance(value, int):
            any_value.int_value = value
        else:
            any_value.string_value = value


def logs_body(times: list[int], text: str = "hello") -> bytes:
    """One OTLP request of GenAI log records, each so many nanoseconds after noon."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for at in times:
        record = records.add(time_unix_nano=NOON_NANOS + at, event_name="gen_ai.choice")
        record.attributes.add(key="gen_ai.system").value.string_value = "openai"
        record.body.string_value = text
    return request.SerializeToString()


def traces(*spans: Span) -> Request:
    return Request("traces", "protobuf", traces_body(list(spans)), received_at=NOON_NANOS + HOUR)


def logs(*times: int, text: str = "hello") -> Request:
    return Request("logs", "protobuf", logs_body(list(times), text), received_at=NOON_NANOS + HOUR)


def extracted(*requests: Request, settings: Settings | None = None) -> Extracted:
    return extract(list(requests), settings or Settings())


class Store:
    """A lake with its committer, asked by SQL."""

    def __init__(self, data_dir: Path, settings: Settings) -> None:
        self.data_dir = data_dir
        self.settings = settings
        self._kept = KeptLake.open(data_dir, settings)
        self.lake = self._kept.lake
        self.committer = self._kept.committer()
        self._reader: Lake | None = None  # opening one takes longer than what it is asked

    def lends_resolver(self, module: ModuleType) -> AbstractContextManager[object]:
        """To what makes one of its own there, on the store's connection: that takes half a second."""
        return self._kept.lends_resolver(module)

    def load(self, *requests: Request, position: tuple[int, int] | None = None, **options: Any) -> LoadRow:
        batch = extract(list(requests), self.settings)
        origin = Origin("otlp", position, len(requests), sum(len(r.body) for r in requests))
        return self.committer.commit(batch, origin, **options)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Through a connection of its own, as another process would."""
        if self._reader is None:
            self._reader = Lake.open(self.data_dir, read_only=True, threads=1)
        return self._reader.connection.execute(query).fetchall()

    def close(self) -> None:
        self._kept.give_back()
        if self._reader is not None:
            self._reader.close()

    def one(self, query: str) -> Any:
        return self.ask(query)[0][0]


@cache
def _empty_lake() -> Path:
    """Laid once per process; a lake may be copied to wherever it is needed."""
    path = Path(tempfile.mkdtemp(prefix="spanledger-empty-")) / "data"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    open_current(path, {}).close()
    return path


def lay_empty_lake(data_dir: Path) -> None:
    """In a directory that is not there yet."""
    shutil.copytree(_empty_lake(), data_dir)
    data_dir.chmod(0o700)


@contextmanager
def store(data_dir: Path, settings: Settings | None = None) -> Iterator[Store]:
    """A lake in `data_dir`, created where there is none."""
    chosen = settings or Settings()
    if not data_dir.exists():
        lay_empty_lake(data_dir)
    if chosen.dimensions:
        open_current(data_dir, chosen.dimensions).close()
    opened = Store(data_dir, chosen)
    try:
        yield opened
    finally:
        opened.close()


def fingerprint(folder: Path) -> str:
    """Of every file's path and bytes, but for SQLite's bookkeeping of readers (and a log that holds nothing)."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        is_bookkeeping = path.name.endswith("-shm") or (
            path.name.endswith("-wal") and not path.stat().st_size
        )
        if path.is_file() and not is_bookkeeping:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def copy_of(lake_dir: Path, to: Path) -> Path:
    shutil.copytree(lake_dir, to)
    return to
