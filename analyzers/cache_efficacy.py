"""How much of the input came from the providers' caches, and where little did: why, and what that cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

import duckdb

from analyzers import honest
from analyzers.cache_figures import FAMILY, Cause, Group, causes, groups
from analyzers.cache_findings import candidates, low_share, model_of
from analyzers.fields import Field, money
from analyzers.finding import Column, Report
from analyzers.registry import register
from analyzers.setting import Setting, count, share
from analyzers.window import Window

_NAMED: Final = 5
_SAVED: Final = honest.columns("{}_saved_by_cache", "{} saved by the cache")


@register(
    "cache-efficacy",
    help="how much input came from providers' caches, why some did not, and what that cost",
    settings=(
        Setting("min_input_tokens", "groups with less input are not flagged", count, 100_000),
        Setting(
            "max_share",
            "groups that read less of their input from the cache are flagged",
            share,
            Decimal("0.3"),
        ),
        Setting("top", "most groups to show and to flag, those with the most input; 0 = all", count, 20),
    ),
    family=FAMILY,
)
def cache_efficacy(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per provider, model, agent and pricing mode, the most input first.

    Shares are of the input of calls that mention their cache, and input includes what was read and written. What the
    cache saved is what reading cost less than new input, less what writing cost more: below 0 the cache cost more than
    none. A finding for each group of at least ``min_input_tokens`` of which less than ``max_share`` was read.
    """
    found = settings["shared"].once(groups, connection, window)
    shown = found[: settings["top"] or None]
    low = [one for one in shown if _is_low(one, settings)]
    why, claims = causes(connection, window, low) if low else ([], None)
    by_number: dict[int, list[Cause]] = defaultdict(list)
    for one in why:
        by_number[one.number].append(one)
    return Report(
        columns=tuple(column for column, _ in _FIELDS),
        rows=tuple(tuple(read(one) for _, read in _FIELDS) for one in shown),
        notes=(
            *([] if found else [f"no calls from {window}"]),
            *_notes(found, len(shown)),
            *(honest.undeclared_plans(connection, window) if any(map(_is_undeclared, shown)) else ()),
        ),
        findings=tuple(low_share(group, by_number[number]) for number, group in enumerate(low)),
        candidates=tuple(
            one for number, group in enumerate(low) for one in candidates(number, group, by_number[number])
        ),
        claims=claims,
    )


def _fields() -> Iterator[Field]:
    for name in ("provider", "model", "agent"):
        yield Column(name, name, "text"), attrgetter(name)
    yield honest.MODE, attrgetter("pricing_mode")
    yield Column("calls", "calls", "count"), attrgetter("calls")
    yield Column("calls_with_cache", "calls that mention the cache", "count"), attrgetter("telling_calls")
    yield Column("input_tokens", "input tokens of these", "count"), attrgetter("telling_input")
    yield Column("cache_read_tokens", "cache read", "count"), attrgetter("cache_read_tokens")
    yield Column("cache_write_tokens", "cache write", "count"), attrgetter("cache_write_tokens")
    yield Column("cache_share", "cache share", "ratio"), attrgetter("share")
    yield from money(_SAVED, attrgetter("saved_usd"))


_FIELDS: Final = tuple(_fields())


def _is_low(group: Group, settings: dict[str, Any]) -> bool:
    if group.share is None or not group.telling_input or group.telling_input < settings["min_input_tokens"]:
        return False
    return bool((group.cache_read_tokens or 0) < settings["max_share"] * group.telling_input)


def _is_undeclared(group: Group) -> bool:
    return group.pricing_mode == "unknown" and group.saved_usd is not None


def _notes(found: Sequence[Group], shown: int) -> Iterator[str]:
    calls = sum(one.calls for one in found)
    if len(found) > shown:
        yield f"{len(found) - shown} groups with less input are not shown"
    for text, number in (
        ("do not report their input and are in no share", _sum(found, attrgetter("calls_without_input"))),
        (
            "report their input, do not mention their cache and are in no share: how much of it was cached is unknown",
            _sum(found, lambda one: one.calls - one.calls_without_input - one.telling_calls),
        ),
        (
            "may have input that does not include what was cached: there the share is too high",
            _sum(found, attrgetter("doubtful_calls")),
        ),
    ):
        if number:
            yield f"{number} of {calls} calls {text}"
    yield from _named(
        (one for one in found if one.telling_input and not one.has_known_cache),
        "whether there is a cache is unknown (none was used, and no price for one is known)",
    )
    yield from _named(
        (one for one in found if one.telling_input and one.has_known_cache and one.rule is None),
        "how long the cache lives and from how many tokens on is not known here, so that no causes are told",
    )


def _sum(found: Iterable[Group], read: Callable[[Group], int]) -> int:
    return sum(map(read, found))


def _named(found: Iterable[Group], text: str) -> Iterator[str]:
    names = list(dict.fromkeys(map(model_of, found)))
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{', '.join(names[:_NAMED])}{more}: {text}"
