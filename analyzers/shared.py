"""What several analyzers read alike is read by the first of them and kept for the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Found = TypeVar("Found")


class Shared:
    """What the analyzers of a family (registry.Analyzer) have read, as long as they run one after the other in one
    transaction; it goes with this object.
    """

    def __init__(self) -> None:
        self._read: dict[Hashable, Any] = {}

    def once(self, read: Callable[..., Found], *of: Hashable) -> Found:
        """What ``read`` gives of this, read where no analyzer has done so before. Raises what ``read`` raises."""
        if (read, of) not in self._read:
            self._read[read, of] = read(*of)
        found: Found = self._read[read, of]
        return found
