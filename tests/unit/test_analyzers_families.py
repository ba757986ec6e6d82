"""Analyzers of a family read together what each of them needs; that changes nothing of what they say."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import duckdb
import pytest

from analyzers import registry
from analyzers.finding import Report
from analyzers.shared import Shared
from tests.calls_table import calls_table
from tests.planted import Quiet, fill

WEEK = Quiet(days=7)
# What each of a lake of a week has something to say with.
SETTINGS: dict[str, dict[str, Any]] = {
    "cache-efficacy": {"min_input_tokens": 1, "max_share": "1"},
    "cache-recommend": {"least_missed": "0"},
}


def families() -> dict[str, list[str]]:
    found = defaultdict(list)
    for name, analyzer in registry.discover().items():
        if analyzer.family is not None:
            found[analyzer.family].append(name)
    return found


def said(name: str, connection: duckdb.DuckDBPyConnection, shared: Shared | None = None) -> Report:
    return registry.get(name).run(connection, WEEK.window(), SETTINGS.get(name, {}), shared)


def test_a_family_has_more_than_one_analyzer():
    assert families()
    assert all(len(names) > 1 for names in families().values())


@pytest.mark.parametrize("names", families().values(), ids=" and ".join)
def test_each_says_in_either_order_what_it_says_alone(names: list[str]):
    with calls_table() as connection:
        fill(connection, WEEK)
        alone = {name: said(name, connection) for name in names}
        for order in (names, names[::-1]):
            shared = Shared()
            assert {name: said(name, connection, shared) for name in order} == alone
    assert any(report.rows or report.notes for report in alone.values())


def test_what_was_read_is_read_again_for_something_else_and_after_a_failure():
    """Guarantee: it is kept by what was read and of what; what failed is not kept."""
    reads: list[str] = []

    def read(of: str) -> list[str]:
        reads.append(of)
        if len(reads) == 3:
            raise ValueError(of)
        return [of]

    shared = Shared()
    assert shared.once(read, "a") is shared.once(read, "a")
    assert shared.once(read, "b") == ["b"]
    with pytest.raises(ValueError, match="c"):
        shared.once(read, "c")
    assert shared.once(read, "c") == ["c"]
    assert reads == ["a", "b", "c", "c"]
    assert shared.once(len, "a") == 1
