"""The configuration: one frozen, typed model, and how it comes together from flags, environment and YAML.

A value is looked for in that order. Scalar options have all three names: ``limits.max_spans`` in YAML is the
flag ``--limits-max-spans`` and the variable ``SPANLEDGER_LIMITS_MAX_SPANS``; structured keys are YAML only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from collector import config_values as values
from collector.config_access import RedactionConfig, Secret, TlsConfig, Token
from collector.config_accounts import (
    Account,
    PlanTier,
    account_plans,
    account_rules,
    check_matches,
    check_plans,
)
from collector.config_alerts import AlertsConfig
from collector.config_budgets import BudgetConfig, budgets_of, check_budgets
from collector.config_prices import PriceConfig, check_overlaps
from collector.config_schedule import ScheduledRun, check_analyzers
from collector.config_section import ConfigError, RuleBroken, Section, Text
from semconv.prompt_hashes import hash_key
from semconv.settings import CONTENT_CLASSES, Keep, Settings

__all__ = ["Config", "ConfigError", "LimitsConfig", "ScheduledRun", "default_data_dir", "load_config"]

LogLevel = Literal["debug", "info", "warning", "error"]

Size = Annotated[int, BeforeValidator(values.parse_size), Field(gt=0)]
MemoryLimit = Annotated[str, BeforeValidator(values.check_memory_limit)]
Endpoint = Annotated[str, AfterValidator(values.check_endpoint)]
Count = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
# A hundred years: what is to stay longer is not given a number of days.
Days = Annotated[int, Field(gt=0, le=36_525)]


class KeepConfig(Section):
    spans: Keep = Field(default="all", description="Which spans are stored.")
    logs: Keep = Field(default="genai", description="Which log records are stored.")
    metrics: Keep = Field(default="genai", description="Which metric points are stored.")


class CaptureConfig(Section):
    prompts: bool = Field(default=False, description="Store the text of prompts.")
    completions: bool = Field(default=False, description="Store the text of completions.")
    tool_inputs: bool = Field(default=False, description="Store the arguments of tool calls.")
    tool_outputs: bool = Field(default=False, description="Store the results of tool calls.")
    prompt_hashes: bool = Field(
        default=False, description="Store keyed hashes of prompts and of their beginnings; no text."
    )


class RetentionConfig(Section):
    """For how many whole days before today records are kept; collector/store/retention.py."""

    spans: Days | None = Field(default=None, description="Days that spans are kept, with their calls.")
    logs: Days | None = Field(
        default=None, description="Days that log records are kept, with calls that only they reported."
    )
    calls: Days | None = Field(
        default=None, description="Days that calls are kept where that is longer than their records."
    )
    contents: Days | None = Field(
        default=None, description="Days that captured text is kept; never longer than spans."
    )
    metrics: Days | None = Field(default=None, description="Days that metric points are kept.")


class MaintenanceConfig(Section):
    # At night, when what it costs is missed least.
    cron: Annotated[str, AfterValidator(values.check_cron)] = Field(
        default="30 3 * * *", description="When a running server maintains its lake."
    )


class LimitsConfig(Section):
    """What one request, and all of them together, may cost. The README's table says what a client sees."""

    # 64 MiB: recommended by the OTLP specification ("request size limit"), before and after decompression.
    max_request_bytes: Size = Field(default=64 << 20, description="Largest protobuf request, decompressed.")
    # JSON costs up to eight times as much memory per byte once it is parsed.
    max_json_bytes: Size = Field(default=16 << 20, description="Largest JSON request, decompressed.")
    # 64 MiB can be 32 million empty spans; the SDKs' batches have 512.
    max_spans: Count = Field(
        default=50_000, description="Most spans, log records or data points in one request."
    )
    # A value is what a parser makes an object of: 2 million of the smallest cost it some 300 MB.
    max_nodes: Count = Field(default=2_000_000, description="Most values in one request.")
    # The protobuf parser gives up at 100 messages, which are 32 to 47 values.
    max_depth: Count = Field(default=32, description="Deepest nesting of a value.")
    # The SDKs keep 128; conversations flattened into indexed keys reach some thousands.
    max_attributes: Count = Field(
        default=10_000, description="Most attributes of one record; further ones are dropped, with a note."
    )
    max_value_bytes: Size = Field(default=64 << 10, description="Longer texts are cut, with a note.")
    # Two protobuf requests, or one of JSON, of the largest size.
    max_inflight_bytes: Size = Field(
        default=512 << 20, description="Budget for requests being handled, as their cost in memory."
    )
    # It starts with 75 MiB. A message that is copied takes some 130 above this, and the loader up to 400: all together
    # stay under 900 MB.
    max_resident_bytes: Size = Field(
        default=256 << 20,
        description="Memory of the receiving process above which it takes in one large request at a time.",
    )
    # An exporter holds one connection; each costs some 50 KiB here.
    max_connections: Count = Field(default=2048, description="Most connections to each port.")
    # The SDKs send one request at a time; a gateway has some dozens on the way.
    max_streams: Count = Field(default=64, description="Most calls at a time on one gRPC connection.")
    max_calls: Count = Field(default=1024, description="Most gRPC calls at a time on all connections.")
    # The defaults of nginx and Envoy are 60 s; exporters give a whole request 10 s.
    header_timeout_seconds: Seconds = Field(
        default=10.0, description="Longest time for a request's headers, or a connection's handshake."
    )
    body_timeout_seconds: Seconds = Field(default=30.0, description="Longest time for a request's body.")
    # Longer than the 60 s between two requests of a metric exporter.
    idle_timeout_seconds: Seconds = Field(
        default=75.0, description="How long a connection is kept between two requests."
    )
    # aiohttp's and gRPC's own default for one header is 8 KiB.
    max_header_bytes: Size = Field(
        default=16 << 10, description="Size of a request's line and headers together."
    )


class SpoolConfig(Section):
    max_bytes: Size | None = Field(
        default=None, description="Bound of the spool; default min(4 GiB, 20 % of free space)."
    )


class LoaderConfig(Section):
    max_batch_spans: Count = Field(default=15_000, description="Spans in one commit at most.")
    max_wait_seconds: float = Field(default=1.0, gt=0, le=60, description="Longest wait for a batch to fill.")
    threads: Count = Field(default=1, description="Threads of the loader's database.")
    memory_limit: MemoryLimit = Field(default="256MB", description="Memory of the loader's database.")


class SqlConfig(Section):
    time_limit_seconds: float = Field(default=300.0, gt=0, description="Longest run of one query.")
    memory_limit: MemoryLimit = Field(default="1GB", description="Memory of one query.")


class HttpConfig(Section):
    trace_paths: tuple[Annotated[str, Field(pattern="^/[^ ?#]*$")], ...] = (
        "/v1/traces",
        "/api/public/otel/v1/traces",
    )
    # Origins of pages whose scripts may send: "https://app.example.com".
    cors_origins: tuple[Annotated[str, AfterValidator(values.check_origin)], ...] = ()


class Dimension(Section):
    attribute: Text


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_DATA_HOME/spanledger``, else ``~/.local/share/spanledger`` (XDG Base Directory)."""
    base = environ.get("XDG_DATA_HOME", "")
    # The specification has relative paths ignored.
    root = Path(base) if base.startswith("/") else Path("~/.local/share").expanduser()
    return root / "spanledger"


class Config(Section):
    """Everything a deployment can set, from ``load_config``. ``model_dump(mode="json")`` round-trips."""

    data_dir: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = Field(
        default_factory=default_data_dir,
        description="Where everything is stored; default ~/.local/share/spanledger.",
    )
    grpc_endpoint: Endpoint = Field(default="127.0.0.1:4317", description="Where OTLP/gRPC listens.")
    http_endpoint: Endpoint = Field(default="127.0.0.1:4318", description="Where OTLP/HTTP listens.")
    admin_endpoint: Endpoint = Field(default="127.0.0.1:4320", description="Where health and metrics are.")
    insecure_no_auth: bool = Field(default=False, description="Listen beyond this machine without tokens.")
    timezone: Annotated[str, AfterValidator(values.check_timezone)] = Field(
        default="UTC", description="What days, budgets and cron expressions mean."
    )
    log_level: LogLevel = Field(default="info", description="Least severe log lines to print.")
    default_plan_tier: PlanTier | None = Field(default=None, description="Plan of undeclared accounts.")
    keep: KeepConfig = KeepConfig()
    capture: CaptureConfig = CaptureConfig()
    retention: RetentionConfig = RetentionConfig()
    maintenance: MaintenanceConfig = MaintenanceConfig()
    limits: LimitsConfig = LimitsConfig()
    spool: SpoolConfig = SpoolConfig()
    loader: LoaderConfig = LoaderConfig()
    sql: SqlConfig = SqlConfig()
    http: HttpConfig = HttpConfig()
    tls: TlsConfig = TlsConfig()
    tokens: tuple[Token, ...] = ()
    metrics_token: Secret | None = None
    redaction: RedactionConfig = RedactionConfig()
    accounts: tuple[Account, ...] = ()
    prices: tuple[PriceConfig, ...] = ()
    dimensions: dict[Annotated[str, AfterValidator(values.check_dimension_name)], Dimension] = Field(
        default_factory=dict
    )
    budgets: tuple[BudgetConfig, ...] = ()
    schedule: tuple[ScheduledRun, ...] = ()
    alerts: AlertsConfig = AlertsConfig()
    analyzers: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_ports(self)
        _check_exposure(self)
        _check_names(self)
        self.redaction.check()
        check_plans(self.accounts)
        check_overlaps(self.prices)
        check_matches(self.accounts, self.redaction.user_ids)
        self.alerts.check(self.dimensions)
        check_budgets(self.budgets, self.dimensions, self.redaction.user_ids)
        check_analyzers(self.schedule, self.analyzers)
        return self

    def bearers(self) -> dict[str, Secret]:
        """Every token of the configuration, by what messages call it."""
        metrics = [self.metrics_token] if self.metrics_token else []
        return {entry.label: entry for entry in (*self.tokens, *metrics)}

    def secrets(self) -> dict[str, Token]:
        """Every token of senders with the entry it belongs to; reads the token files. Raises ConfigError."""
        owners: dict[str, str] = {}
        for label, entry in self.bearers().items():
            if (other := owners.setdefault(entry.secret(), label)) != label:
                raise ConfigError(f"{label} and {other} are the same; give each its own")
        by_label = {token.label: token for token in self.tokens}
        return {secret: by_label[label] for secret, label in owners.items() if label in by_label}

    def analyzer_facts(self) -> dict[str, object]:
        """What analyzers can need to know of the deployment, by the names under which they ask for it."""
        return {
            "account_plans": account_plans(self.accounts),
            "price_overrides": tuple(price.override() for price in self.prices),
            "budgets": budgets_of(self.budgets),
        }

    def semconv_settings(self, spare_key: bytes = b"") -> Settings:
        """The part that parsing and meaning depend on.

        Redaction's key is read from its file; ``spare_key`` serves where the default one does not exist.
        Raises ConfigError where there is none that can be used.
        """
        hashed = self.capture.prompt_hashes
        return Settings(
            prompt_hash_key=hash_key(self.redaction.key(self.data_dir, spare_key)) if hashed else b"",
            capture=frozenset(name for name in CONTENT_CLASSES if getattr(self.capture, name)),
            keep_spans=self.keep.spans,
            keep_logs=self.keep.logs,
            keep_metrics=self.keep.metrics,
            max_value_bytes=self.limits.max_value_bytes,
            max_attributes=self.limits.max_attributes,
            redaction=self.redaction.rules(self.data_dir, spare_key),
            account_rules=account_rules(self.accounts),
            account_plans=account_plans(self.accounts),
            default_plan_tier=self.default_plan_tier,
            price_overrides=tuple(price.override() for price in self.prices),
            dimensions={name: dimension.attribute for name, dimension in self.dimensions.items()},
        )


_ENDPOINTS: Final = ("grpc_endpoint", "http_endpoint", "admin_endpoint")


def _check_ports(config: Config) -> None:
    taken: dict[int, str] = {}
    for name in _ENDPOINTS:
        _, port = values.split_endpoint(getattr(config, name))
        if port and taken.setdefault(port, name) != name:
            raise RuleBroken((name,), f"port {port} is already the port of {taken[port]}; give each its own")


def _check_exposure(config: Config) -> None:
    known = bool(config.tokens or config.tls.client_ca_file or config.insecure_no_auth)
    for name in _ENDPOINTS:
        # Nothing but metrics and budgets is behind the admin port.
        guarded = known or (name == "admin_endpoint" and config.metrics_token is not None)
        if not (values.is_loopback(getattr(config, name)) or guarded):
            raise RuleBroken(
                (name,),
                f"{getattr(config, name)} can be reached from other machines; configure tokens or mutual TLS "
                "(tls.client_ca_file), listen on 127.0.0.1, or say --insecure-no-auth",
            )


def _check_names(config: Config) -> None:
    tokens: set[str] = set()
    for index, token in enumerate(config.tokens):
        if token.name in tokens:
            raise RuleBroken(
                ("tokens", index, "name"), f"{token.name!r} is there already; give each token its own"
            )
        tokens.add(token.name)


def load_config(
    path: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The effective configuration.

    ``path`` None means the file that SPANLEDGER_CONFIG names, else none; ``overrides`` are flags by option
    name (``limits_max_spans``), None = not given. Raises ConfigError.
    """
    from collector.config_load import load  # noqa: PLC0415 - it builds on the model above

    return load(path, overrides or {}, os.environ if environ is None else environ)
