"""Which priced model a provider and a model id mean, by the source's own match clauses."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from typing import Final

from semconv.prices.published import Provider

Priced = tuple[str, str]  # provider and model, as the source names them

# Canonical provider -> the source's id. Providers that stand nowhere here are looked up by their own name.
_PROVIDER_IDS: Final = {
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
    "moonshot_ai": "moonshotai",
}
# LiteLLM and OpenRouter write "-20251211" where the source's ids have "-2025-12-11".
_COMPACT_DATE: Final = re.compile(r"-(20\d{2})(\d{2})(\d{2})(?=[-:]|$)")
# A gateway of many providers: it stands before the provider that serves a model, and is none itself.
_GATEWAY: Final = "litellm"


class Finder:
    """Pure lookups; whoever asks often remembers the answers."""

    def __init__(self, providers: tuple[Provider, ...]) -> None:
        self._providers = providers
        self._by_id = {provider.id: provider for provider in providers}
        self._regional = {
            (each.id, model.id) for each in providers for model in each.models if model.differs_by_region
        }

    def find(self, provider: str | None, model: str) -> Priced | None:
        """The priced model that a model id means at a provider as we name providers; None where there is none."""
        for reference in references(model):
            if found := self.find_reference(source_id(provider), reference):
                return found
        return None

    def find_reference(self, provider: str | None, model: str) -> Priced | None:
        """Exactly what the source finds for its provider's id and a reference."""
        model = model.lower()
        if provider and provider.lower() == _GATEWAY:
            behind, _, rest = model.partition("/")
            if rest and behind and self._named(behind):
                provider, model = behind, rest
        at = self._provider(provider, model)
        if at is None:
            return None
        return self._match(at, model) or self._match_dated(at, model)

    def models_at(self, provider: str | None) -> set[Priced]:
        """All that a provider of this id can answer; of any where there is none given."""
        named = self._named(provider) if provider else None
        if provider and named is None:
            return set()
        scope = self._with_fallbacks(named) if named else self._providers
        return {(each.id, model.id) for each in scope for model in each.models}

    def is_own(self, provider: str | None, priced: Priced) -> bool:
        """Whether the provider does not resell another's model; of those the source has no variants."""
        named = self._named(source_id(provider) or "")
        return named is None or named.id == priced[0]

    def differs_by_region(self, priced: Priced) -> bool:
        """Whether the source says that other regions pay another price, and not which."""
        return priced in self._regional

    def _provider(self, name: str | None, model: str) -> Provider | None:
        if name is not None:
            named = self._named(name)
            if named or name.lower() != _GATEWAY:
                return named
        return next(
            (each for each in self._providers if each.matches_model and each.matches_model(model)), None
        )

    def _named(self, name: str) -> Provider | None:
        name = name.lower().strip()
        return self._by_id.get(name) or next(
            (each for each in self._providers if each.matches_provider and each.matches_provider(name)), None
        )

    def _match_dated(self, at: Provider, model: str) -> Priced | None:
        dated = _COMPACT_DATE.sub(_dashed, model)
        return self._match(at, dated) if dated != model else None

    def _match(self, at: Provider, model: str) -> Priced | None:
        for provider in self._with_fallbacks(at):
            for priced in provider.models:
                if priced.matches(model):
                    return provider.id, priced.id
        return None

    def _with_fallbacks(self, at: Provider) -> Iterator[Provider]:
        yield at
        yield from (self._by_id[name] for name in at.fallbacks if name in self._by_id)


def source_id(provider: str | None) -> str | None:
    """The source's id of a provider as we name them."""
    return _PROVIDER_IDS.get(provider, provider) if provider else None


def references(model: str) -> Iterable[str]:
    """A model id as sent and without the path that gateways put before it: "openrouter/openai/gpt-4o"."""
    return dict.fromkeys((model, model.partition("/")[2] or model, model.rpartition("/")[2] or model))


def _dashed(found: re.Match[str]) -> str:
    try:
        date = dt.date(*map(int, found.groups()))
    except ValueError:
        return found.group(0)
    return f"-{date.isoformat()}"
