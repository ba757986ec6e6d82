"""What candidates are given, call by call, before anybody asked whether chance explains it.

Each call's money goes to one candidate alone, no call gives more than it cost, and a candidate claims of one pricing
mode. So all findings of a run together claim at most what was spent, or what the calls of a subscription were worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import sql
from analyzers.finding import CLAIMS, Candidate, Report, finding_id
from analyzers.window import Window
from semconv.planned import relation

EXAMPLES: Final = 5
# Of a quarter all days are drawn one by one; of ten years the draws took minutes.
MOST_BLOCKS: Final = 92
_CLAIMING: Final = pa.schema([("candidate", pa.string()), ("pricing_mode", pa.string())])


@dataclass(frozen=True, slots=True)
class Claim:
    """What one candidate is given: the sums, None where no call says, and by day of the window."""

    finding_id: str
    analyzer: str
    candidate: Candidate
    calls: int
    examples: tuple[str, ...]
    low_usd: Decimal | None
    high_usd: Decimal | None
    tokens: int | None
    days: tuple[_Day, ...]

    def by_block(self, name: str, days: int) -> list[float]:
        """One of the three figures of each of the window's days, or of blocks of as many days where it has more than
        MOST_BLOCKS; 0 where nothing is claimed.
        """
        blocks = min(days, MOST_BLOCKS)
        values = [0.0] * blocks
        for day in self.days:
            values[day.day * blocks // days] += float(getattr(day, name) or 0)
        return values


class _Day(NamedTuple):
    """A row of claims.sql after its candidate."""

    day: int
    calls: int
    low_usd: Decimal | None
    high_usd: Decimal | None
    tokens: int | None
    examples: list[dict[str, Any]]


class _Claiming(NamedTuple):
    analyzer: str
    candidate: Candidate


def claimed(
    connection: duckdb.DuckDBPyConnection, window: Window, reports: Mapping[str, Report]
) -> list[Claim]:
    """What the candidates of these analyzers' reports are given; those of which nothing is left are left out."""
    claiming = dict(_claiming(reports))
    if not claiming:
        return []
    names, modes = list(claiming), [one.candidate.pricing_mode for one in claiming.values()]
    with (
        relation(connection, "all_claims", pa.concat_tables(_claims(reports))),
        relation(connection, "claiming", pa.table([names, modes], schema=_CLAIMING)),
    ):
        rows = connection.execute(
            sql.read("claims.sql").format(day=window.day_sql()), window.parameters()
        ).fetchall()
    given: dict[str, list[_Day]] = {}
    for name, *figures in rows:
        given.setdefault(name, []).append(_Day(*figures))
    return [_claim(name, claiming[name], days) for name, days in given.items()]


def _claiming(reports: Mapping[str, Report]) -> Iterator[tuple[str, _Claiming]]:
    """Every candidate by its finding's id."""
    for analyzer, report in reports.items():
        for one in report.candidates:
            yield _id(analyzer, one), _Claiming(analyzer, one)


def _id(analyzer: str, candidate: Candidate) -> str:
    return finding_id(analyzer, candidate.kind, candidate.dimension, candidate.pricing_mode)


def _claims(reports: Mapping[str, Report]) -> Iterator[pa.Table]:
    """The claims of each report, under the ids of the findings in the place of the analyzers' own keys."""
    yield CLAIMS.empty_table()
    for analyzer, report in reports.items():
        if report.claims is None or not report.candidates:
            continue
        claims = report.claims.select(CLAIMS.names).cast(CLAIMS)
        keys = [one.key for one in report.candidates]
        ids = pa.array([_id(analyzer, one) for one in report.candidates])
        # A claim under an unknown key gets no id, and is nobody's.
        places = pa.compute.index_in(claims["candidate"], pa.array(keys))
        yield claims.set_column(0, "candidate", pa.chunked_array([ids]).take(places))


def _claim(name: str, claiming: _Claiming, days: Sequence[_Day]) -> Claim:
    examples = sorted((one for day in days for one in day.examples), key=_weight, reverse=True)
    return Claim(
        name,
        claiming.analyzer,
        claiming.candidate,
        sum(day.calls for day in days),
        tuple(one["call_id"] for one in examples[:EXAMPLES]),
        _sum(day.low_usd for day in days),
        _sum(day.high_usd for day in days),
        _sum(day.tokens for day in days),
        tuple(days),
    )


def _sum(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _weight(example: Mapping[str, Any]) -> tuple[Any, ...]:
    return example["usd"], example["tokens"], example["call_id"]
