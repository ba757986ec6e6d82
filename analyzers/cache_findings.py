"""What is said of a group of calls that read little from its cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from analyzers import honest
from analyzers.cache_figures import Cause, Group
from analyzers.finding import Candidate, Finding, finding_id
from analyzers.honest import Amount

ANALYZER: Final = "cache-efficacy"
_EXAMPLES: Final = 5
_DIGITS: Final = 4  # of shares
# In a sentence: "most: …".
_WORDS: Final = {
    "untold": "calls do not mention their cache",
    "served": "read from the cache",
    "rules_unknown": "how this cache works is not known here",
    "below_minimum": "prompts are shorter than what the provider caches",
    "first": "sessions begin with nothing cached",
    "parallel": "calls are sent before the one before has ended",
    "pause": "pauses between calls are longer than the cache lives",
    "not_asked_for": "requests do not ask for caching",
    "changed": "prompts begin otherwise than the call before",
    "other": "prompts are shorter than the call before, or sent in batches",
    "unread_writes": "what is written to the cache is not read again",
}


class _Remedy(NamedTuple):
    """How a candidate is put. {who} is filled in."""

    title: str
    method: str
    action: str
    caveats: tuple[str, ...]


_REMEDIES: Final = {
    "changed": _Remedy(
        "prompts of {who} change at their beginning, so that the cache is not read",
        "each call reads what the call before it in its session had sent, at the cache's price; at the low end only as "
        "much as the call before it did read",
        "keep what stands first (tools, system prompt, history) the same from call to call; put times, ids and what "
        "was looked up at the end",
        (
            "the telemetry has no prompts: that their beginning could stay the same is assumed at the high end",
        ),
    ),
    "pause": _Remedy(
        "pauses between calls of {who} outlast the cache",
        "calls after a pause read what the call before had sent, less what writing for longer costs: of sessions with "
        "pauses at the high end, of all sessions at the low end; where keeping is free the low end is nothing",
        "ask for the cache to live longer where sessions pause (Anthropic, Bedrock: ttl 1h; OpenAI: "
        "prompt_cache_retention), or send the next call sooner",
        ("not every provider, region and model has the longer time",),
    ),
    "not_asked_for": _Remedy(
        "requests of {who} do not ask for caching",
        "at the high end each call reads what the call before it had sent and writes the rest, as does every call of "
        "this group; at the low end nothing is saved",
        "mark the end of the history, or of the system prompt and tools, as cached (cache_control, cachePoint)",
        ("where prompts begin differently each time, writing costs more than not caching",),
    ),
    "unread_writes": _Remedy(
        "the cache of {who} costs more than no cache: writes are not read again",
        "what writing cost beyond new input, for writes that no call of the session came to read; at the low end less "
        "what reading saved elsewhere in the group",
        "cache only what a later call reads while it lives; do not cache single calls",
        ("a call of another session may have read what one wrote: reads do not say whose they are",),
    ),
}


def low_share(group: Group, causes: Sequence[Cause]) -> Finding:
    """The fact that little of the input of `group` came from the cache, with each cause's part."""
    told = [one for one in causes if one.cause not in ("served", *_beside(group))]
    most = max(told, key=_weight, default=None)
    because = f"; most: {_WORDS[most.cause]}" if most else ""
    return Finding(
        finding_id(ANALYZER, "low-share", _dimension(group), group.pricing_mode),
        f"{group.share or 0:.0%} of the input of {_who(group)} was read from the cache{because}",
        {
            "pricing_mode": group.pricing_mode,
            "calls": group.telling_calls,
            "input_tokens": group.telling_input,
            "cache_read_tokens": group.cache_read_tokens,
            "cache_write_tokens": group.cache_write_tokens,
            "cache_share": round(group.share or 0, _DIGITS),
            "saved_by_cache": Amount(group.pricing_mode, group.saved_usd),
            **dict(_parts(group, causes)),
        },
        caveats=tuple(_caveats(group)),
        dimension=_dimension(group),
        examples=tuple(_examples(most)) if most else (),
        kind="low-share",
    )


def candidates(number: int, group: Group, causes: Sequence[Cause]) -> Iterator[Candidate]:
    """What could be saved, where something is left of it. Their keys are those of cache_claims.sql."""
    saving = [
        one for one in causes if one.cause in _REMEDIES and one.cause not in _beside(group) and _saves(one)
    ]
    unread = sum(one.high_usd or 0 for one in saving if one.cause == "unread_writes")
    others = sum(one.high_usd or 0 for one in saving if one.cause != "unread_writes")
    for one in saving:
        # To write less or to read what is written: of the two, what saves more.
        if (one.cause == "unread_writes") != (unread > others):
            continue
        remedy = _REMEDIES[one.cause]
        yield Candidate(
            f"{number}/{one.cause}",
            one.cause,
            _dimension(group),
            group.pricing_mode,
            remedy.title.format(who=_who(group)),
            remedy.method,
            remedy.action,
            {"cache_share": round(group.share or 0, _DIGITS), "missed_tokens": one.missed_tokens},
            remedy.caveats,
        )


def _weight(cause: Cause) -> tuple[int, bool, bool, str]:
    """Of causes with as much input that comes first of which more can be done."""
    unread = cause.cause == "unread_writes"
    return cause.tokens, cause.cause in _REMEDIES and not unread, unread, cause.cause


def _saves(cause: Cause) -> bool:
    return cause.high_usd is not None and cause.high_usd > 0


def _beside(group: Group) -> tuple[str, ...]:
    """Every session ends with writes that nobody reads: they are a cause only where the cache costs more than none."""
    return ("unread_writes",) if group.loss_share is None else ()


def _parts(group: Group, causes: Sequence[Cause]) -> Iterator[tuple[str, object]]:
    """Each cause's calls, its part of the group's input, and what was paid beyond the cache's price for what the call
    before had sent; of unread writes, what writing cost beyond new input."""
    whole = sum(one.tokens for one in causes if one.cause != "unread_writes")
    for one in causes:
        yield f"{one.cause}_calls", one.calls
        yield f"{one.cause}_share", round(one.tokens / whole, _DIGITS) if whole else None
        if one.lost_usd:
            yield f"{one.cause}_cost", Amount(group.pricing_mode, one.lost_usd)


def _caveats(group: Group) -> Iterator[str]:
    yield "a session's calls of one agent and model are compared in order of time; other calls may share its cache"
    if group.telling_calls < group.calls - group.calls_without_input:
        yield "calls that do not mention their cache are left out: if they had none, the share is lower"


def _examples(cause: Cause) -> Iterator[str]:
    return (str(one["call_id"]) for one in cause.examples[:_EXAMPLES])


def _dimension(group: Group) -> dict[str, str | None]:
    return {"provider": group.provider, "model": group.model, "agent": group.agent}


def _who(group: Group) -> str:
    return (
        f"{honest.said(group.agent)} with {model_of(group)}"
        if group.agent
        else f"calls without an agent to {model_of(group)}"
    )


def model_of(group: Group) -> str:
    """In a sentence."""
    return f"{honest.said(group.provider or '(no provider)')} {honest.said(group.model or '(no model)')}"
