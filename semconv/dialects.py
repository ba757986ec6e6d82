"""The dialect tables (dialects/*.toml), compiled into one dictionary from attribute key to what is done with
it.

A row claims a key for a canonical column, or marks it as content for the gate. All files are merged; adding a
dialect is adding a file. What may stand in one: see dialects/otel_genai.toml and generic.toml, and:

- ``path = "a.N.b"`` in a claim: the value is a document (:mod:`semconv.documents`), and what stands at that place of
  it is claimed, N being the first element of a list. Where the value is content, only numbers and identifiers are.
- ``when = { key = value }`` in a claim: it holds where that attribute has that value.
- ``value = "text"`` in a claim: that the attribute is there says so much; its own value is not taken.
- ``only_scopes``, ``only_events`` in a file (exact, or with a final dot how they begin): its keys, claims, content and
  names hold for records of these scopes, and for log records of these event names, and for no others.
- ``names``: what the name of a span or log event (exact, or with a final dot or blank how it begins) says of a column
  that no attribute filled. In a file for certain scopes or events it also tells the dialect; in others it holds only
  for records that are GenAI by something else. A row with ``when`` and no name fills the column with the name itself.

Of the rows that claim one column the one of the lowest precedence present wins; of those that share it, the one of
the dialect of the lowest rank.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from semconv.dialect_rules import Document, Rules, fits, is_bound, record_rules, resource_rules
from semconv.shapes import KeyPlans, Shapes

# Keys and shapes remembered at a time: senders may make up keys without end.
_REMEMBERED_KEYS: Final = 20_000
_REMEMBERED_SHAPES: Final = 4_000
# Likewise for each of the tables that hold for some scopes or events: no more than these combine to.
_REMEMBERED_BOUND_KEYS: Final = 2_000
_REMEMBERED_BOUND_SHAPES: Final = 400
# Scopes and events at a time whose tables are known.
_REMEMBERED_NAMES: Final = 4_000
_LONGEST_NAMES: Final = 256


@dataclass(frozen=True, eq=False)
class Tables:
    """What holds for the records of a scope and event name."""

    rules: Rules
    keys: KeyPlans
    records: Shapes  # of the attributes of spans, log records, data points


@dataclass(frozen=True, eq=False)
class AllTables(Tables):
    """What holds for every record, what holds for resources, and the way to what holds for some records."""

    resource_rules: Rules
    resources: Shapes
    every_rule: Rules  # those for some records included
    _bound: BoundTables

    def of(self, scope: str, event: str = "") -> Tables:
        """What holds for a scope's records, or its log records of an event name."""
        return self._bound.find(scope, event) or self


class BoundTables:
    """Tables of records for which more holds than for others, compiled when the first one comes."""

    def __init__(self, documents: list[Document]) -> None:
        self._documents = documents
        self._conditions = [
            (number, tuple(document.get("only_scopes", ())), tuple(document.get("only_events", ())))
            for number, document in enumerate(documents)
            if is_bound(document)
        ]
        self._compiled: dict[tuple[int, ...], Tables | None] = {(): None}
        self._found: dict[tuple[str, str], Tables | None] = {}

    def find(self, scope: str, event: str) -> Tables | None:
        """The tables for a scope and event name, None where only the common ones hold."""
        try:
            return self._found[scope, event]
        except KeyError:
            return self._remember(scope, event, self._for(scope, event))

    def _remember(self, scope: str, event: str, found: Tables | None) -> Tables | None:
        if len(scope) + len(event) <= _LONGEST_NAMES:
            if len(self._found) >= _REMEMBERED_NAMES:
                self._found.clear()
            self._found[scope, event] = found
        return found

    def _for(self, scope: str, event: str) -> Tables | None:
        fitting = tuple(
            number
            for number, scopes, events in self._conditions
            if _fits_any(scope, scopes) or _fits_any(event, events)
        )
        if fitting not in self._compiled:
            self._compiled[fitting] = _compiled_for(self._documents, fitting)
        return self._compiled[fitting]


def _fits_any(name: str, entries: tuple[str, ...]) -> bool:
    return any(fits(name, entry) for entry in entries)


@cache
def tables() -> AllTables:
    """The tables of this package, read once per process."""
    files = sorted(resources.files("semconv").joinpath("dialects").iterdir(), key=lambda file: file.name)
    documents = [tomllib.loads(file.read_text("utf-8")) for file in files if file.name.endswith(".toml")]
    return compile_tables(documents)


def compile_tables(documents: Iterable[Document]) -> AllTables:
    """Tables of parsed TOML documents; ValueError names a row that is wrong."""
    ordered = sorted(documents, key=lambda document: int(document["rank"]))
    every_rule = record_rules(ordered, tuple(range(len(ordered))))
    of_records, of_resources = record_rules(ordered, ()), resource_rules(ordered)
    keys, resource_keys = KeyPlans(of_records, _REMEMBERED_KEYS), KeyPlans(of_resources, _REMEMBERED_KEYS)
    return AllTables(
        of_records,
        keys,
        Shapes(keys, _REMEMBERED_SHAPES),
        of_resources,
        Shapes(resource_keys, _REMEMBERED_SHAPES),
        every_rule,
        BoundTables(ordered),
    )


def _compiled_for(documents: list[Document], fitting: tuple[int, ...]) -> Tables:
    rules = record_rules(documents, fitting)
    keys = KeyPlans(rules, _REMEMBERED_BOUND_KEYS)
    return Tables(rules, keys, Shapes(keys, _REMEMBERED_BOUND_SHAPES))
