"""Real captures, loaded by the product's own path, scored against what the provider's API really answered.

Guarantee: of all that the telemetry carries, nothing is missed, nothing read wrong and no call counted twice.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collector.store.commit import Committer, Origin
from collector.store.lake import Lake
from collector.store.migrate import create_or_migrate
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Settings

HERE = Path(__file__).parent
RECEIVED_AT = 1_795_300_000_000_000_000

PREDICTIONS = """
SELECT
    s.tenant, s.span_id, s.role, c.call_id IS NOT NULL AS counted,
    coalesce(c.provider, s.provider) AS provider,
    coalesce(c.request_model, s.request_model) AS request_model,
    coalesce(c.response_model, s.response_model) AS response_model,
    coalesce(c.input_tokens, s.input_tokens) AS input_total,
    coalesce(c.cache_read_tokens, s.cache_read_tokens) AS cache_read,
    coalesce(c.cache_write_tokens, s.cache_write_tokens) AS cache_write,
    coalesce(c.cache_write_1h_tokens, s.cache_write_1h_tokens) AS cache_write_1h,
    coalesce(c.output_tokens, s.output_tokens) AS output_total,
    coalesce(c.reasoning_tokens, s.reasoning_tokens) AS reasoning,
    s.status_code = 'ERROR' OR s.error_type IS NOT NULL AS error,
    coalesce(c.session_id, s.session_id) AS session_id,
    coalesce(c.user_id, s.user_id) AS user_id
FROM lake.spans AS s
LEFT JOIN lake.calls AS c ON c.tenant = s.tenant AND c.trace_id = s.trace_id AND c.span_id = s.span_id
ORDER BY s.tenant, s.start_unix_nano
"""


def load_scenarios(corpus: Path, pattern: str, data_dir: Path, encoding: str) -> list[dict[str, Any]]:
    """Load every scenario's traces as a tenant of its own and return the reading of each span."""
    suffix = "pb" if encoding == "protobuf" else "json"
    requests = [
        Request(
            signal="traces",
            encoding=encoding,  # type: ignore[arg-type]
            body=expected.with_name(expected.name.replace("expected.json", suffix)).read_bytes(),
            received_at=RECEIVED_AT,
            tenant=f"{expected.parent.name}/{expected.name.removesuffix('.expected.json')}",
        )
        for expected in sorted(corpus.glob(f"{pattern}/*.expected.json"))
        if expected.with_name(expected.name.replace("expected.json", suffix)).exists()
    ]
    assert requests, f"no captures in {corpus}"
    settings = Settings()
    create_or_migrate(data_dir, settings.dimensions)
    lake = Lake.open(data_dir)
    try:
        Committer(lake, settings).commit(extract(requests, settings), Origin("otlp"))
        found = lake.connection.execute(PREDICTIONS)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    finally:
        lake.close()


def spans_of_several_calls(expected: Path) -> set[str]:
    """Spans that stand for more than one API call: Google's SDK answers tool calls by itself, inside one span that
    carries the last call's usage. No reader can tell, and the scorer has no expectation for them."""
    seen = [span for call in json.loads(expected.read_text())["api_calls"] for span in call["spans"]]
    return {span for span in seen if seen.count(span) > 1}


def scorable(corpus: Path, folder: Path) -> Path:
    """The corpus without the scenarios in which one span stands for several calls."""
    for expected in corpus.glob("*/*.expected.json"):
        if not spans_of_several_calls(expected):
            (folder / expected.parent.name).mkdir(parents=True, exist_ok=True)
            (folder / expected.parent.name / expected.name).symlink_to(expected)
    (folder / "index.json").symlink_to(corpus / "index.json")
    return folder


def score(corpus: Path, rows: list[dict[str, Any]], folder: Path) -> dict[str, str]:
    """Run the captures' scorer; returns its lines by library."""
    corpus = scorable(corpus, folder / "corpus")
    for row in rows:
        library, scenario = row["tenant"].split("/")
        path = folder / library / f"{scenario}.pred.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(row, default=str) + "\n")
    printed = subprocess.run(
        [sys.executable, HERE / "score.py", corpus, folder], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[0]: line for line in printed.splitlines()}


def shortfalls(line: str) -> list[str]:
    """What a perfect reader would not show in one of the scorer's lines."""
    calls, once, missed, double, extra = map(
        int, re.search(r"calls +(\d+) once +(\d+) missed +(\d+) double +(\d+) extra +(\d+)", line).groups()
    )
    wrong = [] if (once, missed, double, extra) == (calls, 0, 0, 0) else [line.split("|", maxsplit=1)[0]]
    wrong += [
        f"{column} {right}/{asked}"
        for column, right, asked in re.findall(r"(\w+) +(\d+)/(\d+)", line)
        if right != asked
    ]
    sums = re.findall(r"sum_(?:in|out) ([\d.]+)%", line)
    return wrong + [f"sum {percent}%" for percent in sums if float(percent) not in (100.0, 0.0)]


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_every_captured_call_is_read_whole_and_counted_once(tmp_path: Path, encoding: str) -> None:
    rows = load_scenarios(HERE, "otel-*", tmp_path / "lake", encoding)
    lines = score(HERE, rows, tmp_path / "predictions")
    libraries = {path.parent.name for path in HERE.glob("otel-*/*.expected.json")}
    assert libraries <= set(lines)
    assert {library: shortfalls(lines[library]) for library in libraries if shortfalls(lines[library])} == {}


def test_a_span_that_stands_for_two_calls_is_one_call(tmp_path: Path) -> None:
    expected = HERE / "otel-google-genai" / "tool.expected.json"
    (span,) = spans_of_several_calls(expected)
    rows = load_scenarios(HERE, "otel-google-genai", tmp_path / "lake", "protobuf")
    counted = [row for row in rows if row["tenant"] == "otel-google-genai/tool" and row["counted"]]
    assert [(row["span_id"], row["provider"]) for row in counted] == [(span, "gcp.gemini")]


@pytest.mark.skipif("SPANLEDGER_CORPUS" not in os.environ, reason="SPANLEDGER_CORPUS names no folder")
def test_a_corpus_from_elsewhere_is_read_whole(tmp_path: Path) -> None:
    corpus = Path(os.environ["SPANLEDGER_CORPUS"])
    rows = load_scenarios(corpus, "otel-*", tmp_path / "lake", "protobuf")
    lines = score(corpus, rows, tmp_path / "predictions")
    wrong = {library: shortfalls(line) for library, line in lines.items() if library.startswith("otel-")}
    assert {library: short for library, short in wrong.items() if short} == {}
