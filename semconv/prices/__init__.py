"""List prices: where they come from, which model a call's model id means, and what a call costs by them."""

from typing import Final

from semconv.prices.book import PriceBook
from semconv.prices.price_list import PriceList, installed, read_file
from semconv.prices.pricer import Pricer

# The closed vocabulary of `calls.cost_note`; prices/price.sql writes it.
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
        "estimated_from_text",  # an embedding without tokens: cost_low_usd and cost_high_usd by the length of its text
        # cost_usd stands, with a doubt; the first of them that applies
        "cache_exceeds_input",  # more cached tokens than input: what is too much is not priced
        "tier_not_priced",  # a tier without a price of its own, priced as standard; other tiers' prices bracket it
        "region_not_priced",  # elsewhere it costs something else, and the source does not say what
        "token_semantics_unknown",  # input may or may not include cache
        "cache_split_unknown",  # nothing tells how much of the input was read from the cache, which is cheaper
        "cache_ttl_unknown",  # nothing tells how long what was written to the cache lives there, which has a price
    }
)

__all__ = ["COST_NOTES", "PriceBook", "PriceList", "Pricer", "installed", "read_file"]
