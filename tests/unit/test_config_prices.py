"""The section `prices`: what can be said, and that a bad price is refused with its line and what was expected."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from collector.cli.print_config import masked
from collector.config import ConfigError, load_config
from collector.config_prices import UNITS
from semconv.prices import rates
from semconv.settings import PriceOverride


def overrides(tmp_path: Path, text: str) -> tuple[PriceOverride, ...]:
    path = tmp_path / "collector.yaml"
    path.write_text("prices:\n" + text)
    return load_config(path, environ={}).semconv_settings().price_overrides


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        overrides(tmp_path, text)
    return str(caught.value).removeprefix(f"{tmp_path}/collector.yaml:")


def test_every_kind_of_price(tmp_path: Path) -> None:
    found = overrides(
        tmp_path,
        """
  - {name: negotiated, provider: openai, model: gpt-4.1*, billing_account: acme, since: 2026-01-01, discount: 15%}
  - {name: listed, model: my-model, until: 2026-07-01, list: {input_mtok: 0.35, output_mtok: 1}, variant: batch+flex}
  - {name: ours, provider: vllm, gpu_hour: {usd: 2.50, gpus: 4, concurrency: 8}}
  - {name: gift, model: tiny, free: true}
""",
    )
    assert found == (
        PriceOverride(
            "negotiated", "openai", "gpt-4.1*", "acme", since=dt.date(2026, 1, 1), discount=Decimal("0.15")
        ),
        PriceOverride(
            "listed",
            model="my-model",
            until=dt.date(2026, 7, 1),
            variant="batch+flex",
            prices={"input_mtok": Decimal("0.35"), "output_mtok": Decimal(1)},
        ),
        PriceOverride("ours", "vllm", gpu_hour_usd=Decimal("1.25")),  # 2.50 x 4 / 8
        PriceOverride("gift", model="tiny", free=True),
    )


@pytest.mark.parametrize(
    "written", ["0.1", "0.100000000001", "999999.123456789012", '"0.07"', "3", "1_000.5"]
)
def test_a_price_is_what_was_written(tmp_path: Path, written: str) -> None:
    """A double would make 999999.123456789012 something else."""
    (found,) = overrides(tmp_path, f"  - {{name: a, list: {{input_mtok: {written}}}}}")
    assert found.prices is not None
    assert found.prices["input_mtok"] == Decimal(written.strip('"'))


def test_what_a_call_of_several_at_once_costs_is_rounded_once(tmp_path: Path) -> None:
    (found,) = overrides(tmp_path, "  - {name: a, gpu_hour: {usd: 2, concurrency: 3}}")
    assert found.gpu_hour_usd == Decimal("0.666666666667")


@pytest.mark.parametrize(
    ("entry", "line", "expected"),
    [
        ("{name: a}", 2, "exactly one of list, discount, gpu_hour and free: true; here: none"),
        ("{name: a, free: true, discount: 10%}", 2, "here: discount, free"),
        ("{name: a, free: false}", 2, "here: none"),
        ("{name: a, list: {}}", 2, "at least one unit"),
        ("{name: a, list: {input_mtok: -1}}", 2, "a price is between 0 and 1000000 USD"),
        ("{name: a, list: {input_mtok: .nan}}", 2, "use a number"),
        ("{name: a, list: {input_mtok: .inf}}", 2, "use a number"),
        ("{name: a, list: {input_mtok: true}}", 2, "use a number"),
        ("{name: a, list: {input_mtok: 1e-13}}", 2, "at most 12 decimals"),
        ("{name: a, list: {input_mtokens: 1}}", 2, "no such unit; use input_mtok, output_mtok"),
        ("{name: a, model: 'gpt-*-mini', free: true}", 2, "beginning of one with a * at its end"),
        ("{name: a, model: '*', free: true}", 2, "leave it out for any model"),
        ("{name: a, discount: 0}", 2, "more than 0 and less than 1"),
        ("{name: a, discount: 100%}", 2, "more than 0 and less than 1"),
        ("{name: a, discount: 15}", 2, "more than 0 and less than 1"),
        ("{name: a, discount: ten%}", 2, "use a number"),
        ("{name: a, gpu_hour: {usd: 2, gpus: 0}}", 2, "gpus"),
        ("{name: a, gpu_hour: {}}", 2, "this key is required"),
        ("{name: a, variant: 'Batch flex', free: true}", 2, "standard, batch, flex"),
        ("{name: a, free: true, since: soon}", 2, "use a date, such as 2026-01-31"),
        ("{name: a, free: true, since: 2026-03-01, until: 2026-03-01}", 2, "must come after since (2026-03-01)"),
        ("{name: a, free: true, models: x}", 2, "did you mean model?"),
    ],
)  # fmt: skip
def test_a_bad_price_is_refused_with_its_line(tmp_path: Path, entry: str, line: int, expected: str) -> None:
    message = refused(tmp_path, f"  - {entry}")
    assert message.startswith(f"{line}: prices[0]")
    assert expected in message


def test_a_day_that_is_not_in_the_calendar_is_refused_with_its_line(tmp_path: Path) -> None:
    message = refused(tmp_path, "  - {name: a, free: true,\n     since: 2026-02-30}")
    assert message == "3: there is no such date or number: 2026-02-30"


def test_the_line_is_that_of_the_key(tmp_path: Path) -> None:
    message = refused(tmp_path, "  - name: a\n    list:\n      input_mtok: 1\n      output_mtok: -2\n")
    assert message.startswith("5: prices[0].list.output_mtok: -2 is not allowed: a price is between")


ACME = "name: n, billing_account: acme, model: m, free: true"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{name: n, free: true}", "{name: n, discount: 10%}"),
        (f"{{{ACME}, since: 2026-01-01}}", f"{{{ACME}, since: 2026-06-01}}"),
        (f"{{{ACME}, until: 2026-06-02}}", f"{{{ACME}, since: 2026-06-01}}"),
        ("{name: n, model: GPT-4.1*, free: true}", "{name: o, model: gpt-4.1*, free: true}"),
    ],
)
def test_two_prices_for_the_same_calls_on_one_day_are_refused(
    tmp_path: Path, first: str, second: str
) -> None:
    message = refused(tmp_path, f"  - {first}\n  - {second}")
    assert message.startswith("3: prices[1]")
    assert "hold for the same calls on the same days; end the earlier one with until" in message


def test_prices_that_follow_each_other_or_differ_in_reach_do_not_overlap(tmp_path: Path) -> None:
    """`until` is the first day that is free again, and the more specific of two wins."""
    history = f"  - {{{ACME}, until: 2026-06-01}}\n  - {{{ACME}, since: 2026-06-01}}\n"
    others = "  - {name: n, model: m, free: true}\n  - {name: n, model: m, variant: batch, free: true}\n"
    assert len(overrides(tmp_path, history + others + "  - {name: n, provider: p, free: true}")) == 5


def test_what_is_shown_can_be_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "collector.yaml"
    path.write_text("prices: [{name: a, list: {input_mtok: 0.10}}, {name: b, provider: p, discount: 12.5%}]")
    first = load_config(path, environ={})
    path.write_text(yaml.safe_dump(masked(first)))
    assert load_config(path, environ={}).prices == first.prices
    assert masked(first)["prices"][0]["list"] == {"input_mtok": "0.10"}


def test_the_units_are_those_that_calls_are_priced_by() -> None:
    priced = {unit for units in rates._RATES.values() for unit in units}
    assert set(UNITS) == priced - {"gpu_hour"}
