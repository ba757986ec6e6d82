"""otlp-analyze alerts: what the alert rules find now; sends it, or a test, where that is asked for."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from collector.cli.options import CliError, InputRejectedError, config_options, json_option, load
from collector.cli.render import json_text, write_table

if TYPE_CHECKING:
    from collector.alerts.delivery import Judged, Looked, Sent
    from collector.alerts.evaluation import Found
    from collector.config import Config

EPILOG: Final = """\b
Examples:
  otlp-analyze alerts --config collector.yaml
  otlp-analyze alerts --config collector.yaml --json
  otlp-analyze alerts --config collector.yaml --test
  otlp-analyze alerts --config collector.yaml --send
"""

# A server's look takes seconds, unless it waits for a channel.
_LOCK_SECONDS: Final = 30.0


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--send", "sends", is_flag=True, help="Send what is new, and record it, as the server does.")
@click.option("--test", "tests", is_flag=True, help="Send a test message over every channel.")
@json_option
@config_options("timezone", "sql_time_limit_seconds", "sql_memory_limit")
def command(config_path: Path | None, *, sends: bool, tests: bool, as_json: bool, **flags: Any) -> None:
    """List what the rules of `alerts:` find now, and whether it was sent.

    A running server looks every `alerts.every` and sends what is new; `--send` does that once, from cron for
    example. Without it nothing is sent, and nothing recorded. Exit codes: 0 it ran, 1 a channel did not take a
    message, 2 it could not run.
    """
    if sends and tests:
        raise CliError("--send and --test exclude each other")
    config = load(config_path, flags)
    if tests:
        sent = _send_tests(config, as_json)
        _print_sent(sent, as_json)
    else:
        sent = _look(config, sends, as_json)
    if any(one.error is not None for one in sent):
        raise InputRejectedError("not every channel took what was sent")


def _send_tests(config: Config, as_json: bool) -> list[Sent]:
    from collector.alerts.channels import channels_of
    from collector.alerts.delivery import Sent, send
    from collector.alerts.message import test_message

    channels = list(channels_of(config.alerts.channels, to_stderr=as_json))
    if not channels:
        raise CliError("there is no channel to test: alerts.channels names none")
    message = test_message(dt.datetime.now(dt.UTC))
    return [Sent(message.id, channel.name, send(channel, message)) for channel in channels]


def _look(config: Config, sends: bool, as_json: bool) -> list[Sent]:
    """Print what holds; what came of sending it. Raises CliError."""
    from collector.alerts.channels import channels_of
    from collector.alerts.delivery import LOCK, look, send_new
    from collector.alerts.evaluation import evaluate
    from collector.cli.lake import open_lake
    from collector.runs import NOT_RECORDED
    from collector.store.lake import check_current
    from collector.store.lock import LockTimeout, file_lock

    now = dt.datetime.now(dt.UTC)
    try:
        with (
            file_lock(config.data_dir / LOCK, _LOCK_SECONDS) if sends else nullcontext(),
            open_lake(config) as lake,
        ):
            check_current(lake)
            found = evaluate(config, lake, now)
            looked = look(config, lake, found, now)
            channels = list(channels_of(config.alerts.channels, to_stderr=as_json))
            sent = send_new(lake, channels, looked, now) if sends else []
    except LockTimeout:
        raise CliError("a server is sending alerts right now") from None
    except NOT_RECORDED as error:
        raise CliError(f"alerts cannot be looked for: {error}") from None
    if as_json:
        click.echo(json_text(_document(config, found, looked, sent), indent="  "))
    else:
        _print_looked(config, found, looked)
        if sends:
            _print_sent(sent, as_json=False)
    for rule, reason in found.failed.items():
        raise CliError(f"rule {rule}: {reason}")
    return sent


def _document(config: Config, found: Found, looked: Looked, sent: Iterable[Sent]) -> dict[str, Any]:
    return {
        "alerts": [
            {
                **one.event.as_dict(),
                "state": one.standing,
                "alert_id": one.before.alert_id if one.before else None,
                "raised_at": one.before.raised_at if one.before else None,
                "channels": one.before.ended if one.before else {},
            }
            for one in looked.judged
        ],
        "over": [
            {"rule": before.rule, "title": text.message.data()["title"], "alert_id": before.alert_id}
            | {"raised_at": before.raised_at}
            for before, text in looked.over
        ],
        "quiet_rules": _quiet(config, found, looked.judged),
        "failed_rules": found.failed,
        "notes": list(found.notes),
        "sent": [one._asdict() for one in sent],
    }


def _quiet(config: Config, found: Found, judged: Iterable[Judged]) -> list[str]:
    loud = {one.rule.name for one in judged} | found.failed.keys()
    return [rule.name for _, _, rule in config.alerts.rules.by_kind() if rule.name not in loud]


def _print_looked(config: Config, found: Found, looked: Looked) -> None:
    judged = looked.judged
    rows: list[tuple[object, ...]] = [
        (one.rule.name, one.standing, one.before.raised_at if one.before else None, one.event.title)
        for one in judged
    ]
    rows += [
        (before.rule, "over", before.raised_at, text.message.data()["title"]) for before, text in looked.over
    ]
    rows += [(name, "quiet", None, None) for name in _quiet(config, found, judged)]
    if not rows and not found.failed:
        click.echo("no alert rules are configured (alerts.rules)")
    if rows:
        write_table(("rule", "state", "raised", "what"), rows, sys.stdout)
    caveats = (f"{one.rule.name}: {caveat}" for one in judged for caveat in one.event.caveats)
    for note in dict.fromkeys((*caveats, *found.notes)):
        click.echo(f"note: {note}")


def _print_sent(sent: Sequence[Sent], as_json: bool) -> None:
    if as_json:
        click.echo(json_text([one._asdict() for one in sent], indent="  "))
    for one in () if as_json else sent:
        click.echo(f"{one.channel}: {'taken' if one.error is None else f'not taken: {one.error}'}")


class OrAlerts(click.Command):
    """otlp-analyze, whose first word can be `alerts`, which is no analyzer and has options of its own."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] == ["alerts"]:
            return command.make_context(f"{info_name} alerts", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)
