"""Which analyzers there are: every module of this package that registers a function."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import duckdb

import analyzers
from analyzers import price_age
from analyzers.finding import Report
from analyzers.setting import BadSetting, Setting, Settings, chosen
from analyzers.shared import Shared
from analyzers.window import Window

# The settings are complete and checked: each that is declared has a value, the facts it needs are there, and of a
# family `shared`.
Function: TypeAlias = Callable[[duckdb.DuckDBPyConnection, Window, dict[str, Any]], Report]

_registered: dict[str, Analyzer] = {}


class UnknownAnalyzer(LookupError):  # noqa: N818 - the name says what is the case
    """No analyzer of that name; the message lists those there are."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Analyzer:
    """A pure function of (connection that sees ``calls``, window, settings), under its name.

    ``settings`` may be written by whoever runs it; ``needs`` are settings that are facts of the deployment, such as
    its accounts, and come from ``bind`` alone. Analyzers of one ``family`` read much that is the same: a run of several
    carries them out together, and its function finds a Shared under ``shared``.
    """

    name: str
    help: str
    settings: tuple[Setting, ...]
    function: Function
    needs: tuple[str, ...] = ()
    family: str | None = None
    bound: Settings = field(default_factory=dict)

    def bind(self, facts: Settings) -> Analyzer:
        """The same analyzer with what it needs out of ``facts``."""
        return replace(self, bound={name: facts[name] for name in self.needs})

    @property
    def setting_names(self) -> tuple[str, ...]:
        return tuple(setting.name for setting in self.settings)

    def check(self, settings: Settings) -> None:
        """Raises BadSetting for a name that this analyzer does not have, or a value that it cannot use."""
        self._check_names(settings)
        chosen(self.settings, settings)

    def _check_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.setting_names:
                allowed = ", ".join(self.setting_names) or "none"
                raise BadSetting(f"analyzer {self.name} has no setting {name!r}; allowed: {allowed}")

    def run(
        self,
        connection: duckdb.DuckDBPyConnection,
        window: Window,
        settings: Settings,
        shared: Shared | None = None,
    ) -> Report:
        """The report, with a note where money in it comes from old prices; its candidates await frame.settle.
        ``shared``: what others of its family read before it, in this transaction. Raises BadSetting before anything is
        read."""
        self._check_names(settings)
        found = {} if self.family is None else {"shared": shared or Shared()}
        report = self.function(connection, window, {**chosen(self.settings, settings), **self.bound, **found})
        if not report.has_money():
            return report
        return replace(report, notes=(*report.notes, *price_age.notes(connection)))


def register(
    name: str,
    *,
    help: str,
    settings: tuple[Setting, ...] = (),
    needs: tuple[str, ...] = (),
    family: str | None = None,
) -> Callable[[Function], Function]:
    """Makes the decorated function the analyzer ``name``, with the settings it reads."""

    def add(function: Function) -> Function:
        if name in _registered:
            raise ValueError(f"two analyzers are called {name!r}")
        _registered[name] = Analyzer(name, help, settings, function, needs, family)
        return function

    return add


def discover() -> dict[str, Analyzer]:
    """All analyzers by name, in order of name. Imports the package's modules, once per process."""
    for module in pkgutil.iter_modules(analyzers.__path__):
        importlib.import_module(f"{analyzers.__name__}.{module.name}")
    return dict(sorted(_registered.items()))


def get(name: str) -> Analyzer:
    """Raises UnknownAnalyzer, which names the nearest and lists all."""
    if name in _registered:
        return _registered[name]
    known = discover()
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise UnknownAnalyzer(f"no analyzer {name!r}; {hint}there are: {', '.join(known)}")
