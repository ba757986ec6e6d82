"""Columns of a report together with what reads their values off a record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeAlias

from analyzers import honest
from analyzers.finding import Column

Reader: TypeAlias = Callable[[Any], object]
Field: TypeAlias = tuple[Column, Reader]


def money(
    columns: tuple[Column, ...], read: Reader, modes: Collection[str] = honest.MODES
) -> Iterator[Field]:
    """These modes' columns out of ``honest.columns``, each empty where a record's ``pricing_mode`` is another."""
    for mode, column in zip(honest.MODES, columns, strict=True):
        if mode in modes:
            yield column, _in_mode(mode, read)


def _in_mode(mode: str, read: Reader) -> Reader:
    return lambda record: read(record) if record.pricing_mode == mode else None
