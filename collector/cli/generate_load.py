"""otlp-collector generate-load"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import click

from collector.cli.options import CliError, InputRejectedError, config_options, json_option, load
from collector.cli.render import json_text, progress, write_table
from collector.config import ConfigError

if TYPE_CHECKING:
    from collector.config import Config
    from collector.traffic.load import Load, Outcome
    from collector.traffic.senders import Target

EPILOG: Final = """\b
Examples:
  otlp-collector generate-load
  otlp-collector generate-load --rate 5000 --duration 60 --json
  otlp-collector generate-load --protocol grpc --connections 2 --batch 100
  otlp-collector generate-load --batch 1 --connections 1 --count 1000
  otlp-collector generate-load --endpoint http://collector.internal:4318 --compression gzip

\b
The spans are stored like any other. Load a collector that has a --data-dir of its own, or tell them apart:
  otlp-collector sql "SELECT count(*) FROM spans WHERE service_namespace = 'generate-load'"
"""

_TRANSPORTS: Final = ("http/protobuf", "http/json", "grpc")
_MOST_CONNECTIONS: Final = 256
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@click.command(epilog=EPILOG)
@config_options("http_endpoint", "grpc_endpoint")
@click.option("--endpoint", metavar="URL", help="Where to send. Default: the configured collector here.")
@click.option("--protocol", type=click.Choice(_TRANSPORTS), default=_TRANSPORTS[0], show_default=True)
@click.option("--compression", type=click.Choice(("none", "gzip")), default="none", show_default=True)
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Spans a second. Default: as fast as it answers."
)
@click.option(
    "--batch", type=click.IntRange(1, 50_000), default=512, show_default=True, help="Spans in a request."
)
@click.option(
    "--connections",
    type=click.IntRange(1, _MOST_CONNECTIONS),
    default=8,
    show_default=True,
    help="One request at a time on each.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    help="Stop after so many spans, rounded up to whole requests.",
)
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Stop after so many seconds.",
)
@json_option
def command(
    config_path: Path | None,
    endpoint: str | None,
    protocol: str,
    compression: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Send made-up GenAI traces to a collector, and say how many spans it acknowledged and how fast.

    To size a machine: distinct spans of ten kinds of work, about 25 attributes each, one in four a priced model call.
    Requests are sent once; what is refused is counted, and a connection that is told to wait does. Exit code 1 where
    nothing was acknowledged, 2 where nothing answers.
    """
    from collector.traffic.load import Load, generate
    from collector.traffic.senders import NoEndpointError, check_listening

    config = load(config_path, options)
    target = _target(config, endpoint, protocol, compression)
    try:
        check_listening(target.endpoint)
    except NoEndpointError as error:
        raise CliError(str(error)) from None
    wanted = Load(
        batch=options["batch"],
        connections=options["connections"],
        seconds=options["duration"],
        spans=options["count"],
        rate=options["rate"],
    )
    with progress(lambda: wanted.spans, of_bytes=False, quiet=as_json) as tell:
        outcome = generate(target, wanted, tell)
    result = _as_dict(target, wanted, outcome)
    if as_json:
        click.echo(json_text(result, indent="  "))
    else:
        _print(target, wanted, result)
    if not outcome.spans:
        raise InputRejectedError(f"{target.endpoint} acknowledged nothing: {_listed(outcome.refused)}")


def _target(config: Config, endpoint: str | None, protocol: str, compression: str) -> Target:
    from collector.cli.server import reachable
    from collector.traffic.senders import Target

    host, port = reachable(config.grpc_endpoint if protocol == "grpc" else config.http_endpoint)
    scheme = "https" if config.tls.cert_file else "http"
    here = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    return Target(
        endpoint or here,
        protocol,  # type: ignore[arg-type]  # click has checked both
        compression,  # type: ignore[arg-type]
        _headers(config, os.environ),
        os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE"),
    )


def _headers(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """What OpenTelemetry's variable says is to be sent, else the configured collector's first token."""
    listed = environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    pairs = (entry.partition("=") for entry in listed.split(",") if "=" in entry)
    headers = {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
    if headers or not config.tokens:
        return headers
    try:
        return {"authorization": f"Bearer {config.tokens[0].secret()}"}
    except ConfigError as error:
        raise CliError(str(error)) from None


def _as_dict(target: Target, load: Load, outcome: Outcome) -> dict[str, Any]:
    from collector.traffic.load import quantile

    seconds = max(outcome.seconds, 1e-9)
    latencies = sorted(outcome.latencies)
    found = {name: quantile(latencies, share) for name, share in _QUANTILES.items()}
    return {
        "endpoint": target.endpoint,
        "protocol": target.transport,
        "compression": target.compression,
        "spans_per_request": load.batch,
        "connections": load.connections,
        "asked_spans_per_second": load.rate,
        "seconds": round(outcome.seconds, 3),
        "requests": outcome.requests,
        "acknowledged_spans": outcome.spans,
        "acknowledged_spans_per_second": round(outcome.spans / seconds, 1),
        "request_bytes_per_second": round(outcome.request_bytes / seconds),
        "latency_ms": {
            name: None if value is None else round(value * 1e3, 3) for name, value in found.items()
        },
        "refused_requests": dict(outcome.refused),
        "rejected_spans": outcome.rejected_spans,
    }


def _print(target: Target, load: Load, result: dict[str, Any]) -> None:
    how = [target.transport, *(["gzip"] if target.compression == "gzip" else [])]
    click.echo(
        f"{result['seconds']:.1f} s of load on {target.endpoint} ({', '.join(how)}), {load.connections} connections, "
        f"{load.batch} spans a request"
    )
    latency = ", ".join(
        f"{name} {value:,.1f} ms" for name, value in result["latency_ms"].items() if value is not None
    )
    rows = [
        ("acknowledged", f"{result['acknowledged_spans']:,} spans"),
        ("a second", f"{result['acknowledged_spans_per_second']:,.0f} spans{_asked(load)}"),
        ("a second, before compression", f"{result['request_bytes_per_second'] / 1e6:,.1f} MB"),
        ("answered after", latency or "no request was acknowledged"),
        ("refused", _listed(result["refused_requests"]) or "none"),
        ("rejected", f"{result['rejected_spans']:,} spans"),
    ]
    write_table(("", "measured"), rows)


def _asked(load: Load) -> str:
    return f" of {load.rate:,.0f} asked for" if load.rate else ""


def _listed(refused: Mapping[str, int]) -> str:
    return ", ".join(f"{code}: {count:,} requests" for code, count in refused.items())
