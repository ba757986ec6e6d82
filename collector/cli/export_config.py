"""What `downsize` and `routing` find, as configuration of what picks the models: a file to read, that is not applied.

Claude Code's settings.json is strict JSON, whose only place for words that it takes without a warning is `env`
(code.claude.com/docs/en/settings-reference). LiteLLM's config.yaml takes comments (docs.litellm.ai/docs/proxy/configs;
the router: docs.litellm.ai/docs/proxy/auto_routing).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import click
import duckdb

from collector.cli import finding_text
from collector.cli.options import CliError
from collector.cli.render import printable

Result: TypeAlias = Mapping[str, Any]
Command = TypeVar("Command", bound=Callable[..., Any])

ANALYZERS: Final = ("downsize", "routing")
# What of a finding's details stands in the file.
_DETAILS: Final = ("saves in this window", "saves in a month", "how", "note", "what to do")
# Findings of these kinds name a cheaper model; by kind, whether single calls are to go there.
_IS_ROUTER: Final = {"small": False, "context": False, "simple": True}
_OF_CLAUDE_CODE: Final = """
    SELECT DISTINCT call_id FROM calls WHERE dialect = 'claude_code' AND call_id IN (SELECT unnest($calls))
"""
# What Claude Code calls the work of its main thread, where it tells at all.
_MAIN_THREAD: Final = re.compile(r"main|sdk|repl_main_thread.*")
# Provider -> LiteLLM's prefix, and how the models begin that it has under the price list's names. Others, such as Azure
# with its deployments, are asked for by names of their own.
_PREFIXES: Final = {
    "anthropic": ("anthropic", "claude"),
    "openai": ("openai", ""),
    "gcp.gemini": ("gemini", ""),
    "gcp.vertex_ai": ("vertex_ai", "gemini"),
    "mistral_ai": ("mistral", ""),
    "deepseek": ("deepseek", ""),
}


class _Suggestion(NamedTuple):
    """Calls of `who` to one model, that another may serve."""

    is_router: bool
    agent: str | None
    service: str | None
    provider: str
    model: str
    cheaper: str
    is_of_claude_code: bool
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.agent or self.service or 'calls'}:{self.model}" + (":auto" if self.is_router else "")


def export_options(command: Command) -> Command:
    """What ``export`` reads."""
    for option in (
        click.option(
            "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where --export-config writes."
        ),
        click.option(
            "--export-config",
            "export_config",
            type=click.Choice([*_TARGETS]),
            help="Write what downsize and routing find as a configuration to read, to a new file; nothing is applied.",
        ),
    ):
        command = option(command)
    return command


def check(given: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises CliError for what cannot be exported, before anything is computed."""
    if (given["export_config"] is None) != (given["output"] is None):
        raise CliError("--export-config and --output FILE go together")
    if given["export_config"] is None:
        return
    if not {*ANALYZERS} & {*names}:
        raise CliError(f"--export-config: {' or '.join(ANALYZERS)} is to run too: name it")
    if given["output"].exists():
        raise CliError(f"--output {given['output']}: it exists, and nothing is overwritten")


def export(
    given: Mapping[str, Any], results: Sequence[Result], connection: duckdb.DuckDBPyConnection
) -> None:
    """Write the file and say so; without a finding for the target there is none. Raises CliError."""
    target, path = given["export_config"], given["output"]
    text = _TARGETS[target]([*_suggestions(results, connection)])
    if text is None:
        click.echo(f"note: no finding that {target} can be configured by: {path} is not written", err=True)
        return
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise CliError(f"--output {path}: {error.strerror}") from None
    click.echo(f"wrote {path}: read its notes before you use it; nothing was changed anywhere", err=True)


def _suggestions(results: Sequence[Result], connection: duckdb.DuckDBPyConnection) -> Iterator[_Suggestion]:
    """In the results' order, one for each agent and model: what saves most."""
    found = [
        finding
        for result in results
        if result["analyzer"] in ANALYZERS
        for finding in result["findings"]
        if finding.get("kind") in _IS_ROUTER and finding["dimension"].get("model")
    ]
    examples = [call for finding in found for call in finding["examples"]]
    rows = connection.execute(_OF_CLAUDE_CODE, {"calls": examples}).fetchall()
    of_claude_code = {call for (call,) in rows}
    for finding in found:
        about = finding["dimension"]
        yield _Suggestion(
            _IS_ROUTER[finding["kind"]],
            about.get("agent"),
            about.get("service"),
            about.get("provider") or "",
            about["model"],
            finding["evidence"]["cheaper_model"],
            not of_claude_code.isdisjoint(finding["examples"]),
            (
                finding["title"],
                *(f"{name}: {text}" for name, text in finding_text.details(finding) if name in _DETAILS),
            ),
        )


def _head(target: str) -> tuple[str, ...]:
    return (
        f"Suggested by otlp-analyze --export-config {target} from the findings below. Nothing was changed anywhere.",
        "Prices were compared, not answers: try each part on some of the traffic before you keep it.",
    )


def _one_line(text: str) -> str:
    """Names come from telemetry: none of them ends a comment, in YAML's sense of a line either."""
    return " ".join(printable(text).split())


# --- Claude Code


def _claude_code(suggestions: Sequence[_Suggestion]) -> str | None:
    """settings.json: the main thread's model and that of subagents; where findings differ, of what saves most."""
    own = [one for one in suggestions if one.is_of_claude_code]
    if not own:
        return None
    # Elsewhere, as on Bedrock, models have other names than in the price list.
    switched = [one for one in own if not one.is_router and one.provider == "anthropic"]
    main = next((one.cheaper for one in switched if _is_main(one)), None)
    subagents = next((one.cheaper for one in switched if not _is_main(one)), None)
    notes = [*_head("claude-code"), *_CLAUDE_CODE_NOTES, *(word for one in own for word in one.words)]
    settings: dict[str, Any] = {"$schema": "https://json.schemastore.org/claude-code-settings.json"}
    if main:
        settings["model"] = main
    settings["env"] = ({"CLAUDE_CODE_SUBAGENT_MODEL": subagents} if subagents else {}) | {
        f"SPANLEDGER_NOTE_{number:03}": _one_line(note) for number, note in enumerate(notes, start=1)
    }
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


_CLAUDE_CODE_NOTES: Final = (
    "JSON has no comments, so notes stand in variables that Claude Code hands on and does not read; take them out.",
    "model is for the main thread, CLAUDE_CODE_SUBAGENT_MODEL for all subagents, whichever of them a finding names; a "
    "single subagent's model stands in its own file.",
    "Told here and setting nothing: findings that need a router, as Claude Code does not route single calls, and those "
    "of models at other providers than Anthropic, which have other names there.",
)


def _is_main(one: _Suggestion) -> bool:
    return one.agent is None or _MAIN_THREAD.fullmatch(one.agent) is not None


# --- LiteLLM


def _litellm(suggestions: Sequence[_Suggestion]) -> str | None:
    """config.yaml: a name for each agent to ask for, behind it the cheaper model or a router of both."""
    named = {one.name: one for one in reversed(suggestions)}
    servable = [one for one in reversed(named.values()) if _served(one)]
    if not servable:
        return None
    left_out = [one for one in suggestions if not _served(one)]
    head = [*_head("litellm"), *_LITELLM_NOTES]
    head += [f"left out, as its ids at {one.provider} are your own: {one.words[0]}" for one in left_out]
    models = dict.fromkeys(
        (one.provider, model) for one in servable if one.is_router for model in (one.model, one.cheaper)
    )
    return "\n".join(
        (
            *_comments("", head),
            "model_list:",
            *(line for provider, model in models for line in _deployment(model, provider, model)),
            *(line for one in servable for line in _named(one)),
            "",
        )
    )


_LITELLM_NOTES: Final = (
    "Merge this into the model_list of your config.yaml; agents then ask for the names that stand here.",
    "LiteLLM's router judges what a prompt says, the finding how long it is and where in a session: it may send other "
    "calls to the cheaper model, and more or fewer of them. It came with LiteLLM 1.94.",
)


def _served(one: _Suggestion) -> bool:
    return one.provider in _PREFIXES and one.model.startswith(_PREFIXES[one.provider][1])


def _named(one: _Suggestion) -> Iterator[str]:
    yield ""
    yield from _comments("  ", one.words)
    if not one.is_router:
        yield from _deployment(one.name, one.provider, one.cheaper)
        return
    tiers = {"SIMPLE": one.cheaper} | dict.fromkeys(("MEDIUM", "COMPLEX", "REASONING"), one.model)
    yield f"  - model_name: {_quoted(one.name)}"
    yield "    litellm_params:"
    yield "      model: auto_router/complexity_router"
    yield "      complexity_router_config:"
    yield "        tiers:"
    for tier, model in tiers.items():
        yield f"          {tier}: {_quoted(model)}"
    yield f"      complexity_router_default_model: {_quoted(one.model)}"


def _deployment(name: str, provider: str, model: str) -> Iterator[str]:
    yield f"  - model_name: {_quoted(name)}"
    yield "    litellm_params:"
    yield f"      model: {_quoted(f'{_PREFIXES[provider][0]}/{model}')}"


def _comments(indent: str, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield f"{indent}# {_one_line(text)}"


def _quoted(text: str) -> str:
    import yaml

    return yaml.safe_dump(text, default_style='"', width=math.inf).rstrip("\n")


_TARGETS: Final[Mapping[str, Callable[[Sequence[_Suggestion]], str | None]]] = {
    "claude-code": _claude_code,
    "litellm": _litellm,
}
