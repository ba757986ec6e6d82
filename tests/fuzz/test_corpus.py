"""The saved corpus, read without the fuzzer.

Guarantee: what once went wrong stays right; every seed is still read as what it is.
"""

from __future__ import annotations

import time

import pytest

from semconv.settings import Encoding, Signal
from tests.fuzz.decode import SETTINGS, check_input, check_request, choice
from tests.fuzz.seeds import CORPUS, JSON, PROTOBUF, seeds
from tests.otlp_messages import REQUESTS

# Of a core; the slowest of the corpus takes some 10 ms.
SECONDS_EACH = 5.0


def test_every_saved_input_is_read_or_refused_in_time() -> None:
    files = sorted(CORPUS.iterdir())
    assert len(files) > 50
    for path in files:
        start = time.thread_time()
        try:
            check_input(path.read_bytes())
        except Exception as error:
            error.add_note(f"the input is {path.name}")
            raise
        assert time.thread_time() - start < SECONDS_EACH, path.name


def test_the_seeds_are_those_of_the_script() -> None:
    saved = {path.name.removeprefix("seed-"): path.read_bytes() for path in CORPUS.glob("seed-*")}
    # zlib and zstd may compress otherwise in another version.
    compressed = ("gzip", "deflate", "zstd")
    expected = dict(seeds())
    assert sorted(saved) == sorted(expected)
    for name, content in expected.items():
        assert saved[name] == content or name.startswith(compressed), name


@pytest.mark.parametrize(
    ("encoding", "numbers"), [("protobuf", PROTOBUF), ("json", JSON)], ids=["protobuf", "json"]
)
@pytest.mark.parametrize("signal", REQUESTS)
def test_each_kind_of_request_is_among_the_seeds(
    signal: Signal, encoding: Encoding, numbers: dict[Signal, int]
) -> None:
    """A seed that were refused would leave the fuzzer outside."""
    names = [name for name, _ in seeds() if name.startswith(f"{signal}-{encoding}-")]
    contents = dict(seeds())
    read = []
    for name in names:
        assert contents[name][:1] == choice(numbers[signal])
        read.append(check_request(signal, encoding, contents[name][1:], SETTINGS[0]))
    assert set(read) <= {1, 2}
    assert len(read) >= 8
