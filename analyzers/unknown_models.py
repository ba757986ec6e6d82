"""Models that the price list does not know, with the names it has that are nearest: for people to look at. No call is
priced by a name that is only similar."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Final

import duckdb

from analyzers import honest, sql
from analyzers.claims import EXAMPLES
from analyzers.finding import Finding, finding_id
from analyzers.window import Window
from semconv.prices.finder import source_id

_MODELS_SHOWN: Final = 20
_NAMES_SHOWN: Final = 3
# Of difflib's ratio; below it names have little but letters in common.
_SIMILAR: Final = 0.6

Priced = tuple[str, str]  # provider and model as the price list names them


def unknown_models(connection: duckdb.DuckDBPyConnection, window: Window) -> Iterator[Finding]:
    """One finding per provider and model, those with most calls first; a last one counts what is left out."""
    parameters = {**window.parameters(), "examples": EXAMPLES}
    found = connection.execute(sql.read("unknown_models.sql"), parameters).fetchall()
    known = connection.execute("SELECT DISTINCT provider, model FROM prices").fetchall() if found else []
    for provider, model, calls, input_tokens, output_tokens, examples in found[:_MODELS_SHOWN]:
        names = nearest(provider, model, known)
        about = {"provider": provider, "model": model}
        yield Finding(
            finding_id("data-quality", "unknown_model", about),
            f"{calls} calls of {honest.said(model)} at {honest.said(provider or '(no provider)')}, a model that the"
            " price list does not know",
            evidence={
                "calls": calls,
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
                "nearest_names": names,
            },
            caveats=(
                "they have no cost and are in no sum of money",
                f"nearest known names: {', '.join(names) or 'none'}",
            ),
            dimension=about,
            examples=tuple(examples),
            kind="unknown_model",
            action="renew the price list (otlp-collector prices update), or give the model's price under `prices` in"
            " the configuration",
        )
    if rest := found[_MODELS_SHOWN:]:
        calls = sum(row[2] for row in rest)
        yield Finding(
            finding_id("data-quality", "more_unknown_models", {}),
            f"{calls} calls of {len(rest)} more models that the price list does not know",
            evidence={"calls": calls, "models": len(rest)},
            caveats=("they have no cost and are in no sum of money",),
            kind="more_unknown_models",
        )


def nearest(provider: str | None, model: str, known: Sequence[Priced]) -> list[str]:
    """At most three, as ``provider/model``: those of the call's own provider first, the most similar first."""
    # Gateways put a path before the model.
    wanted = model.lower().rpartition("/")[2] or model.lower()
    own = source_id(provider)
    names: list[str] = []
    for candidates in ([one for one in known if one[0] == own], [one for one in known if one[0] != own]):
        spelled = {name.lower(): f"{at}/{name}" for at, name in sorted(candidates, reverse=True)}
        close = difflib.get_close_matches(wanted, sorted(spelled), n=_NAMES_SHOWN, cutoff=_SIMILAR)
        names.extend(spelled[name] for name in close)
    return names[:_NAMES_SHOWN]
