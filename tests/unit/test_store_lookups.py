"""What a large batch finds of what is stored: its traces' other spans, and other libraries' reports of its calls.

A batch of more than 64 traces or values asks the lake otherwise than a small one does: first whether there is any, and
from when to when. Guarantee: two batches end in the same calls as one, whichever of them comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from semconv.calls import partner_span_select
from tests.store_support import HOUR, SECOND, Span, call, span, store, traces

MANY = 80
# More than the slack of two reports of one call.
APART = SECOND
# A call's id is made of its tenant too.
CALLS = "SELECT * EXCLUDE (notes, tenant, call_id) FROM calls"

Spans = Callable[[int], Span]


def _counts(number: int) -> dict[str, int]:
    return {"gen_ai.usage.input_tokens": 1000 + number}


def of_one(number: int) -> Span:
    return call(number + 1, 1, scope="library.a", at=number * APART, attributes=_counts(number))


def of_another(number: int, scope: str = "library.b", late: int = SECOND // 100) -> Span:
    at = number * APART + late
    return call(1000 + number, 1, scope=scope, at=at, lasts=SECOND - 2 * late, attributes=_counts(number))


def of_the_same(number: int) -> Span:
    return of_another(number, scope="library.a")


def of_yet_another(number: int) -> Span:
    """In traces that `of_the_same` does not take."""
    return of_another(number) | {"trace": 2000 + number}


def of_another_moment(number: int) -> Span:
    return of_another(number, late=SECOND // 10)


def with_id(number: int) -> Span:
    return call(number + 1, 1, scope="library.a", response_id=f"resp-{number}", at=number * APART)


def with_id_of_another(number: int) -> Span:
    at, lasts = number * APART + SECOND // 2, SECOND // 4
    return call(1000 + number, 1, scope="library.b", response_id=f"resp-{number}", at=at, lasts=lasts)


def inside(number: int) -> Span:
    return call(number + 1, 2, parent=1, at=number * APART + HOUR, attributes=_counts(number))


def outside(number: int) -> Span:
    session = {"gen_ai.conversation.id": f"s-{number}"}
    return span(number + 1, 1, name="invoke_agent", at=number * APART, lasts=2 * HOUR, attributes=session)


@pytest.mark.parametrize(
    ("first", "second", "calls", "members"),
    [
        pytest.param(of_one, of_another, MANY, 2, id="equal counts, two libraries"),
        pytest.param(of_one, of_the_same, 2 * MANY, 1, id="equal counts, one library"),
        pytest.param(of_one, of_another_moment, 2 * MANY, 1, id="equal counts, other moments"),
        pytest.param(with_id, with_id_of_another, MANY, 2, id="equal ids, two libraries"),
        pytest.param(inside, outside, MANY, 1, id="parts of one trace"),
    ],
)
def test_two_batches_end_in_the_same_calls_as_one(
    tmp_path: Path, first: Spans, second: Spans, calls: int, members: int
) -> None:
    """Each order is a tenant's: what is equal of two tenants has nothing to do with each other."""
    one, other = ([make(number) for number in range(MANY)] for make in (first, second))
    orders = {"at once": [one + other], "one": [one, other], "other": [other, one]}
    with store(tmp_path / "data") as opened:
        for turn in range(2):
            opened.load(
                *(
                    replace(traces(*loads[turn]), tenant=name)
                    for name, loads in orders.items()
                    if turn < len(loads)
                )
            )
        results = {name: opened.ask(f"{CALLS} WHERE tenant = '{name}' ORDER BY trace_id") for name in orders}
        found = opened.ask("SELECT DISTINCT tenant, json_array_length(members) FROM calls")
    assert sorted(found) == [(name, members) for name in sorted(orders)]
    assert len(results["at once"]) == calls
    assert results["one"] == results["at once"]
    assert results["other"] == results["at once"]


def test_a_large_batch_again_stores_nothing(tmp_path: Path) -> None:
    """All of its traces are stored, over an hour and more."""
    request = traces(*(make(number) for number in range(MANY) for make in (inside, outside)))
    with store(tmp_path / "data") as opened:
        assert opened.load(request).spans_stored == 2 * MANY
        again = opened.load(request)
    assert (again.spans_stored, again.spans_duplicate, again.calls_written) == (0, 2 * MANY, 0)


def test_of_stored_calls_only_those_of_another_library_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is stored of the same moments and counts, with all columns, would cost each commit more than its own."""
    fetched = Mock(side_effect=partner_span_select)
    with store(tmp_path / "data") as opened:
        opened.load(traces(*map(of_one, range(MANY))))
        monkeypatch.setattr("collector.store.calls_update.partner_span_select", fetched)
        for second, is_fetched in ((of_the_same, False), (of_yet_another, True)):
            opened.load(traces(*map(second, range(MANY))))
            assert fetched.called == is_fetched
