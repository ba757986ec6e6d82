"""Input made to be expensive stays cheap: no step of building calls costs the square of what one sender sends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest

from semconv.planned import Planned
from tests.unit.semconv_records import Row, Store, chat, log
from tests.unit.work_support import calls_counted

Make = Callable[[int], list[Row]]


class Work:
    """What is done in a with-block, on any machine the same: the pairs and rows that DuckDB's operators look at and
    hand on, and the calls that Python makes."""

    def __init__(self, store: Store) -> None:
        self.rows = 0
        self._connection = store.connection
        self._table = Planned.table

    @contextmanager
    def counted(self) -> Iterator[None]:
        self._connection.execute("PRAGMA enable_profiling = 'no_output'")
        with (
            mock.patch.object(Planned, "table", lambda plan, **relations: self._run(plan, relations)),
            mock.patch.object(Planned, "rows", lambda plan, **relations: _rows(self._run(plan, relations))),
            calls_counted() as self._calls,
        ):
            yield
        self._connection.execute("PRAGMA disable_profiling")

    def _run(self, plan: Planned, relations: dict[str, pa.Table]) -> pa.Table:
        found = self._table(plan, **relations)
        self.rows += rows_handled(json.loads(self._connection.get_profiling_information()))
        return found

    @property
    def done(self) -> int:
        return self.rows + self._calls.made


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def rows_handled(operator: dict[str, Any]) -> int:
    """A join without a hash table compares all pairs, however few it hands on."""
    inputs = operator["children"]
    handled = int(operator.get("operator_cardinality", 0)) + sum(map(rows_handled, inputs))
    name = operator.get("operator_name", "")
    if name.endswith(("NL_JOIN", "LOOP_JOIN", "CROSS_PRODUCT")):
        handled += int(inputs[0]["operator_cardinality"]) * int(inputs[1]["operator_cardinality"])
    return handled


def work_to_build(rows: list[Row]) -> int:
    store = Store()
    work = Work(store)
    with work.counted():
        store.commit(*rows)
    return work.done


def seconds_to_build(rows: list[Row]) -> float:
    """Of processor time, which does not depend on what else the machine does."""
    store = Store()
    started = time.process_time()
    store.commit(*rows)
    return time.process_time() - started


def all_with_one_id(size: int) -> list[Row]:
    return [chat(f"{n}", response_id="r", scope_name=f"lib{n % 2}") for n in range(size)]


def identical_at_one_moment(size: int) -> list[Row]:
    return [chat(f"{n}", scope_name=f"lib{n % 2}") for n in range(size)]


def nested_in_a_chain(size: int) -> list[Row]:
    return [chat(f"{n}", f"{n - 1}" if n else None, scope_name=f"lib{n % 3}") for n in range(size)]


def each_from_a_library_of_its_own(size: int) -> list[Row]:
    return [chat(f"{n}", response_id="r", scope_name=f"lib{n}") for n in range(size)]


def identical_logs_outside_any_trace(size: int) -> list[Row]:
    spans = [chat(f"{n}", trace_id=f"t{n}") for n in range(size // 2)]
    return spans + [log(f"h{n}") for n in range(size // 2)]


def each_log_an_event_of_its_own(size: int) -> list[Row]:
    return [log(f"h{n}", event_name=f"event.{n}") for n in range(size)]


each_sender = pytest.mark.parametrize(
    "make",
    [
        all_with_one_id,
        identical_at_one_moment,
        nested_in_a_chain,
        each_from_a_library_of_its_own,
        identical_logs_outside_any_trace,
        each_log_an_event_of_its_own,
    ],
)


@each_sender
def test_work_grows_no_faster_than_its_input(make: Make) -> None:
    """Four times the input is at most five times the work; a square would be sixteen times."""
    small, large = work_to_build(make(150)), work_to_build(make(600))
    assert small > 150
    assert large < 5 * small


@pytest.mark.soak
@each_sender
def test_seconds_grow_no_faster_than_their_input(make: Make) -> None:
    """Four times the input may take eight times as long; a square would take sixteen."""
    small, large = seconds_to_build(make(1500)), seconds_to_build(make(6000))
    assert large < 8 * small + 0.5, f"{small:.2f} s for 1500 records, {large:.2f} s for 6000"


def test_a_sender_whose_log_records_never_differ_ties_no_more_than_a_period_together() -> None:
    """What is committed now does not read again what was committed long ago."""
    store = Store()
    *before, last = [
        (chat(f"{at}", trace_id=f"t{at}", at=at), log(f"h{at}", at=at + 1)) for at in range(0, 7200, 600)
    ]
    store.commit(*(row for rows in before for row in rows))
    store.commit(*last)
    assert store.touched.num_rows == 2
