"""Waiting for the thing itself, never for time to pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], bool | Awaitable[bool]],
    seconds: float = 10,
    seen: Callable[[], str] = lambda: "",
) -> None:
    """Poll until `condition` holds; fail after `seconds`, and say what was `seen` then."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if isinstance(answer, bool):
            held = answer
        else:
            held = await answer
        if held:
            return
        if time.monotonic() > deadline:
            message = f"did not become true within {seconds} s {seen()}".rstrip()
            raise AssertionError(message)
        await asyncio.sleep(0.02)  # a poll of the condition, not a wait for luck
