"""From chunks to commits: nothing is lost or counted twice between reading and storing, whatever is wrong
with it."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from unittest.mock import Mock

import pyarrow as pa
import pytest

from collector.backfill.report import FileReport
from collector.backfill.run import Backfill, Options
from collector.backfill.seen import Seen
from collector.backfill.steps import cut_into_steps
from collector.store.load_row import LoadRow
from collector.worker import Worker
from semconv import columns
from semconv.extract import Extracted
from semconv.settings import Settings


class Store:
    """Keeps what is committed, and answers as the lake would."""

    def __init__(self):
        self.steps, self.origins, self.stored = [], [], set()

    def commit(self, extracted, origin, *, dry_run=False):
        self.steps.append(extracted)
        self.origins.append(origin)
        ids = set(extracted.spans.column("span_id").to_pylist())
        new = ids - self.stored
        counts = extracted.counts | {
            "spans_stored": len(new),
            "spans_duplicate": extracted.spans.num_rows - len(new),
        }
        self.stored |= set() if dry_run else ids
        self.by_source = {
            source: sum(
                1 for row in extracted.spans.to_pylist() if row["source"] == source and row["span_id"] in new
            )
            for source in extracted.spans.column("source").to_pylist()
        }
        return LoadRow.of("load", origin, counts, time.monotonic())

    def stored_by_source(self, load_id, table):
        return self.by_source if table == "spans" else {}


def span(number, start=1_700_000_000, **changes):
    return {
        "traceId": f"{number + 1:032x}",
        "spanId": f"{number + 1:016x}",
        "name": f"span {number}",
        "startTimeUnixNano": str(start * 10**9),
        "endTimeUnixNano": str(start * 10**9 + 5),
        **changes,
    }


def request(*spans):
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def lines(*requests):
    return b"".join(json.dumps(part).encode() + b"\n" for part in requests)


def load(path, content, store=None, **options) -> FileReport:
    path.write_bytes(content)
    with Backfill(store or Store(), Options(Settings(), **options)) as run:
        report = run.load(str(path))
        run.finish()
        return report


def counts(report):
    return {name: count for name, count in report.counts.items() if count}


def test_a_bad_span_is_rejected_alone_and_every_reason_is_counted(tmp_path):
    content = lines(
        request(span(0), span(1, spanId=""), span(2, traceId="0" * 32), span(3, spanId="")),
        request(span(4, spanId="")),
    )
    report = load(tmp_path / "a.jsonl", content)
    assert counts(report) == {"spans_read": 5, "spans_stored": 1, "spans_rejected": 4}
    assert {problem.reason: problem.count for problem in report.problems.values()} == {
        "span_id is empty; expected 8 bytes": 3,
        "trace_id is all zero, which is no valid id": 1,
    }
    assert report.rejected


def test_an_undecodable_request_does_not_take_its_neighbours_along(tmp_path):
    """A lone surrogate spoils the decoding of the body it stands in. Spans packed together are told apart
    again: only the one that holds it is lost; in lines, the rest of its line is kept too."""
    bad = json.dumps(request(span(0), span(1, name="NAME"), span(2))).replace("NAME", "\\ud800")
    for content, kept in (
        (lines(request(span(5))) + bad.encode() + b"\n" + lines(request(span(6))), {0, 2, 5, 6}),
        (json.dumps(json.loads(bad), indent=1).encode(), {0, 2}),
    ):
        store = Store()
        report = load(tmp_path / "a.json", content, store)
        assert store.stored >= {f"{n + 1:016x}" for n in kept}
        assert report.counts["spans_stored"] + report.unreadable == len(kept) + 1


def test_a_torn_line_is_named_and_the_others_are_loaded(tmp_path):
    torn = lines(request(span(1), span(2)))[:-30] + b"\n"
    report = load(tmp_path / "a.jsonl", lines(request(span(0))) + torn + lines(request(span(3))))
    assert counts(report) == {"spans_read": 2, "spans_stored": 2}
    ((problem,), unreadable) = report.problems.values(), report.unreadable
    assert (problem.where, unreadable) == ("line 2", 1)


def test_rows_reach_the_store_in_the_order_of_time_in_short_steps(tmp_path, monkeypatch):
    """Spans in reverse order, many a step: each step is later than the one before, and no span is in two."""
    monkeypatch.setattr("collector.backfill.writer._STEP_ROWS", 10)
    store = Store()
    spans = [span(n, start=1_700_000_000 - n // 3) for n in range(100)]
    report = load(tmp_path / "a.jsonl", lines(*(request(one) for one in spans)), store)
    times = [step.spans.column("start_unix_nano").to_pylist() for step in store.steps]
    assert [time for step in times for time in step] == sorted(time for step in times for time in step)
    assert all(earlier[-1] < later[0] for earlier, later in itertools.pairwise(times))
    assert max(map(len, times)) <= 12
    assert counts(report) == {"spans_read": 100, "spans_stored": 100}
    assert [origin.requests for origin in store.origins if origin.requests] == [100]
    assert {origin.source for origin in store.origins} == {"backfill:a.jsonl"}


def test_counts_of_the_steps_are_those_of_the_input(tmp_path, monkeypatch):
    """Rejected and not kept spans stand in no row; they are counted once, however many steps there are."""
    monkeypatch.setattr("collector.backfill.writer._STEP_ROWS", 3)
    spans = [span(n, start=1_700_000_000 + n, **({"spanId": "xyz"} if n % 4 == 0 else {})) for n in range(20)]
    report = load(tmp_path / "a.jsonl", lines(request(*spans)))
    assert counts(report) == {"spans_read": 20, "spans_stored": 15, "spans_rejected": 5}


def test_other_processes_extract_the_same(tmp_path, monkeypatch):
    """A file large enough for workers, with rejected spans and torn lines all over it: every span is stored
    once, in the order of time, and every problem is told, as this process alone would."""
    monkeypatch.setattr("collector.backfill.run._GROUP_BYTES", 5_000)
    monkeypatch.setattr("collector.backfill.workers._OWN_BYTES", 15_000)
    spans = [
        span(n, start=1_700_000_000 + n, **({"spanId": "xyz"} if n % 7 == 0 else {})) for n in range(180)
    ]
    torn = b"{ torn\n"
    content = torn.join(lines(request(*spans[at : at + 6])) for at in range(0, 180, 6))
    reports = []
    started = Mock(wraps=Worker)
    monkeypatch.setattr("collector.backfill.workers.Worker", started)
    for cores, processes in ((1, 0), (2, 2)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        store = Store()
        reports.append(load(tmp_path / "a.jsonl", content, store).as_json())
        assert started.call_count == processes
        times = [time for step in store.steps for time in step.spans.column("start_unix_nano").to_pylist()]
        assert times == sorted(times)
    assert reports[0] == reports[1]
    assert reports[0]["spans"]["stored"] == 154
    assert reports[0]["unreadable"] == 29


def test_small_files_start_no_other_process(tmp_path, monkeypatch):
    """However many: to start one takes longer than to read them."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("collector.backfill.workers.Worker", lambda _: pytest.fail("a process was started"))
    (tmp_path / "a.jsonl").write_bytes(lines(request(span(0))))
    with Backfill(Store(), Options(Settings())) as run:
        reports = [run.load(str(tmp_path / "a.jsonl")) for _ in range(10)]
        run.finish()
    assert sum((report.counts for report in reports), Counter())["spans_read"] == 10


def test_no_step_parts_rows_of_one_time():
    """All rows of one moment, as texts and their spans are, land in one step; the borders fall between
    moments."""

    def table(schema, time, seconds):
        rows = {name: [None] * len(seconds) for name in schema.names}
        rows[time] = [second * 1_000_000 for second in seconds]
        return pa.table(
            {name: pa.array(rows[name], schema.field(name).type) for name in schema.names}, schema=schema
        )

    part = Extracted(
        spans=table(columns.SPANS, "start_time", [5, 1, 1, 1, 1, 9]),
        log_records=table(columns.LOG_RECORDS, "time", [1, 5]),
        metric_points=table(columns.METRIC_POINTS, "time", []),
        contents=table(columns.CONTENTS, "start_time", [9, 5, 1]),
        counts=Counter(spans_read=8, spans_rejected=2, log_records_read=2),
    )
    steps = list(cut_into_steps([part], 2))
    assert [step.spans.num_rows for step in steps] == [4, 2]
    assert [step.log_records.num_rows for step in steps] == [1, 1]
    assert [step.contents.num_rows for step in steps] == [1, 2]
    total = sum((step.counts for step in steps), Counter())
    assert total == Counter(spans_read=8, spans_rejected=2, log_records_read=2)


def test_small_files_share_a_commit_and_each_gets_its_own_counts(tmp_path):
    """The second file repeats a span of the first; a third one has the first one's name and so comes
    later."""
    (tmp_path / "other").mkdir()
    files = {
        tmp_path / "a.jsonl": lines(request(span(0), span(1))),
        tmp_path / "b.jsonl": lines(request(span(1), span(2, spanId="xyz"), span(3))),
        tmp_path / "other" / "a.jsonl": lines(request(span(4), span(0))),
    }
    store = Store()
    with Backfill(store, Options(Settings())) as run:
        reports = []
        for path, content in files.items():
            path.write_bytes(content)
            reports.append(run.load(str(path)))
        run.finish()
    assert [origin.source for origin in store.origins] == ["backfill:2 files", "backfill:a.jsonl"]
    first, second, third = reports
    assert counts(third) == {"spans_read": 2, "spans_stored": 1, "spans_duplicate": 1}
    assert second.counts["spans_rejected"] == 1
    # Which of two twins in one commit wins is the lake's business: both files hold the span.
    stored = first.counts["spans_stored"], second.counts["spans_stored"]
    assert sum(stored) >= 3
    for report in (first, second):
        outcomes = [report.counts[f"spans_{name}"] for name in ("stored", "duplicate", "rejected")]
        assert report.counts["spans_read"] == sum(outcomes)


def test_nothing_at_all_is_no_step():
    assert list(cut_into_steps([], 10)) == []


def test_a_dry_run_counts_a_span_that_stands_twice_once(tmp_path, monkeypatch):
    """As a real run would, though nothing of it is stored in between."""
    monkeypatch.setattr("collector.backfill.run._BATCH_BYTES", 1)
    monkeypatch.setattr("collector.backfill.run._GROUP_BYTES", 1)
    content = lines(request(span(0), span(1)), request(span(1), span(2)), request(span(0)))
    real = load(tmp_path / "a.jsonl", content)
    with Seen() as seen, Backfill(Store(), Options(Settings(), dry_run=True), seen) as run:
        dry = run.load(str(tmp_path / "a.jsonl"))
        run.finish()
    assert counts(dry) == counts(real)
    assert counts(dry) == {"spans_read": 5, "spans_stored": 3, "spans_duplicate": 2}


def test_reasons_without_end_are_not_kept_without_end():
    report = FileReport("a")
    for number in range(1000):
        report.add_problem("line 1", f"reason {number}")
    assert len(report.problems) + report.further_problems == 1000
    assert len(report.problems) < 100


@pytest.mark.parametrize("content", [b"no telemetry\n", b"\x00\x01\x02"])
def test_an_input_that_is_not_otlp_has_an_error_of_one_line(tmp_path, content):
    report = load(tmp_path / "a.bin", content)
    assert report.rejected
    assert "not OTLP" in report.error
    assert "\n" not in report.error
