"""Bring flags, environment and YAML together, and turn what is wrong with them into one clear line."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from collector.config import Config
from collector.config_file import ConfigFileError, Document, KeyPath, read
from collector.config_section import ConfigError, RuleBroken

PREFIX: Final = "SPANLEDGER_"
# Of a value, by its path: file:line, "environment variable X", "option --x", or "default".
Origins = Callable[[KeyPath], str]
# Variables with our prefix that are not options of the configuration.
_OTHER_VARIABLES: Final = frozenset({"SPANLEDGER_CONFIG"})
# Above this likeness (difflib's ratio) a variable is a misspelt option. Below it is somebody else's:
# Kubernetes gives every pod SPANLEDGER_SERVICE_HOST and the like where a Service is called spanledger.
_MISSPELT: Final = 0.88


@dataclass(frozen=True, slots=True)
class Option:
    """A scalar of the configuration: settable by flag, environment variable and YAML key."""

    path: tuple[str, ...]
    type: Any
    default: Any
    help: str

    @property
    def name(self) -> str:
        return "_".join(self.path)

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


@cache
def scalar_options() -> dict[str, Option]:
    """Every scalar option by name, in the order of the model."""
    return {option.name: option for option in _walk(Config, ())}


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> typing.Iterator[Option]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _walk(info.annotation, (*path, name))
        elif not _is_structured(info.annotation):
            yield Option(
                (*path, name),
                info.annotation,
                info.get_default(call_default_factory=True),
                info.description or "",
            )


def _is_structured(annotation: Any) -> bool:
    """Whether a key can be written in YAML only: lists, mappings, and sections that may be absent."""
    inner = _strip_optional(annotation)
    return typing.get_origin(inner) in (tuple, dict) or (
        isinstance(inner, type) and issubclass(inner, BaseModel)
    )


def load(path: Path | str | None, overrides: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """See ``collector.config.load_config``."""
    return load_with_origins(path, overrides, environ)[0]


def load_with_origins(
    path: Path | str | None, overrides: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[Config, Origins]:
    """The effective configuration, and of each of its values where it was set."""
    chosen = path or environ.get("SPANLEDGER_CONFIG")
    try:
        document = read(Path(chosen), environ) if chosen else None
    except ConfigFileError as error:
        raise ConfigError(str(error)) from None
    sources = _Sources(document)
    sources.add_environment(environ)
    sources.add_flags(overrides)
    try:
        return Config.model_validate(sources.values), sources.origin
    except ValidationError as error:
        raise ConfigError(sources.explain(error)) from None


def explained(error: ValidationError, document: Document) -> str:
    """What is wrong with a file that has sections of the configuration, as one line."""
    return _Sources(document).explain(error)


class _Sources:
    """The merged values, and for each where it came from."""

    def __init__(self, document: Document | None) -> None:
        self._document = document
        self._origins: dict[KeyPath, str] = {}
        self.values: dict[str, Any] = _without_empty_sections(document.values) if document else {}

    def add_environment(self, environ: Mapping[str, str]) -> None:
        by_variable = {option.variable: option for option in scalar_options().values()}
        for name in sorted(environ):
            if not environ[name]:
                continue  # compose files write X=${X:-}: empty means not set
            if option := by_variable.get(name):
                self._put(option.path, environ[name], f"environment variable {name}")
            elif name.startswith(PREFIX) and name not in _OTHER_VARIABLES:
                _refuse_misspelt(name, list(by_variable))

    def add_flags(self, overrides: Mapping[str, Any]) -> None:
        for name, value in overrides.items():
            if value is not None:
                option = scalar_options()[name]
                self._put(option.path, value, f"option {option.flag}")

    def _put(self, path: tuple[str, ...], value: Any, origin: str) -> None:
        section = self.values
        for name in path[:-1]:
            inner = section.get(name)
            if not isinstance(inner, dict):
                if inner is not None:
                    return  # the file has something else than a section there, and will be refused for it
                inner = section[name] = {}
            section = inner
        section[path[-1]] = value
        self._origins[path] = origin

    def origin(self, path: KeyPath) -> str:
        if origin := self._origins.get(path):
            return origin
        return self._document.where(path) if self._document and path in self._document.lines else "default"

    def explain(self, error: ValidationError) -> str:
        # A misspelt key first: a key that is missing is often the same mistake seen from the other side.
        details = sorted(
            error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden"
        )
        problems = [self._line(detail) for detail in details]
        # A union reports each of its members for one value; the lines of one key say the same thing.
        unique = list(dict.fromkeys(problems))
        more = len(unique) - 1
        return unique[0] + (f" (and {more} more)" if more else "")

    def _line(self, detail: ErrorDetails) -> str:
        path = _real_path(detail["loc"], self.values)
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, RuleBroken):
            path = cause.key
        if detail["type"] == "extra_forbidden":
            return f"{self._where(path)}: {_unknown_key(path)}"
        key = f"{dotted(path)}: " if path else ""
        return f"{self._where(path)}: {key}{_problem(detail, path)}"

    def _where(self, path: KeyPath) -> str:
        for length in range(len(path), 0, -1):
            if origin := self._origins.get(path[:length]):
                return origin
        return self._document.where(path) if self._document else "configuration"


def _without_empty_sections(values: dict[str, Any]) -> dict[str, Any]:
    """``limits:`` with everything under it commented out is null in YAML and means: nothing set."""
    return {
        key: value for key, value in values.items() if value is not None or key not in Config.model_fields
    }


def _refuse_misspelt(name: str, known: list[str]) -> None:
    structured = name.removeprefix(PREFIX).lower()
    if structured in Config.model_fields:
        raise ConfigError(f"environment variable {name}: {structured} can only be set in the config file")
    if close := difflib.get_close_matches(name, known, n=1, cutoff=_MISSPELT):
        raise ConfigError(f"environment variable {name}: there is no such option; did you mean {close[0]}?")


def _real_path(loc: tuple[int | str, ...], values: Any) -> KeyPath:
    """The location without what pydantic adds for unions, keys of mappings and the like."""
    path: list[str | int] = []
    for position, part in enumerate(loc):
        inside = isinstance(values, dict) or (isinstance(values, (list, tuple)) and isinstance(part, int))
        if not inside or (isinstance(part, str) and part.startswith("[")):
            break
        path.append(part)
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(part, int) and position < len(loc):
            values = values[part] if part < len(values) else None
    return tuple(path)


def dotted(path: KeyPath) -> str:
    """``limits.max_spans``, ``tokens[0].name``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _unknown_key(path: KeyPath) -> str:
    allowed = list(_model_at(path[:-1]).model_fields)
    close = difflib.get_close_matches(str(path[-1]), allowed, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{dotted(path)}: there is no such key; {hint}Allowed here: {', '.join(allowed)}"


def _model_at(path: KeyPath) -> type[BaseModel]:
    model: Any = Config
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = _strip_optional(model.model_fields[str(part)].annotation)
        else:  # tuple[Token, ...] or dict[str, Dimension]
            arguments = typing.get_args(model)
            model = arguments[0] if typing.get_origin(model) is tuple else arguments[1]
    assert isinstance(model, type)  # noqa: S101 - only a model forbids keys
    return typing.cast("type[BaseModel]", model)


def _strip_optional(annotation: Any) -> Any:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return next(part for part in typing.get_args(annotation) if part is not types.NoneType)
    return annotation


_ALLOWED: Final = {
    "int_parsing": "use a whole number",
    "int_type": "use a whole number",
    "int_from_float": "use a whole number",
    "float_parsing": "use a number",
    "float_type": "use a number",
    "decimal_parsing": "use a number",
    "decimal_type": "use a number",
    "finite_number": "use a number",
    "decimal_max_digits": "use a number of at most 15 digits",
    "bool_parsing": "use true or false",
    "bool_type": "use true or false",
    "string_type": "use text (in quotes, where YAML would read something else)",
    "string_too_short": "it must not be empty",
    "tuple_type": "use a list",
    "dict_type": "use a mapping of keys to values",
    "model_type": "use a mapping of keys to values",
    "model_attributes_type": "use a mapping of keys to values",
    "date_from_datetime_parsing": "use a date, such as 2026-01-31",
    "date_parsing": "use a date, such as 2026-01-31",
    "date_type": "use a date, such as 2026-01-31",
    "string_pattern_mismatch": "use a path that begins with /",
    "path_type": "use a path",
}


def _problem(detail: ErrorDetails, path: KeyPath) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return "this key is required"
    if kind == "value_error" and isinstance(context.get("error"), RuleBroken):
        return str(context["error"])
    if kind == "value_error" and isinstance(detail["input"], (dict, BaseModel)):
        return str(context["error"])
    if kind == "value_error":
        return f"{_shown(detail['input'], path)} is not allowed: {context['error']}"
    if kind == "literal_error":
        return f"{_shown(detail['input'], path)} is not allowed; use {context['expected']}"
    allowed = _ALLOWED.get(kind) or detail["msg"].replace("Input should be", "it must be", 1)
    return f"{_shown(detail['input'], path)} is not allowed; {allowed}"


# Where somebody may have put a secret, be it one level too high; what else belongs there is none.
_SECRET: Final = (("tokens",), ("metrics_token",), ("alerts", "channels"))
_NO_SECRET: Final = frozenset(
    {
        *("name", "tenant", "billing_account"),
        *("stdout", "file", "allow_http", "timeout_seconds"),
        *("host", "port", "encryption", "sender", "to", "username"),
    }
)


def _shown(value: Any, path: KeyPath) -> str:
    if any(path[: len(secret)] == secret for secret in _SECRET) and path[-1] not in _NO_SECRET:
        return "the value"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
