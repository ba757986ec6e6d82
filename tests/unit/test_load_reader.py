"""How much one batch of the loader may hold."""

from __future__ import annotations

from collector.load_reader import extract_in_pieces
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Settings
from tests.otlp_data import RECEIVED_AT, traces_message


def requests(count: int, size: int) -> list[Request]:
    """Requests of two spans each, of about ``size`` bytes, most of which are the resource's."""
    values = {f"key.{number}": "v" * 1000 for number in range(size // 1000)}
    body = traces_message({}, {}, resource=values).SerializeToString()
    return [Request("traces", "protobuf", body, RECEIVED_AT) for _ in range(count)]


def test_pieces_give_what_all_at_once_gives() -> None:
    batch = requests(5, 1_000_000)
    extracted, used = extract_in_pieces(batch, Settings())
    assert used == 5
    assert extracted.spans == extract(batch, Settings()).spans
    assert extracted.counts == {"spans_read": 10}


def test_a_batch_ends_where_its_rows_are_large_enough_and_holds_one_request_at_least() -> None:
    """Rows repeat their resource, so memory is bounded by them and not by the requests."""
    batch = requests(9, 1_000_000)
    extracted, used = extract_in_pieces(batch, Settings(), largest=5_000_000)
    assert 3 <= used < 9
    assert extracted.spans.num_rows == used * 2
    assert extract_in_pieces(requests(9, 3_000_000), Settings(), largest=1)[1] == 1


def test_nothing_is_a_batch_too() -> None:
    extracted, used = extract_in_pieces([], Settings(), largest=1)
    assert (extracted.spans.num_rows, used) == (0, 0)
