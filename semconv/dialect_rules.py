"""The rows of the dialect tables as rules: what they say of keys, scopes, events, metrics and names, before it is
looked up by the keys that records really have (:mod:`semconv.dialects`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

import pyarrow as pa

from semconv.columns import CLAIMED
from semconv.converters import CONVERTERS, EXACT_TYPES
from semconv.documents import Places, places
from semconv.otlp import Value
from semconv.prompt_hashes import EVENTS, PROMPT_PARTS, PromptPart
from semconv.settings import CONTENT_CLASSES, ContentClass

Document = Mapping[str, Any]  # a parsed TOML file
Condition = tuple[str, Any]  # an attribute's key, and the value that it must have

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

# Names remembered at a time: senders may make them up without end.
_REMEMBERED_NAMES: Final = 2_000
_LONGEST_NAME: Final = 256

_NOTHING_SAID: Final[list[NameClaim]] = []
_CLAIM_FIELDS: Final = {"key", "column", "convert", "precedence"}
_ANY_NAME: Final = ""
_TEXT_COLUMNS: Final = {name for name, of_type in CLAIMED if of_type == pa.string()}
_NUMBERED: Final = re.compile(r"(?<=\.)[0-9]+(?=\.|$)", re.ASCII)


class Claim(NamedTuple):
    """One key's claim on one column: an index into RECORD_COLUMNS or RESOURCE_COLUMNS."""

    slot: int
    precedence: int
    first: bool  # no other key goes before it
    exact: type | None  # a positive or non-empty value of this type needs no conversion
    convert: Callable[[Value], Any]
    path: tuple[str, ...] = ()  # the place in the value, which is a document; () = the value itself
    when: Condition | None = None

    @property
    def place(self) -> str:
        """The path as evidence names it."""
        return ".".join("0" if step == "N" else step for step in self.path)


class NameClaim(NamedTuple):
    """What a span's or log event's name says of a text column."""

    slot: int
    value: str | None  # None: the name itself
    rank: int
    telling: bool  # the name makes its record one of the dialect
    when: Condition | None = None


class ContentRule(NamedTuple):
    """That the text under a key, or in an event, is content of a class."""

    content_class: ContentClass
    genai_scope: bool = False  # only in GenAI scopes
    evidence: tuple[tuple[str, ...], ...] = ()  # paths whose numbers and identifiers are kept
    prompt: PromptPart | None = None  # of the prompt that a model got; semconv/prompt_hashes.py
    source: str = ""  # the key, up to its first N: what holds one part of a prompt


class EventClaim(NamedTuple):
    """An attribute of a span event that names a column of its span."""

    event: str
    key: str
    slot: int
    convert: Callable[[Value], Any]
    has: str | None = None  # an attribute of spans that say nowhere else that they failed


@dataclass(frozen=True)
class Rules:
    """All tables as loaded: by key with N for numbers, prefixes by rank, and the rest by kind."""

    columns: tuple[str, ...]  # that claims name by their index
    ranks: set[int] = field(default_factory=set)
    bound_to: list[str] = field(default_factory=list)  # names of scopes and events
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
    names: dict[str, list[NameClaim]] = field(default_factory=dict)

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

    def prompt_place(self, place: str) -> tuple[PromptPart, str] | None:
        """Which part of a prompt a text is that the gate took from a place, and its source, if it is one."""
        if place == "body":
            return "messages", EVENTS
        event, slash, key = place.rpartition("/")
        if slash and (rule := self.event_content.get(event)) is not None and rule.prompt:
            return rule.prompt, EVENTS
        found = self.content.get(general_key(key)) or self.content_by_suffix(key)
        return (found.prompt, found.source) if found is not None and found.prompt else None

    def telling_words(self) -> list[bytes]:
        """Of what makes a record GenAI (its keys, a log event's or a metric's name) one is in its bytes. Of each
        word no more than up to its first dot: few are looked for.
        """
        entries = (*self.key_prefixes, *self.event_prefixes, *self.metric_prefixes)
        beginnings = (_beginning(entry) for entry in (*(entry for entry, _ in entries), *self.bound_to))
        return [word.encode() for word in dict.fromkeys(beginnings)]

    def named(self, name: str) -> list[NameClaim]:
        """What a span's or log event's name says: exact names first, last what holds for any."""
        said = self.names.get(name, _NOTHING_SAID) if name else _NOTHING_SAID
        if name.startswith(self._name_beginnings):
            said = said + [
                row
                for entry, rows in self.names.items()
                if entry.endswith((".", " ")) and name.startswith(entry)
                for row in rows
            ]
        return said + self._of_any_name

    @cached_property
    def said_by(self) -> Names:
        """What names say, remembered."""
        return Names(self)

    @cached_property
    def names_tell(self) -> bool:
        """Whether a name alone may tell the dialect of its record."""
        return any(row.telling for rows in self.names.values() for row in rows)

    @cached_property
    def _of_any_name(self) -> list[NameClaim]:
        return self.names.get(_ANY_NAME, [])

    @cached_property
    def _name_beginnings(self) -> tuple[str, ...]:
        return tuple(entry for entry in self.names if entry.endswith((".", " ")))

    @cached_property
    def answers(self) -> Places[Claim]:
        """Where in a model's answer the tables look, whichever key it stands under."""
        return places(
            (claim.path, claim)
            for key, claims in self.claims.items()
            if (rule := self.content.get(key)) is not None and rule.content_class == "completions"
            for claim in claims
            if claim.path
        )

    def event_rank(self, name: str) -> int:
        """The rank of the dialect that a log event's name belongs to."""
        return _prefix_rank(name, self.event_prefixes)

    def metric_rank(self, name: str) -> int:
        """The rank of the dialect that a metric's name belongs to."""
        return _prefix_rank(name, self.metric_prefixes)

    def is_genai_scope_name(self, name: str) -> bool:
        """Whether an instrumentation scope of this name only ever instruments GenAI."""
        return name.startswith(self._scope_beginnings)

    @cached_property
    def _scope_beginnings(self) -> tuple[str, ...]:
        return tuple(self.scope_prefixes)


class Names(dict[str, list[NameClaim]]):
    """Name of a span or log event → what it says, remembered: most come again."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self._rules = rules

    def __missing__(self, name: str) -> list[NameClaim]:
        said = self._rules.named(name)
        if len(name) <= _LONGEST_NAME:
            if len(self) >= _REMEMBERED_NAMES:
                self.clear()
            self[name] = said
        return said


def _beginning(entry: str) -> str:
    first, dot, _ = entry.partition(".")
    return first + dot


def _prefix_rank(name: str, prefixes: Iterable[tuple[str, int]]) -> int:
    """The lowest rank of the entries that name is or, for entries with a final dot, begins with."""
    return min((rank for entry, rank in prefixes if fits(name, entry)), default=NO_DIALECT)


def fits(name: str, entry: str) -> bool:
    """Whether a name is an entry or, if that has a final dot, begins with it."""
    return name.startswith(entry) if entry.endswith(".") else name == entry


def claiming_keys(rules: Rules, column: str) -> tuple[str, ...]:
    """The keys, N for numbers, that the tables map to a column, those of span events included. A key within a
    document has the document's key before it.
    """
    of_attributes = (
        (".".join((key, *_map_keys(claim.path))), rules.columns[claim.slot])
        for key, claims in rules.claims.items()
        for claim in claims
    )
    of_events = ((claim.key, RECORD_COLUMNS[claim.slot]) for claim in rules.event_claims)
    return tuple(dict.fromkeys(key for key, filled in (*of_attributes, *of_events) if filled == column))


def inner_keys(rules: Rules, column: str) -> tuple[str, ...]:
    """What stands in documents before the values that the tables map to a column."""
    claims = (claim for of_key in rules.claims.values() for claim in of_key)
    paths = (claim.path for claim in claims if claim.path and rules.columns[claim.slot] == column)
    return tuple(dict.fromkeys(".".join(_map_keys(path)) for path in paths))


def _map_keys(path: tuple[str, ...]) -> Iterator[str]:
    return (step for step in path if step != "N")


def general_key(key: str) -> str:
    """A key as the tables name it: N for every number between dots."""
    return _NUMBERED.sub("N", key)


def is_bound(document: Document) -> bool:
    """Whether a file holds for the records of some scopes or events alone."""
    return "only_scopes" in document or "only_events" in document


def record_rules(documents: list[Document], fitting: tuple[int, ...]) -> Rules:
    """The rules for records of the documents that hold for all, and of those of these numbers."""
    rules = Rules(RECORD_COLUMNS)
    for number, document in enumerate(documents):
        _add_dialect(rules, document)
        if number in fitting or not is_bound(document):
            rules.key_prefixes.extend((entry, document["rank"]) for entry in document.get("keys", ()))
            _add_content(rules, document)
            _add_claims(rules, document, "claims")
            _add_names(rules, document)
    _mark_first(rules)
    return rules


def resource_rules(documents: list[Document]) -> Rules:
    """The rules for resources."""
    rules = Rules(RESOURCE_COLUMNS)
    for document in documents:
        _add_content(rules, document)
        _add_claims(rules, document, "resource_claims")
    _mark_first(rules)
    return rules


def _add_dialect(rules: Rules, document: Document) -> None:
    """What tells of names that a record is GenAI holds everywhere."""
    rank = document["rank"]
    if rank in rules.ranks:
        raise ValueError(f"two dialects have the rank {rank}")
    rules.ranks.add(rank)
    if "name" in document:
        rules.dialects[rank] = document["name"]
    rules.event_prefixes.extend((entry, rank) for entry in document.get("events", ()))
    rules.metric_prefixes.extend((entry, rank) for entry in document.get("metrics", ()))
    rules.scope_prefixes.extend(document.get("scopes", ()))
    for condition in ("only_scopes", "only_events"):
        rules.bound_to.extend(document.get(condition, ()))


def _add_claims(rules: Rules, document: Document, kind: str) -> None:
    taken: set[tuple[str, int]] = set()
    for row in document.get(kind, ()):
        claim = _claim(rules, row, document["rank"])
        if (row["column"], claim.precedence) in taken:
            raise ValueError(f"dialect row {row}: two rows claim the column with one precedence")
        taken.add((row["column"], claim.precedence))
        rules.claims.setdefault(row["key"], []).append(claim)


def _claim(rules: Rules, row: Mapping[str, Any], rank: int) -> Claim:
    if set(row) - {"path", "when", "value"} != _CLAIM_FIELDS:
        raise ValueError(
            f"dialect row {row}: its fields are {sorted(_CLAIM_FIELDS)}, perhaps path, when and value"
        )
    if row["column"] not in rules.columns or row["convert"] not in CONVERTERS:
        raise ValueError(f"dialect row {row}: no such column or converter")
    path = tuple(row["path"].split(".")) if "path" in row else ()
    if "" in path:
        raise ValueError(f"dialect row {row}: a step of its path is empty")
    exact, convert = _conversion(row)
    slot, precedence = rules.columns.index(row["column"]), row["precedence"] * NO_DIALECT + rank
    return Claim(slot, precedence, False, exact, convert, path, _condition(row))


def _conversion(row: Mapping[str, Any]) -> tuple[type | None, Callable[[Value], Any]]:
    convert = CONVERTERS[row["convert"]]
    if "value" not in row:
        return EXACT_TYPES.get(row["convert"]), convert
    return None, lambda value: None if convert(value) is None else row["value"]


def _condition(row: Mapping[str, Any]) -> Condition | None:
    if "when" not in row:
        return None
    if "path" in row or not isinstance(row["when"], dict) or len(row["when"]) != 1:
        raise ValueError(f"dialect row {row}: when is one attribute's key and value, and stands without path")
    [(key, value)] = row["when"].items()
    return key, value


def _mark_first(rules: Rules) -> None:
    """Mark the claims that need not wait for others: alone in the lowest precedence of their column."""
    lowest: dict[int, int] = {}
    for claims in rules.claims.values():
        for claim in claims:
            lowest[claim.slot] = min(claim.precedence, lowest.get(claim.slot, claim.precedence))
    for key, claims in rules.claims.items():
        rules.claims[key] = [
            claim._replace(first=claim.precedence == lowest[claim.slot] and ".N" not in key)
            for claim in claims
        ]


def _add_names(rules: Rules, document: Document) -> None:
    telling = is_bound(document)
    for row in document.get("names", ()):
        of_value, of_record = set(row) == {"name", "column", "value"}, set(row) == {"column", "when"}
        if not (of_value or of_record) or row["column"] not in _TEXT_COLUMNS:
            raise ValueError(
                f"dialect row {row}: its fields are column (one of text) with name and value, or with when"
            )
        slot, condition = RECORD_COLUMNS.index(row["column"]), _condition(row)
        claim = NameClaim(slot, row.get("value"), document["rank"], telling and of_value, condition)
        rules.names.setdefault(row.get("name", _ANY_NAME), []).append(claim)


def _add_content(rules: Rules, document: Document) -> None:
    for row in document.get("content", ()):
        rules.content[row["key"]] = _content_rule(row, row["key"])
    for row in document.get("event_content", ()):
        rules.event_content[row["event"]] = _content_rule(row, row["event"])
    for row in document.get("content_suffixes", ()):
        rules.content_suffixes.append((row["suffix"], _content_rule(row, row["suffix"])))
    for row in document.get("event_claims", ()):
        slot = RECORD_COLUMNS.index(row["column"])
        convert = CONVERTERS[row["convert"]]
        rules.event_claims.append(EventClaim(row["event"], row["key"], slot, convert, row.get("has")))


def _content_rule(row: Mapping[str, Any], name: str) -> ContentRule:
    if row["class"] not in CONTENT_CLASSES:
        raise ValueError(f"dialect row {row}: no such content class")
    if row.get("prompt", PROMPT_PARTS[0]) not in PROMPT_PARTS:
        raise ValueError(f"dialect row {row}: no such part of a prompt")
    paths = tuple(tuple(path.split(".")) for path in row.get("evidence", ()))
    beginning, number, _ = name.partition(".N")
    return ContentRule(
        row["class"], row.get("genai_scope", False), paths, row.get("prompt"), beginning + number
    )
