"""The configuration: precedence of its sources, what it refuses and in which words, what it hands on."""

from __future__ import annotations

import datetime as dt
import os
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzers import cost
from collector import config_values
from collector.cli.print_config import masked
from collector.config import Config, ConfigError, default_data_dir, load_config
from collector.config_load import scalar_options
from semconv.settings import AccountPlan, AccountRule

TOKEN = "0123456789abcdef"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "collector.yaml"
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    return write


def error_of(
    path: Path | None, flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None
) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, flags, environ or {})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_loopback_utc_and_no_content() -> None:
    config = load_config(None, {}, {})
    assert (config.grpc_endpoint, config.http_endpoint, config.admin_endpoint) == (
        "127.0.0.1:4317",
        "127.0.0.1:4318",
        "127.0.0.1:4320",
    )
    settings = config.semconv_settings()
    assert (config.timezone, settings.capture, settings.default_plan_tier) == ("UTC", frozenset(), None)
    assert (settings.keep_spans, settings.keep_logs, settings.keep_metrics) == ("all", "genai", "genai")


def test_a_flag_beats_the_environment_which_beats_the_file(write: Any) -> None:
    path = write(
        """
        timezone: Europe/Berlin
        log_level: debug
        limits:
          max_spans: 1
          max_depth: 5
        """
    )
    environ = {
        "SPANLEDGER_LIMITS_MAX_SPANS": "2",
        "SPANLEDGER_TIMEZONE": "Asia/Tokyo",
        "SPANLEDGER_LOG_LEVEL": "",
    }
    config = load_config(path, {"limits_max_spans": "3", "timezone": None}, environ)
    assert (config.limits.max_spans, config.timezone, config.log_level, config.limits.max_depth) == (
        3,
        "Asia/Tokyo",
        "debug",  # an empty variable is not set
        5,
    )


def test_the_environment_can_name_the_file(write: Any) -> None:
    path = write("timezone: Asia/Tokyo")
    assert load_config(None, {}, {"SPANLEDGER_CONFIG": str(path)}).timezone == "Asia/Tokyo"


def test_every_scalar_option_is_a_flag_and_a_variable() -> None:
    options = scalar_options()
    assert {"data_dir", "keep_spans", "capture_tool_inputs", "sql_memory_limit", "spool_max_bytes"} <= set(
        options
    )
    assert not {"tokens", "accounts", "dimensions", "schedule", "analyzers", "http_trace_paths"} & set(
        options
    )
    assert (options["keep_spans"].flag, options["keep_spans"].variable) == (
        "--keep-spans",
        "SPANLEDGER_KEEP_SPANS",
    )
    assert all(option.help for option in options.values())


def test_a_variable_expands_and_has_a_default(write: Any) -> None:
    path = write(
        """
        tokens:
          - name: ${env:NAME}
            token: ${env:TOKEN}
        limits: {max_spans: "${env:SPANS:-7}", max_depth: 9}
        default_plan_tier: ${env:PLAN:-}
        """
    )
    config = load_config(path, {}, {"NAME": "edge", "TOKEN": "1234567890123456"})
    assert config.secrets() == {"1234567890123456": config.tokens[0]}
    assert (config.tokens[0].name, config.limits.max_spans, config.default_plan_tier) == ("edge", 7, None)


def test_a_variable_that_is_not_set_is_named_with_its_line(write: Any) -> None:
    path = write("timezone: UTC\nlog_level: ${env:LEVEL}")
    assert error_of(path) == (
        f"{path}:2: the environment variable LEVEL is not set; set it or write ${{env:LEVEL:-default}}"
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("grpc_endpiont: x", ["yaml:1: grpc_endpiont: there is no such key", "did you mean grpc_endpoint?"]),
        ("limits:\n  max_span: 1", ["yaml:2: limits.max_span:", "did you mean max_spans?", "max_depth"]),
        ("keep:\n  spans: some", ["yaml:2: keep.spans: 'some' is not allowed; use 'all', 'genai' or 'none'"]),
        ("limits: 5", ["yaml:1: limits: 5 is not allowed; use a mapping"]),
        ("limits:\n  max_spans: 0", ["yaml:2: limits.max_spans: 0", "greater than 0"]),
        ("limits:\n  max_spans: many", ["limits.max_spans: 'many'", "a whole number"]),
        ("spool:\n  max_bytes: 3 apples", ["spool.max_bytes: '3 apples'", '"64MiB"']),
        ("sql: {memory_limit: lots}", ["sql.memory_limit: 'lots'", '"512MB"']),
        ("insecure_no_auth: perhaps", ["insecure_no_auth: 'perhaps'", "true or false"]),
        ("grpc_endpoint: 4317", ["yaml:1: grpc_endpoint: 4317", "text"]),
        ("grpc_endpoint: localhost", ["grpc_endpoint: 'localhost'", "host:port"]),
        ("grpc_endpoint: localhost:99999", ["host:port", "65535"]),
        ("http_endpoint: 127.0.0.1:4317", ["http_endpoint: port 4317 is already the port of grpc_endpoint"]),
        ("http_endpoint: 0.0.0.0:4318", ["http_endpoint: 0.0.0.0:4318", "tokens", "--insecure-no-auth"]),
        ("admin_endpoint: '[::]:4320'", ["admin_endpoint: [::]:4320", "other machines"]),
        ("timezone: Mars/Olympus", ["timezone: 'Mars/Olympus'", "Europe/Berlin"]),
        ("default_plan_tier: free", ["default_plan_tier: 'free'", "'max_20x'", "'local'"]),
        ("tokens:\n- {name: a}", ["yaml:2: tokens[0]:", "exactly one of token and token_file"]),
        (f"tokens:\n- {{name: a, token: {TOKEN}, token_file: /x}}", ["tokens[0]", "exactly one"]),
        (f"tokens:\n- token: {TOKEN}", ["yaml:2: tokens[0].name: this key is required"]),
        (f"tokens:\n- {{name: a, token: {TOKEN}}}\n- {{name: a, token: {TOKEN}1}}", ["tokens[1].name: 'a'"]),
        ("accounts:\n- {name: a, plan_tier: gold}", ["accounts[0].plan_tier: 'gold'", "'max_5x'"]),
        ("accounts:\n- {name: a, match: {}}", ["accounts[0].match", "at least one of provider"]),
        ("accounts:\n- {name: a, match: {servce: x}}", ["accounts[0].match.servce", "did you mean service?"]),
        ("accounts:\n- {name: a, plan_tier: pro, since: soon}", ["accounts[0].since: 'soon'", "2026-01-31"]),
        ("accounts:\n- {name: a, since: 2026-01-01}", ["accounts[0]", "needs plan_tier"]),
        ("accounts:\n- {name: a, plan_tier: pro, usage_billed: true}", ["accounts[0]", "team or enterprise"]),
        ("accounts:\n- {name: a, plan_tier: pro}\n- {name: a, plan_tier: api}", ["accounts[1]", "two plans"]),
        ("dimensions:\n  Lead: {attribute: x}", ["yaml:2: dimensions.Lead: 'Lead'", "lower-case"]),
        ("dimensions:\n  model: {attribute: x}", ["dimensions.model", "built-in grouping"]),
        ("dimensions:\n  cost_usd: {attribute: x}", ["dimensions.cost_usd", "column of calls"]),
        ("dimensions:\n  order: {attribute: x}", ["dimensions.order", "reserved word"]),
        ("dimensions:\n  lead: app.lead", ["dimensions.lead: 'app.lead'", "mapping"]),
        ("dimensions:\n  lead: {atribute: x}", ["dimensions.lead.atribute", "did you mean attribute?"]),
        ("schedule:\n- {analyzer: cost, cron: '* * *'}", ["schedule[0].cron: '* * *'", "five fields"]),
        ("schedule:\n- {analyzer: cots, cron: '0 6 * * *'}", ["schedule[0].analyzer", "'cots'", "cost"]),
        ("schedule:\n- {cron: '0 6 * * *'}", ["schedule[0]", "exactly one of analyzer and analyzers"]),
        ("schedule:\n- {analyzers: [], cron: '0 6 * * *'}", ["schedule[0]", "exactly one of"]),
        ("schedule:\n- {analyzer: cost, analyzers: all, cron: '0 6 * * *'}", ["schedule[0]", "exactly one"]),
        ("schedule:\n- {analyzers: [cost, cots], cron: '0 6 * * *'}", ["schedule[0].analyzers", "'cots'"]),
        (
            "schedule:\n- {analyzers: [cost, accounts], cron: '0 6 * * *', options: {top: 3}}",
            ["schedule[0].options", "no setting 'top'"],
        ),
        ("analyzers:\n  cost: {bye: day}", ["yaml:2: analyzers.cost", "'bye'", "by"]),
        (
            "schedule:\n- {analyzer: cost, cron: '0 6 * * *', options: {since: 1d, bye: day}}",
            ["yaml:2: schedule[0].options", "'bye'"],
        ),
        ("analyzers:\n  cots: {}", ["yaml:2: analyzers.cots", "cost"]),
        ("http: {trace_paths: [traces]}", ["http.trace_paths[0]: 'traces'", "begins with /"]),
        ("http: {cors_origins: ['https://x.org/']}", ["http.cors_origins[0]: 'https://x.org/'", "a path"]),
        ("limits: {header_timeout_seconds: 0}", ["limits.header_timeout_seconds: 0", "greater than 0"]),
        ("limits: {body_timeout_seconds: 2h}", ["limits.body_timeout_seconds: '2h'", "a number"]),
        ("tls: {cert_file: /x}", ["yaml:1: tls: cert_file and key_file come together"]),
        ("tls: {client_ca_file: /x}", ["tls: client_ca_file needs cert_file and key_file"]),
        ("tls: {cert: /x}", ["yaml:1: tls.cert:", "did you mean cert_file?"]),
        ("metrics_token: {}", ["yaml:1: metrics_token:", "exactly one of token and token_file"]),
        ("metrics_token: {name: x}", ["metrics_token.name: there is no such key", "token_file"]),
        (f"tokens:\n- {{name: 'a\"b', token: {TOKEN}}}", ["tokens[0].name: 'a\"b'", "letters"]),
        ("redaction: {hash: [a.b, '*']}", ["redaction.hash[1]: '*'", "app.user.*"]),
        ("redaction: {drop: ['a*b']}", ["redaction.drop[0]: 'a*b'", "at its end"]),
        ("redaction: {drop: ['']}", ["redaction.drop[0]: ''"]),
        (
            "redaction:\n  drop: [a]\n  hash:\n  - b\n  - a",
            ["yaml:5: redaction.hash[1]: 'a'", "redaction.drop"],
        ),
        (
            "redaction: {user_ids: drop}\naccounts:\n- {name: a, match: {service: x}}\n- {name: b, match: {user: x}}",
            ["yaml:4: accounts[1].match.user: no record has a user", "redaction.user_ids is drop"],
        ),
        ("redaction: {user_ids: mask}", ["redaction.user_ids: 'mask'", "'keep', 'hash' or 'drop'"]),
        ("redaction: {drop: a}", ["redaction.drop: 'a'", "a list"]),
        ("a: 1\na: 2", ["yaml:2: the key 'a' stands here twice"]),
        ("limits: [1", ["not valid YAML"]),
        ("- 1", ["a mapping of keys to values"]),
        ("timezone: ${env:1X}", ["yaml:1:", "${env:NAME}"]),
    ],
)
def test_a_mistake_is_one_line_with_the_key_the_file_and_what_is_allowed(
    write: Any, text: str, parts: list[str]
) -> None:
    path = write(text)
    message = error_of(path)
    assert message.startswith(str(path))
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("tokens:\n- {name: a, token: hunter2 hunter2 hunter2}", "tokens[0].token"),
        ("tokens:\n- {name: a, token: hunter2}", "tokens[0].token"),
        ("tokens:\n- {name: a, token: '${env:TOKEN}'}", "tokens[0].token"),
        ("metrics_token: {token: hunter2}", "metrics_token.token"),
        # One level too high, or too deep.
        ("metrics_token: hunter2-hunter2-hunter2", "metrics_token"),
        ("tokens: hunter2-hunter2-hunter2", "tokens"),
        ("tokens: [hunter2-hunter2-hunter2]", "tokens[0]"),
        ("tokens:\n- {name: a, token: [hunter2-hunter2-hunter2]}", "tokens[0].token"),
    ],
)
def test_a_token_is_never_repeated_in_an_error(write: Any, text: str, where: str) -> None:
    """Too short or with spaces, from the file or the environment, or where none belongs."""
    message = error_of(write(text), {}, {"TOKEN": "hunter2"})
    assert "hunter2" not in message
    assert f"{where}: the value is not allowed" in message


def test_the_environment_and_a_flag_are_named_as_the_source_of_their_mistake() -> None:
    assert error_of(None, {}, {"SPANLEDGER_TIMEZONE": "x/y"}).startswith(
        "environment variable SPANLEDGER_TIMEZONE:"
    )
    assert error_of(None, {"keep_spans": "some"}).startswith("option --keep-spans: keep.spans: 'some'")


def test_a_misspelt_variable_is_refused_and_a_foreign_one_is_not() -> None:
    message = error_of(None, {}, {"SPANLEDGER_GRPC_ENDPOINTS": "127.0.0.1:1"})
    assert "did you mean SPANLEDGER_GRPC_ENDPOINT?" in message
    assert "config file" in error_of(None, {}, {"SPANLEDGER_TOKENS": "x"})
    kubernetes = {"SPANLEDGER_SERVICE_HOST": "10.0.0.1", "SPANLEDGER_PORT_4317_TCP": "tcp://10.0.0.1:4317"}
    load_config(None, {}, kubernetes)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert (
        error_of(tmp_path / "none.yaml")
        == f"{tmp_path / 'none.yaml'}: cannot read the config file: No such file or directory"
    )


def test_an_empty_section_and_an_empty_file_mean_defaults(write: Any) -> None:
    assert load_config(write("limits:\n#  max_spans: 1\ntokens:\n"), {}, {}) == load_config(write(""), {}, {})


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("64MiB", 64 << 20),
        ("512MB", 512_000_000),
        ("1.5GiB", 3 << 29),
        ("10 kb", 10_000),
        (4096, 4096),
        ("4096", 4096),
    ],
)
def test_sizes_have_units(written: object, size: int) -> None:
    assert config_values.parse_size(written) == size


@pytest.mark.parametrize("written", ["512MB", "1.5GiB", "4096", 536870912])
def test_a_memory_limit_is_one_that_duckdb_takes(written: object) -> None:
    with duckdb.connect(config={"memory_limit": config_values.check_memory_limit(written)}):
        pass


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_this_machine_alone_is_loopback(endpoint: str) -> None:
    assert config_values.is_loopback(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "0.0.0.0:1",
        "[::]:1",
        "192.0.2.1:1",
        "collector:1",
        "localhost.example.com:1",
        "127.0.0.1.example.com:1",
        # What these become is up to the resolver.
        "127.1:1",
        "2130706433:1",
        "0x7f000001:1",
        "[::ffff:127.0.0.1]:1",
        "[::ffff:0.0.0.0]:1",
    ],
)
def test_what_may_be_elsewhere_is_not_loopback(endpoint: str) -> None:
    assert not config_values.is_loopback(endpoint)


PUBLIC = ("grpc_endpoint", "http_endpoint", "admin_endpoint")
TLS = "tls: {cert_file: /c, key_file: /k}"
MUTUAL_TLS = "tls: {cert_file: /c, key_file: /k, client_ca_file: /a}"
TOKENS = f"tokens: [{{name: a, token: {TOKEN}}}]"
METRICS_TOKEN = f"metrics_token: {{token: {TOKEN}}}"


@pytest.mark.parametrize("guard", [TOKENS, MUTUAL_TLS, "insecure_no_auth: true"])
@pytest.mark.parametrize("endpoint", PUBLIC)
def test_tokens_mutual_tls_or_a_plain_word_open_it_to_other_machines(
    write: Any, endpoint: str, guard: str
) -> None:
    load_config(write(f"{endpoint}: 0.0.0.0:9999\n{guard}"), {}, {})


@pytest.mark.parametrize(
    ("endpoint", "no_guard"),
    [(endpoint, guard) for endpoint in PUBLIC for guard in ("", TLS)]
    + [("grpc_endpoint", METRICS_TOKEN), ("http_endpoint", METRICS_TOKEN)],
)
def test_nothing_else_opens_it(write: Any, endpoint: str, no_guard: str) -> None:
    """TLS alone keeps listeners out, and lets every sender in."""
    message = error_of(write(f"{endpoint}: 0.0.0.0:9999\n{no_guard}"))
    for part in (
        endpoint,
        "0.0.0.0:9999",
        "other machines",
        "tokens",
        "client_ca_file",
        "--insecure-no-auth",
    ):
        assert part in message


def test_metrics_can_be_read_from_elsewhere_with_a_token_of_their_own(write: Any) -> None:
    """Nothing else is behind the admin port."""
    load_config(write(f"admin_endpoint: 0.0.0.0:9999\n{METRICS_TOKEN}"), {}, {})


def test_a_token_file_is_read_trimmed_and_checked(write: Any, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    config = load_config(write(f"tokens: [{{name: a, token_file: {secret}}}]"), {}, {})
    with pytest.raises(ConfigError, match="token_file of token 'a': No such file"):
        config.secrets()
    secret.write_text("short\n")
    with pytest.raises(ConfigError, match="at least 16"):
        config.secrets()
    secret.write_bytes(b"\xff" * 20)
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.secrets()
    secret.write_text("x" * 5000)
    with pytest.raises(ConfigError, match="larger than"):
        config.secrets()
    secret.write_text(TOKEN + "\r\n")
    assert config.secrets() == {TOKEN: config.tokens[0]}


def test_a_token_file_that_would_be_waited_for_is_refused(write: Any, tmp_path: Path) -> None:
    """A pipe without a writer would hold up the start for ever."""
    os.mkfifo(tmp_path / "pipe")
    config = load_config(write(f"tokens: [{{name: a, token_file: {tmp_path / 'pipe'}}}]"), {}, {})
    with pytest.raises(ConfigError, match="it is not a file"):
        config.secrets()


def test_two_entries_cannot_share_a_token(write: Any) -> None:
    config = load_config(
        write(f"tokens:\n- {{name: a, token: {TOKEN}}}\n- {{name: b, token: {TOKEN}}}"), {}, {}
    )
    with pytest.raises(ConfigError, match="token 'b' and token 'a' are the same"):
        config.secrets()


def test_what_reads_metrics_cannot_be_what_sends(write: Any, tmp_path: Path) -> None:
    """Whichever of the sources the two come from."""
    (tmp_path / "token").write_text(TOKEN)
    config = load_config(
        write(f"tokens:\n- {{name: a, token: {TOKEN}}}\nmetrics_token: {{token_file: {tmp_path / 'token'}}}"),
        {},
        {},
    )
    with pytest.raises(ConfigError, match="metrics_token and token 'a' are the same"):
        config.secrets()


def test_the_effective_configuration_is_shown_without_secrets(write: Any) -> None:
    """Of tokens from the file and the environment, senders' and the metrics' alike."""
    path = write("tokens: [{name: a, token: '${env:TOKEN}'}]\nmetrics_token: {token: metrics-0123456789}")
    shown = masked(load_config(path, {}, {"TOKEN": TOKEN}))
    assert (shown["tokens"][0]["token"], shown["metrics_token"]["token"]) == ("****", "****")
    assert TOKEN not in str(shown)
    assert masked(load_config(None, {}, {}))["metrics_token"] is None


def test_it_survives_json_and_cannot_be_changed(write: Any) -> None:
    """The supervisor hands it to its children as JSON."""
    path = write(
        f"""
        tokens: [{{name: a, token: {TOKEN}, tenant: t}}]
        accounts: [{{name: b, match: {{provider: openai}}, plan_tier: api, since: 2026-01-01}}]
        dimensions: {{lead: {{attribute: app.lead_id}}}}
        schedule:
          - {{analyzer: cost, cron: "0 6 * * *", options: {{by: day}}}}
          - {{analyzers: [cost, unit-cost], cron: "0 6 * * *", options: {{top: 3}}}}
          - {{analyzers: all, cron: "0 6 * * *", options: {{top: 3}}}}
        spool: {{max_bytes: 1GiB}}
        """
    )
    config = load_config(path, {}, {})
    assert Config.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="frozen"):
        config.timezone = "UTC"  # type: ignore[misc]
    assert TOKEN not in repr(config)


def test_accounts_become_rules_and_plans(write: Any) -> None:
    path = write(
        """
        accounts:
          - name: team
            match: {service: bot, attributes: {app.env: prod}}
            plan_tier: team
            usage_billed: true
          - {name: team, plan_tier: api, since: 2026-03-01}
          - {name: other, match: {provider: openai}}
        dimensions: {lead: {attribute: app.lead_id}}
        capture: {prompts: true}
        default_plan_tier: api
        """
    )
    settings = load_config(path, {}, {}).semconv_settings()
    assert settings.account_rules == (
        AccountRule("team", service="bot", attributes={"app.env": "prod"}),
        AccountRule("other", provider="openai"),
    )
    assert settings.account_plans == (
        AccountPlan("team", "team", None, True),
        AccountPlan("team", "api", dt.date(2026, 3, 1)),
    )
    assert settings.dimensions == {"lead": "app.lead_id"}
    assert (settings.capture, settings.default_plan_tier) == (frozenset({"prompts"}), "api")


def test_the_data_directory_follows_xdg() -> None:
    assert default_data_dir({"XDG_DATA_HOME": "/srv/xdg"}) == Path("/srv/xdg/spanledger")
    home = Path("~/.local/share/spanledger").expanduser()
    assert default_data_dir({}) == home
    assert default_data_dir({"XDG_DATA_HOME": "relative"}) == home


def test_a_relative_data_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(None, {"data_dir": "lake"}, {}).data_dir == tmp_path / "lake"


def test_names_that_a_dimension_may_not_take_are_those_that_exist() -> None:
    """Guarantee: the constants follow DuckDB, the lake's contract and the cost analyzer."""
    found = duckdb.sql(
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
    ).fetchall()
    assert {name for (name,) in found} == config_values.RESERVED_WORDS
    assert {"call_id", "cost_usd", "notes"} <= config_values.call_columns()
    assert "load_id" not in config_values.call_columns()
    assert {cost.DAY, *cost.DIMENSIONS} <= config_values.GROUPING_NAMES | config_values.call_columns()
