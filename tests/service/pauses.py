"""Pauses of background tasks that a test ends, so that it waits for none of them."""

import asyncio


class Pauses:
    """Takes the place of `asyncio.sleep`: records each pause, and ends it when the test says so."""

    def __init__(self) -> None:
        self._new: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()

    async def __call__(self, seconds: float) -> None:
        end = asyncio.Event()
        self._new.put_nowait((seconds, end))
        await end.wait()

    async def next(self) -> tuple[float, asyncio.Event]:
        """The next pause that begins: its seconds, and the event that ends it."""
        async with asyncio.timeout(10):
            return await self._new.get()

    async def end_next(self) -> float:
        """End the next pause that begins, and return its seconds."""
        seconds, end = await self.next()
        end.set()
        return seconds
