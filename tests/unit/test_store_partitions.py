"""Batches are stored in pieces of a bounded size, none of them lost, whatever their rows look like."""

from __future__ import annotations

import pyarrow as pa

from collector.store.partitions import split_by_size
from semconv.extract import Extracted
from tests.otlp_data import read, traces_message


def spans_of(sizes: list[int]) -> Extracted:
    return read(traces_message(*({"k": "v" * size, "n": number} for number, size in enumerate(sizes))))


def test_pieces_are_small_where_rows_differ_much_in_size() -> None:
    """All that is large stands at the beginning, as where a limit made the rows behind it short."""
    extracted = spans_of([50_000] * 10 + [1] * 190)
    pieces = split_by_size(extracted, 150_000)
    assert all(piece.spans.nbytes <= 150_000 for piece in pieces)
    assert pa.concat_tables([piece.spans for piece in pieces]) == extracted.spans
    assert [piece.counts for piece in pieces[:-1]] == [{}] * (len(pieces) - 1)
    assert pieces[-1].counts == extracted.counts


def test_a_row_is_never_too_large() -> None:
    extracted = spans_of([50_000, 60_000])
    pieces = split_by_size(extracted, 1000)
    assert [piece.spans.num_rows for piece in pieces] == [1, 1]


def test_what_fits_is_one_piece() -> None:
    extracted = spans_of([10, 10])
    assert split_by_size(extracted, 1 << 20) == [extracted]
    nothing = spans_of([])
    assert split_by_size(nothing, 1) == [nothing]
