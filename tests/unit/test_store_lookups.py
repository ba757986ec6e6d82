"""What a large batch finds of what is stored: its traces' other spans, and other libraries' reports of its calls.

A batch of more than 64 traces or values asks the lake otherwise than a small one does: first whether there is any, and
from when to when. Guarantee: two batches end in the same calls as one, whichever of them comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from semconv.calls import partner_span_select
from tests.store_support import HOUR, SECOND, Span, call, span, store, traces

MANY = 80
# More than the slack of two reports of one call.
APART = SECOND
CALLS = "SELECT * EXCLUDE (notes) FROM calls ORDER BY call_id"

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
    batches = [[make(number) for number in range(MANY)] for make in (first, second)]
    results = []
    for name, loads in {"at-once": [batches[0] + batches[1]], "one": batches, "other": batches[::-1]}.items():
        with store(tmp_path / name) as opened:
            for spans in loads:
                opened.load(traces(*spans))
            results.append(opened.ask(CALLS))
            found = opened.ask("SELECT DISTINCT json_array_length(members) FROM calls")
        assert (len(results[-1]), found) == (calls, [(members,)])
    assert results[1] == results[0]
    assert results[2] == results[0]


def test_a_large_batch_again_stores_nothing(tmp_path: Path) -> None:
    """All of its traces are stored, over an hour and more."""
    request = traces(*(make(number) for number in range(MANY) for make in (inside, outside)))
    with store(tmp_path / "data") as opened:
        assert opened.load(request).spans_stored == 2 * MANY
        again = opened.load(request)
    assert (again.spans_stored, again.spans_duplicate, again.calls_written) == (0, 2 * MANY, 0)


@pytest.mark.parametrize(("second", "is_fetched"), [(of_the_same, False), (of_another, True)])
def test_of_stored_calls_only_those_of_another_library_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: Spans, is_fetched: bool
) -> None:
    """All that is stored of the same moments and counts, with all columns, would cost each commit more than its own."""
    fetched = Mock(side_effect=partner_span_select)
    with store(tmp_path / "data") as opened:
        opened.load(traces(*map(of_one, range(MANY))))
        monkeypatch.setattr("collector.store.calls_update.partner_span_select", fetched)
        opened.load(traces(*map(second, range(MANY))))
    assert fetched.called == is_fetched
