"""What `calls.cost_note` says, and what that does to the cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb

from analyzers import sql
from analyzers.window import Window

_NO_SUM: Final = "they have no cost and are in no sum of money"
# Every word of semconv.prices.COST_NOTES.
EFFECTS: Final = {
    "local": "their plan says that nobody is paid: they have no cost",
    "no_usage": f"they report no tokens: {_NO_SUM}",
    "no_input_tokens": f"they do not report their input: {_NO_SUM}",
    "no_output_tokens": f"they do not report their output: {_NO_SUM}",
    "no_model": f"they name no model: {_NO_SUM}",
    "unknown_model": f"the price list does not know their model: {_NO_SUM}",
    "no_price": f"the price list has no price for what they used of their model: {_NO_SUM}",
    "estimated_from_text": "they are embeddings that report no tokens, and have two ends by the length of their text:"
    f" {_NO_SUM}",
    "cache_exceeds_input": "more came from the cache than went in: what is too much is not priced, the cost is too low",
    "tier_not_priced": "their tier has no price of its own: they cost what the standard tier does, between ends that"
    " the model's other tiers give",
    "region_not_priced": "their region has a price that the list does not say: they cost what the model does elsewhere",
    "token_semantics_unknown": "their input may or may not include what was cached: the cost stands between two ends",
    "cache_split_unknown": "nothing tells how much of their input was read from the cache: all is priced as new, and"
    " where a cache was used the cost is too high",
    "cache_ttl_unknown": "nothing tells how long what they wrote to the cache lives there: the cost stands between two"
    " ends",
}


def cost_notes(connection: duckdb.DuckDBPyConnection, window: Window) -> Iterator[str]:
    """A sentence for each note that calls of the window carry, the most frequent first."""
    for name, calls, failed in connection.execute(sql.read("cost_notes.sql"), window.parameters()).fetchall():
        of_which = f", of which {failed} failed" if failed else ""
        yield f"cost_note {name}, {calls} calls{of_which}: {EFFECTS[name]}"
