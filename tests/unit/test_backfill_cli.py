"""The command: what it prints, what it answers to the shell, what it leaves in the lake."""

from __future__ import annotations

import gzip
import json
import urllib.request
from pathlib import Path

import pytest

from collector.store.lake import Lake
from tests.support import Collector, ask, run, run_here

CORPUS = Path(__file__).parents[1] / "corpus"
CAPTURE = CORPUS / "otel-genai-openai" / "chat.json"
FILES = [
    CORPUS / "otel-genai-openai" / name
    for name in (
        "chat.pb",
        "tool.json",
        "tool.logs.pb",
        "tool.metrics.json",
        "error429.json",
        "error429.logs.json",
    )
]


def backfill(*arguments):
    return run_here("otlp-backfill", *arguments)


def sql(data_dir, statement):
    with Lake.open(data_dir, read_only=True, threads=1) as lake:
        return ask(lake, statement)


def stored(data_dir):
    """Everything a reader may see of the telemetry, but for what names the load."""
    with Lake.open(data_dir, read_only=True, threads=1) as lake:
        return {
            table: ask(lake, f"SELECT * EXCLUDE (load_id) FROM {table} ORDER BY ALL")
            for table in ("spans", "log_records", "metric_points")
        } | {"calls": ask(lake, "SELECT * FROM calls ORDER BY ALL")}


def test_loading_twice_changes_nothing_and_says_so(tmp_path):
    """Captures of all signals in both encodings: the second run finds every record already there."""
    first = backfill(*FILES, "--data-dir", tmp_path / "data", "--json")
    assert first.returncode == 0, first.stderr
    before = stored(tmp_path / "data")
    assert before["spans"]
    assert before["calls"]
    second = backfill(*FILES, "--data-dir", tmp_path / "data", "--json")
    assert second.returncode == 0, second.stderr
    assert stored(tmp_path / "data") == before
    for signal in ("spans", "log_records", "metric_points"):
        total = json.loads(second.stdout)["total"][signal]
        assert total["stored"] == 0
        assert total["duplicate"] + total["not_kept"] == total["read"]


def test_a_dry_run_counts_the_same_and_writes_nothing(tmp_path):
    files = [*FILES, *FILES[:2]]
    dry = backfill(*files, "--data-dir", tmp_path / "data", "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    assert not (tmp_path / "data").exists()
    real = backfill(*files, "--data-dir", tmp_path / "data", "--json")
    counted, done = json.loads(dry.stdout), json.loads(real.stdout)
    for signal in ("spans", "log_records", "metric_points"):
        assert [file[signal] for file in counted["files"]] == [file[signal] for file in done["files"]]
    before = sorted((path, path.stat().st_size) for path in (tmp_path / "data" / "data").rglob("*"))
    again = backfill(*files, "--data-dir", tmp_path / "data", "--dry-run", "--json")
    assert json.loads(again.stdout)["total"]["spans"]["stored"] == 0
    assert sorted((path, path.stat().st_size) for path in (tmp_path / "data" / "data").rglob("*")) == before


def test_what_was_rejected_is_named_and_the_rest_is_loaded(tmp_path):
    """Exit code 1 with file, line and reason; the good line is in the lake."""
    line = json.dumps(json.loads(CAPTURE.read_bytes()))
    bad = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "no ids"}]}]}]})
    (tmp_path / "mixed.jsonl").write_text("\n".join(("*** rotated ***", line, bad)))
    (tmp_path / "notes.txt").write_text("hello\n")
    answer = backfill(tmp_path / "mixed.jsonl", tmp_path / "notes.txt", "--data-dir", tmp_path / "data")
    assert answer.returncode == 1
    assert "mixed.jsonl, line 1: " in answer.stderr
    assert "mixed.jsonl, line 3: trace_id is empty" in answer.stderr
    assert "notes.txt: not OTLP" in answer.stderr
    assert sql(tmp_path / "data", "SELECT count(*) AS n FROM spans") == [{"n": 1}]


def test_a_gzip_cut_off_gives_what_could_be_read(tmp_path):
    ids = ({"traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}"} for number in range(2000))
    spans = ({"name": "a", "startTimeUnixNano": "1700000000000000000", **pair} for pair in ids)
    texts = [json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}) for span in spans]
    packed = gzip.compress("\n".join(texts).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    answer = backfill(tmp_path / "cut.jsonl.gz", "--data-dir", tmp_path / "data", "--json")
    assert answer.returncode == 1
    (file,) = json.loads(answer.stdout)["files"]
    assert 500 < file["spans"]["stored"] < 1500
    assert any("gzip data is damaged or cut off at byte" in problem["reason"] for problem in file["problems"])


def test_standard_input_is_a_file_too(tmp_path):
    arguments = ("-", "--data-dir", tmp_path / "data", "--json")
    answer = run("otlp-backfill", *arguments, input=CAPTURE.read_text())
    assert answer.returncode == 0, answer.stderr
    assert sql(tmp_path / "data", "SELECT DISTINCT source FROM spans") == [{"source": "backfill:stdin"}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "FILE"),
        (("absent.json",), "absent.json: No such file"),
        ((".",), ".: Is a directory"),
        ((CAPTURE, "--format", "csv"), "csv"),
        ((CAPTURE, "--signal", "profiles"), "profiles"),
    ],
)
def test_what_cannot_run_is_exit_code_2_and_creates_nothing(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    answer = backfill(*arguments, "--data-dir", tmp_path / "data")
    assert answer.returncode == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "data").exists()


def test_a_data_directory_open_to_others_is_refused(tmp_path):
    (tmp_path / "data").mkdir(mode=0o755)
    answer = backfill(CAPTURE, "--data-dir", tmp_path / "data")
    assert answer.returncode == 2
    assert "0700" in answer.stderr


def test_the_file_and_the_wire_give_the_same_rows(collector: Collector, tmp_path):
    """A capture sent to a running collector, then loaded into it from a file: everything is there already.
    Loaded into an empty lake, it gives the rows that the wire gave."""

    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{collector.http}/v1/traces", CAPTURE.read_bytes(), headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    collector.wait_for_spans(1)
    beside = run("otlp-backfill", CAPTURE, "--data-dir", collector.data_dir, "--json")
    again = json.loads(beside.stdout)
    assert again["total"]["spans"] | {"not_kept": 0} == {
        "read": 1,
        "stored": 0,
        "duplicate": 1,
        "not_kept": 0,
        "rejected": 0,
    }
    assert backfill(CAPTURE, "--data-dir", tmp_path / "data").returncode == 0
    columns = "* EXCLUDE (load_id, received_at, source)"
    statement = f"SELECT {columns} FROM spans ORDER BY ALL"
    assert collector.sql(statement) == sql(tmp_path / "data", statement)
    assert collector.sql("SELECT * FROM calls") == sql(tmp_path / "data", "SELECT * FROM calls")
