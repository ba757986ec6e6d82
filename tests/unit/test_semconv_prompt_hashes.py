"""Hashes of prompts in `evidence`: the same for the same conversation, whatever it came in, and never any text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semconv.dialects import compile_tables
from semconv.prompt_hashes import hash_key
from semconv.settings import Settings
from tests.otlp_data import END, START, key_values, logs_message, read, span_of, traces_message

KEY = hash_key(b"k" * 32)
HASHED = Settings(keep_logs="all", prompt_hash_key=KEY)
GENAI = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5"}
SYSTEM = "You are a patient librarian."
QUESTION = "Where are the atlases?"
MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
TOOLS = [{"name": "find", "description": "finds a book", "parameters": {"type": "object"}}]

# As any_value() takes them.
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.text(max_size=20), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ("role", "type", "content", "messages", "tools", "system", "kwargs", "config", "event.name")
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


def evidence(attributes: Mapping[str, Any], settings: Settings = HASHED, **options: Any) -> dict[str, Any]:
    return dict(json.loads(span_of({**GENAI, **attributes}, settings, **options)["evidence"] or "{}"))


def prompt(attributes: Mapping[str, Any], settings: Settings = HASHED, **options: Any) -> dict[str, Any]:
    return dict(evidence(attributes, settings, **options)["prompt"])


def of_messages(*messages: Mapping[str, Any]) -> dict[str, Any]:
    return prompt({"gen_ai.input.messages": json.dumps(messages)})


def of_events(*events: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    message = traces_message(GENAI)
    span = message.resource_spans[0].scope_spans[0].spans[0]
    for name, attributes in events:
        span.events.add(name=name, time_unix_nano=START, attributes=key_values(attributes))
    [row] = read(message, settings=HASHED).spans.to_pylist()
    return dict(json.loads(row["evidence"])["prompt"])


def indexed(beginning: str, role: str, content: str) -> dict[str, str]:
    return {
        f"{beginning}.{number}.{name}": message[key]
        for number, message in enumerate(MESSAGES)
        for name, key in ((role, "role"), (content, "content"))
    }


# --- the contract ----------------------------------------------------------------------------------


def test_a_prompt_has_a_hash_of_all_of_it_and_one_at_the_end_of_each_section() -> None:
    found = prompt(
        {
            "gen_ai.input.messages": json.dumps([{"role": "user", "content": QUESTION}]),
            "gen_ai.system_instructions": SYSTEM,
            "gen_ai.tool.definitions": json.dumps(TOOLS),
        }
    )
    assert list(found) == ["hash", "bytes", "parts", "prefixes", "texts", "ends"]
    assert len(found["hash"]) == 32
    assert int(found["hash"], 16)
    assert found["parts"] == ["tools", "system", "user"]
    assert len(set(found["prefixes"])) == 3
    assert all(-(2**63) <= prefix < 2**63 for prefix in found["prefixes"])
    tools, system, user = found["ends"]
    assert system - tools == len(SYSTEM)
    assert user == found["bytes"] > system


def test_hashes_are_only_kept_where_they_are_switched_on() -> None:
    found = evidence({"gen_ai.input.messages": json.dumps(MESSAGES)}, Settings())
    assert list(found) == ["gated"]


def test_no_text_gets_into_the_evidence() -> None:
    found = span_of({**GENAI, **indexed("gen_ai.prompt", "role", "content")}, HASHED)
    assert not any(word in str(found) for word in ("librarian", "atlases"))


def test_another_key_gives_other_hashes() -> None:
    attributes = {"gen_ai.input.messages": json.dumps(MESSAGES)}
    other = prompt(attributes, Settings(prompt_hash_key=hash_key(b"o" * 32)))
    own = prompt(attributes)
    assert own["hash"] != other["hash"]
    assert not set(own["prefixes"]) & set(other["prefixes"])
    assert hash_key(b"k" * 32) != b"k" * 32


# --- the same conversation -------------------------------------------------------------------------


SHAPES = {
    "a list of maps": {"gen_ai.input.messages": MESSAGES},
    "JSON": {"gen_ai.input.messages": json.dumps(MESSAGES)},
    "JSON with other spaces and keys in another order": {
        "gen_ai.input.messages": json.dumps([dict(reversed(list(one.items()))) for one in MESSAGES], indent=2)
    },
    "JSON in JSON": {"gen_ai.input.messages": json.dumps(json.dumps(MESSAGES))},
    "other white space": {
        "gen_ai.input.messages": json.dumps(
            [
                {"role": "system", "content": f" {SYSTEM}\n"},
                {"role": "user", "content": "Where  are\tthe\n\natlases?"},
            ]
        )
    },
    "marks for a cache": {
        "gen_ai.input.messages": json.dumps(
            [{**MESSAGES[0], "cache_control": {"type": "ephemeral"}}, MESSAGES[1]]
        )
    },
    "a whole request beside it": {
        "gen_ai.input.messages": json.dumps(MESSAGES),
        "input.value": json.dumps({"messages": MESSAGES, "tools": TOOLS}),
    },
    "the whole request alone": {"gen_ai.prompt": json.dumps({"model": "gpt-5", "messages": MESSAGES})},
    "a request in its configuration": {
        "input.value": json.dumps({"contents": MESSAGES, "config": {"temperature": 1}})
    },
    "an answer beside it": {
        "gen_ai.input.messages": json.dumps(MESSAGES),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": "Upstairs."}]),
        "gen_ai.request.temperature": 0.5,
    },
    "messages in a list of lists": {"input.value": json.dumps({"messages": [MESSAGES]})},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_one_conversation_in_messages_has_one_hash(shape: str) -> None:
    assert prompt(SHAPES[shape]) == prompt(SHAPES["JSON"])


def test_keys_with_numbers_are_one_conversation_in_any_order() -> None:
    """Also with ten messages and more, whose keys are not in the order of the numbers as text."""
    many = [{"role": "user", "content": f"question {number}"} for number in range(12)]
    attributes = {
        f"gen_ai.prompt.{n}.{key}": value for n, one in enumerate(many) for key, value in one.items()
    }
    found = prompt(attributes)
    assert prompt(dict(reversed(attributes.items()))) == found
    assert found["parts"] == ["user"] * 12
    swapped = {
        **attributes,
        "gen_ai.prompt.2.content": "question 10",
        "gen_ai.prompt.10.content": "question 2",
    }
    assert prompt(swapped)["prefixes"][:2] == found["prefixes"][:2]
    assert prompt(swapped)["prefixes"][2:] != found["prefixes"][2:]


@pytest.mark.parametrize(
    ("beginning", "role", "content"),
    [
        ("gen_ai.prompt", "role", "content"),
        ("llm.input_messages", "message.role", "message.content"),
        ("llm.prompts", "role", "content"),
    ],
)
def test_keys_with_numbers_tell_roles_and_beginnings(beginning: str, role: str, content: str) -> None:
    found = prompt(indexed(beginning, role, content))
    assert found["parts"] == ["system", "user"]
    assert (
        prompt({**indexed(beginning, role, content), f"{beginning}.1.{content}": "other"})["prefixes"][0]
        == (found["prefixes"][0])
    )
    assert (
        prompt({**indexed(beginning, role, content), f"{beginning}.0.{role}": "user"})["hash"]
        != found["hash"]
    )


def test_messages_that_are_events_of_a_span_are_one_conversation() -> None:
    found = of_events(
        ("gen_ai.system.message", {"content": SYSTEM}),
        ("gen_ai.user.message", {"content": QUESTION}),
        ("gen_ai.choice", {"message": "Upstairs."}),
    )
    assert found["parts"] == ["system", "user"]
    longer = of_events(
        ("gen_ai.system.message", {"content": SYSTEM}),
        ("gen_ai.user.message", {"content": QUESTION + " "}),
        ("gen_ai.assistant.message", {"content": "Upstairs."}),
        ("gen_ai.user.message", {"content": "Thank you."}),
    )
    assert longer["prefixes"][:2] == found["prefixes"]


def test_messages_that_are_log_records_have_a_hash_each() -> None:
    records = [
        {"event_name": f"gen_ai.{role}.message", "body": {"content": text}}
        for role, text in (("system", SYSTEM), ("user", QUESTION), ("system", f"{SYSTEM} "))
    ]
    rows = read(logs_message(*records), "logs", settings=HASHED).log_records.to_pylist()
    system, user, again = (json.loads(row["evidence"])["message"] for row in rows)
    assert system == again != user
    assert (system["parts"], user["parts"]) == (["system"], ["user"])
    [answer] = read(
        logs_message({"event_name": "gen_ai.choice", "body": {"message": "x"}}), "logs", settings=HASHED
    ).log_records.to_pylist()
    assert "message" not in json.loads(answer["evidence"])


def test_a_log_record_with_the_whole_prompt_says_what_its_span_does() -> None:
    record = {
        "event_name": "gen_ai.client.inference.operation.details",
        "attributes": {**GENAI, "gen_ai.input.messages": MESSAGES},
    }
    [row] = read(logs_message(record), "logs", settings=HASHED).log_records.to_pylist()
    assert json.loads(row["evidence"])["prompt"] == of_messages(*MESSAGES)


@pytest.mark.parametrize(
    "other",
    [
        [{"role": "user", "content": SYSTEM}, MESSAGES[1]],
        [MESSAGES[0], {"role": "user", "content": QUESTION.lower()}],
        [MESSAGES[0], {"role": "user", "content": QUESTION[:-1]}],
        [MESSAGES[1], MESSAGES[0]],
        [*MESSAGES, MESSAGES[1]],
        [{"role": "system", "content": f"{SYSTEM} {QUESTION}"}],
    ],
    ids=["role", "case", "punctuation", "order", "once more", "in one"],
)
def test_another_conversation_has_another_hash(other: list[dict[str, str]]) -> None:
    assert of_messages(*other)["hash"] != of_messages(*MESSAGES)["hash"]


def test_tools_are_a_part_of_the_prompt() -> None:
    own = {"gen_ai.input.messages": json.dumps(MESSAGES)}
    with_tools = prompt({**own, "gen_ai.tool.definitions": json.dumps(TOOLS)})
    assert with_tools["parts"] == ["tools", "system", "user"]
    assert with_tools["hash"] != prompt(own)["hash"]
    of_functions = {"llm.request.functions.0.name": "find", "llm.request.functions.0.description": "finds"}
    other = {**of_functions, "llm.request.functions.0.name": "seek"}
    assert prompt({**own, **of_functions})["parts"][0] == "tools"
    assert prompt({**own, **of_functions})["hash"] != prompt({**own, **other})["hash"]


def test_text_as_python_writes_it_is_text() -> None:
    """It is never read in part, which could make two prompts alike."""
    one, other = ({"gen_ai.prompt": repr([{"content": f'"{word}"'}])} for word in ("one", "other"))
    assert prompt(one)["hash"] != prompt(other)["hash"]


# --- beginnings ------------------------------------------------------------------------------------


def test_a_longer_conversation_begins_as_the_shorter_one() -> None:
    longer = of_messages(
        *MESSAGES, {"role": "assistant", "content": "Up."}, {"role": "user", "content": "Ah."}
    )
    shorter = of_messages(*MESSAGES)
    assert longer["prefixes"][:2] == shorter["prefixes"]
    assert longer["ends"][:2] == shorter["ends"]


def test_a_long_section_has_boundaries_within() -> None:
    words = [f"rule-{number:06d}" for number in range(2000)]
    one = prompt(
        {"gen_ai.system_instructions": " ".join([*words, "Today is Monday"]), "gen_ai.input.messages": "Hi"}
    )
    other = prompt(
        {"gen_ai.system_instructions": " ".join([*words, "Today is Friday"]), "gen_ai.input.messages": "Hi"}
    )
    assert one["parts"] == ["system*"] * 5 + ["system", "message"]
    assert one["ends"][:5] == [4096, 8192, 12288, 16384, 20480]
    same = [a == b for a, b in zip(one["prefixes"], other["prefixes"], strict=True)]
    assert same == [True] * 5 + [False, False]
    same = [a == b for a, b in zip(one["texts"], other["texts"], strict=True)]
    assert same == [True] * 5 + [False, True]


def test_the_boundaries_of_a_long_conversation_are_few_and_the_same_in_a_longer_one() -> None:
    messages = [{"role": "user", "content": f"message {number}"} for number in range(2000)]
    long, longer = of_messages(*messages[:1000]), of_messages(*messages)
    assert len(long["prefixes"]) == len(longer["prefixes"]) == 16 + 12 + 28
    assert long["prefixes"] == longer["prefixes"]
    assert long["hash"] != longer["hash"]


def test_deep_and_large_values_are_no_danger() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    assert prompt({"gen_ai.input.messages": json.dumps(deep)})["hash"]
    assert prompt({"gen_ai.input.messages": "{}," * 600_000})["bytes"] == 1_800_000


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from(
            (
                *(
                    "gen_ai.input.messages",
                    "gen_ai.prompt",
                    "gen_ai.system_instructions",
                    "gen_ai.tool.definitions",
                ),
                *(
                    "gen_ai.prompt.0.content",
                    "gen_ai.prompt.0.role",
                    f"gen_ai.prompt.{'9' * 5000}.content",
                    "a.prompt",
                ),
                *("llm.tools.1.tool.json_schema", "llm.input_messages.2.message.content", "b.prompt"),
            )
        ),
        st.one_of(VALUES, VALUES.map(json.dumps), VALUES.map(repr)),
    )
)
def test_whatever_stands_there_a_record_is_stored(attributes: dict[str, Any]) -> None:
    """And what is told of it is complete, and the same in any order of its attributes."""
    told = evidence(attributes).get("prompt")
    assert told == evidence(dict(reversed(attributes.items()))).get("prompt")
    if told is not None:
        assert len({len(told[name]) for name in ("parts", "prefixes", "texts", "ends")}) == 1
        assert told["ends"] == sorted(told["ends"])
        assert told["ends"][-1] <= told["bytes"]


# --- tables ----------------------------------------------------------------------------------------


def test_a_part_that_there_is_not_is_refused() -> None:
    row = {"key": "a.prompt", "class": "prompts", "prompt": "beginning"}
    with pytest.raises(ValueError, match="no such part of a prompt"):
        compile_tables([{"name": "a", "rank": 1, "content": [row]}])


def test_an_error_and_a_query_are_no_prompt() -> None:
    message = traces_message(
        {**GENAI, "gen_ai.retrieval.query.text": "x", "langfuse.observation.status_message": "y"}
    )
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.status.message = "no"
    span.end_time_unix_nano = END
    [row] = read(message, settings=HASHED).spans.to_pylist()
    assert list(json.loads(row["evidence"])) == ["gated"]
