"""The dialect tables (dialects/*.toml), compiled into one dictionary from attribute key to what is done with
it.

A row claims a key for a canonical column, or marks it as content for the gate. All files are merged; adding a
dialect is adding a file. What may stand in one: see dialects/otel_genai.toml and generic.toml, and:

- ``path = "a.N.b"`` in a claim: the value is a document (:mod:`semconv.documents`), and what stands at that place of
  it is claimed, N being the first element of a list. Where the value is content, only numbers and identifiers are.
- ``when = { key = value }`` in a claim: it holds where that attribute has that value.
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
from typing import Final, NamedTuple

from semconv.dialect_rules import (
    NO_DIALECT,
    Claim,
    ContentRule,
    Document,
    Rules,
    fits,
    general_key,
    is_bound,
    record_rules,
    resource_rules,
)
from semconv.documents import Places, places

# Keys and shapes remembered at a time, and how long they may be: senders may make up keys without end.
_REMEMBERED_KEYS: Final = 20_000
_REMEMBERED_SHAPES: Final = 4_000
# Likewise for each of the tables that hold for some scopes or events: no more than these combine to.
_REMEMBERED_BOUND_KEYS: Final = 2_000
_REMEMBERED_BOUND_SHAPES: Final = 400
# Scopes and events at a time whose tables are known.
_REMEMBERED_NAMES: Final = 4_000
_LONGEST_KEY: Final = 256
_LONGEST_SHAPE: Final = 100


InnerClaim = tuple[Claim, str]  # and its place in the document, as evidence names it


class KeyPlan(NamedTuple):
    """All that is done with one attribute key. ``rank`` is its dialect's, NO_DIALECT for a key of none."""

    rank: int
    content: ContentRule | None
    claims: tuple[Claim, ...]  # of the value itself, whatever else is there
    inner: Places[InnerClaim]  # of places in the document that it is
    conditional: tuple[Claim, ...]  # of the value itself, where another attribute says so


# A claimed key of a shape: its place among the keys; slot, exact type and precedence of its claim where that is
# its only one (0 for one that goes before all others of its column; else 0, None, 0); all its claims.
Wanted = tuple[int, int, type | None, int, tuple[Claim, ...]]
# A key of a shape whose value is a document: its place among the keys, itself, whether its text is content,
# and what is claimed within.
WantedDocument = tuple[int, str, bool, Places[InnerClaim]]
# A claimed key of a shape, and the one whose value must be as the claim says: their places among the keys.
WantedIf = tuple[int, int, Claim]
# What is done with a list of attributes, by their keys alone: the lowest rank of their dialects, whether any
# is content, and the keys that are claimed: at once; within documents and on conditions, None where there are
# none. Plain tuples: unpacking one takes half of a NamedTuple's time.
Shape = tuple[int, bool, tuple[Wanted, ...], tuple[tuple[WantedDocument, ...], tuple[WantedIf, ...]] | None]


class KeyPlans(dict[str, KeyPlan]):
    """Key → plan, worked out when a key is first met and remembered."""

    def __init__(self, rules: Rules, most: int) -> None:
        super().__init__()
        self._rules = rules
        self._most = most

    def __missing__(self, key: str) -> KeyPlan:
        plan = self._plan(key)
        if len(key) <= _LONGEST_KEY:
            if len(self) >= self._most:
                self.clear()
            self[key] = plan
        return plan

    def _plan(self, key: str) -> KeyPlan:
        general = general_key(key)
        claims = self._rules.claims.get(general, ())
        whole = tuple(claim for claim in claims if not claim.path and not claim.when)
        conditional = tuple(claim for claim in claims if claim.when)
        inner = places((claim.path, (claim, claim.place)) for claim in claims if claim.path)
        content = self._rules.content.get(general)
        if content is None and not whole:
            content = self._rules.content_by_suffix(key)
        return KeyPlan(self._rules.key_rank(key), content, whole, inner, conditional)


class Shapes(dict[tuple[str, ...], Shape]):
    """The keys of a list of attributes, in order → shape. One instrumentation sends few different ones."""

    def __init__(self, plans: KeyPlans, most: int) -> None:
        super().__init__()
        self._plans = plans
        self._most = most

    def __missing__(self, keys: tuple[str, ...]) -> Shape:
        shape = self._shape(keys)
        if len(keys) <= _LONGEST_SHAPE and max(map(len, keys), default=0) <= _LONGEST_KEY:
            if len(self) >= self._most:
                self.clear()
            self[keys] = shape
        return shape

    def _shape(self, keys: tuple[str, ...]) -> Shape:
        plans = [self._plans[key] for key in keys]
        rank = min((plan.rank for plan in plans), default=NO_DIALECT)
        marked = any(plan.content is not None for plan in plans)
        wanted = tuple(_wanted(place, plan.claims) for place, plan in enumerate(plans) if plan.claims)
        documents = tuple(
            (place, keys[place], plan.content is not None, plan.inner)
            for place, plan in enumerate(plans)
            if plan.inner
        )
        conditional = tuple(
            (place, keys.index(claim.when[0]), claim)
            for place, plan in enumerate(plans)
            for claim in plan.conditional
            if claim.when and claim.when[0] in keys
        )
        return rank, marked, wanted, (documents, conditional) if documents or conditional else None


def _wanted(place: int, claims: tuple[Claim, ...]) -> Wanted:
    if len(claims) > 1:
        return place, 0, None, 0, claims
    [claim] = claims
    return place, claim.slot, claim.exact, 0 if claim.first else claim.precedence, claims


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
        if len(scope) + len(event) <= _LONGEST_KEY:
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
