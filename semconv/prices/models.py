"""Which priced model a call's provider and model id mean, by the source's own match clauses."""

from __future__ import annotations

from typing import Final

from genai_prices import data_snapshot
from genai_prices.types import Provider

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
# Model ids come from the network: what is remembered about them stays bounded.
_MOST_REMEMBERED: Final = 50_000


class PriceModels:
    """Finds priced models and remembers what it found, misses included."""

    def __init__(self) -> None:
        self._snapshot = data_snapshot.get_snapshot()
        self._owners = {
            id(model): provider.id for provider in self._snapshot.providers for model in provider.models
        }
        self._found: dict[tuple[str | None, str], Priced | None] = {}

    def find(
        self, provider: str | None, response_model: str | None, request_model: str | None
    ) -> Priced | None:
        """The response's model if the source knows it, else the request's; None where neither is known."""
        for model in (response_model, request_model):
            if model and (priced := self._remembered(provider, model)):
                return priced
        return None

    def _remembered(self, provider: str | None, model: str) -> Priced | None:
        key = (provider, model)
        if key not in self._found:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            self._found[key] = self._look_up(provider, model)
        return self._found[key]

    def _look_up(self, provider: str | None, model: str) -> Priced | None:
        # Gateways put a path before the model, of one step or more: "openrouter/openai/gpt-4o", "models/gemini-2.5".
        for reference in dict.fromkeys((model, model.partition("/")[2] or model, model.rpartition("/")[2])):
            source = self._provider(provider, reference)
            info = source and source.find_model(reference, all_providers=self._snapshot.providers)
            if info:
                return self._owners[id(info)], info.id
        return None

    def _provider(self, provider: str | None, model: str) -> Provider | None:
        source_id = _PROVIDER_IDS.get(provider, provider) if provider else None
        try:
            return self._snapshot.find_provider(model, source_id, None)
        except LookupError:
            return None
