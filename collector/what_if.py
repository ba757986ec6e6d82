"""Experiments with prices: what a file says that is to hold instead, for `reprice --what-if`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, ValidationError

from collector import config_file
from collector.config_load import explained
from collector.config_prices import PriceConfig, check_overlaps
from collector.config_section import ConfigError, RuleBroken, Section, Text
from semconv.settings import PriceOverride

if TYPE_CHECKING:
    from semconv.prices import PriceList

_KEYS: Final = ("models", "prices")


@dataclass(frozen=True, slots=True)
class WhatIf:
    """None stands for what holds anyway: the active list, the prices of the configuration."""

    price_list: PriceList | None = None
    overrides: tuple[PriceOverride, ...] | None = None
    models: Mapping[str, str] = field(default_factory=dict)


class _File(Section):
    models: dict[Text, Text] = Field(default_factory=dict)
    prices: tuple[PriceConfig, ...] | None = None


def read(path: Path) -> WhatIf:
    """A price list in genai-prices' published form (JSON), or YAML with ``models`` and ``prices``. Raises
    ConfigError, one line with the place and what was expected."""
    try:
        is_list = path.read_text(encoding="utf-8").lstrip().startswith("[")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    return _price_list(path) if is_list else _yaml(path)


def _price_list(path: Path) -> WhatIf:
    from semconv.prices import read_file  # noqa: PLC0415 - it takes half a second to import

    try:
        return WhatIf(price_list=read_file(path))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _yaml(path: Path) -> WhatIf:
    try:
        document = config_file.read(path, os.environ)
    except config_file.ConfigFileError as error:
        raise ConfigError(str(error)) from None
    _refuse_other_keys(document)
    try:
        content = _File.model_validate(document.values)
        check_overlaps(content.prices or ())
    except ValidationError as error:
        raise ConfigError(explained(error, document)) from None
    except RuleBroken as error:
        raise ConfigError(f"{document.where(error.key)}: {error}") from None
    overrides = None if content.prices is None else tuple(price.override() for price in content.prices)
    return WhatIf(overrides=overrides, models=content.models)


def _refuse_other_keys(document: config_file.Document) -> None:
    values: dict[str, Any] = document.values
    for key in values:
        if key not in _KEYS:
            raise ConfigError(
                f"{document.where((key,))}: {key}: there is no such key; allowed here: {', '.join(_KEYS)}"
            )
    if not any(values.get(key) for key in _KEYS):
        raise ConfigError(
            f"{document.path}: nothing to try: write models or prices, or name a JSON price list"
        )
