"""Messages on their way while memory is short, by what the process is said to hold."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from collector.receivers import memory as memory_module
from collector.receivers.memory import Memory
from collector.receivers.status import Unavailable

LIMIT = 1000


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


async def arriving(memory: Memory, order: list[int], number: int, seconds: float = 20.0) -> None:
    """A message that never arrives; adds its number to ``order`` when it is cut off."""
    with pytest.raises(Unavailable):
        async with memory.arrival(seconds):
            await asyncio.sleep(60)
    order.append(number)


def test_a_message_that_takes_too_long_is_refused_with_the_reason() -> None:
    async def scenario() -> None:
        memory = Memory(LIMIT, lambda: 0)
        with pytest.raises(Unavailable, match=r"did not arrive within 0\.05 s"):
            async with memory.arrival(0.05):
                await asyncio.sleep(60)
        assert memory.arriving == 0

    run(scenario())


def test_while_memory_is_short_some_are_cut_off_until_it_is_not() -> None:
    """The oldest goes first, never all at once, and those that are left arrive."""

    async def scenario() -> None:
        order: list[int] = []
        memory = Memory(LIMIT, lambda: LIMIT + 1 if len(order) < 3 else LIMIT)
        tasks = [asyncio.create_task(arriving(memory, order, number)) for number in range(8)]
        while len(order) < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert order[0] == 0
        assert 7 not in order
        assert memory.arriving == 8 - len(order) >= 2
        for task in tasks:
            task.cancel()

    run(scenario())


def test_where_memory_stays_short_the_newest_still_arrive() -> None:
    """Memory that somebody else takes must not refuse everybody for ever."""

    async def scenario() -> None:
        order: list[int] = []
        memory = Memory(LIMIT, lambda: LIMIT + 1)
        slow = [asyncio.create_task(arriving(memory, order, number)) for number in range(8)]
        while len(order) < 6:
            await asyncio.sleep(0.01)
        async with memory.arrival(5):
            await asyncio.sleep(0.2)
        for task in slow:
            task.cancel()

    run(scenario())


def test_a_message_says_that_memory_was_short() -> None:
    async def scenario() -> None:
        memory = Memory(LIMIT, lambda: LIMIT + 1)
        held = [asyncio.create_task(arriving(memory, [], 0)) for _ in range(2)]
        with pytest.raises(Unavailable, match="memory is short"):
            async with memory.arrival(20):
                held += [asyncio.create_task(arriving(memory, [], 0)) for _ in range(4)]
                await asyncio.sleep(60)
        for task in held:
            task.cancel()

    run(scenario())


def test_where_nobody_says_how_much_is_used_few_arrive_at_a_time() -> None:
    async def scenario() -> None:
        memory = Memory(LIMIT, lambda: None)
        order: list[int] = []
        tasks = [asyncio.create_task(arriving(memory, order, number)) for number in range(17)]
        await asyncio.sleep(0.2)
        assert order == [16]
        assert memory.arriving == 16
        for task in tasks:
            task.cancel()

    run(scenario())


def test_memory_is_given_back_after_a_large_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again later: senders keep some of it until they close."""
    monkeypatch.setattr(memory_module, "_GIVE_BACK_SECONDS", 0.02)
    given: list[int] = []
    monkeypatch.setattr(memory_module, "give_back", lambda: given.append(1))

    async def scenario() -> None:
        memory = Memory(LIMIT, lambda: 0)
        memory.give_back_soon()
        assert not given
        while len(given) < 3:
            await asyncio.sleep(0.01)

    run(scenario())
