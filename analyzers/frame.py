"""From candidates to findings: what chance does not explain, with what it would save and how sure that is."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import compress
from typing import Final, Generic, NamedTuple, TypeVar

import duckdb

from analyzers import honest, sql
from analyzers.claims import MOST_BLOCKS, Claim, claimed
from analyzers.finding import Estimate, Finding, Report, basis_of
from analyzers.statistics import CONFIDENCE, FEWEST_DAYS, Interval, discoveries, interval
from analyzers.window import Window

# A twelfth of the Gregorian calendar's mean year.
_DAYS_IN_MONTH: Final = Fraction(3_652_425, 120_000)
# What is small beside a hundred others is not looked at for sureness, which takes some 10 ms for each.
MOST_CANDIDATES: Final = 100
End = TypeVar("End", honest.Amount, int)


def settle(
    connection: duckdb.DuckDBPyConnection, window: Window, now: dt.datetime, reports: Mapping[str, Report]
) -> dict[str, Report]:
    """The reports of one run, by analyzer, with findings in the place of their candidates: those that save most first.

    All that has a p-value is judged together, facts are kept as they are. Days before the lake's first call and after
    ``now`` are none.
    """
    window = _observed(connection, window, now)
    claims = sorted(claimed(connection, window, reports), key=_size, reverse=True)
    judged = claims[:MOST_CANDIDATES]
    used = _tokens(connection, window) if judged else None
    every = [
        *(_Judged(name, one, False) for name, report in reports.items() for one in report.findings),
        *(_Judged(claim.analyzer, _finding(claim, window, used), True) for claim in judged),
    ]
    told = discoveries([one.finding.p_value for one in every])
    passed = [is_told or one.finding.p_value is None for one, is_told in zip(every, told, strict=True)]
    shown = list(compress(every, passed))
    silent = Counter(one.analyzer for one, has_passed in zip(every, passed, strict=True) if not has_passed)
    silent.update(claim.analyzer for claim in claims[MOST_CANDIDATES:])
    estimating = {one.analyzer for one in shown if one.is_estimate}
    return {
        name: replace(
            report,
            findings=tuple(one.finding for one in shown if one.analyzer == name),
            candidates=(),
            claims=None,
            notes=(*report.notes, *_notes(silent[name], name in estimating, window)),
        )
        for name, report in reports.items()
    }


class _Judged(NamedTuple):
    analyzer: str
    finding: Finding
    is_estimate: bool


def _finding(claim: Claim, window: Window, used: int | None) -> Finding:
    candidate = claim.candidate
    least, most, tokens_by_block = (
        claim.by_block(name, window.days) for name in ("low_usd", "high_usd", "tokens")
    )
    high, tokens = interval(most), interval(tokens_by_block)
    low = high if least == most else interval(least)
    # Judged by its money where there is any, else by its tokens.
    deciding = high if claim.high_usd is not None else tokens
    return Finding(
        claim.finding_id,
        candidate.title,
        {"calls": claim.calls, **candidate.evidence},
        candidate.caveats,
        candidate.dimension,
        claim.examples,
        _estimate(claim, window, (low, high, tokens), used),
        deciding.p_value,
        candidate.action,
        candidate.kind,
    )


def _estimate(
    claim: Claim, window: Window, sure: tuple[Interval, Interval, Interval], used: int | None
) -> Estimate:
    low, high, tokens = sure
    of_tokens = _token_ends(claim, tokens, window)
    in_money = claim.high_usd is not None
    ends: _Ends[honest.Amount] | _Ends[int] = _money_ends(claim, low, high, window) if in_money else of_tokens
    return Estimate(
        basis_of(claim.candidate.pricing_mode) if in_money else "tokens",
        ends.low,
        ends.high,
        ends.low_per_month,
        ends.high_per_month,
        of_tokens.low_per_month,
        of_tokens.high_per_month,
        claim.tokens / used if claim.tokens is not None and used else None,
        CONFIDENCE if high.p_value is not None else None,
        claim.candidate.method,
    )


class _Ends(NamedTuple, Generic[End]):
    """In the window and in a month."""

    low: End | None
    high: End | None
    low_per_month: End | None
    high_per_month: End | None


def _money_ends(claim: Claim, low: Interval, high: Interval, window: Window) -> _Ends[honest.Amount]:
    least = _expected(claim.low_usd, low.low, window)
    most = _expected(claim.high_usd, high.high, window)

    def amount(usd: Fraction | None) -> honest.Amount:
        return honest.Amount(claim.candidate.pricing_mode, None if usd is None else honest.rounded(usd))

    return _Ends(
        amount(_smaller(least, claim.low_usd)),
        honest.Amount(claim.candidate.pricing_mode, claim.high_usd),
        amount(_per_month(least, window)),
        amount(_per_month(most, window)),
    )


def _token_ends(claim: Claim, tokens: Interval, window: Window) -> _Ends[int]:
    least, most = (_expected(claim.tokens, end, window) for end in (tokens.low, tokens.high))

    def whole(count: Fraction | None) -> int | None:
        return None if count is None else int(count)

    return _Ends(
        whole(_smaller(least, claim.tokens)),
        claim.tokens,
        whole(_per_month(least, window)),
        whole(_per_month(most, window)),
    )


def _smaller(expected: Fraction | None, observed: Decimal | int | None) -> Fraction | None:
    return None if expected is None or observed is None else min(expected, Fraction(observed))


def _per_month(total: Fraction | None, window: Window) -> Fraction | None:
    """An hour that one of the days lacks or has more counts."""
    length = Fraction((window.end - window.start) / dt.timedelta(days=1))
    return None if total is None else total * _DAYS_IN_MONTH / length


def _expected(observed: Decimal | int | None, per_block: float | None, window: Window) -> Fraction | None:
    """An end of the interval over the whole window; without one, what was observed."""
    if observed is None:
        return None
    return Fraction(observed) if per_block is None else Fraction(per_block) * min(window.days, MOST_BLOCKS)


def _observed(connection: duckdb.DuckDBPyConnection, window: Window, now: dt.datetime) -> Window:
    row = connection.execute("SELECT min(start_time) FROM calls").fetchone()
    return window.observed(row[0], now) if row and row[0] is not None else window


def _tokens(connection: duckdb.DuckDBPyConnection, window: Window) -> int | None:
    row = connection.execute(sql.read("window_tokens.sql"), window.parameters()).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def _size(claim: Claim) -> tuple[Decimal, int, str]:
    return claim.high_usd or Decimal(0), claim.tokens or 0, claim.finding_id


def _notes(left_out: int, has_estimates: bool, window: Window) -> Iterator[str]:
    if left_out:
        yield (
            f"{left_out} further candidates are not shown: they cannot be told from how days differ anyway, or are "
            f"smaller than {MOST_CANDIDATES} others"
        )
    if has_estimates and window.days < FEWEST_DAYS:
        yield (
            f"the window has fewer than {FEWEST_DAYS} days: estimates are what was seen in it, without an interval"
        )
