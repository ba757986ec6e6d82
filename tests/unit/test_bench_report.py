"""The benchmark's own arithmetic: what is missed, what ratio stands beside it, and that its record can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.bench import __main__ as bench
from tests.bench.report import missed, print_report

RESULTS = Path(bench.__file__).parent / "results.jsonl"


@pytest.mark.parametrize(
    ("figure", "value", "is_missed"),
    [
        ("queryable_per_second", 27_999.0, True),
        ("queryable_per_second", 28_000.0, False),
        ("peak_memory_bytes", 600e6, False),
        ("peak_memory_bytes", 601e6, True),
        ("acknowledged_not_stored", 1, True),
        ("acknowledged_not_stored", 0, False),
    ],
)
def test_a_target_is_missed_on_its_wrong_side_alone(figure: str, value: float, is_missed: bool) -> None:
    assert missed({figure: value, "a figure without a target": 1.0}) == [figure] * is_missed


def test_a_rate_stands_beside_its_target_and_its_part_of_the_floor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_report({"http_acknowledged_per_second": 65_000.0, "http_dropped_per_second": 130_000.0})
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("acknowledged, HTTP")]
    for text in ("65,000 spans/s", "50.0%", "130,000 spans/s", "missed"):
        assert text in line


def test_a_part_that_fails_is_named_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: one part raises. Guarantee: its trace is shown, the rest is printed, and the exit code is 1."""
    parts = {"good": lambda *_: {"peak_memory_bytes": 1e6}, "bad": lambda *_: {}["nothing"]}
    monkeypatch.setattr(bench, "PARTS", parts)
    monkeypatch.setattr(bench, "pin_to_two_cores", lambda: 2)
    answer = CliRunner().invoke(bench.main, ["--short"])
    assert answer.exit_code == 1
    assert "KeyError: 'nothing'" in answer.stderr
    assert "not measured: bad" in answer.stderr
    assert "memory of all processes" in answer.stdout


def test_what_was_recorded_can_be_read() -> None:
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    for line in lines:
        entry = json.loads(line)
        assert {"at", "commit", "machine", "versions", "figures", "missed", "failed"} <= set(entry)
