"""Price lists from files in the source's published form, and from what the lake stores."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import _providers_from_raw

from semconv.prices import PriceList, installed, published, read_file
from tests.unit.price_calls import call, price

PROVIDERS: list[dict[str, Any]] = [
    {
        "id": "acme",
        "name": "Acme",
        "api_pattern": "https://acme",
        "provider_match": {"or": [{"starts_with": "ac"}, {"and": [{"contains": "m"}, {"ends_with": "corp"}]}]},
        "model_match": {"regex": "^a\\d"},
        "fallback_model_providers": ["other"],
        "models": [
            {
                "id": "a1",
                "match": {"or": [{"equals": "A1"}, {"starts_with": "a1-"}]},
                "prices": [
                    {"prices": {"input_mtok": 0.1, "output_mtok": 0.3}},
                    {"constraint": {"start_date": "2026-03-01"}, "prices": {"input_mtok": 0.7, "output_mtok": 0.9}},
                    {
                        "constraint": {"start_time": "22:00:00+02:00", "end_time": "04:30:00Z"},
                        "prices": {
                            "input_mtok": 0.05,
                            "output_mtok": {"base": 1, "tiers": [{"start": 10, "price": 2}]},
                        },
                    },
                ],
                "price_variants": [
                    {"when": {"route": "eu"}, "prices": {"input_mtok": 9}},
                    {
                        "when": {"processing": "batch"},
                        "constraint": {"start_date": "2026-04-01"},
                        "prices": {"input_mtok": 0.01},
                    },
                    {"when": {"service_tier": "flex"}, "prices": {"input_mtok": 0.02, "output_mtok": 0.04}},
                ],
            }
        ],
    },
    {
        "id": "other",
        "name": "Other",
        "api_pattern": "https://other",
        "models": [{"id": "b1", "match": {"contains": "b1"}, "prices": {"input_mtok": 1, "output_mtok": "2.5"}}],
    },
]  # fmt: skip


@pytest.fixture
def price_list(tmp_path: Path) -> PriceList:
    return read_file(written(tmp_path, PROVIDERS))


def written(directory: Path, document: Any) -> Path:
    path = directory / "prices.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def test_a_file_is_priced_as_the_package_prices_it(price_list: PriceList) -> None:
    """At every hour and each side of the dates, in every context; a window of the day that reaches over midnight."""
    theirs = DataSnapshot(_providers_from_raw(PROVIDERS), from_auto_update=False)
    days = [dt.date(2026, month, day) for month, day in ((2, 28), (3, 1), (3, 31), (4, 1))]
    times = [dt.time(hour, minute) for hour in range(24) for minute in (0, 29, 30)]
    contexts = [{}, {"batch": True}, {"service_tier": "flex"}, {"batch": True, "service_tier": "flex"}]
    calls = [
        call(
            provider="acme",
            request_model=model,
            start_time=dt.datetime.combine(day, time),
            input_tokens=tokens,
            output_tokens=7,
            cache_read_tokens=None,
            **context,
        )
        for day in days
        for time in times
        for context in contexts
        for model, tokens in (("a1", 10), ("A1-x", 11), ("xb1", 5))
    ]
    for row, ours in zip(calls, price(calls, price_list=price_list), strict=True):
        context = {"processing": "batch"} if row.get("batch") else {}
        context |= {"service_tier": row["service_tier"]} if row.get("service_tier") else {}
        found = theirs.calc(
            Usage(input_tokens=row["input_tokens"], output_tokens=7),
            row["request_model"],
            "acme",
            None,
            row["start_time"].replace(tzinfo=dt.UTC),
            context,
        )
        assert ours["cost_usd"] == found.total_price, (row, ours)


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("acme", "a1", ("acme", "a1")),
        ("Acme-Cloud", "a1-20250102", ("acme", "a1")),
        ("some-corp", "a1", ("acme", "a1")),
        ("acme", "b1", ("other", "b1")),
        ("other", "a1", None),
        (None, "a1", ("acme", "a1")),
        (None, "b1", None),
        ("litellm", "acme/a1", ("acme", "a1")),
    ],
)
def test_clauses_of_a_file_say_which_ids_mean_a_model(
    price_list: PriceList, provider: str | None, model: str, found: tuple[str, str] | None
) -> None:
    assert price_list.finder.find_reference(provider, model) == found


def test_a_list_survives_its_way_through_the_lake(price_list: PriceList) -> None:
    for given in (price_list, installed()):
        read = PriceList.from_json(given.to_json())
        assert read == given
        assert read.rows.equals(given.rows)
        assert read.to_json() == given.to_json()


def test_the_installed_list_is_the_same_read_from_a_file(tmp_path: Path) -> None:
    """Only where it comes from differs: the content has the same id."""
    read = read_file(written(tmp_path, published.dump(published.of_package())))
    assert (read.snapshot_id, read.source) == (installed().snapshot_id, "file:prices.json")


def test_another_price_or_another_clause_is_another_snapshot(tmp_path: Path, price_list: PriceList) -> None:
    text = json.dumps(PROVIDERS)
    ids = {
        read_file(written(tmp_path, text.replace(*change))).snapshot_id
        for change in [("0.7", "0.8"), ("a1-", "a1+")]
    }
    assert len(ids | {price_list.snapshot_id}) == 3


def test_rows_tell_people_which_ids_mean_the_model(price_list: PriceList) -> None:
    rows = price_list.rows.to_pylist()
    assert {(row["model"], row["model_match"]) for row in rows} == {("a1", "A1 | a1-*"), ("b1", "*b1*")}
    assert {row["price_usd"] for row in rows if row["model"] == "b1"} == {Decimal(1), Decimal("2.5")}


def test_of_a_context_that_no_telemetry_tells_there_are_no_rows(price_list: PriceList) -> None:
    assert set(price_list.rows.column("variant").to_pylist()) == {"standard", "batch", "flex", "batch+flex"}


def changed(path: str, value: Any) -> list[dict[str, Any]]:
    document = json.loads(json.dumps(PROVIDERS))
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = document
    for step in steps:
        place = place[step]
    place[last] = value
    return list(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ("{}", r"the document: found \{\}, expected a list"),
        ("[]", "no provider with a model"),
        ([7], "provider 0: found 7, expected an object"),
        (changed("0.id", ""), "provider 0, id: found '', expected a name"),
        (changed("1.id", "acme"), "acme stands there twice"),
        (
            changed("0.models.0.match", {"like": "a"}),
            "acme, model a1, match: found 'like', expected one of starts_with",
        ),
        (changed("0.models.0.match", {"regex": "("}), "expected a regular expression"),
        (changed("0.models.0.match", {"or": "a"}), "found 'a', expected a list of clauses"),
        (changed("1.models.0.prices", []), "model b1, prices: empty"),
        (changed("1.models.0.prices.input_mtok", -1), "b1, prices, input_mtok: found -1, expected an amount"),
        (changed("1.models.0.prices.input_mtok", True), "found True, expected an amount in USD"),
        (changed("1.models.0.prices.input_mtok", "free"), "found 'free', expected an amount in USD"),
        (
            changed("1.models.0.prices.input_mtok", {"base": 1, "tiers": [{"start": 0, "price": 1}]}),
            "found 0, expected starts that are rising",
        ),
        (
            changed("0.models.0.prices.1.constraint", {"start_date": "soon"}),
            "expected a start_date, or a time of day",
        ),
        (changed("0.models.0.price_variants.0", {"prices": {}}), "price_variants, when: found None"),
    ],
)
def test_what_is_no_price_list_is_refused_saying_where_and_why(
    tmp_path: Path, document: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_file(written(tmp_path, document))
