"""The dialect tables (dialects/*.toml), compiled into one dictionary from attribute key to what is done with
it.

A row claims a key for a canonical column, or marks it as content for the gate. All files are merged; adding a
dialect is adding a file. What may stand in one: see dialects/otel_genai.toml.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from typing import Any, Final, NamedTuple

from semconv.columns import CLAIMED
from semconv.converters import CONVERTERS, EXACT_TYPES
from semconv.otlp import Value
from semconv.settings import CONTENT_CLASSES, ContentClass

RECORD_COLUMNS: Final = (*(name for name, _ in CLAIMED), "token_type")
RESOURCE_COLUMNS: Final = (
    "service_name",
    "service_namespace",
    "service_version",
    "deployment_environment",
    "resource_billing_account",
    "resource_plan_tier",
)
NO_DIALECT: Final = 1000  # above every rank

# Keys and shapes remembered at a time, and how long they may be: senders may make up keys without end.
_REMEMBERED_KEYS: Final = 20_000
_REMEMBERED_SHAPES: Final = 4_000
_LONGEST_KEY: Final = 256
_LONGEST_SHAPE: Final = 100
_NUMBERED: Final = re.compile(r"(?<=\.)[0-9]+(?=\.|$)", re.ASCII)


class Claim(NamedTuple):
    """One key's claim on one column: an index into RECORD_COLUMNS or RESOURCE_COLUMNS."""

    slot: int
    precedence: int
    first: bool  # no other key goes before it
    exact: type | None  # a positive or non-empty value of this type needs no conversion
    convert: Callable[[Value], Any]


class ContentRule(NamedTuple):
    """That the text under a key, or in an event, is content of a class."""

    content_class: ContentClass
    genai_scope: bool = False  # only in GenAI scopes
    evidence: tuple[tuple[str, ...], ...] = ()  # paths whose numbers and identifiers are kept


class KeyPlan(NamedTuple):
    """All that is done with one attribute key. ``rank`` is its dialect's, NO_DIALECT for a key of none."""

    rank: int
    content: ContentRule | None
    claims: tuple[Claim, ...]


# A claimed key of a shape: its place among the keys; slot and exact type of its claim where that is its only
# one and goes before all others of its column (else 0 and None); all its claims.
Wanted = tuple[int, int, type | None, tuple[Claim, ...]]
# What is done with a list of attributes, by their keys alone: the lowest rank of their dialects, whether any
# is content, and the keys that are claimed. Plain tuples: unpacking one takes half of a NamedTuple's time.
Shape = tuple[int, bool, tuple[Wanted, ...]]


class EventClaim(NamedTuple):
    """An attribute of a span event that names a column of its span."""

    event: str
    key: str
    slot: int
    convert: Callable[[Value], Any]


@dataclass(frozen=True)
class Rules:
    """All tables as loaded: by key with N for numbers, prefixes by rank, and the rest by kind."""

    columns: tuple[str, ...]  # that claims name by their index
    dialects: dict[int, str] = field(default_factory=dict)
    key_prefixes: list[tuple[str, int]] = field(default_factory=list)
    scope_prefixes: list[str] = field(default_factory=list)
    event_prefixes: list[tuple[str, int]] = field(default_factory=list)
    metric_prefixes: list[tuple[str, int]] = field(default_factory=list)
    claims: dict[str, list[Claim]] = field(default_factory=dict)
    content: dict[str, ContentRule] = field(default_factory=dict)
    event_content: dict[str, ContentRule] = field(default_factory=dict)
    event_claims: list[EventClaim] = field(default_factory=list)
    content_suffixes: list[tuple[str, ContentRule]] = field(default_factory=list)

    def key_rank(self, key: str) -> int:
        """The rank of the dialect that a key belongs to."""
        return _prefix_rank(key, self.key_prefixes) if key.startswith(self._beginnings) else NO_DIALECT

    @cached_property
    def _beginnings(self) -> tuple[str, ...]:
        return tuple(entry for entry, _ in self.key_prefixes)

    @cached_property
    def _endings(self) -> tuple[str, ...]:
        return tuple(suffix for suffix, _ in self.content_suffixes)

    def content_by_suffix(self, key: str) -> ContentRule | None:
        """The rule for the text under a key that no table names."""
        dotted = f".{key}".lower()
        if not dotted.endswith(self._endings):
            return None
        return next((rule for suffix, rule in self.content_suffixes if dotted.endswith(suffix)), None)

    def telling_words(self) -> list[bytes]:
        """Of what makes a record GenAI (its keys, a log event's or a metric's name) one is in its bytes."""
        entries = (*self.key_prefixes, *self.event_prefixes, *self.metric_prefixes)
        return [word.encode() for word in dict.fromkeys(entry for entry, _ in entries)]

    def event_rank(self, name: str) -> int:
        """The rank of the dialect that a log event's name belongs to."""
        return _prefix_rank(name, self.event_prefixes)

    def metric_rank(self, name: str) -> int:
        """The rank of the dialect that a metric's name belongs to."""
        return _prefix_rank(name, self.metric_prefixes)

    def is_genai_scope_name(self, name: str) -> bool:
        """Whether an instrumentation scope of this name only ever instruments GenAI."""
        return name.startswith(tuple(self.scope_prefixes))


def _prefix_rank(name: str, prefixes: Iterable[tuple[str, int]]) -> int:
    """The lowest rank of the entries that name is or, for entries with a final dot, begins with."""
    return min((rank for entry, rank in prefixes if _fits(name, entry)), default=NO_DIALECT)


def _fits(name: str, entry: str) -> bool:
    return name.startswith(entry) if entry.endswith(".") else name == entry


def claiming_keys(rules: Rules, column: str) -> tuple[str, ...]:
    """The keys, N for numbers, that the tables map to a column, those of span events included."""
    of_attributes = (
        (key, rules.columns[claim.slot]) for key, claims in rules.claims.items() for claim in claims
    )
    of_events = ((claim.key, RECORD_COLUMNS[claim.slot]) for claim in rules.event_claims)
    return tuple(key for key, filled in (*of_attributes, *of_events) if filled == column)


def general_key(key: str) -> str:
    """A key as the tables name it: N for every number between dots."""
    return _NUMBERED.sub("N", key)


class KeyPlans(dict[str, KeyPlan]):
    """Key → plan, worked out when a key is first met and remembered."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self._rules = rules

    def __missing__(self, key: str) -> KeyPlan:
        plan = self._plan(key)
        if len(key) <= _LONGEST_KEY:
            if len(self) >= _REMEMBERED_KEYS:
                self.clear()
            self[key] = plan
        return plan

    def _plan(self, key: str) -> KeyPlan:
        general = general_key(key)
        claims = tuple(self._rules.claims.get(general, ()))
        content = self._rules.content.get(general)
        if content is None and not claims:
            content = self._rules.content_by_suffix(key)
        return KeyPlan(self._rules.key_rank(key), content, claims)


class Shapes(dict[tuple[str, ...], Shape]):
    """The keys of a list of attributes, in order → shape. One instrumentation sends few different ones."""

    def __init__(self, plans: KeyPlans) -> None:
        super().__init__()
        self._plans = plans

    def __missing__(self, keys: tuple[str, ...]) -> Shape:
        shape = self._shape(keys)
        if len(keys) <= _LONGEST_SHAPE and max(map(len, keys), default=0) <= _LONGEST_KEY:
            if len(self) >= _REMEMBERED_SHAPES:
                self.clear()
            self[keys] = shape
        return shape

    def _shape(self, keys: tuple[str, ...]) -> Shape:
        plans = [self._plans[key] for key in keys]
        rank = min((plan.rank for plan in plans), default=NO_DIALECT)
        marked = any(plan.content is not None for plan in plans)
        wanted = tuple(_wanted(place, plan.claims) for place, plan in enumerate(plans) if plan.claims)
        return rank, marked, wanted


def _wanted(place: int, claims: tuple[Claim, ...]) -> Wanted:
    if len(claims) == 1 and claims[0].first:
        return place, claims[0].slot, claims[0].exact, claims
    return place, 0, None, claims


class Tables(NamedTuple):
    rules: Rules
    resource_rules: Rules
    keys: KeyPlans
    resource_keys: KeyPlans
    records: Shapes  # of the attributes of spans, log records, data points
    resources: Shapes


@cache
def tables() -> Tables:
    """The tables of this package, read once per process."""
    files = sorted(resources.files("semconv").joinpath("dialects").iterdir(), key=lambda file: file.name)
    documents = [tomllib.loads(file.read_text("utf-8")) for file in files if file.name.endswith(".toml")]
    return compile_tables(documents)


def compile_tables(documents: Iterable[Mapping[str, Any]]) -> Tables:
    """Tables of parsed TOML documents; ValueError names a row that is wrong."""
    of_records, of_resources = Rules(RECORD_COLUMNS), Rules(RESOURCE_COLUMNS)
    for document in sorted(documents, key=lambda document: int(document["rank"])):
        _add_dialect(of_records, document)
        _add_content(of_records, document)
        _add_content(of_resources, document)
        _add_claims(of_records, document.get("claims", ()))
        _add_claims(of_resources, document.get("resource_claims", ()))
    _mark_first(of_records)
    _mark_first(of_resources)
    keys, resource_keys = KeyPlans(of_records), KeyPlans(of_resources)
    return Tables(of_records, of_resources, keys, resource_keys, Shapes(keys), Shapes(resource_keys))


def _add_dialect(rules: Rules, document: Mapping[str, Any]) -> None:
    rank = document["rank"]
    if "name" in document:
        rules.dialects[rank] = document["name"]
    rules.key_prefixes.extend((entry, rank) for entry in document.get("keys", ()))
    rules.event_prefixes.extend((entry, rank) for entry in document.get("events", ()))
    rules.metric_prefixes.extend((entry, rank) for entry in document.get("metrics", ()))
    rules.scope_prefixes.extend(document.get("scopes", ()))


def _add_claims(rules: Rules, rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        if row["column"] not in rules.columns or row["convert"] not in CONVERTERS:
            raise ValueError(f"dialect row {row}: no such column or converter")
        convert = row["convert"]
        slot = rules.columns.index(row["column"])
        claim = Claim(slot, row["precedence"], False, EXACT_TYPES.get(convert), CONVERTERS[convert])
        rules.claims.setdefault(row["key"], []).append(claim)


def _mark_first(rules: Rules) -> None:
    """Mark the claims that need not wait for others: alone in the lowest precedence of their column."""
    by_slot: dict[int, list[int]] = {}
    for claims in rules.claims.values():
        for claim in claims:
            by_slot.setdefault(claim.slot, []).append(claim.precedence)
    for slot, precedences in by_slot.items():
        if len(set(precedences)) != len(precedences):
            raise ValueError(
                f"two dialect rows claim column {slot} with one precedence: {sorted(precedences)}"
            )
    for key, claims in rules.claims.items():
        rules.claims[key] = [
            claim._replace(first=claim.precedence == min(by_slot[claim.slot]) and ".N" not in key)
            for claim in claims
        ]


def _add_content(rules: Rules, document: Mapping[str, Any]) -> None:
    for row in document.get("content", ()):
        rules.content[row["key"]] = _content_rule(row)
    for row in document.get("event_content", ()):
        rules.event_content[row["event"]] = _content_rule(row)
    for row in document.get("content_suffixes", ()):
        rules.content_suffixes.append((row["suffix"], _content_rule(row)))
    for row in document.get("event_claims", ()):
        slot = RECORD_COLUMNS.index(row["column"])
        rules.event_claims.append(EventClaim(row["event"], row["key"], slot, CONVERTERS[row["convert"]]))


def _content_rule(row: Mapping[str, Any]) -> ContentRule:
    if row["class"] not in CONTENT_CLASSES:
        raise ValueError(f"dialect row {row}: no such content class")
    paths = tuple(tuple(path.split(".")) for path in row.get("evidence", ()))
    return ContentRule(row["class"], row.get("genai_scope", False), paths)
