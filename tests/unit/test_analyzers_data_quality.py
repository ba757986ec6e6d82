"""What the analyzer `data-quality` says about requests that were loaded as any other; counts are made by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from analyzers import registry
from analyzers.cost_notes import EFFECTS
from analyzers.finding import Report
from analyzers.unknown_models import nearest, unknown_models
from analyzers.window import Window
from collector.store.lake import Lake
from semconv.prices import COST_NOTES
from semconv.request import Request
from tests.calls_table import call as call_row
from tests.calls_table import calls_table
from tests.otlp_data import key_values
from tests.store_support import HOUR, NOON, NOON_NANOS, SECOND, call, store, traces, traces_body

DAY = Window(NOON - dt.timedelta(hours=12), NOON + dt.timedelta(hours=12))
ASKED_ONLY = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-mini",
}
# The total decides that input includes the cache.
CACHED = {"gen_ai.usage.cache_read.input_tokens": 100, "gen_ai.usage.total_tokens": 1100}
MINUTE = 60 * SECOND


def report(data_dir: Path, *requests: Request) -> Report:
    with store(data_dir) as lake:
        lake.load(*requests)
    with Lake.open(data_dir, read_only=True, threads=1) as lake:
        return registry.get("data-quality").run(lake.connection, DAY, {})


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake in which each of these cases has a day of its own, by `days_before`."""
    data_dir = tmp_path_factory.mktemp("cases") / "data"
    with store(data_dir) as lake:
        lake.load(
            *map(sampled, TRACE_STATES),
            *(one for tokens in COUNTED for one in counted(tokens)),
            *map(told, TELLING),
        )
    with Lake.open(data_dir, read_only=True, threads=1) as lake:
        yield lake


def days_before(case: object) -> int:
    return 1 + [*TRACE_STATES, *COUNTED, *TELLING].index(case)


def report_of_case(cases: Lake, case: object) -> Report:
    day = dt.timedelta(days=days_before(case))
    return registry.get("data-quality").run(cases.connection, Window(DAY.start - day, DAY.end - day), {})


def rows(report: Report) -> dict[str, dict[str, Any]]:
    """By library."""
    return {row["library"]: row for row in report.as_dict()["rows"]}


def asked(trace: int, number: int, scope: str, **attributes: Any) -> dict[str, Any]:
    return call(trace, number, scope=scope, at=trace * MINUTE) | {"attributes": ASKED_ONLY | attributes}


def test_what_is_missing_is_counted_by_library(tmp_path: Path) -> None:
    spans = [
        call(1, 1, scope="whole", attributes=CACHED),
        call(2, 1, scope="no cache", at=2 * MINUTE),
        call(3, 1, scope="no cache", at=3 * MINUTE, attributes=CACHED),
        asked(4, 1, "silent"),
        asked(5, 1, "silent", **{"gen_ai.request.stream": "true"}),
        call(
            6,
            1,
            scope="new model",
            at=6 * MINUTE,
            attributes={**CACHED, "gen_ai.request.model": "model-of-tomorrow"},
        ),
    ]
    found = rows(report(tmp_path / "data", traces(*spans)))
    counts = {
        library: {name for name, value in row.items() if isinstance(value, int) and value and name != "calls"}
        for library, row in found.items()
    }
    assert counts == {
        "whole": set(),
        "no cache": {"without_cache_split"},
        "silent": {"without_usage", "streams_without_usage"},
        "new model": {"unknown_model"},
    }
    assert (found["no cache"]["calls"], found["no cache"]["without_cache_split"]) == (2, 1)
    assert found["whole"]["service"] == "shop"


def test_each_lack_is_a_finding_that_says_what_it_does_to_the_cost(tmp_path: Path) -> None:
    """With an id that the next run gives it too."""
    first = report(
        tmp_path / "one", traces(asked(1, 1, "silent"), call(2, 1, scope="silent", attributes=CACHED))
    )
    again = report(tmp_path / "two", traces(asked(3, 1, "silent")))
    [finding] = first.findings
    assert finding.title == "1 of 2 calls of shop via silent report no tokens"
    assert any("in no sum of money" in caveat for caveat in finding.caveats)
    assert finding.dimension == {"service": "shop", "library": "silent", "version": None}
    assert finding.action is not None
    assert finding.action.startswith("update the library")
    assert [finding.finding_id for finding in again.findings] == [finding.finding_id]


# Spans by what they are about.
TELLING = {
    "failed": [asked(1, 1, "strict")],
    "meaning": [call(1, 1, scope="vague", attributes={"gen_ai.usage.cache_read.input_tokens": 400})],
    "reasoning": [
        call(
            1,
            1,
            scope="opentelemetry.instrumentation.google_generativeai",
            attributes={"gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "gemini-2.5-pro"},
        )
    ],
    "merged": [
        call(1, 1, scope="outer", response_id="same", lasts=3 * SECOND, attributes=CACHED),
        call(1, 2, parent=1, scope="inner", response_id="same", at=SECOND, attributes=CACHED),
    ],
}


def told(about: str) -> Request:
    """On the day of the case, in a trace of its own."""
    days = days_before(about)
    spans = [one | {"trace": days, "at": one["at"] - days * 24 * HOUR} for one in TELLING[about]]
    body = traces_body(spans)
    return Request("traces", "protobuf", failed(body) if about == "failed" else body, NOON_NANOS + HOUR)


def test_a_failed_call_without_usage_lacks_nothing(cases: Lake) -> None:
    found = report_of_case(cases, "failed")
    [row] = rows(found).values()
    assert (row["calls"], row["failed"], row["without_usage"]) == (1, 1, 0)
    assert found.findings == ()


def failed(body: bytes) -> bytes:
    request = ExportTraceServiceRequest.FromString(body)
    request.resource_spans[0].scope_spans[0].spans[0].status.code = 2
    return request.SerializeToString()


def test_input_of_unknown_meaning_makes_the_cost_uncertain(cases: Lake) -> None:
    """1,000 input tokens, of which 400 may have come on top from the cache."""
    [row] = rows(report_of_case(cases, "meaning")).values()
    assert row["unknown_semantics"] == 1
    assert row["uncertain_share"] > 0


def test_a_library_that_leaves_reasoning_out_understates(cases: Lake) -> None:
    """OpenLLMetry's Google instrumentation tells what the candidates took, and thoughts nowhere."""
    found = report_of_case(cases, "reasoning")
    [row] = rows(found).values()
    assert row["understated"] == 1
    assert any("too low" in finding.caveats[0] for finding in found.findings)


def test_merged_reports_are_told_and_are_no_finding(cases: Lake) -> None:
    found = report_of_case(cases, "merged")
    assert [row["duplicates_merged"] for row in rows(found).values()] == [1]
    assert found.findings == ()


# By what a span's trace state says, the part of the traces that was kept.
TRACE_STATES = {
    "ot=th:8": "50.0%",
    "ot=rv:123456789abcde;th:c": "25.0%",
    "vendor=th:8,ot=th:fd70a3d70a3d71": "1.0%",
    "ot=th:0": None,
    "vendor=th:8": None,
    "ot=rv:88888888888888": None,
}


def sampled(trace_state: str) -> Request:
    """A call of such a trace."""
    request = ExportTraceServiceRequest.FromString(traces_body([a_call(trace_state)]))
    request.resource_spans[0].scope_spans[0].spans[0].trace_state = trace_state
    return Request("traces", "protobuf", request.SerializeToString(), NOON_NANOS + HOUR)


def a_call(case: object) -> dict[str, Any]:
    days = days_before(case)
    return call(days, 1, scope="s", at=-days * 24 * HOUR, attributes=CACHED)


@pytest.mark.parametrize(("trace_state", "kept"), TRACE_STATES.items())
def test_thinned_out_traces_are_not_the_bill(cases: Lake, trace_state: str, kept: str | None) -> None:
    found = report_of_case(cases, trace_state)
    notes = [note for note in found.notes if note.startswith("sampled: this is not the bill")]
    assert sum(row["calls"] for row in rows(found).values()) == 1
    assert len(notes) == (kept is not None)
    assert kept is None or kept in notes[0]


# By what a library's counter says, beside a call of 1,000 input tokens, 100 of them cached: what is said of it.
COUNTED = {1000: None, 900: None, 4000: "may be missing", 10: "twice"}


def counted(tokens: int) -> tuple[Request, Request]:
    """The call and the counter."""
    body = counter_body(tokens, NOON_NANOS - days_before(tokens) * 24 * HOUR)
    return traces(a_call(tokens)), Request("metrics", "protobuf", body, NOON_NANOS + HOUR)


@pytest.mark.parametrize(("tokens", "said"), COUNTED.items())
def test_metrics_that_count_otherwise_are_a_finding(cases: Lake, tokens: int, said: str | None) -> None:
    found = report_of_case(cases, tokens)
    assert len(found.findings) == (said is not None)
    if said:
        assert f"count {tokens} input tokens of gpt-4.1-mini, its calls 1000" in found.findings[0].title
        assert said in found.findings[0].caveats[0]


def counter_body(tokens: int, noon: int) -> bytes:
    """A counter that counted so many input tokens within the minute after noon."""
    message = ExportMetricsServiceRequest()
    sender = message.resource_metrics.add()
    sender.resource.attributes.extend(key_values({"service.name": "shop"}))
    metric = sender.scope_metrics.add().metrics.add(name="gen_ai.client.token.usage", unit="{token}")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 1, True
    attributes = key_values({"gen_ai.token.type": "input", **ASKED_ONLY})
    metric.sum.data_points.add(
        start_time_unix_nano=noon,
        time_unix_nano=noon + MINUTE,
        attributes=attributes,
        as_int=tokens,
    )
    return message.SerializeToString()


def test_an_empty_window_says_so(tmp_path: Path) -> None:
    found = report(tmp_path / "data")
    assert found.rows == ()
    assert "no calls" in found.notes[0]


# --- models without a price, and what else makes a cost unknown


def test_unknown_models_are_listed_with_the_nearest_names_and_without_a_price(tmp_path: Path) -> None:
    """Two calls of a misspelled model and one of a model nobody knows; the first one's provider has the nearest name,
    and a name of another provider never comes before it."""
    misspelled = {"gen_ai.request.model": "gpt-4.1-minni", **CACHED}
    alien = {"gen_ai.request.model": "zzzzqqqq-0", **CACHED}
    spans = [
        call(1, 1, attributes=misspelled),
        call(2, 1, attributes=misspelled, at=MINUTE),
        call(3, 1, attributes=alien, at=2 * MINUTE),
    ]
    found = report(tmp_path / "data", traces(*spans))
    first, second = (one for one in found.findings if "nearest_names" in one.evidence)
    assert first.title.startswith("2 calls of gpt-4.1-minni at openai")
    assert (first.evidence["input_tokens"], first.evidence["output_tokens"]) == (2000, 200)
    names = first.evidence["nearest_names"]
    assert isinstance(names, list)
    assert names[0] == "openai/gpt-4.1-mini"
    assert (second.evidence["calls"], second.evidence["nearest_names"]) == (1, [])
    assert any("nearest known names: none" in caveat for caveat in second.caveats)
    assert any(note.startswith("cost_note unknown_model, 3 calls: ") for note in found.notes)


def test_names_of_the_calls_own_provider_come_first() -> None:
    """`mistral_ai` is `mistral` in the list; a nearer name elsewhere comes after it."""
    known = [("other", "small-model"), ("mistral", "small-modes"), ("mistral", "unlike")]
    assert nearest("mistral_ai", "small-model", known) == ["mistral/small-modes", "other/small-model"]
    assert nearest(None, "SMALL-MODEL", known) == ["other/small-model", "mistral/small-modes"]


def test_of_many_unknown_models_those_with_most_calls_are_listed_and_the_rest_is_counted() -> None:
    rows = [call_row(request_model=f"m{n}", cost_note="unknown_model") for n in range(23)]
    extra = call_row(request_model="m22", cost_note="unknown_model")
    connection = calls_table(*rows, extra)
    found = list(unknown_models(connection, Window(NOON - dt.timedelta(days=1), NOON + dt.timedelta(days=1))))
    assert len(found) == 21
    assert found[0].dimension["model"] == "m22"
    assert found[-1].evidence == {"calls": 3, "models": 3}


def test_every_cost_note_says_what_it_does_to_the_cost(tmp_path: Path) -> None:
    """Failed calls are told apart from those that only do not tell."""
    assert set(EFFECTS) == COST_NOTES
    silent = Request("traces", "protobuf", failed(traces_body([asked(1, 1, "s")])), NOON_NANOS + HOUR)
    found = report(tmp_path / "data", silent, traces(asked(2, 1, "s")))
    [note] = (note for note in found.notes if note.startswith("cost_note no_usage"))
    assert note.startswith("cost_note no_usage, 2 calls, of which 1 failed: they report no tokens")
