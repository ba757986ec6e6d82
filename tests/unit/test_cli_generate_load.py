"""`otlp-collector generate-load` on a real collector: what it says was acknowledged is what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from collector.cli.main import main
from tests.support import Collector, free_port, running


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with running(tmp_path_factory.mktemp("load") / "data") as server:
        yield server


def generate_load(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["generate-load", *arguments])


def load(collector: Collector, *arguments: str) -> dict[str, Any]:
    ports = ("--http-endpoint", collector.http.removeprefix("http://"), "--grpc-endpoint", collector.grpc)
    answer = generate_load(*ports, *arguments, "--json")
    assert answer.exit_code == 0, answer.output
    result: dict[str, Any] = json.loads(answer.stdout)
    return result


@pytest.mark.parametrize(
    ("protocol", "compression"),
    [("http/protobuf", "gzip"), ("http/json", "none"), ("grpc", "none"), ("grpc", "gzip")],
)
def test_what_was_acknowledged_is_stored_once(collector: Collector, protocol: str, compression: str) -> None:
    """Guarantee: each run adds spans that none before had, all of them, and a quarter of them calls with a cost."""
    before = collector.sql("SELECT count(*) AS n FROM spans")[0]["n"]
    how = ("--protocol", protocol, "--compression", compression, "--batch", "200", "--count", "400")
    told = load(collector, *how)
    assert (told["acknowledged_spans"], told["requests"], told["refused_requests"]) == (400, 2, {})
    assert 0 < told["latency_ms"]["p50"] <= told["latency_ms"]["p99"] <= told["latency_ms"]["max"]
    collector.wait_for_spans(before + 400)
    assert collector.sql("SELECT count(*) AS n FROM spans")[0]["n"] == before + 400
    (calls,) = collector.sql("SELECT count(*) AS n, count(cost_usd) AS priced FROM calls")
    assert calls["n"] == calls["priced"] > 0.2 * (before + 400)


def test_it_keeps_to_the_rate(collector: Collector) -> None:
    """Scenario: 30 requests are asked for, and the rate allows 20 in the time. Guarantee: no more are sent."""
    told = load(collector, "--rate", "200", "--batch", "10", "--duration", "1", "--count", "300")
    assert 0 < told["acknowledged_spans"] <= 200
    assert told["asked_spans_per_second"] == 200


def test_people_are_told_in_a_table(collector: Collector) -> None:
    answer = generate_load("--endpoint", collector.http, "--batch", "10", "--count", "10", "--rate", "5000")
    assert answer.exit_code == 0, answer.output
    for words in ("8 connections", "10 spans a request", "of 5,000 asked for", "p99", "refused"):
        assert words in answer.stdout


def test_where_nothing_answers_it_says_so_and_ends_with_2() -> None:
    answer = generate_load("--endpoint", f"http://127.0.0.1:{free_port()}")
    assert (answer.exit_code, "otlp-collector serve" in answer.stderr) == (2, True)
    answer = generate_load("--endpoint", "localhost")
    assert (answer.exit_code, "is not an endpoint" in answer.stderr) == (2, True)


def test_where_all_is_refused_it_ends_with_1(collector: Collector) -> None:
    """Scenario: a path at which there is no receiver. Guarantee: the status is named."""
    answer = generate_load("--endpoint", f"{collector.http}/elsewhere", "--count", "1", "--batch", "1")
    assert (answer.exit_code, "404: 1 requests" in answer.stderr) == (1, True)
