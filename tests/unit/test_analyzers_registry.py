"""The registry finds what is there, and says what is there to whoever asks for something else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import duckdb
import pytest

from analyzers import registry
from analyzers.finding import Report
from analyzers.registry import BadSetting, UnknownAnalyzer
from analyzers.setting import Setting, count
from analyzers.window import Window

HOUR = Window(dt.datetime(2026, 3, 1, 0, tzinfo=dt.UTC), dt.datetime(2026, 3, 1, 1, tzinfo=dt.UTC))


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_registered", dict(registry.discover()))
    return


def test_every_module_that_registers_is_discovered_in_order_of_name():
    names = list(registry.discover())
    assert "cost" in names
    assert names == sorted(names)


def test_an_unknown_name_is_answered_with_the_nearest_and_all():
    with pytest.raises(UnknownAnalyzer) as caught:
        registry.get("costs")
    assert str(caught.value).startswith("no analyzer 'costs'; did you mean cost? there are: ")
    with pytest.raises(UnknownAnalyzer) as caught:
        registry.get("zzz")
    assert "did you mean" not in str(caught.value)


@pytest.mark.usefixtures("_registered")
def test_a_registered_function_can_be_had_and_run():
    seen = []

    @registry.register("probe", help="what the test wants", settings=(Setting("depth", "how deep", count),))
    def probe(connection: duckdb.DuckDBPyConnection, window: Window, settings: registry.Settings) -> Report:
        seen.append((window, settings))
        return Report(columns=(), rows=())

    registry.get("probe").run(duckdb.connect(), HOUR, {"depth": 3})
    assert seen == [(HOUR, {"depth": 3})]
    assert registry.discover()["probe"].help == "what the test wants"


@pytest.mark.usefixtures("_registered")
def test_two_analyzers_cannot_have_one_name():
    with pytest.raises(ValueError, match="two analyzers are called 'cost'"):
        registry.register("cost", help="")(lambda connection, window, settings: Report((), ()))


def test_a_setting_that_the_analyzer_does_not_have_is_refused():
    with pytest.raises(BadSetting, match="analyzer cost has no setting 'colour'; allowed: by"):
        registry.get("cost").run(duckdb.connect(), HOUR, {"colour": "red"})
