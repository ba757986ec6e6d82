"""Redaction: what a deployment wants no lake to hold leaves attributes before anything is read from them.

A rule names a key, or with ``*`` at its end how keys begin. It holds wherever attributes stand (spans, their
events and links, log records, data points, exemplars, metadata, resources, scopes) and at any depth: within
maps, in lists too, in a log record's body, and in values that are JSON text. There a key is matched by its own
name and by that with the names of the maps around it: ``user.email`` is also ``email`` within ``user``.

What is dropped leaves no trace but a count and a note; what is hashed becomes ``hmac:`` and 32 hex digits of
HMAC-SHA-256 over its text (numbers in decimal, anything else as JSON), the same in every signal and encoding.
NULL and the empty text stay. Canonical columns, contents and evidence are read from what is left.

Nothing is caught and passed over here: a record that cannot be redacted is not stored.
"""

from __future__ import annotations

import hmac
import json
import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from operator import is_
from typing import Final, TypeVar

from semconv import notes as note
from semconv.dialect_rules import claiming_keys, general_key, inner_keys
from semconv.dialects import AllTables, tables
from semconv.otlp import (
    Attributes,
    Event,
    Exemplar,
    Link,
    LogRecord,
    Notes,
    Point,
    Span,
    Value,
)
from semconv.settings import AccountRule, RedactionRules, Settings
from semconv.values import is_small_json

Action = Callable[[Value], Value]
Names = tuple[str, ...]
Record = TypeVar("Record", Span, LogRecord, Event, Link)

_HASH_DIGITS: Final = 32
# Keys decided upon, and texts hashed, at a time, and the longest of them: senders may make them up without end.
_REMEMBERED_KEYS: Final = 20_000
_REMEMBERED_LENGTH: Final = 256

_GONE: Final = object()  # instead of a value: not even its key stays
_JSON_BEGINS: Final = frozenset('{["')
_MAY_BEGIN_JSON: Final = _JSON_BEGINS | frozenset(string.whitespace)
# Texts that JSON spells in one way only, but for \u0020 to \u007e instead of a character.
_ONE_SPELLING: Final = re.compile(r"""[^"'\\/\x00-\x1f\x7f-\U0010ffff]*""")
_ESCAPE: Final = re.compile(r"\\+u00([2-7][0-9a-fA-F])")


class Redaction:
    """The rules of a deployment, compiled. Records come back as they are where no rule fits them."""

    def __init__(self, rules: RedactionRules, dialects: AllTables) -> None:
        self._secret = rules.secret
        self._hashes = _Hashes(rules.secret)
        self._user_keys = claiming_keys(dialects.every_rule, "user_id")
        self._service_keys = claiming_keys(dialects.resource_rules, "service_name")
        users = {"keep": (), "drop": (), "hash": (), rules.user_ids: self._user_keys}
        self._actions = _Actions(
            (_Keys(rules.drop, users["drop"]), _dropped), (_Keys(rules.hash, users["hash"]), self.hashed)
        )
        within = () if rules.user_ids == "keep" else inner_keys(dialects.every_rule, "user_id")
        named = (*rules.drop, *rules.hash, *users["drop"], *users["hash"], *within)
        self._may_name = _naming(named)
        self._longest = max(map(len, named), default=0)

    @property
    def identity_key(self) -> bytes:
        """Key for the hashes over records as they were received, values included that nothing may tell."""
        return hmac.digest(self._secret, b"identity of a record", "sha256")

    def hashed(self, value: Value) -> Value:
        """What is stored instead of a value."""
        if value is None or value == "":
            return value
        return self._hashes[value if isinstance(value, str) else _canonical(value)]

    # --- values -----------------------------------------------------------------------------------

    def attributes(self, attributes: Attributes, notes: Notes) -> Attributes:
        """A list of attributes without what the rules name."""
        changed: Attributes = {}
        actions = self._actions
        for key, value in attributes.items():
            action = actions[key]
            if action is not None:
                new = action(value)
            elif type(value) is str and value[:1] not in _MAY_BEGIN_JSON:
                continue
            else:
                new = self._inner(value, (key,))
            if new is not value:
                changed[key] = new
        if not changed:
            return attributes
        notes.append(note.REDACTED)
        return _remaining({**attributes, **changed})

    def _inner(self, value: Value, names: Names) -> Value:
        """A value whose own key is none of the rules'; ``names`` are the ways to name it, shortest first."""
        if isinstance(value, str):
            return self._text(value, names)
        if isinstance(value, list):
            items = [self._inner(item, names) for item in value]
            return value if all(map(is_, items, value)) else [_or_null(item) for item in items]
        if isinstance(value, dict):
            entries = {key: self._entry(key, item, names) for key, item in value.items()}
            return value if all(map(is_, entries.values(), value.values())) else _remaining(entries)
        return value

    def _entry(self, key: str, value: Value, around: Names) -> Value:
        # No more of a name than tells it from every rule: many long ones may stand within each other.
        key = key[: self._longest + 1]
        names = (key, *(f"{name}.{key}"[: self._longest + 1] for name in around))
        found = {action for action in map(self._actions.__getitem__, names) if action is not None}
        if not found:
            return self._inner(value, names)
        return _dropped(value) if _dropped in found else self.hashed(value)

    def _text(self, text: str, names: Names) -> Value:
        """A text, which may be JSON. One that cannot be read as such and yet names a key of the rules goes as
        a whole: a map as Python writes it, JSON that was cut off, or too much of it.
        """
        if text.lstrip()[:1] not in _JSON_BEGINS or not self._may_name(text):
            return text
        if not is_small_json(text):
            return _GONE
        try:
            document = json.loads(text, object_pairs_hook=_unambiguous)
            new = self._inner(document, names)
            if new is document:
                return text
            return _GONE if new is _GONE else json.dumps(new, separators=(",", ":"))
        except (ValueError, RecursionError):
            return _GONE

    # --- records ----------------------------------------------------------------------------------

    def span(self, span: Span) -> Span:
        """A span with its events and links."""
        if span.events or span.links:
            span = span._replace(
                events=[self._record(event, span.notes) for event in span.events],
                links=[self._record(link, span.notes) for link in span.links],
            )
        return self._record(span, span.notes)

    def log_record(self, record: LogRecord) -> LogRecord:
        """A log record with its body."""
        body = self._inner(record.body, ())
        if body is not record.body:
            record.notes.append(note.REDACTED)
            record = record._replace(body=_or_null(body))
        return self._record(record, record.notes)

    def point(self, point: Point) -> Point:
        """A data point with its exemplars."""
        return point._replace(
            attributes=self.attributes(point.attributes, point.notes),
            exemplars=[self._exemplar(exemplar, point.notes) for exemplar in point.exemplars],
        )

    def _exemplar(self, exemplar: Exemplar, notes: Notes) -> Exemplar:
        return exemplar._replace(filtered_attributes=self.attributes(exemplar.filtered_attributes, notes))

    def _record(self, record: Record, notes: Notes) -> Record:
        attributes = self.attributes(record.attributes, notes)
        if attributes is record.attributes:
            return record
        dropped = record.dropped_attributes_count + len(record.attributes) - len(attributes)
        return record._replace(attributes=attributes, dropped_attributes_count=dropped)

    # --- settings ---------------------------------------------------------------------------------

    def account_rules(self, rules: Iterable[AccountRule]) -> Iterator[AccountRule]:
        """The rules with the values that they name as those are stored: none where they are dropped, two
        where one column takes both hashed and other values.
        """
        for rule in rules:
            keys, values = tuple(rule.attributes), rule.attributes.items()
            choices = product(*(self._forms((key,), value) for key, value in values))
            users = self._forms(self._user_keys, rule.user)
            services = self._forms(self._service_keys, rule.service)
            for chosen, user, service in product(choices, users, services):
                attributes = dict(zip(keys, chosen, strict=True))
                yield replace(rule, attributes=attributes, user=user, service=service)

    def _forms(self, keys: Iterable[str], value: Value) -> list[Value]:
        """In which forms a value is stored that comes under one of ``keys``."""
        actions = [self._actions[key] for key in keys]
        forms = [value if value is None or action is None else action(value) for action in actions]
        return list(dict.fromkeys(form for form in forms if form is not _GONE))


@lru_cache(maxsize=4)
def redaction(rules: RedactionRules) -> Redaction:
    """The rules, compiled with this package's dialect tables."""
    return Redaction(rules, tables())


def stored_account_rules(settings: Settings) -> Iterable[AccountRule]:
    """The account rules, to be compared with what is stored."""
    rules = settings.account_rules
    return rules if settings.redaction is None else redaction(settings.redaction).account_rules(rules)


class _Keys:
    """Keys as a configuration names them and as the dialect tables do."""

    def __init__(self, configured: Iterable[str], of_tables: Iterable[str]) -> None:
        self._exact = frozenset(key for key in configured if not key.endswith("*"))
        self._beginnings = tuple(key[:-1] for key in configured if key.endswith("*"))
        self._of_tables = frozenset(of_tables)

    def __contains__(self, key: str) -> bool:
        return key in self._exact or key.startswith(self._beginnings) or general_key(key) in self._of_tables


class _Hashes(dict[str, str]):
    """Text → what is stored instead of it, remembered: users and sessions come again."""

    def __init__(self, secret: bytes) -> None:
        super().__init__()
        self._secret = secret

    def __missing__(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode(errors="surrogatepass"), "sha256")
        hashed = f"hmac:{digest.hex()[:_HASH_DIGITS]}"
        if len(text) <= _REMEMBERED_LENGTH:
            if len(self) >= _REMEMBERED_KEYS:
                self.clear()
            self[text] = hashed
        return hashed


class _Actions(dict[str, Action | None]):
    """Key → what is done with its value, decided when the key is first met and remembered."""

    def __init__(self, *rules: tuple[_Keys, Action]) -> None:
        """Of several rules with a key the first one counts."""
        super().__init__()
        self._rules = rules

    def __missing__(self, key: str) -> Action | None:
        action = next((own for keys, own in self._rules if key in keys), None)
        if len(key) <= _REMEMBERED_LENGTH:
            if len(self) >= _REMEMBERED_KEYS:
                self.clear()
            self[key] = action
        return action


def _naming(keys: Iterable[str]) -> Callable[[str], bool]:
    """A quick look whether a text may hold one of the keys, quoted as in JSON: none is overlooked."""
    patterns = sorted({_name_pattern(key) for key in keys})
    search = re.compile(f"[\"'](?:{'|'.join(patterns)})" if "" not in patterns else "").search
    return lambda text: search(_unescaped(text)) is not None


def _name_pattern(key: str) -> str:
    """What stands behind the quote where a key, or the outermost of the maps that make it up, begins."""
    first, dot, _ = key.removesuffix("*").partition(".")
    if not _ONE_SPELLING.fullmatch(first):
        return ""
    if key.endswith("*") and not dot:
        return re.escape(first)
    return rf"{re.escape(first)}(?:\.|\\*[\"']\s*:)"


def _unescaped(text: str) -> str:
    if "\\u00" not in text:
        return text
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)


def _unambiguous(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document


def _canonical(value: Value) -> str:
    """One text for one value, whatever it came in; numbers may be those of a JSON text, of any size."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _dropped(_value: Value) -> Value:
    return _GONE


def _or_null(value: Value) -> Value:
    return None if value is _GONE else value


def _remaining(entries: dict[str, Value]) -> dict[str, Value]:
    if _GONE not in entries.values():
        return entries
    return {key: value for key, value in entries.items() if value is not _GONE}
