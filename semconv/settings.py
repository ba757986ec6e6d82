"""What a deployment decides about parsing and meaning. The collector builds one of these from its configuration."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Signal = Literal["traces", "logs", "metrics"]
Encoding = Literal["protobuf", "json"]
Keep = Literal["all", "genai", "none"]
ContentClass = Literal["prompts", "completions", "tool_inputs", "tool_outputs"]
UserIds = Literal["keep", "hash", "drop"]

# Events, and links, of one span and exemplars of one point that are read. The SDKs keep 128 and one; empty ones
# take two bytes each on the wire and some hundred in memory.
MOST_EVENTS: Final = 10_000

CONTENT_CLASSES: Final[tuple[ContentClass, ...]] = ("prompts", "completions", "tool_inputs", "tool_outputs")


@dataclass(frozen=True, slots=True)
class AccountRule:
    """One account's claim on records: every condition given must hold; the first rule that matches wins."""

    account: str
    provider: str | None = None
    service: str | None = None
    user: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """The plan an account is on from ``since`` (a UTC date, None = always) until its next entry."""

    account: str
    plan_tier: str
    since: dt.date | None = None
    usage_billed: bool = False


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """What is taken out of attributes before anything is stored: keys, a ``*`` at the end standing for any
    further characters.

    ``secret`` keys the hashes, and the identities of log records and data points with any of the rules.
    Raises ValueError without one.
    """

    drop: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    user_ids: UserIds = "keep"
    secret: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if not self.secret and (self.drop or self.hash or self.user_ids != "keep"):
            raise ValueError("redaction needs a secret")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that extraction and resolution may depend on besides the bytes and the data tables."""

    capture: frozenset[ContentClass] = frozenset()
    keep_spans: Keep = "all"
    keep_logs: Keep = "genai"
    keep_metrics: Keep = "genai"
    # Longer texts in attributes, names, status messages and events are cut with a marker and a note.
    max_value_bytes: int = 64 * 1024
    # Further attributes of one record, event, link, resource or scope are dropped with a note.
    max_attributes: int = 10_000
    redaction: RedactionRules | None = None
    account_rules: tuple[AccountRule, ...] = ()
    account_plans: tuple[AccountPlan, ...] = ()
    default_plan_tier: str | None = None
    # Column name in `calls` -> attribute key that fills it.
    dimensions: Mapping[str, str] = field(default_factory=dict)
