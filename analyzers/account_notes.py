"""What a reader must know beside the figures of `accounts`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import duckdb

from analyzers import honest
from analyzers.account_figures import Standing, Standings
from analyzers.window import Window

_SHOWN: Final = 5


def notes(connection: duckdb.DuckDBPyConnection, window: Window, found: Standings) -> Iterator[str]:
    if not any(row.calls for row in found.rows):
        yield f"no calls from {window}"
    yield from honest.undeclared_plans(connection, window)
    if found.prorated:
        yield "fees count by time: of each billing cycle the part that is in the window and under that plan"
    yield from _without_fee(found.rows)
    yield from _without_rate(found.rows)
    yield from _stored_otherwise(found.rows, window)
    for row in found.rows:
        yield from _at_least(row)
        yield from _quota(row)


def _without_fee(rows: Sequence[Standing]) -> Iterator[str]:
    lacking = [row for row in rows if row.pricing_mode == "subscription" and row.fee is None]
    if lacking:
        entries = ", ".join(
            f"{{name: {json.dumps(row.account)}, plan_tier: {row.plan_tier},"
            " fee_per_month: {amount: AMOUNT, currency: USD}}"
            for row in lacking[:_SHOWN]
        )
        more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        yield (
            f"no fee is known of {len(lacking)} of the subscriptions, so nothing says whether they pay. Declare it in"
            f" the configuration, as in: accounts: [{entries}]{more}"
        )


def _without_rate(rows: Sequence[Standing]) -> Iterator[str]:
    for row in rows:
        if row.fee is not None and row.fee_usd is None:
            yield (
                f"the fee of {row.account} is in {row.foreign_currency} and compared with nothing: add what one"
                f" {row.foreign_currency} is in USD, fee_per_month: {{…, fx_to_usd: RATE}}"
            )


def _stored_otherwise(rows: Sequence[Standing], window: Window) -> Iterator[str]:
    for row in rows:
        if row.plan is not None and not row.declared:
            # The plan stands with the record, how it is billed with the price.
            same = row.plan_tier == row.plan.plan_tier
            remedy = honest.price_again(window) if same else honest.read_again(window)
            yield (
                f"{row.calls} calls of {row.account} are stored with plan {row.plan_tier} ({row.pricing_mode}), the"
                f" configuration says {row.plan.plan_tier} ({row.plan.pricing_mode}): either their sender says so, or"
                f" it was declared later; {remedy}"
            )


def _at_least(row: Standing) -> Iterator[str]:
    if row.pricing_mode != "subscription":
        return
    name = f"{row.account} ({row.plan_tier})"
    if row.calls_without_cost and row.cost_usd is not None:
        yield (
            f"{name}: {row.calls_without_cost} of {row.calls} calls have no known cost, the implied API value is at"
            f" least what stands here ({row.calls_without_cost - row.calls_of_unknown_cost} failed without usage,"
            " which is taken as not billed)"
        )
    if row.cost_low_usd != row.cost_high_usd:
        yield (
            f"{name}, {honest.label(row.pricing_mode)}: between {row.cost_low_usd:.6f} and {row.cost_high_usd:.6f} USD"
        )


def _quota(row: Standing) -> Iterator[str]:
    fullest = row.fullest_cycle
    if fullest and fullest.calls_without_usage:
        yield (
            f"{row.account}: {fullest.calls_without_usage} calls of the cycle from {fullest.first_day} did not report"
            " all their tokens: more of the quota is used than stands here"
        )
