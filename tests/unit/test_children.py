"""The loader's keeper and children that behave badly, on the event loop that the server runs on."""

from __future__ import annotations

import asyncio

import uvloop

from collector.children import LoaderKeeper

# Lives on for a moment with the pipe closed that it is told news through.
DEAF = ("sh", "-c", "exec <&-; sleep 0.5")


def test_a_child_that_is_told_news_as_it_goes_is_started_again() -> None:
    """Whatever the pipe says at that moment: a keeper that ended with it would leave the spool to fill up."""

    async def keep() -> int:
        keeper = LoaderKeeper(DEAF, {}, lambda _message: None)
        keeper.start()
        for offset in range(200):
            keeper.tell_durable((1, offset))
            await asyncio.sleep(0.05)
            if keeper.restarts >= 2:
                break
        await keeper.stop(1.0)
        return keeper.restarts

    assert uvloop.run(keep()) >= 2
