"""Which analyzers run when, and with which settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from collector import config_values as values
from collector.config_section import Key, RuleBroken, Section, Text

# Options of a scheduled run that choose its window; all others are settings of its analyzers.
WINDOW_OPTIONS: Final = ("since", "days")


class ScheduledRun(Section):
    """Analyzers at the times of a cron expression, read in the configured time zone: one, or several whose findings
    are settled together."""

    analyzer: Text | None = None
    analyzers: Literal["all"] | tuple[Text, ...] | None = None
    cron: Annotated[str, AfterValidator(values.check_cron)]
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if (self.analyzer is None) == (not self.analyzers):
            raise ValueError("give exactly one of analyzer and analyzers (a list of names, or all)")
        return self

    @property
    def label(self) -> str:
        """What log lines call it."""
        return self.analyzer or ", ".join(
            [self.analyzers] if self.analyzers == "all" else self.analyzers or ()
        )

    def names(self, registered: Iterable[str]) -> list[str]:
        """Each analyzer once, in the order written."""
        if self.analyzers == "all":
            return list(registered)
        return list(dict.fromkeys(self.analyzers or [self.analyzer or ""]))

    @property
    def window_options(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if name in WINDOW_OPTIONS}

    @property
    def settings(self) -> dict[str, Any]:
        """For each of the analyzers that has a setting of the name."""
        return {name: value for name, value in self.options.items() if name not in WINDOW_OPTIONS}


def check_analyzers(schedule: Iterable[ScheduledRun], analyzers: Mapping[str, Mapping[str, Any]]) -> None:
    """That there are such analyzers and settings; `analyzers`: settings by name. Raises RuleBroken."""
    for name, settings in analyzers.items():
        _check(("analyzers", name), ("analyzers", name), [name], settings)
    for index, run in enumerate(schedule):
        from analyzers import registry  # noqa: PLC0415 - only a config that names analyzers pays for it

        key = ("schedule", index)
        name_key = (*key, "analyzer" if run.analyzer else "analyzers")
        _check(name_key, (*key, "options"), run.names(registry.discover()), run.settings)


def _check(name_key: Key, settings_key: Key, names: Iterable[str], settings: Mapping[str, Any]) -> None:
    from analyzers import registry  # noqa: PLC0415 - as above
    from analyzers.setting import BadSetting  # noqa: PLC0415 - as above

    try:
        found = [registry.get(name) for name in names]
    except registry.UnknownAnalyzer as error:
        raise RuleBroken(name_key, str(error)) from None
    known = {name for analyzer in found for name in analyzer.setting_names}
    try:
        for analyzer in found:
            # A setting that none of them has is told by any.
            analyzer.check(
                {
                    name: value
                    for name, value in settings.items()
                    if name in analyzer.setting_names or name not in known
                }
            )
    except BadSetting as error:
        raise RuleBroken(settings_key, str(error)) from None
