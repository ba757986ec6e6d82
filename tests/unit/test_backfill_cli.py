"""The command: what it prints, what it answers to the shell, what it leaves in the lake."""

from __future__ import annotations

import gzip
import json
import urllib.request
from pathlib import Path

import pytest

from collector.store.lake import Lake
from tests.store_support import lay_empty_lake
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


def test_loading_twice_changes_nothing_and_a_dry_run_counts_the_same_and_writes_nothing(tmp_path):
    """Captures of all signals in both encodings, some given twice: the second run finds every record already there;
    and so do dry runs, before and after."""
    data_dir, files = tmp_path / "data", [*FILES, *FILES[:2]]
    dry = backfill(*files, "--data-dir", data_dir, "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    assert not data_dir.exists()
    lay_empty_lake(data_dir)
    first = backfill(*files, "--data-dir", data_dir, "--json")
    assert first.returncode == 0, first.stderr
    counted, done = json.loads(dry.stdout), json.loads(first.stdout)
    for signal in ("spans", "log_records", "metric_points"):
        assert [file[signal] for file in counted["files"]] == [file[signal] for file in done["files"]]
    before = stored(data_dir)
    assert before["spans"]
    assert before["calls"]
    second = backfill(*files, "--data-dir", data_dir, "--json")
    assert second.returncode == 0, second.stderr
    assert stored(data_dir) == before
    on_disk = sorted((path, path.stat().st_size) for path in (data_dir / "data").rglob("*"))
    again = backfill(*files, "--data-dir", data_dir, "--dry-run", "--json")
    assert sorted((path, path.stat().st_size) for path in (data_dir / "data").rglob("*")) == on_disk
    for answer in (second, again):
        for signal in ("spans", "log_records", "metric_points"):
            total = json.loads(answer.stdout)["total"][signal]
            assert total["stored"] == 0
            assert total["duplicate"] + total["not_kept"] == total["read"]


def test_what_was_rejected_is_named_and_the_rest_is_loaded(tmp_path):
    """Exit code 1 with file, line and reason; the good line is in the lake, which was laid where there was none."""
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
    ids = ({"traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}"} for number in range(400))
    spans = ({"name": "a", "startTimeUnixNano": "1700000000000000000", **pair} for pair in ids)
    texts = [json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}) for span in spans]
    packed = gzip.compress("\n".join(texts).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    lay_empty_lake(tmp_path / "data")
    answer = backfill(tmp_path / "cut.jsonl.gz", "--data-dir", tmp_path / "data", "--json")
    assert answer.returncode == 1
    (file,) = json.loads(answer.stdout)["files"]
    assert 100 < file["spans"]["stored"] < 300
    assert any("gzip data is damaged or cut off at byte" in problem["reason"] for problem in file["problems"])


def test_standard_input_is_a_file_too(tmp_path):
    lay_empty_lake(tmp_path / "data")
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
    lay_empty_lake(tmp_path / "data")
    assert backfill(CAPTURE, "--data-dir", tmp_path / "data").returncode == 0
    columns = "* EXCLUDE (load_id, received_at, source)"
    statement = f"SELECT {columns} FROM spans ORDER BY ALL"
    assert collector.sql(statement) == sql(tmp_path / "data", statement)
    assert collector.sql("SELECT * FROM calls") == sql(tmp_path / "data", "SELECT * FROM calls")
