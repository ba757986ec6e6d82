"""What a deployment decides about parsing and meaning. The collector builds one of these from its configuration."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
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
class Fee:
    """What a plan costs for one of its billing cycles, however much is used; ``currency`` as ISO 4217 has it.

    ``fx_to_usd``: US dollars for one unit of the currency; None where nobody said so.
    """

    amount: Decimal
    currency: str = "USD"
    fx_to_usd: Decimal | None = None

    @property
    def dollars_for_one(self) -> Decimal | None:
        return Decimal(1) if self.currency == "USD" else self.fx_to_usd


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """The plan an account is on from ``since`` (a UTC date, None = always) until its next entry.

    A billing cycle begins on ``cycle_start_day`` of each month, on its last day where it has no such day.
    ``quota_tokens`` is for one cycle: input, cached or not, and output together.
    """

    account: str
    plan_tier: str
    since: dt.date | None = None
    usage_billed: bool = False
    fee_per_month: Fee | None = None
    cycle_start_day: int = 1
    quota_tokens: int | None = None

    @property
    def pricing_mode(self) -> str:
        """That of calls on this plan, as prices/costs.sql has it."""
        if self.plan_tier in ("api", "local"):
            return self.plan_tier
        return "api" if self.usage_billed else "subscription"


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """What a deployment pays instead of the list price, from ``since`` until before ``until`` (UTC dates).

    ``provider`` is canonical; ``model`` an id, or its beginning with a ``*`` at the end, in any case; None stands
    for any. It holds for calls of one ``variant`` (semconv/prices/sheets.py names them); what is free or paid by the
    hour is so in each variant that has no override of its own.

    Exactly one of: ``prices`` in USD by unit (``input_mtok``, …), ``discount`` (the part taken off the list price,
    between 0 and 1), ``gpu_hour_usd`` (for an hour of a call's duration), ``free``. Raises ValueError otherwise.
    """

    name: str
    provider: str | None = None
    model: str | None = None
    billing_account: str | None = None
    since: dt.date | None = None
    until: dt.date | None = None
    variant: str = "standard"
    prices: Mapping[str, Decimal] | None = None
    discount: Decimal | None = None
    gpu_hour_usd: Decimal | None = None
    free: bool = False

    def __post_init__(self) -> None:
        given = [self.prices is not None, self.discount is not None, self.gpu_hour_usd is not None, self.free]
        if sum(given) != 1:
            raise ValueError(f"price {self.name!r}: expected one of prices, discount, gpu_hour_usd and free")


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
    # Of the hashes of prompts that evidence keeps (semconv/prompt_hashes.py); empty: it keeps none.
    prompt_hash_key: bytes = field(default=b"", repr=False)
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
    price_overrides: tuple[PriceOverride, ...] = ()
    # Column name in `calls` -> attribute key that fills it.
    dimensions: Mapping[str, str] = field(default_factory=dict)
