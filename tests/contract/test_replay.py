"""What real exporters sent, sent again: each captured body with its own path and headers.

Guarantee: whichever library, exporter, transport and encoding it came from, it is accepted whole, and each of its
spans, log records and data points is in the lake once.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conformance_messages import JSON, LOGS, METRICS, PROTOBUF, SIGNALS, TRACES, Signal
from tests.contract.conformance_support import (
    OK,
    GrpcAnswer,
    Outcome,
    Server,
    grpc_outcome,
    http_outcome,
    serving,
)

HERE = Path(__file__).parents[1] / "corpus"
ELSEWHERE = os.environ.get("SPANLEDGER_CORPUS")
CORPORA = [HERE, *([Path(ELSEWHERE)] if ELSEWHERE else [])]
# Set by whatever sends the bodies here.
OWN_HEADERS = {"content-length", "host", "connection", "transfer-encoding"}


@dataclass(frozen=True)
class Capture:
    """One request as it was captured."""

    body: Path
    signal: Signal
    transport: str
    path: str
    headers: dict[str, str]

    @property
    def media(self) -> str:
        return self.headers["content-type"]

    def decoded(self) -> bytes:
        body = self.body.read_bytes()
        return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body


def captures(corpus: Path) -> list[Capture]:
    found = []
    for meta in sorted(corpus.glob("*/raw/*/*.meta.json")):
        about = json.loads(meta.read_text())
        (signal,) = (signal for signal in SIGNALS if signal.name == about["kind"])
        headers = {name.lower(): value for name, value in about["headers"].items()}
        body = meta.with_name(meta.name.replace(".meta.json", ".body"))
        found.append(Capture(body, signal, about["transport"], about["path"], headers))
    return found


def replay(server: Server, capture: Capture) -> Outcome:
    body = capture.body.read_bytes()
    if capture.transport == "grpc":
        answer: GrpcAnswer = server.call(capture.path, body)
        return grpc_outcome(answer, capture.signal)
    headers = {name: value for name, value in capture.headers.items() if name not in OWN_HEADERS}
    return http_outcome(server.ask("POST", capture.path, body, headers), capture.signal, capture.media)


Record = tuple[Any, ...]


def records(capture: Capture) -> Iterator[Record]:
    """The identity of each record in a body, read by what is not the product: spans by their ids in hex."""
    is_json = capture.media == JSON
    message = (
        json.loads(capture.decoded()) if is_json else capture.signal.request.FromString(capture.decoded())
    )
    read = _of_json if is_json else _of_message
    resources, scopes, items = capture.signal.fields
    for resource in read(message, resources):
        for scope in read(resource, scopes):
            around = (_text(read(resource, "resource")), _text(read(scope, "scope")))
            for item in read(scope, items):
                yield from _identities(capture.signal, read, around, item)


def _identities(signal: Signal, read: Any, around: Record, item: Any) -> Iterator[Record]:
    if signal is TRACES:
        ids = [read(item, name) for name in ("trace_id", "span_id")]
        yield tuple(value.lower() if isinstance(value, str) else value.hex() for value in ids)
    elif signal is LOGS:
        times = [int(read(item, name) or 0) for name in ("time_unix_nano", "observed_time_unix_nano")]
        own = (_text(read(item, name)) for name in ("event_name", "body", "attributes"))
        yield (*around, times[0] or times[1], *own)
    else:
        kinds = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
        for kind in kinds:
            for point in read(read(item, kind) or {}, "data_points") or ():
                names = ("time_unix_nano", "start_time_unix_nano", "attributes")
                yield (*around, read(item, "name"), kind, *(_text(read(point, name)) for name in names))


def _of_message(message: Any, name: str) -> Any:
    return getattr(message, name, None)


def _of_json(document: dict[str, Any], name: str) -> Any:
    head, *rest = name.split("_")
    return document.get(head + "".join(map(str.capitalize, rest)), () if name.endswith("s") else None)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else str(value)


@pytest.fixture(scope="module", params=CORPORA, ids=["here", "elsewhere"][: len(CORPORA)])
def replayed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, list[Capture], list[Outcome]]]:
    """A collector that got all captures of a folder, and its answers."""
    found = captures(request.param)
    with serving(tmp_path_factory.mktemp("replay")) as server, ThreadPoolExecutor(4) as pool:
        yield server, found, list(pool.map(lambda capture: replay(server, capture), found))


def test_every_captured_body_is_accepted_whole(
    replayed: tuple[Server, list[Capture], list[Outcome]],
) -> None:
    _, found, outcomes = replayed
    assert found
    refused = {
        capture.body: outcome
        for capture, outcome in zip(found, outcomes, strict=True)
        if (outcome.code, outcome.rejected, outcome.message) != (OK, 0, "")
    }
    assert refused == {}


def test_the_captures_here_are_of_every_transport_encoding_and_path() -> None:
    found = captures(HERE)
    used = {(capture.transport, capture.media) for capture in found}
    assert used == {("http", PROTOBUF), ("http", JSON), ("grpc", "application/grpc+proto")}
    assert {capture.signal for capture in found} == set(SIGNALS)
    assert "gzip" in {capture.headers.get("content-encoding") for capture in found}
    assert "/api/public/otel/v1/traces" in {capture.path for capture in found}
    assert len({capture.body.parents[2] for capture in found}) >= 30


def test_every_captured_span_is_in_the_lake_once(
    replayed: tuple[Server, list[Capture], list[Outcome]],
) -> None:
    server, found, _ = replayed
    sent = {identity for capture in found if capture.signal is TRACES for identity in records(capture)}
    assert sent
    # All but the span that settle() sends.
    stored = stored_in_the_end(server, "SELECT trace_id, span_id FROM spans WHERE name <> 'op'")
    assert Counter(stored) == Counter(sent)


@pytest.mark.parametrize("signal", [LOGS, METRICS], ids=str)
def test_every_captured_log_record_and_data_point_is_in_the_lake_once(
    replayed: tuple[Server, list[Capture], list[Outcome]], signal: Signal
) -> None:
    server, found, _ = replayed
    sent = {identity for capture in found if capture.signal is signal for identity in records(capture)}
    assert sent
    stored = stored_in_the_end(server, f"SELECT record_hash FROM {signal.table}")
    assert len(stored) == len(set(stored)) == len(sent)


def stored_in_the_end(server: Server, select: str) -> list[Record]:
    """Rows of a query once nothing more is to come."""
    server.settle()
    return [tuple(row.values()) for row in server.sql(select)]
