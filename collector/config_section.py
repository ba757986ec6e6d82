"""What every section of the configuration is made of, and the error for what cannot be used."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Key = tuple[str | int, ...]


class ConfigError(ValueError):
    """The configuration cannot be used. ``str()`` is one line: where, the key, what is allowed."""


class RuleBroken(ValueError):  # noqa: N818 - never seen outside: ``load_config`` turns it into a ConfigError
    """A rule over several keys is broken; ``key`` is the one to change."""

    def __init__(self, key: Key, message: str) -> None:
        super().__init__(message)
        self.key = key


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)
