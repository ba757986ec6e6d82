"""Tokens that are renewed while the server runs, and who may read metrics."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from collector.access import Access
from collector.config import Config, ConfigError
from collector.receivers.auth import ANYBODY, Authenticator
from collector.receivers.status import Unauthenticated

A, B, C, METRICS = "a" * 16, "b" * 16, "c" * 16, "m" * 16


class Door:
    """Two senders, whose tokens are in files, and the metrics."""

    def __init__(self, folder: Path, **values: Any) -> None:
        self.a, self.b, self.metrics = folder / "a", folder / "b", folder / "metrics"
        self.a.write_text(A)
        self.b.write_text(B)
        self.metrics.write_text(METRICS)
        tokens = [
            {"name": "team-a", "token_file": self.a, "tenant": "a"},
            {"name": "team-b", "token_file": self.b},
        ]
        config = Config(data_dir=folder, tokens=tokens, metrics_token={"token_file": self.metrics}, **values)
        self.senders = Authenticator({})
        self.access = Access(config, self.senders)

    def who(self, token: str) -> str | None:
        """The name that a sender with this token has; None: refused."""
        try:
            return self.senders.authenticate(f"Bearer {token}").name
        except Unauthenticated:
            return None

    def reads_metrics(self, token: str) -> bool:
        try:
            self.access.authorize(f"Bearer {token}")
        except Unauthenticated:
            return False
        return True


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.getMessage()}: {record.fields}" for record in caplog.records]  # type: ignore[attr-defined]


def test_a_renewed_token_opens_and_the_one_before_does_not(door: Door) -> None:
    assert (door.who(A), door.who(B), door.who(C)) == ("team-a", "team-b", None)
    door.a.write_text(C)
    assert door.who(C) is None
    door.access.refresh()
    assert (door.who(A), door.who(B), door.who(C)) == (None, "team-b", "team-a")
    assert door.senders.authenticate(f"bearer {C}").tenant == "a"


@pytest.mark.parametrize("content", ["", "short", "with a space in it", "é" * 20, None, "x" * 5000])
def test_a_file_that_cannot_be_used_leaves_the_token_before(
    door: Door, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    """Half-written, gone or wrong: its senders are not cut off. It is logged once, without the content."""
    caplog.set_level(logging.INFO)
    door.a.unlink() if content is None else door.a.write_text(content)
    door.b.write_text(C)
    for _ in range(3):
        door.access.refresh()
    assert (door.who(A), door.who(B), door.who(C)) == ("team-a", None, "team-b")
    lines = logged(caplog)
    assert sum("cannot be renewed" in line and "team-a" in line for line in lines) == 1
    assert not any(secret in line for line in lines for secret in (content or A, A, B, C) if secret)
    door.a.write_text("d" * 16)
    door.access.refresh()
    assert (door.who(A), door.who("d" * 16)) == (None, "team-a")


def test_a_mistake_that_comes_back_is_logged_again(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    for content in ("short", A, "short"):
        door.a.write_text(content)
        door.access.refresh()
    assert sum("cannot be renewed" in line for line in logged(caplog)) == 2


def test_two_senders_can_swap_their_tokens(door: Door) -> None:
    door.a.write_text(B)
    door.b.write_text(A)
    door.access.refresh()
    assert (door.who(A), door.who(B)) == ("team-b", "team-a")


@pytest.mark.parametrize("other", [B, METRICS])
def test_a_token_cannot_become_the_same_as_another(
    door: Door, caplog: pytest.LogCaptureFixture, other: str
) -> None:
    """Whoever has it would be two; what reads metrics would send. The rest is renewed all the same."""
    door.a.write_text(other)
    door.access.refresh()
    assert (door.who(A), door.who(B), door.who(METRICS)) == ("team-a", "team-b", None)
    assert any("the same as another token" in line for line in logged(caplog))


def test_the_token_of_the_metrics_is_renewed_too_and_never_sends(door: Door) -> None:
    assert door.who(METRICS) is None
    assert [door.reads_metrics(token) for token in (METRICS, A)] == [True, False]
    door.metrics.write_text("n" * 16)
    door.access.refresh()
    assert [door.reads_metrics(token) for token in (METRICS, "n" * 16)] == [False, True]
    assert door.who("n" * 16) is None


def test_without_a_token_of_their_own_metrics_open_to_senders(tmp_path: Path) -> None:
    access = Access(Config(data_dir=tmp_path, tokens=[{"name": "a", "token": A}]), Authenticator({}))
    access.authorize(f"Bearer {A}")
    for header in (None, "", A, f"Basic {A}", f"Bearer {B}"):
        with pytest.raises(Unauthenticated):
            access.authorize(header)


def test_without_any_tokens_everybody_sends_and_reads(tmp_path: Path) -> None:
    senders = Authenticator({})
    Access(Config(data_dir=tmp_path), senders).authorize(None)
    assert senders.authenticate(None) is ANYBODY


def test_a_token_of_the_metrics_alone_asks_no_sender_for_one(tmp_path: Path) -> None:
    """On loopback, or behind mutual TLS: it says nothing about who may send."""
    senders = Authenticator({})
    access = Access(Config(data_dir=tmp_path, metrics_token={"token": METRICS}), senders)
    assert senders.authenticate(None) is ANYBODY
    with pytest.raises(Unauthenticated):
        access.authorize(None)


def test_what_cannot_be_used_at_the_start_ends_it(tmp_path: Path) -> None:
    """There is no token before it that could stay."""
    (tmp_path / "token").write_text("short")
    config = Config(data_dir=tmp_path, tokens=[{"name": "a", "token_file": tmp_path / "token"}])
    with pytest.raises(ConfigError, match="token_file of token 'a': a token is at least 16"):
        Access(config, Authenticator({}))
