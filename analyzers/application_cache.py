"""Identical calls that a cache of answers would have answered, and how often the one there is did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.fields import Field
from analyzers.finding import Candidate, Finding, Report, finding_id
from analyzers.registry import register
from analyzers.repeats import (
    CAVEATS,
    FAMILY,
    HIT_ATTRIBUTES,
    METHOD,
    Repeated,
    asked,
    fields,
    notes,
    repeats,
    report,
)
from analyzers.setting import Setting, count, length, share
from analyzers.window import Window, format_length, parse_length

ANALYZER: Final = "application-cache"
_FIELDS: Final[Sequence[Field]] = tuple(
    fields(
        ("calls", "calls"),
        ("repeats", "repeats"),
        ("places", "different ones"),
        ("same_answers", "answered as long"),
        ("for_others", "asked by another user"),
    )
)
_SETTINGS: Final = (
    Setting("time_to_live", "how long an answer may be given again", length, parse_length("1d")),
    Setting("least_repeats", "agents and models with fewer repeated calls are passed over", count, 3),
    Setting(
        "least_share",
        "least part of the calls of an agent and model that repeat another",
        share,
        share("least_share", "0.01"),
    ),
    HIT_ATTRIBUTES,
    Setting("top", "most rows shown, 0 = all", count, 20),
)


class _Cache(NamedTuple):
    """A row of application_cache_hits.sql."""

    service: str | None
    attribute: str
    lookups: int
    hits: int
    priced_hits: int
    examples: list[str]


@register(
    ANALYZER,
    help="identical calls that a cache of answers would have answered, and how often the one there is did",
    settings=_SETTINGS,
    family=FAMILY,
)
def application_cache(
    connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]
) -> Report:
    """One row per agent (service where none is known), model and pricing mode with repeated calls, the dearest first; a
    fact for each service that tells how often its cache answers. Raises BadSetting.
    """
    with asked(connection, window, settings["hit_attributes"], settings["shared"]) as known:
        calls = connection.execute(
            sql.read("application_cache.sql"),
            window.parameters() | {"time_to_live": settings["time_to_live"]},
        ).to_arrow_table()
        facts = [*_told(connection)]
    found, claims = repeats(connection, calls, settings["least_repeats"], settings["least_share"])
    lived = format_length(settings["time_to_live"])
    return report(
        _FIELDS,
        found,
        [_candidate(one, lived) for one in found],
        claims,
        settings["top"],
        [*notes(connection, window, known, found)],
        facts,
    )


def _candidate(one: Repeated, lived: str) -> Candidate:
    return Candidate(
        key=one.candidate,
        kind="identical-calls",
        dimension=one.dimension,
        pricing_mode=one.pricing_mode,
        title=(
            f"{one.repeats} of {one.calls} calls of {one.who} asked {honest.said(one.model or 'no named model')} what "
            f"had been answered within {lived} before"
        ),
        method=f"{METHOD}; an answer is kept for {lived} after it was last asked for",
        action=(
            "put a cache of answers before these calls, keyed by the whole request, where the same answer will do; "
            "give it a life that suits what the answers rest on"
        ),
        evidence={
            "calls_with_known_prompt": one.calls,
            "repeats": one.repeats,
            "share": round(one.share, 4),
            "different_calls": one.places,
            "answered_as_long": one.same_answers,
            "asked_by_another_user": one.for_others,
            "cost_of_all": honest.Amount(one.pricing_mode, one.cost_usd),
        },
        caveats=(
            *CAVEATS,
            *(_SHARED if one.for_others else ()),
            "parameters are compared where spans tell them, such as the temperature; above 0 answers differ on purpose",
        ),
    )


_SHARED: Final = (
    "an answer may hold what is one user's alone: where that can be, a cache is to be one per user",
)


def _told(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    for one in (
        _Cache(*row) for row in connection.execute(sql.read("application_cache_hits.sql")).fetchall()
    ):
        who = "a service without a name" if one.service is None else honest.said(one.service)
        dimension = {"service": one.service, "attribute": one.attribute}
        yield Finding(
            finding_id(ANALYZER, "hit-rate", dimension),
            f"the cache of {who} answered {one.hits} of {one.lookups} requests ({one.hits / one.lookups:.0%})",
            {
                "lookups": one.lookups,
                "hits": one.hits,
                "hit_rate": round(one.hits / one.lookups, 4),
                "hits_with_cost": one.priced_hits,
            },
            caveats=(
                f"as its spans say by {honest.said(one.attribute)}; requests whose spans do not say are not counted",
                *(_PRICED if one.priced_hits else ()),
            ),
            dimension=dimension,
            examples=tuple(one.examples),
            action=(
                "where few are answered, look at what differs between requests that mean the same, and at how long "
                "answers are kept"
            ),
            kind="hit-rate",
        )


_PRICED: Final = (
    "calls that the cache answered and whose spans tell usage are priced here as if the provider had been asked",
)
