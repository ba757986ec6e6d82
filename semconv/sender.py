"""Who sent a group of records: its resource and its scope, read once and repeated in the row of each record."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import orjson

from semconv.claims import claim_resource, drop_long
from semconv.context import Context, Part
from semconv.dialect_rules import NO_DIALECT, RESOURCE_COLUMNS
from semconv.dialects import AllTables
from semconv.gate import Taken
from semconv.notes import note_list
from semconv.otlp import Attributes, Notes, Resource, Scope, ScopeGroup
from semconv.values import total_length

HASH_BYTES: Final = 16
_SERVICE: Final = slice(RESOURCE_COLUMNS.index("resource_billing_account"))
_BILLING: Final = slice(RESOURCE_COLUMNS.index("resource_billing_account"), None)


class Sender(NamedTuple):
    """Resource and scope of the records of one scope group, as the rows hold them."""

    columns: Part  # service_name … scope_attributes
    end: Part  # resource_billing_account … received_at, of a record without notes of its own
    notes: list[str]

    def end_of(self, *notes: list[str]) -> Part:
        """resource_billing_account … received_at of a record with these notes."""
        if not any(notes):
            return self.end
        *before, _, source, received = self.end
        return (*before, note_list(self.notes, *notes), source, received)


class _ResourcePart(NamedTuple):
    claimed: list[Any]  # by RESOURCE_COLUMNS
    text: str
    notes: list[str]
    bytes: int


class Senders:
    """The senders of one request. Its scopes share resources, so what a resource gives is kept for the next."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._resource: Resource | None = None
        self._parts: dict[tuple[bool, bool], _ResourcePart] = {}
        self._digest: Any = None

    def read(self, group: ScopeGroup, records: int, *, names_genai: bool) -> Sender:
        """The sender of a group of so many records, cut short where these would repeat too much text."""
        self._turn_to(group.resource)
        whole = self._context
        part = self._resource_part(whole, group.resource, names_genai)
        sender, size = _sender(whole, part, group, names_genai)
        if whole.budget.allows(size, records):
            return sender
        short = whole.in_short()
        part = self._resource_part(short, group.resource, names_genai)
        return _sender(short, part, group, names_genai)[0]

    def identity(self, group: ScopeGroup) -> Any:
        """The hash over what all records of a group share: tenant, resource and scope, as received."""
        self._turn_to(group.resource)
        if self._digest is None:
            self._digest = self._resource_digest(group.resource)
        digest = self._digest.copy()
        scope = group.scope
        digest.update(b"," + orjson.dumps([scope.name, scope.version, scope.attributes])[1:])
        return digest

    def _turn_to(self, resource: Resource) -> None:
        if self._resource is not resource:
            self._resource = resource
            self._parts.clear()
            self._digest = None

    def _resource_digest(self, resource: Resource) -> Any:
        redaction = self._context.redaction
        key = b"" if redaction is None else redaction.identity_key
        shared = orjson.dumps([self._context.request.tenant, resource.attributes])
        return hashlib.blake2b(shared[:-1], digest_size=HASH_BYTES, key=key)

    def _resource_part(self, context: Context, resource: Resource, names_genai: bool) -> _ResourcePart:
        key = (context is self._context, names_genai)
        if key not in self._parts:
            self._parts[key] = _resource_part(context, resource, names_genai)
        return self._parts[key]


def names_genai(tables: AllTables, scope: Scope) -> bool:
    """Whether the scope's name or one of its attributes, as received, is of a dialect."""
    if tables.rules.is_genai_scope_name(scope.name):
        return True
    return any(tables.keys[key].rank < NO_DIALECT for key in scope.attributes)


def _resource_part(context: Context, resource: Resource, names_genai: bool) -> _ResourcePart:
    notes: Notes = [*resource.notes]
    attributes = context.redacted(resource.attributes, notes)
    claimed = claim_resource(attributes, context.tables.resources, notes).values
    drop_long(claimed, notes)
    values = [context.text(value, notes) for value in claimed]
    text = _attributes_text(context, attributes, notes, "resource/", names_genai)
    return _ResourcePart(values, text, note_list(notes) or [], total_length([*values, text]))


def _sender(
    context: Context, part: _ResourcePart, group: ScopeGroup, names_genai: bool
) -> tuple[Sender, int]:
    """The sender, and how many bytes of text it puts into each row."""
    resource, scope, request = group.resource, group.scope, context.request
    notes: Notes = [*part.notes, *scope.notes]
    attributes = context.redacted(scope.attributes, notes)
    own = [
        *(context.text(text, notes) for text in (scope.name, scope.version)),
        context.text(scope.schema_url or resource.schema_url, notes),
    ]
    text = _attributes_text(context, attributes, notes, "scope/", names_genai)
    columns = (*part.claimed[_SERVICE], *own, part.text, text)
    noted = note_list(notes)
    billing = (*part.claimed[_BILLING], request.billing_account)
    end = (*billing, noted, request.source, context.received_us)
    size = part.bytes + total_length([*own, text])
    return Sender(columns, end, noted or []), size


def _attributes_text(
    context: Context, attributes: Attributes, notes: Notes, prefix: str, names_genai: bool
) -> str:
    """A gated copy of the attributes, for identities are taken of those received."""
    gate = context.gate(genai_scope=names_genai)
    taken = Taken(notes)
    text = gate.clean_text(dict(attributes), taken, prefix)
    context.add_contents(taken, None, None, context.received_us)
    return text
