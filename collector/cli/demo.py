"""otlp-collector demo"""

from __future__ import annotations

import datetime as dt
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import click

from collector.cli.options import CliError, config_options, json_option, load
from collector.cli.render import json_text
from collector.config import ConfigError, default_data_dir

if TYPE_CHECKING:
    import duckdb

    from analyzers.finding import Report
    from collector.config import Config
    from collector.demo.send import Protocol, Sent
    from collector.demo.session import Session

EPILOG: Final = """\b
Examples:
  otlp-collector demo
  otlp-collector demo --protocol grpc
  otlp-collector demo --endpoint http://collector.internal:4318 --no-wait
"""

PROTOCOLS: Final = ("http/protobuf", "grpc")
# A span that was acknowledged can be queried within 3 s at light load; a busy machine gets more.
_WAIT_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.3


@click.command(epilog=EPILOG)
@config_options("http_endpoint", "grpc_endpoint")
@click.option("--endpoint", metavar="URL", help="Where to send [OTEL_EXPORTER_OTLP_ENDPOINT].")
@click.option(
    "--protocol", type=click.Choice(PROTOCOLS), help="Default http/protobuf [OTEL_EXPORTER_OTLP_PROTOCOL]."
)
@click.option(
    "--wait/--no-wait", default=True, help="Wait until the calls can be queried in the data directory."
)
@json_option
def command(
    config_path: Path | None,
    endpoint: str | None,
    protocol: str | None,
    wait: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Send a small made-up session of four agents through the OpenTelemetry SDK and its OTLP exporter.

    It has calls of six models with cache and reasoning tokens, tools, a refused call and its retry.
    Exit code 2 where nothing takes it.
    """
    from collector.demo.send import SendError, send
    from collector.demo.session import load_session

    config = load(config_path, flags)
    target = _target(config, endpoint, protocol, os.environ)
    session = load_session()
    try:
        sent = send(session, target.endpoint, target.protocol, _headers(config, os.environ))
    except (SendError, ConfigError) as error:
        raise CliError(str(error)) from None
    calls = _wait_for_calls(config, session, sent) if wait else None
    if as_json:
        click.echo(json_text(_as_dict(session, sent, target, calls), indent="  "))
    else:
        _print(config, session, sent, target, calls)


class _Target(NamedTuple):
    endpoint: str
    protocol: Protocol


def _target(
    config: Config, endpoint: str | None, protocol: str | None, environ: Mapping[str, str]
) -> _Target:
    """Flags, then OpenTelemetry's own variables, then the configured collector on this machine."""
    from collector.cli.server import reachable

    chosen = protocol or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or PROTOCOLS[0]
    if chosen not in PROTOCOLS:
        allowed = " or ".join(PROTOCOLS)
        raise CliError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL: {chosen!r} is not one that demo can send; use {allowed}"
        )
    host, port = reachable(config.grpc_endpoint if chosen == "grpc" else config.http_endpoint)
    local = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return _Target(endpoint or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or local, cast("Protocol", chosen))


def _headers(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """The configured collector's first token, unless OpenTelemetry's variable says what to send."""
    if not config.tokens or environ.get("OTEL_EXPORTER_OTLP_HEADERS"):
        return {}
    return {"authorization": f"Bearer {config.tokens[0].secret()}"}


_CALLS: Final = """
    SELECT
        agent_name,
        provider,
        coalesce(response_model, request_model) AS model,
        pricing_mode,
        input_tokens,
        cache_read_tokens,
        cache_write_tokens,
        output_tokens,
        reasoning_tokens,
        cost_usd
    FROM calls
    WHERE trace_id = $trace_id
    ORDER BY start_time
"""
_SESSION: Final = dt.timedelta(hours=1)  # the demo's is minutes long, and ends now


def _wait_for_calls(config: Config, session: Session, sent: Sent) -> Report | None:
    """The session's calls as the lake has them; None where this data directory does not get them in time."""
    from collector.store.lake import Lake, LakeError

    expected = sum(step.is_call for step in session.steps)
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            with Lake.open(config.data_dir, read_only=True) as lake:
                found = lake.connection.execute(_CALLS, {"trace_id": sent.trace_id}).fetchall()
                if len(found) >= expected:
                    return _report(lake.connection, found)
        except LakeError:
            return None
        time.sleep(_PAUSE_SECONDS)
    return None


def _report(connection: duckdb.DuckDBPyConnection, found: list[tuple[Any, ...]]) -> Report:
    from analyzers import honest
    from analyzers.finding import Column, Report
    from analyzers.window import Window

    now = dt.datetime.now(dt.UTC)
    by_mode = sorted(found, key=lambda row: honest.MODES.index(row[3]))
    return Report(
        columns=(
            *(Column(name, name, "text") for name in ("agent", "provider", "model")),
            honest.MODE,
            *(
                Column(f"{name}_tokens", name.replace("_", " "), "count")
                for name in ("input", "cache_read", "cache_write", "output", "reasoning")
            ),
            *honest.COLUMNS,
        ),
        rows=tuple((*row[:-1], *honest.amounts(row[3], row[-1])) for row in by_mode),
        notes=honest.undeclared_plans(connection, Window(now - _SESSION, now + _SESSION)),
    )


def _as_dict(session: Session, sent: Sent, target: _Target, calls: Report | None) -> dict[str, Any]:
    return {
        "endpoint": target.endpoint,
        "protocol": target.protocol,
        "trace_id": sent.trace_id,
        "session_id": sent.session_id,
        "spans": sent.spans,
        "calls": sum(step.is_call for step in session.steps),
        "stored_calls": calls and calls.as_dict()["rows"],
        "notes": list(calls.notes) if calls else [],
    }


def _print(config: Config, session: Session, sent: Sent, target: _Target, calls: Report | None) -> None:
    made = sum(step.is_call for step in session.steps)
    tokens = (session.total("gen_ai.usage.input_tokens"), session.total("gen_ai.usage.output_tokens"))
    click.echo(
        f"Sent {sent.spans} spans to {target.endpoint} ({target.protocol}): {made} model calls, "
        f"{tokens[0]:,} input and {tokens[1]:,} output tokens, session {sent.session_id}"
    )
    if calls:
        click.echo("\nThe calls as they are stored:")
        from collector.cli.report import print_tables

        print_tables(calls.as_dict(), sys.stdout)
        click.echo()
    else:
        click.echo(
            f"\nIt was accepted. Its calls are not in {config.data_dir} (yet); --data-dir names another.\n"
        )
    click.echo("Look at it:")
    for line in _next_commands(config, sent):
        click.echo(f"  {line}")


def _next_commands(config: Config, sent: Sent) -> Iterator[str]:
    """Whole, with every option that they need: they are there to be pasted."""
    elsewhere = config.data_dir != default_data_dir() and not os.environ.get("SPANLEDGER_DATA_DIR")
    data_dir = f" --data-dir {shlex.quote(str(config.data_dir))}" if elsewhere else ""
    statement = (
        "SELECT agent_name, pricing_mode, count(*) AS calls, sum(output_tokens) AS output, "
        f"sum(cost_usd) AS list_price_usd FROM calls WHERE session_id = '{sent.session_id}' GROUP BY ALL"
    )
    yield f'otlp-collector sql "{statement}"{data_dir}'
    yield f"otlp-analyze cost --by agent,model --since 1h{data_dir}"
    yield f"otlp-collector status{data_dir}"
