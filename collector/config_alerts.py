"""The section of the configuration that says what is worth telling somebody at once, and where it goes."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from analyzers.window import BadWindow, parse_length
from collector import config_values as values
from collector.config_access import UserFile
from collector.config_section import ConfigError, Key, RuleBroken, Section, Text

# A double, which is what YAML makes of 199.99, holds any decimal of 15 digits exactly.
_MAX_DIGITS: Final = 15
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# One address, as it may stand in a header: no list, no line ends.
_ADDRESS: Final = re.compile(r"[^\s@,;<>\"]+@[^\s@,;<>\"]+")
_SECRET_FILE_BYTES: Final = 4096
# What `cost --by` knows beside the configured dimensions, but for the day: every rule has days of its own.
GROUPINGS: Final = (values.GROUPING_NAMES | {"provider", "billing_account", "plan_tier"}) - {"day"}


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a name is 1 to 64 letters, digits, dots, _ or -, a letter or digit first")
    return name


def _check_length(text: str) -> str:
    try:
        length = parse_length(text)
    except BadWindow as error:
        raise ValueError(str(error)) from None
    if not length:
        raise ValueError("it must be longer than nothing")
    return text


def _check_address(address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError("one address, such as ops@example.com")
    return address


def _check_url(url: str) -> str:
    """The message never repeats it: who knows the address of a chat's webhook can write there."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("an address that begins with https:// and a host, without a user or password")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("an address of visible ASCII characters; what else it has is percent-encoded")
    return url


Name = Annotated[str, AfterValidator(_check_name)]
Length = Annotated[str, AfterValidator(_check_length)]
Address = Annotated[str, AfterValidator(_check_address)]
Usd = Annotated[Decimal, Field(ge=0, max_digits=_MAX_DIGITS)]
Share = Annotated[Decimal, Field(ge=0, le=1, max_digits=_MAX_DIGITS)]
Least = Annotated[int, Field(ge=1)]


# --- rules


class AlertRule(Section):
    """What all rules have: ``channels`` None means every channel."""

    name: Name
    channels: tuple[Name, ...] | None = None


class BudgetRule(AlertRule):
    """A budget (`budgets`) that is used up, or as far as its ``warn_at``; once in each of its periods."""

    events: tuple[Literal["warning", "exceeded", "will_exceed"], ...] = ("warning", "exceeded")
    budgets: tuple[Text, ...] | None = None


class DailySpendRule(AlertRule):
    """Spend of a calendar day of `timezone`; once a day for each value."""

    above_usd: Usd
    each: Text | None = None


class StandingRule(AlertRule):
    """About what holds for as long as it holds, not about a day or a period."""

    cool_down: Length | None = None


class UnitCostRule(StandingRule):
    """The mean spend of a unit, as unit-cost has it."""

    above_usd: Usd
    by: Text
    window: Length = "7d"


class CacheShareRule(StandingRule):
    """The cached part of the input tokens of the calls that say what they read from a cache."""

    below: Share
    each: Text | None = None
    window: Length = "7d"
    least_input_tokens: Least = 100_000


class ErrorRateRule(StandingRule):
    above: Share
    each: Text | None = None
    window: Length = "1h"
    least_calls: Least = 20


class AnomalyRule(AlertRule):
    """Findings of the anomaly analyzer: each once. ``window``: whose days are judged, by the weeks before it."""

    window: Length = "2d"


class AlertRules(Section):
    """Each a list; the key is what its rules look at."""

    budget: tuple[BudgetRule, ...] = ()
    daily_spend: tuple[DailySpendRule, ...] = ()
    unit_cost: tuple[UnitCostRule, ...] = ()
    cache_share: tuple[CacheShareRule, ...] = ()
    error_rate: tuple[ErrorRateRule, ...] = ()
    anomaly: tuple[AnomalyRule, ...] = ()

    def by_kind(self) -> Iterator[tuple[str, int, AlertRule]]:
        """(kind, place in its list, rule)."""
        for kind in type(self).model_fields:
            for index, rule in enumerate(getattr(self, kind)):
                yield kind, index, rule


# --- channels


class WebhookConfig(Section):
    """Where to POST alerts, and the secret that signs them (collector/alerts/webhook.py)."""

    name: Name
    url: Annotated[str, AfterValidator(_check_url)] = Field(repr=False)
    secret: Annotated[str, AfterValidator(values.check_token)] | None = Field(default=None, repr=False)
    secret_file: UserFile | None = None
    allow_http: bool = False
    timeout_seconds: float = Field(default=10.0, gt=0, le=60)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.secret is None) == (self.secret_file is None):
            raise ValueError("a webhook's secret comes from exactly one of secret and secret_file")
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme == "http" and not (self.allow_http or _is_here(parts.hostname or "")):
            raise ValueError("url begins with https://, or the webhook says allow_http: true")
        return self

    def key(self) -> str:
        """The secret itself; a file is read anew at each call. Raises ConfigError."""
        label = f"secret_file of webhook {self.name!r}"
        return _secret(self.secret, self.secret_file, label, values.check_token)


class EmailConfig(Section):
    """Whom to write to, and through which server."""

    name: Name
    host: Text
    port: Annotated[int, Field(gt=0, le=65_535)] = 587
    # starttls: encrypted after the greeting (port 587); tls: from the first byte (port 465).
    encryption: Literal["starttls", "tls", "none"] = "starttls"
    sender: Address
    to: Annotated[tuple[Address, ...], Field(min_length=1)]
    username: Text | None = None
    password: Annotated[str, Field(min_length=1)] | None = Field(default=None, repr=False)
    password_file: UserFile | None = None
    timeout_seconds: float = Field(default=20.0, gt=0, le=60)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        passwords = (self.password is not None) + (self.password_file is not None)
        if passwords != (self.username is not None):
            raise ValueError("username comes with exactly one of password and password_file, or none has it")
        if self.encryption == "none" and not _is_here(self.host):
            raise ValueError("encryption: none is for a server on this machine")
        return self

    def login(self) -> tuple[str, str] | None:
        """User and password; a file is read anew at each call. Raises ConfigError."""
        if self.username is None:
            return None
        return self.username, _secret(
            self.password, self.password_file, f"password_file of e-mail {self.name!r}"
        )


class AlertChannels(Section):
    stdout: bool = Field(default=False, description="Print alerts, one JSON line each.")
    file: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] | None = Field(
        default=None, description="Append alerts to this file, one JSON line each."
    )
    webhooks: tuple[WebhookConfig, ...] = ()
    email: tuple[EmailConfig, ...] = ()

    def names(self) -> list[str]:
        """Of every channel, in the order in which alerts are sent."""
        single = [name for name in ("stdout", "file") if getattr(self, name)]
        return [*single, *(one.name for one in self.webhooks), *(one.name for one in self.email)]


class AlertsConfig(Section):
    every: Length = Field(default="5m", description="How often a running server looks for alerts.")
    cool_down: Length = Field(
        default="24h", description="How long the same alert is not sent again while it holds."
    )
    resolved: bool = Field(default=True, description="Tell when what was alerted does not hold any more.")
    channels: AlertChannels = AlertChannels()
    rules: AlertRules = AlertRules()

    def check(self, dimensions: Mapping[str, object]) -> None:
        """Raises RuleBroken for a name that is there twice, or that nothing has."""
        channels = self._check_channels()
        taken: set[str] = set()
        for kind, index, rule in self.rules.by_kind():
            key = ("alerts", "rules", kind, index)
            if rule.name in taken:
                raise RuleBroken(
                    (*key, "name"), f"{rule.name!r} is there already; give each rule its own name"
                )
            taken.add(rule.name)
            _check_each(key, rule, dimensions)
            for name in rule.channels or ():
                if name not in channels:
                    raise RuleBroken(
                        (*key, "channels"),
                        f"there is no channel {name!r}; there are: {', '.join(channels) or 'none'}",
                    )
        if taken and not channels:
            raise RuleBroken(("alerts", "channels"), "alerts with rules need a channel, such as stdout: true")

    def _check_channels(self) -> list[str]:
        names = self.channels.names()
        for kind in ("webhooks", "email"):
            several: tuple[WebhookConfig | EmailConfig, ...] = getattr(self.channels, kind)
            for index, one in enumerate(several):
                if one.name in ("stdout", "file") or names.count(one.name) > 1:
                    raise RuleBroken(
                        ("alerts", "channels", kind, index, "name"),
                        f"{one.name!r} is there already; give each channel its own name",
                    )
        return names


def _check_each(key: Key, rule: AlertRule, dimensions: Mapping[str, object]) -> None:
    each = getattr(rule, "each", None)
    if each is not None and each not in GROUPINGS and each not in dimensions:
        allowed = ", ".join(sorted({*GROUPINGS, *dimensions}))
        raise RuleBroken((*key, "each"), f"{each!r} is no dimension; allowed: {allowed}")


def _is_here(host: str) -> bool:
    return values.is_loopback(f"[{host}]:1" if ":" in host else f"{host}:1")


def _check_password(password: str) -> str:
    if not password:
        raise ValueError("it is empty")
    return password


def _secret(
    value: str | None, path: Path | None, label: str, check: Callable[[str], str] = _check_password
) -> str:
    if path is None:
        assert value is not None  # noqa: S101 - there is exactly one of them
        return value
    try:
        return check(values.read_small(path, _SECRET_FILE_BYTES).decode("utf-8").strip())
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise ConfigError(f"{path}: {label}: {reason}")
