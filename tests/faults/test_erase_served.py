"""Erasing beside a running server, and without one: afterwards the values stand in no file of the data directory."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector import backup, quarantine
from collector.store.lake import Lake
from semconv.request import Request
from tests.erase_support import files_with
from tests.otlp_data import logs_message, metrics_message
from tests.store_support import NOON_NANOS, SECOND, call, span, traces_body
from tests.support import BIN, Collector, ask, run, run_here, running

CONFIG = """
capture: {prompts: true}
keep: {spans: all, logs: all, metrics: all}
dimensions: {lead: {attribute: app.lead}}
"""
ID = "alice.seeker@example.com"
# Of her, one in every place.
HERS = (
    ID,
    *(
        "her-prompt-in-full",
        "her-span-name",
        "her-attribute",
        "her-resource",
        "her-event",
        "her-status",
        "her-state",
    ),
    *(
        "her-log-body",
        "her-log-attribute",
        "her-point",
        "her-exemplar",
        "her-session",
        "her-lead",
        "her-response",
    ),
    *("her-inherited-tool", "her-quarantined-text", "her-orphan", "her-copy", "her-late-word"),
)
ALICE = {"user.id": ID, "session.id": "her-session", "app.lead": "her-lead", "word": "her-attribute"}
BOB = {"user.id": "bob", "session.id": "bobs-session"}
PROMPT = {"gen_ai.prompt.0.content": "her-prompt-in-full", "gen_ai.prompt.0.role": "user"}


def post(collector: Collector, signal_path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"{collector.http}/v1/{signal_path}", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


def of_alice(trace: int, number: int, **attributes: Any) -> bytes:
    """A call of hers, and a span below it that inherits her."""
    named = {
        "attributes": ALICE | attributes,
        "response_id": f"her-response-{number}",
        "name": "her-span-name",
    }
    inheriting = span(trace, number + 1, parent=number, attributes={"tool": "her-inherited-tool"})
    request = ExportTraceServiceRequest.FromString(traces_body([call(trace, number, **named), inheriting]))
    resource = request.resource_spans[0].resource
    resource.attributes.add(key="host.name").value.string_value = "her-resource"
    first = request.resource_spans[0].scope_spans[0].spans[0]
    first.status.message, first.trace_state = "her-status", "vendor=her-state"
    first.events.add(name="her-event", time_unix_nano=NOON_NANOS)
    return request.SerializeToString()


def metrics_of_all() -> bytes:
    """A data point of hers, and one of nobody's with an exemplar of hers."""
    request = metrics_message("gen_ai.client.token.usage", ALICE | {"of": "her-point"})
    other = ExportMetricsServiceRequest.FromString(
        metrics_message("gen_ai.client.operation.duration", {"gen_ai.system": "openai"}).SerializeToString()
    )
    point = other.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0]
    exemplar = point.exemplars.add(time_unix_nano=NOON_NANOS, as_double=1.5)
    exemplar.trace_id, exemplar.span_id = (1).to_bytes(16, "big"), (1).to_bytes(8, "big")
    exemplar.filtered_attributes.add(key="word").value.string_value = "her-exemplar"
    request.MergeFrom(other)
    return request.SerializeToString()


def send_everything(collector: Collector) -> None:
    post(collector, "traces", of_alice(1, 1, **PROMPT))
    post(collector, "traces", traces_body([call(9, 90 + n, attributes=BOB, at=n * SECOND) for n in range(5)]))
    place = {
        "trace_id": (1).to_bytes(16, "big"),
        "span_id": (1).to_bytes(8, "big"),
        "time_unix_nano": NOON_NANOS,
    }
    logs = logs_message(
        {**place, "body": "her-log-body", "attributes": {"word": "her-log-attribute"}},
        {"time_unix_nano": NOON_NANOS, "body": "nobody's", "attributes": {"said": f"hello {ID}!"}},
    )
    post(collector, "logs", logs.SerializeToString())
    post(collector, "metrics", metrics_of_all())
    collector.wait_for_spans(7)


def erase(data_dir: Path, config: Path, *arguments: str) -> list[dict[str, Any]]:
    answer = run(
        *(
            "otlp-collector",
            "erase",
            "--user",
            ID,
            "--data-dir",
            data_dir,
            "--config",
            config,
            "--json",
            *arguments,
        ),
        timeout=100,
    )
    assert answer.returncode == 0, answer.stderr
    erased: list[dict[str, Any]] = json.loads(answer.stdout)["erased"]
    return erased


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """All that a data directory can hold of hers, a backup included."""
    folder = tmp_path_factory.mktemp("erase")
    with running(folder / "data", config=CONFIG) as collector:
        send_everything(collector)
        window = ("--since", "2026-03-01", "--until", "2026-04-01", "--data-dir", folder / "data")
        told = run_here("otlp-analyze", "cost", "--by", "user,session", *window)
        assert told.returncode == 0, told.stderr
        put_aside(folder / "data")
        answer = run("otlp-collector", "backup", folder / "backup", "--data-dir", folder / "data")
        assert answer.returncode == 0, answer.stderr
        yield collector


def put_aside(data_dir: Path) -> None:
    """What trouble leaves behind: quarantined requests, the Parquet file of a killed commit, a copy of the catalog."""
    hers = Request("traces", "protobuf", of_alice(7, 70, said="her-quarantined-text"), NOON_NANOS)
    quarantine.put_request(data_dir, (1, 1), hers, f"ConversionException: {ID}")
    quarantine.put_damage(data_dir, (1, 2), b"\x00torn " + ID.encode() + b" her-quarantined-text", "torn")
    child = traces_body([span(1, 5, parent=1, attributes={"x": "her-quarantined-text"})])
    quarantine.put_request(
        data_dir, (1, 3), Request("traces", "protobuf", child, NOON_NANOS), "no id, but her trace"
    )
    bobs = traces_body([call(8, 80, attributes=BOB)])
    quarantine.put_request(
        data_dir, (1, 4), Request("traces", "protobuf", bobs, NOON_NANOS), "somebody else's"
    )
    (data_dir / "data" / "main" / "spans" / "ducklake-killed.parquet").write_bytes(b"her-orphan")
    (data_dir / "catalog.v1.20260101T000000Z.sqlite").write_bytes(b"her-copy")


def totals(collector: Collector) -> list[dict[str, Any]]:
    return collector.sql(
        "SELECT user_id, count(*) AS calls, sum(input_tokens) AS tokens, sum(cost_usd) AS cost FROM calls"
        f" WHERE user_id IS DISTINCT FROM '{ID}' GROUP BY ALL ORDER BY ALL"
    )


def test_nothing_of_hers_is_in_any_file(served: Collector) -> None:
    """Scenario: her values stand in every relation, in recorded runs, the quarantine, leftovers, a backup, and, just
    accepted, in the spool. Guarantee: afterwards in no file, and everybody else's totals are as they were.
    """
    config = served.data_dir.parent / "data.yaml"
    before = totals(served)
    held = set().union(*files_with(served.data_dir, *HERS).values())
    assert held >= set(HERS) - {"her-late-word"}
    assert served.sql("SELECT count(*) AS n FROM runs WHERE result IS NOT NULL") == [{"n": 1}]
    post(served, "traces", of_alice(5, 50, said="her-late-word"))
    done, of_backup = erase(served.data_dir, config, "--now")
    assert done["finished"] is of_backup["finished"] is True
    assert (done["rows"]["spans"], of_backup["rows"]["spans"]) == (4, 2)
    assert (done["quarantined"], done["catalog_copies"], done["rows"]["runs"]) == (3, 1, 1)
    assert files_with(served.data_dir, *HERS) == {}
    assert files_with(served.data_dir.parent / "backup", *HERS) == {}
    assert totals(served) == before
    assert served.sql("SELECT count(*) AS n FROM runs") == [{"n": 1}]
    assert served.sql("SELECT exemplars FROM metric_points") == [{"exemplars": "[]"}]
    assert [entry.name[-1] for entry in quarantine.entries(served.data_dir)] == ["4"]


def test_the_server_goes_on_and_the_backup_can_be_restored(served: Collector, tmp_path: Path) -> None:
    """What is sent afterwards is stored and counted; the backup is whole without what was erased."""
    count = served.sql("SELECT count(*) AS n FROM spans")[0]["n"]
    post(served, "traces", traces_body([call(6, 60, attributes=BOB)]))
    served.wait_for_spans(count + 1)
    assert backup.restore(served.data_dir.parent / "backup", tmp_path / "restored").totals["spans"] == "5"


def test_killed_anywhere_it_finishes_when_it_is_run_again(tmp_path: Path) -> None:
    """Scenario: a server was killed right after it accepted a request of hers and one of Bob's, and none runs any more.
    The command is killed as it begins each of its parts, and after that each time run again. Guarantee: the last run
    leaves none of her values, and all of the others'; the log names her by a hash.
    """
    lake, config = tmp_path / "lake", tmp_path / "lake.yaml"
    with running(lake, config=CONFIG) as collector:
        send_everything(collector)
        post(collector, "traces", of_alice(5, 50, said="her-late-word"))
        post(collector, "traces", traces_body([call(2, 20, attributes=BOB)]))
        collector.kill()
    assert files_with(lake / "spool", "her-late-word")
    put_aside(lake)
    for part in ("deleting", "writing"):
        kill_at(part, lake, config)
    assert erase(lake, config, "--now")[0]["finished"]
    assert files_with(lake, *HERS) == {}
    with Lake.open(lake, read_only=True) as left:
        assert ask(left, "SELECT user_id, count(*) AS n FROM spans GROUP BY ALL") == [
            {"user_id": "bob", "n": 6}
        ]
    log = [json.loads(line) for line in (lake / "erasures.jsonl").read_text().splitlines()]
    assert log[-1]["state"] == "finished"
    assert all(entry["id"] == log[0]["id"] and entry["id"].startswith("hmac:") for entry in log)


def kill_at(part: str, lake: Path, config: Path) -> None:
    command = [BIN / "otlp-collector", "erase", "--user", ID, "--now", "--data-dir", lake, "--config", config]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(part):
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
