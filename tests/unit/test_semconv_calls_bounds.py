"""Input made to be expensive stays cheap: no step of building calls costs the square of what one sender sends."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.unit.semconv_records import Row, Store, chat, log


def seconds_to_build(rows: list[Row]) -> float:
    """Of processor time, which does not depend on what else the machine does."""
    store = Store()
    started = time.process_time()
    store.commit(*rows)
    return time.process_time() - started


def grows_no_faster_than_its_input(make: Callable[[int], list[Row]], size: int = 1500) -> None:
    """Four times the input may take eight times as long; a square would take sixteen."""
    small, large = seconds_to_build(make(size)), seconds_to_build(make(4 * size))
    assert large < 8 * small + 0.5, f"{small:.2f} s for {size} records, {large:.2f} s for {4 * size}"


def test_one_response_id_for_all_calls_of_two_libraries() -> None:
    grows_no_faster_than_its_input(
        lambda size: [chat(f"{n}", response_id="r", scope_name=f"lib{n % 2}") for n in range(size)]
    )


def test_identical_counts_at_one_moment_without_ids() -> None:
    grows_no_faster_than_its_input(lambda size: [chat(f"{n}", scope_name=f"lib{n % 2}") for n in range(size)])


def test_one_long_chain_of_nested_calls() -> None:
    grows_no_faster_than_its_input(
        lambda size: [chat(f"{n}", f"{n - 1}" if n else None, scope_name=f"lib{n % 3}") for n in range(size)]
    )


def test_every_record_from_a_library_of_its_own_under_one_id() -> None:
    grows_no_faster_than_its_input(
        lambda size: [chat(f"{n}", response_id="r", scope_name=f"lib{n}") for n in range(size)]
    )


def test_identical_counts_in_log_records_outside_any_trace() -> None:
    grows_no_faster_than_its_input(
        lambda size: (
            [chat(f"{n}", trace_id=f"t{n}") for n in range(size // 2)]
            + [log(f"h{n}") for n in range(size // 2)]
        )
    )


def test_every_log_record_an_event_of_its_own() -> None:
    grows_no_faster_than_its_input(lambda size: [log(f"h{n}", event_name=f"event.{n}") for n in range(size)])


def test_a_sender_whose_log_records_never_differ_ties_no_more_than_a_period_together() -> None:
    """What is committed now does not read again what was committed long ago."""
    store = Store()
    for at in range(0, 7200, 600):
        store.commit(chat(f"{at}", trace_id=f"t{at}", at=at), log(f"h{at}", at=at + 1))
    touched = store.connection.execute("SELECT count(*) FROM touched_traces").fetchone()
    assert touched == (2,)
