"""The made-up lakes that other tests count on: a seed always gives the same one, and its figures agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.calls_table import calls_table
from tests.planted import Quiet, fill, quiet_lakes

QUIET = Quiet(days=14, sessions_a_day=20, failures=0.05)
ROWS = "SELECT hash(list(row ORDER BY row.call_id)) FROM (SELECT calls AS row FROM calls)"


def test_a_seed_gives_the_same_lake_however_it_is_made() -> None:
    """Alone, as one of several, day by day, by one thread or several."""
    seen = {one.seed: connection.execute(ROWS).fetchall() for one, connection in quiet_lakes(3, QUIET)}
    assert len(set(map(str, seen.values()))) == 3
    with calls_table() as connection:
        connection.execute("SET threads = 4")
        for day in reversed(range(QUIET.days)):
            fill(connection, replace(QUIET, seed=2), days=range(day, day + 1))
        assert connection.execute(ROWS).fetchall() == seen[2]


@pytest.mark.parametrize(
    "untrue",
    [
        "input_tokens < coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0)",
        "cost_usd <> cost_input_usd + cost_output_usd + coalesce(cost_cache_read_usd, 0)"
        " + coalesce(cost_cache_write_usd, 0)",
        "(status_code = 'ERROR') <> (input_tokens IS NULL) OR (input_tokens IS NULL) <> (cost_usd IS NULL)",
        "start_time < TIMESTAMP '2026-02-02' OR start_time >= TIMESTAMP '2026-02-16'",
        "(pricing_mode = 'api') <> (plan_tier = 'api')",
    ],
)
def test_no_row_contradicts_itself(untrue: str) -> None:
    with calls_table() as connection:
        fill(connection, QUIET)
        assert connection.execute(f"SELECT count(*) FROM calls WHERE {untrue}").fetchall() == [(0,)]


def test_weekends_are_quiet() -> None:
    """A Saturday has half of a day's sessions, a Sunday a quarter."""
    with calls_table() as connection:
        fill(connection, replace(QUIET, days=140))
        per_day = dict(
            connection.execute(
                "SELECT isodow(start_time), count(DISTINCT session_id) / 20 FROM calls GROUP BY ALL"
            ).fetchall()
        )
    work = sum(per_day[day] for day in range(1, 6)) / 5
    assert work == pytest.approx(20, rel=0.1)
    assert per_day[6] / work == pytest.approx(0.5, rel=0.15)
    assert per_day[7] / work == pytest.approx(0.25, rel=0.2)
