"""Which model of the same family is one step cheaper: cheaper_models.toml, as far as a price list knows both."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Final, Literal, NamedTuple

from semconv.prices import PriceBook

# What stands around a model's name in the ids of Bedrock and of gateways: "regional.anthropic.claude-opus-4-5-v1:0",
# "anthropic/claude-opus-4.5".
_AROUND: Final = re.compile(r"^(?:(regional|global)\.)?(?:[a-z]+\.)?(.+?)(?:-20\d{6})?(?:-v\d+(?::\d+)?)?$")
# Bedrock's own prefix of ids that the list calls regional; the others cost the same.
_SENT: Final = {"regional": "us."}


class Step(NamedTuple):
    """From a listed model to a cheaper one. `sent`: an id by which the call's provider serves it."""

    model: str
    cheaper: str
    sent: str


# Of a model without a step: it is the last of its family, nobody says of what family it is, or the provider has no
# price for the cheaper one.
NoStep = Literal["last", "unknown", "unpriced"]


def step(
    book: PriceBook, provider: str | None, response_model: str | None, request_model: str | None
) -> Step | NoStep:
    """For calls that name their model so, by what the price list makes of that."""
    priced = book.listed(provider, response_model, request_model)
    if priced is None:
        return "unknown"
    source, model = priced
    region, name = _parts(model)
    cheaper = _steps().get(name)
    if cheaper is None:
        return "last" if name in _steps().values() else "unknown"
    for other_source, other in sorted(book.price_list.finder.models_at(source)):
        if other_source == source and _parts(other) == (region, cheaper):
            sent = _SENT[region] + other.removeprefix(f"{region}.") if region in _SENT else other
            if book.listed(provider, sent, None) == (source, other):
                return Step(model, other, sent)
    return "unpriced"


@cache
def _steps() -> dict[str, str]:
    text = resources.files(__package__).joinpath("cheaper_models.toml").read_text(encoding="utf-8")
    families = tomllib.loads(text)["family"]
    return {
        _parts(model)[1]: _parts(cheaper)[1]
        for family in families
        for model, cheaper in family["cheaper"].items()
    }


def _parts(model: str) -> tuple[str | None, str]:
    """Region and name, spelt alike whoever lists the model."""
    found = _AROUND.match(model.lower().rpartition("/")[2])
    return (found[1], found[2].replace(".", "-")) if found else (None, model.lower())
