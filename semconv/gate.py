"""The content gate: takes text that people wrote or models answered out of a record before it is stored.

What it takes, anywhere attributes stand (spans, their events and links, log records, data points, exemplars,
resources, scopes):

- text under keys that the dialect tables mark as content, and under keys of no table that end in one of the
  tables' suffixes (``prompt``, ``messages``, ``.content``, …);
- in GenAI scopes, any value with a string of more than 2 KiB, error messages (``exception.message``,
  ``exception.stacktrace``, a span's status message) and the bodies of log records;
- in events that the tables name as content, every text that no table claims for a column.

Text is a non-empty string, or a list or map with one somewhere; numbers and booleans are never taken.

**A GenAI scope**, for the gate, is one ScopeSpans, ScopeLogs or ScopeMetrics message where the scope's name
or one of its attributes is named by a dialect table, or where any of its records is: by an attribute's key, a
log record's event name or a metric's name. So a span without any GenAI attribute is gated strictly if it
travels beside one that has some. Whether a record *is* GenAI (``keep``) never depends on its neighbours.

What is taken goes to ``contents`` if its class is switched on, else nowhere. ``evidence`` tells the lengths
and keeps the numbers and short identifiers of the places that the tables list or claim, never text. Of an answer with
usage under a key that no table looks into it keeps what they claim of answers elsewhere.

The gate also keeps the bounds of what is stored: the number of attributes (those that are claimed, or that the
settings refer to, stay before others), and the length of texts and keys.

Hashes of prompts (:mod:`semconv.prompt_hashes`) join the evidence where the settings have a key for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from semconv import notes as note
from semconv.claims import Claimed, Kept, drop_long
from semconv.converters import tokens
from semconv.dialect_rules import Claim, ContentRule, general_key
from semconv.dialects import AllTables, Tables
from semconv.documents import Places, look_up, may_be_kept, read_document
from semconv.otlp import Attributes, Notes, Value
from semconv.prompt_hashes import Prompt
from semconv.settings import ContentClass, Settings
from semconv.values import (
    cut_text,
    cut_value,
    has_text,
    json_text,
    longest_text,
    utf8_length,
)

Content = tuple[ContentClass, str, str]  # class, place, text

# Design figure: longer strings in GenAI scopes are taken for content whatever their key. No key is as long.
LONG_TEXT_BYTES: Final = 2048
NO_ITEMS: Final = "[]"
_LONG_TEXT: Final = ContentRule("prompts")
_ERROR_TEXT: Final = ContentRule("prompts")
_UNNAMED_BODY: Final = ContentRule("prompts")

_MAX_KEPT: Final = 256  # values per key
# Of one record evidence tells no more places than a conversation in indexed keys has, and no longer names.
# JSON text of one record's attributes, or of its events. 64 MiB of control characters are 384 MiB of it.
_LARGEST_TEXT: Final = 32 << 20
_MAX_PLACES: Final = 10_000
_MAX_PLACE: Final = 512
# Attributes that no table claims and yet the SQL reads (calls.py).
_READ_IN_SQL: Final = frozenset({"service.instance.id", "duration_ms", "logfire.span_type"})


class Taken:
    """What was taken from one record, and the record's notes."""

    __slots__ = ("_kept", "_lengths", "contents", "dropped_attributes", "notes", "prompt")

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.dropped_attributes = 0  # of the record's own: more than the configured number
        self.contents: list[Content] = []  # of the classes that are switched on
        self.prompt: Prompt | None = None  # where its hashes are switched on
        self._lengths: dict[str, int] = {}
        self._kept: dict[str, dict[str, Any]] = {}

    def add(self, place: str, text: str, kept: dict[str, Any]) -> None:
        """Note that a text was taken, and what evidence keeps of it."""
        if len(self._lengths) < _MAX_PLACES:
            self._lengths[place] = utf8_length(text)
            if kept:
                self._kept[place] = kept

    def keep(self, place: str, kept: dict[str, Any]) -> None:
        """Note what evidence keeps of a document that was cut, and can be read no more."""
        if len(self._kept) < _MAX_PLACES:
            self._kept[place[:_MAX_PLACE]] = kept

    def evidence(self) -> str | None:
        """``{"gated": {place: bytes}, "kept": {place: {path: value}}}`` as JSON text, and the hashes of the prompt;
        None if nothing was taken, and nothing cut that is kept in part.
        """
        if not self._lengths and not self._kept:
            return None
        kept = {"kept": self._kept} if self._kept else {}
        hashes = self.prompt.told() if self.prompt is not None else {}
        return json_text({"gated": self._lengths, **kept, **hashes})


class Gate:
    """The gate for the records of one scope message."""

    def __init__(
        self, all_tables: AllTables, settings: Settings, *, own: Tables | None = None, genai_scope: bool
    ) -> None:
        """``own`` are the tables for the records, where more holds for them than for all."""
        tables = own or all_tables
        self.genai_scope = genai_scope
        self.own = own
        self._plans = tables.keys
        self._claims = (tables.rules.claims, all_tables.resource_rules.claims)
        self._content = tables.rules.content
        self._event_content = tables.rules.event_content
        self._answers = tables.rules.answers
        self._settings = settings
        self._capture = settings.capture
        self._prompt_key = settings.prompt_hash_key
        self._most = settings.max_attributes
        self._limit = settings.max_value_bytes
        # Attributes whose JSON text is no longer than this hold no string that is too long for anything.
        self._harmless = min(LONG_TEXT_BYTES, settings.max_value_bytes)

    def attributes_text(self, attributes: Attributes, claimed: Claimed, taken: Taken) -> str:
        """JSON text of a record's own attributes without content; ``attributes`` are changed in place.

        Claimed values are read whole before; what is too long for an identifier is emptied here.
        """
        if len(attributes) > self._most:
            sent = len(attributes)
            attributes = self.limited(attributes, taken.notes)
            taken.dropped_attributes = sent - len(attributes)
            drop_long(claimed.values, taken.notes)
        if claimed.marked:
            self._take_marked(attributes, claimed.marked, taken, "", claimed.kept)
        raw = orjson.dumps(attributes)
        if len(raw) > self._harmless:
            del raw  # it may be large
            drop_long(claimed.values, taken.notes)
            self._shorten(attributes, taken, "", claimed.kept)
            return self._bounded_text(attributes, taken)
        return raw.decode()

    def clean_text(self, attributes: Attributes, taken: Taken, prefix: str) -> str:
        """JSON text of :meth:`clean`."""
        return self._bounded_text(self.clean(attributes, taken, prefix), taken)

    def list_text(self, items: list[dict[str, Any]], taken: Taken) -> str:
        """JSON text of events, links or exemplars, ``[]`` where it is longer than any."""
        raw = orjson.dumps(items)
        if len(raw) <= _LARGEST_TEXT:
            return raw.decode()
        taken.notes.append(note.TEXT_DROPPED)
        return NO_ITEMS

    def clean(self, attributes: Attributes, taken: Taken, prefix: str) -> Attributes:
        """Attributes that stand elsewhere (``prefix`` tells where) without content, changed in place."""
        attributes = self.limited(attributes, taken.notes)
        marked = [(key, rule) for key in attributes if (rule := self._plans[key].content) is not None]
        if marked:
            self._take_marked(attributes, marked, taken, prefix)
        if len(orjson.dumps(attributes)) > self._harmless:
            self._shorten(attributes, taken, prefix)
        return attributes

    def clean_event(self, name: str, attributes: Attributes, taken: Taken) -> Attributes:
        """The attributes of a span event; of a content event, only those that a table claims keep their
        text.
        """
        event = name[:128]
        rule = self._event_content.get(name)
        if rule is not None:
            self._take_unclaimed(attributes, taken, rule, event)
        return self.clean(attributes, taken, f"{event}/")

    def limited(self, attributes: Attributes, notes: Notes) -> Attributes:
        """The attributes, no more than the configured number of them."""
        if len(attributes) <= self._most:
            return attributes
        notes.append(note.ATTRIBUTES_DROPPED)
        kept = set(self._claimed_first(attributes)[: self._most])
        return {key: value for key, value in attributes.items() if key in kept}

    def _bounded_text(self, attributes: Attributes, taken: Taken) -> str:
        raw = orjson.dumps(attributes)
        if len(raw) <= _LARGEST_TEXT:
            return raw.decode()
        del raw
        taken.notes.append(note.TEXT_DROPPED)
        fitting, left = {}, _LARGEST_TEXT
        for key in self._claimed_first(attributes):
            left -= len(orjson.dumps({key: attributes[key]}))
            if left >= 0:
                fitting[key] = attributes[key]
        taken.dropped_attributes += len(attributes) - len(fitting)
        return json_text(fitting)

    def _claimed_first(self, attributes: Attributes) -> list[str]:
        wanted = self._wanted_keys()
        return sorted(attributes, key=lambda key: not (key in wanted or self._is_claimed(key)))

    def _is_claimed(self, key: str) -> bool:
        general = general_key(key)
        return any(general in claims for claims in self._claims)

    def _wanted_keys(self) -> frozenset[str]:
        """What resolution looks up in the stored attributes."""
        rules = self._settings.account_rules
        of_rules = (key for rule in rules for key in rule.attributes)
        return frozenset({*_READ_IN_SQL, *self._settings.dimensions.values(), *of_rules})

    def status_message(self, message: str, taken: Taken) -> str:
        """A span's status message, "" where it was taken."""
        if message and self.genai_scope:
            self._take("status.message", message, _ERROR_TEXT, taken)
            return ""
        return message

    def body(self, event_name: str, body: Value, taken: Taken) -> Value:
        """A log record's body, None where it was taken."""
        rule = self._event_content.get(event_name, _UNNAMED_BODY)
        if (self.genai_scope or rule is not _UNNAMED_BODY) and has_text(body):
            if self._prompt_key and rule.prompt is not None:
                self._prompt_of(taken).add_record(event_name, body)
            self._take("body", body, rule, taken)
            return None
        return self.cut(body, taken.notes)

    def cut(self, value: Value, notes: Notes) -> Value:
        """A value of at most the configured length."""
        cut = cut_value(value, self._limit)
        if cut is not value:
            notes.append(note.VALUE_CUT)
        return cut

    def _take(
        self, place: str, value: Value, rule: ContentRule, taken: Taken, kept: dict[str, Any] | None = None
    ) -> None:
        text = value if isinstance(value, str) else json_text(value)
        place = place[:_MAX_PLACE]
        listed = _kept_values(value, rule.evidence) if rule.evidence else {}
        if not listed and not kept and (rule.content_class == "completions" or rule is _LONG_TEXT):
            listed = _kept_of_answer(text, self._answers)
        taken.add(place, text, {**listed, **kept} if kept else listed)
        if rule.content_class in self._capture:
            taken.contents.append((rule.content_class, place, text))

    def _take_marked(
        self,
        attributes: Attributes,
        marked: Iterable[tuple[str, ContentRule]],
        taken: Taken,
        prefix: str,
        kept: Kept | None = None,
    ) -> None:
        kept = kept or {}
        if self._prompt_key:
            self._note_prompt(attributes, marked, taken)
        for key, rule in marked:
            if (self.genai_scope or not rule.genai_scope) and has_text(attributes.get(key)):
                self._take(prefix + key, attributes.pop(key), rule, taken, kept.get(key))

    def _note_prompt(
        self, attributes: Attributes, marked: Iterable[tuple[str, ContentRule]], taken: Taken
    ) -> None:
        """Gather what is to be taken of the prompt, while all that belongs to it is there."""
        for key, rule in marked:
            is_taken = self.genai_scope or not rule.genai_scope
            if rule.prompt is not None and is_taken and has_text(attributes.get(key)):
                self._prompt_of(taken).add(rule.prompt, rule.source, key, attributes)

    def _prompt_of(self, taken: Taken) -> Prompt:
        if taken.prompt is None:
            taken.prompt = Prompt(self._prompt_key)
        return taken.prompt

    def _take_unclaimed(self, attributes: Attributes, taken: Taken, rule: ContentRule, event: str) -> None:
        found = {
            key: attributes.pop(key)
            for key, value in list(attributes.items())
            if not self._plans[key].claims and has_text(value)
        }
        if found and self._prompt_key and rule.prompt is not None:
            self._prompt_of(taken).add_event(event, found)
        for key, value in found.items():
            self._take(f"{event}/{key}", value, self._content.get(general_key(key), rule), taken)

    def _shorten(self, attributes: Attributes, taken: Taken, prefix: str, kept: Kept | None = None) -> None:
        """Take what is too long for a GenAI scope, then cut what is too long for the lake."""
        kept = kept or {}
        for key, value in list(attributes.items()):
            if self.genai_scope and longest_text(value) > LONG_TEXT_BYTES:
                self._take(prefix + key, attributes.pop(key), _LONG_TEXT, taken, kept.get(key))
            elif utf8_length(key) <= LONG_TEXT_BYTES:
                attributes[key] = self.cut(value, taken.notes)
                if attributes[key] is not value and key in kept:
                    taken.keep(prefix + key, kept[key])
            else:
                short = cut_text(key, LONG_TEXT_BYTES)
                taken.notes.append(note.DUPLICATE_ATTRIBUTE if short in attributes else note.VALUE_CUT)
                attributes[short] = self.cut(attributes.pop(key), taken.notes)


def _kept_values(value: Value, paths: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """The numbers and identifiers at the paths of a JSON value, which may be text; the first 256."""
    document = read_document(value)
    found: dict[str, Any] = {}
    for path in paths:
        for place, leaf in _leaves(document, path, ""):
            if len(found) < _MAX_KEPT and may_be_kept(leaf):
                found[place] = leaf
    return found


def _kept_of_answer(text: str, answers: Places[Claim]) -> dict[str, Any]:
    """What tables to come may look for under a key that no table looks into: of a document that tells tokens as a
    provider's answer does, what is claimed of answers under other keys.
    """
    document = read_document(text) if "oken" in text else None
    found: list[tuple[Claim, Any]] = []
    look_up(document, answers, found)
    fitting = [(claim, leaf) for claim, leaf in found if may_be_kept(leaf) and _converts(claim, leaf)]
    if not any(claim.convert is tokens for claim, _ in fitting):
        return {}
    return {claim.place: leaf for claim, leaf in fitting}


def _converts(claim: Claim, leaf: Any) -> bool:
    try:
        return claim.convert(leaf) is not None
    except ValueError:
        return False


def _leaves(value: Any, path: tuple[str, ...], place: str) -> list[tuple[str, Any]]:
    if not path:
        return [(place[1:], value)]
    step, rest = path[0], path[1:]
    if step == "N" and isinstance(value, list):
        return [
            leaf for number, item in enumerate(value) for leaf in _leaves(item, rest, f"{place}.{number}")
        ]
    if isinstance(value, dict) and step in value:
        return _leaves(value[step], rest, f"{place}.{step}")
    return []
