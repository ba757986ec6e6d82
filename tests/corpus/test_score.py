"""Real captures, loaded by the product's own path, scored against what the provider's API really answered.

Guarantee: of all that the telemetry carries, nothing is missed, nothing read wrong and no call counted twice.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.store.commit import Committer, Origin
from collector.store.lake import Lake
from collector.store.migrate import open_current
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Encoding, Settings, Signal

HERE = Path(__file__).parent
RECEIVED_AT = 1_795_300_000_000_000_000

PREDICTIONS = """
SELECT
    s.tenant, s.span_id, s.trace_id, s.role, c.call_id IS NOT NULL AS counted,
    coalesce(c.provider, s.provider) AS provider,
    coalesce(c.request_model, s.request_model) AS request_model,
    coalesce(c.response_model, s.response_model) AS response_model,
    coalesce(c.response_id, s.response_id) AS response_id,
    coalesce(c.service_tier, s.service_tier) AS service_tier,
    coalesce(c.input_tokens, s.input_tokens) AS input_total,
    coalesce(c.cache_read_tokens, s.cache_read_tokens) AS cache_read,
    coalesce(c.cache_write_tokens, s.cache_write_tokens) AS cache_write,
    coalesce(c.cache_write_1h_tokens, s.cache_write_1h_tokens) AS cache_write_1h,
    coalesce(c.output_tokens, s.output_tokens) AS output_total,
    coalesce(c.reasoning_tokens, s.reasoning_tokens) AS reasoning,
    s.status_code = 'ERROR' OR s.error_type IS NOT NULL AS error,
    coalesce(c.session_id, s.session_id) AS session_id,
    coalesce(c.user_id, s.user_id) AS user_id,
    coalesce(c.agent_name, s.agent_name) AS agent_name,
    s.tool_name
FROM lake.spans AS s
LEFT JOIN lake.calls AS c ON c.tenant = s.tenant AND c.trace_id = s.trace_id AND c.span_id = s.span_id
ORDER BY s.tenant, s.start_unix_nano, s.span_id
"""
# Calls of a scenario that no span reports, with the sums that its truth tells.
CALLS_OF_LOGS = """
SELECT
    tenant,
    count(*) FILTER (error_type IS NULL) AS successful_calls,
    sum(input_tokens) AS input_total,
    sum(cache_read_tokens) AS cache_read,
    sum(cache_write_tokens) AS cache_write,
    sum(output_tokens) AS output_total
FROM lake.calls
WHERE span_id IS NULL
GROUP BY tenant
"""

# What no reader can get right, by library and by what shortfalls() calls it.
KNOWN = {
    # The truth of a column that the telemetry does not carry counts as 0 in the scorer's sums.
    "openlit@old": {
        "sum": "its own estimate of a stream's tokens, and no cache counts, stand where usage belongs"
    },
    "mlflow-openai": {"service_tier": "a stream's stands in the events of its chunks, which are content"},
    "gemini-cli": {"sum": "a span's output leaves out the reasoning, which its log record alone has"},
    "logfire-openai": {"sum": "a stream's usage stands in a span of its own, which the scorer does not know"},
}

Rows = list[dict[str, Any]]
Shortfalls = dict[str, str]


def scenarios(corpus: Path) -> list[Path]:
    """The ground truths of a corpus."""
    return sorted(corpus.glob("*/*.expected.json"))


def tenant_of(expected: Path) -> str:
    """Each scenario is loaded as a tenant of its own."""
    return f"{expected.parent.name}/{expected.name.removesuffix('.expected.json')}"


def requests_of(expected: Path, signals: tuple[Signal, ...], encoding: Encoding) -> Iterator[Request]:
    """A scenario's requests, of those signals that it has."""
    for signal in signals:
        suffix = {"protobuf": "pb", "json": "json"}[encoding]
        middle = "" if signal == "traces" else f"{signal}."
        file = expected.with_name(expected.name.replace("expected.json", middle + suffix))
        if file.exists():
            yield Request(signal, encoding, file.read_bytes(), RECEIVED_AT, tenant_of(expected))


def load(
    found: list[Path], data_dir: Path, signals: tuple[Signal, ...], encoding: Encoding, *queries: str
) -> list[Rows]:
    """Load scenarios and return the rows of each query."""
    requests = [request for expected in found for request in requests_of(expected, signals, encoding)]
    settings = Settings()
    open_current(data_dir, settings.dimensions).close()
    lake = Lake.open(data_dir)
    try:
        Committer(lake, settings).commit(extract(requests, settings), Origin("otlp"))
        return [lake.connection.execute(query).to_arrow_table().to_pylist() for query in queries]
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


def shortfalls(line: str) -> Shortfalls:
    """What a perfect reader would not show in one of the scorer's lines, by kind."""
    calls, once, missed, double, extra = map(
        int, re.search(r"calls +(\d+) once +(\d+) missed +(\d+) double +(\d+) extra +(\d+)", line).groups()
    )
    wrong = {} if (once, missed, double) == (calls, 0, 0) else {"calls": line.split("|", maxsplit=1)[0]}
    wrong |= {"extra": str(extra)} if extra else {}
    wrong |= {
        column: f"{right}/{asked}"
        for column, right, asked in re.findall(r"(\w+) +(\d+)/(\d+)", line)
        if right != asked
    }
    sums = [
        percent
        for percent in re.findall(r"sum_(?:in|out) ([\d.]+)%", line)
        if float(percent) not in (100.0, 0.0)
    ]
    return wrong | ({"sum": " ".join(sums)} if sums else {})


def further_shortfalls(expected: Path, rows: Rows) -> Shortfalls:
    """What a scenario's calls do not tell although the telemetry carries it: columns that the scorer leaves out,
    and who they belong to."""
    truth = json.loads(expected.read_text())
    read = {row["span_id"]: row for row in rows if row["tenant"] == tenant_of(expected)}
    wrong: Shortfalls = {}
    for call in truth["api_calls"]:
        counted = [read[span] for span in call["spans"] if span in read and read[span]["counted"]]
        for row in counted:
            wrong |= _wrong_columns(call, row) | _wrong_context(truth, row)
    for span in truth["spans"]:
        tool = truth["set_by_app"].get("tool_name")
        if span["role"] == "tool" and tool and read[span["span_id"]]["tool_name"] != tool:
            wrong["tool"] = f"{read[span['span_id']]['tool_name']}, not {tool}"
    return {kind: f"{expected.name}: {what}" for kind, what in wrong.items()}


def _wrong_columns(call: dict[str, Any], row: dict[str, Any]) -> Shortfalls:
    carried = call.get("carried_by_spans") or {}
    return {
        column: f"{row[column]}, not {call[column]}"
        for column in ("response_id", "service_tier")
        if carried.get(column) and row[column] != call[column]
    }


def _wrong_context(truth: dict[str, Any], row: dict[str, Any]) -> Shortfalls:
    """Whom the application named must be known where a span of the call's trace tells; an agent, where the call's
    own span or one around it does."""
    set_by_app = truth["set_by_app"]
    in_trace = _told(span for span in truth["spans"] if span["trace_id"] == row["trace_id"])
    around = _told(_and_ancestors(truth, row["span_id"]))
    agents = [set_by_app[key] for key in ("agent_name", "sub_agent") if key in set_by_app]
    possible = {
        "session_id": [set_by_app.get("session_id")] if "session_id" in in_trace else [],
        "user_id": [set_by_app.get("user_id")] if "user_id" in in_trace else [],
        "agent_name": agents if "agent_name" in around else [],
    }
    return {
        column: f"{row[column]}, not {names}"
        for column, names in possible.items()
        if names and column in set_by_app and row[column] not in names
    }


def _told(spans: Iterable[dict[str, Any]]) -> set[str]:
    return {key for span in spans for key in span.get("context_evidence") or {}}


def _and_ancestors(truth: dict[str, Any], span_id: str) -> Iterator[dict[str, Any]]:
    by_id = {span["span_id"]: span for span in truth["spans"]}
    while span_id in by_id:
        yield by_id[span_id]
        span_id = by_id[span_id]["parent_span_id"]


def all_shortfalls(corpus: Path, rows: Rows, folder: Path) -> dict[str, Shortfalls]:
    """By library what its captures show that a perfect reader would not, but for what is known."""
    lines = score(corpus, rows, folder)
    found: dict[str, Shortfalls] = {}
    for expected in scenarios(folder / "corpus"):
        library = expected.parent.name
        wrong = shortfalls(lines[library]) if library in lines else {}
        found[library] = found.get(library, {}) | wrong | further_shortfalls(expected, rows)
    return {
        library: unknown
        for library, wrong in found.items()
        if (unknown := {kind: what for kind, what in wrong.items() if kind not in KNOWN.get(library, {})})
    }


@pytest.fixture(scope="module")
def of_traces(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """All scenarios here, read from their traces alone."""
    folder = tmp_path_factory.mktemp("lake")
    return load(scenarios(HERE), folder, ("traces",), "protobuf", PREDICTIONS)[0]


def test_every_captured_call_is_read_whole_and_counted_once(of_traces: Rows, tmp_path: Path) -> None:
    assert {row["tenant"] for row in of_traces} == {tenant_of(expected) for expected in scenarios(HERE)}
    assert all_shortfalls(HERE, of_traces, tmp_path) == {}


def test_the_same_captures_in_json_are_read_likewise(of_traces: Rows, tmp_path: Path) -> None:
    [rows] = load(scenarios(HERE), tmp_path, ("traces",), "json", PREDICTIONS)
    assert rows == of_traces


def test_log_records_of_the_same_calls_change_nothing(tmp_path: Path) -> None:
    """All three signals report a call: what spans tell stays, and none is counted for a log record alone."""
    signals: tuple[Signal, ...] = ("traces", "logs", "metrics")
    queries = (PREDICTIONS, CALLS_OF_LOGS)
    rows, of_logs = load(scenarios(HERE), tmp_path / "lake", signals, "protobuf", *queries)
    libraries = {row["tenant"].split("/")[0] for row in of_logs}
    assert {library for library in libraries if "logs" not in KNOWN.get(library, {})} == set()
    assert all_shortfalls(HERE, rows, tmp_path / "predictions") == {}


def test_a_span_that_stands_for_two_calls_is_one_call(of_traces: Rows) -> None:
    expected = HERE / "otel-google-genai" / "tool.expected.json"
    (span,) = spans_of_several_calls(expected)
    counted = [row for row in of_traces if row["tenant"] == tenant_of(expected) and row["counted"]]
    assert [(row["span_id"], row["provider"]) for row in counted] == [(span, "gcp.gemini")]


@pytest.mark.skipif("SPANLEDGER_CORPUS" not in os.environ, reason="SPANLEDGER_CORPUS names no folder")
def test_a_corpus_from_elsewhere_is_read_whole(tmp_path: Path) -> None:
    corpus = Path(os.environ["SPANLEDGER_CORPUS"])
    [rows] = load(scenarios(corpus), tmp_path / "lake", ("traces",), "protobuf", PREDICTIONS)
    assert all_shortfalls(corpus, rows, tmp_path / "predictions") == {}


@pytest.mark.skipif("SPANLEDGER_CORPUS" not in os.environ, reason="SPANLEDGER_CORPUS names no folder")
def test_a_corpus_from_elsewhere_is_read_from_logs_where_it_has_no_spans(tmp_path: Path) -> None:
    truths = {
        expected: json.loads(expected.read_text())
        for expected in scenarios(Path(os.environ["SPANLEDGER_CORPUS"]))
    }
    found = [
        expected
        for expected, truth in truths.items()
        if not any(call["spans"] for call in truth["api_calls"])
        and next(requests_of(expected, ("logs",), "protobuf"), None)
    ]
    if not found:
        pytest.skip("no scenario without spans")
    [rows] = load(found, tmp_path / "lake", ("traces", "logs", "metrics"), "protobuf", CALLS_OF_LOGS)
    columns = ("successful_calls", "input_total", "cache_read", "cache_write", "output_total")
    read = {row["tenant"]: {column: row[column] or 0 for column in columns} for row in rows}
    told = {tenant_of(path): truths[path]["totals_each_call_once"] | truths[path] for path in found}
    assert read == {tenant: {column: truth[column] for column in columns} for tenant, truth in told.items()}
