"""Answers questions that came together: each by itself, and what becomes ready in one turn of the event loop leaves in
one piece. Knows no model.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from app.contract.frames import Answer, pack_answer

#: Gives the answer to a question, be it a refusal; never raises but for its cancellation.
Answering = Callable[[int, bytes], Awaitable[Answer]]


async def answers(bodies: Iterable[bytes], answering: Answering) -> AsyncGenerator[bytes, None]:
    """Records of answers, in pieces. Whoever stops listening cancels what is not answered yet."""
    ready: list[bytes] = []
    news = asyncio.Event()

    async def answered(number: int, body: bytes) -> None:
        ready.append(pack_answer(await answering(number, body)))
        news.set()

    tasks = [asyncio.create_task(answered(number, body)) for number, body in enumerate(bodies)]
    try:
        num_left = len(tasks)
        while num_left:
            await news.wait()
            news.clear()
            num_left -= len(ready)
            yield b"".join(ready)
            ready.clear()
    finally:
        for task in tasks:
            task.cancel()
