"""Server-sent events: a page that is told what is new, without asking again and again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from unvanish.recording.layout import to_json

KEEP_ALIVE: Final = 10.0
"""Seconds of silence after which a comment is sent, so that a closed page is noticed."""


def event_stream(request: Request, messages: AsyncIterator[Any]) -> StreamingResponse:
    """An answer that sends every message as one event, until the page leaves or the server ends.

    Messages are what JSON can hold; ``None`` is a sign of life only.
    """

    async def lines() -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        async for message in messages:
            if request.app.state.stopping:
                return
            yield ": \n\n" if message is None else f"data: {to_json(message)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


async def polled(
    request: Request, look: Callable[[], Any], every: float = 0.25
) -> AsyncIterator[Any]:
    """What ``look`` gives, in a thread, whenever it differs from what it gave before.

    Args:
        request: of the page that listens.
        look: what is there now; anything that JSON can hold.
        every: seconds between looks.

    Yields:
        The new state, or ``None`` as a sign of life.
    """
    before: Any = object()
    spoke = time.monotonic()
    while not request.app.state.stopping:
        now = await run_in_threadpool(look)
        if now != before:
            yield now
            before, spoke = now, time.monotonic()
        elif time.monotonic() - spoke > KEEP_ALIVE:
            yield None
            spoke = time.monotonic()
        await asyncio.sleep(every)
