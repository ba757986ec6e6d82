"""List prices: where they come from, which model a call's model id means, and what a call costs by them."""

from typing import Final

from semconv.prices.book import PriceBook
from semconv.prices.price_list import PriceList, installed, read_file
from semconv.prices.pricer import Pricer

# The closed vocabulary of `calls.cost_note`; prices/costs.sql writes it.
COST_NOTES: Final = frozenset(
    {
        # cost_usd is NULL
        "local",  # the plan says that nobody is paid
        "no_usage",
        "no_input_tokens",
        "no_output_tokens",
        "no_model",
        "unknown_model",  # neither the response's nor the request's model is known to the source at this provider
        "no_price",  # the model is known, a price for its tokens is not
        # cost_usd stands, with a doubt; the first of them that applies
        "cache_exceeds_input",  # more cached tokens than input: what is too much is not priced
        "tier_not_priced",  # a batch or another tier than standard, priced as standard
        "token_semantics_unknown",  # input may or may not include cache: cost_low_usd and cost_high_usd differ
    }
)

__all__ = ["COST_NOTES", "PriceBook", "PriceList", "Pricer", "installed", "read_file"]
