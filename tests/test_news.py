"""Waiting for something to change."""

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from mma_runtime.news import News


async def test_all_who_wait_are_woken_once() -> None:
    news = News()
    woken: list[str] = []

    async def wait(name: str) -> None:
        await news.wait()
        woken.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "a")
        group.start_soon(wait, "b")
        await wait_all_tasks_blocked()
        news.tell()

    assert sorted(woken) == ["a", "b"]


async def test_what_changed_before_is_not_news() -> None:
    news = News()
    news.tell()

    with pytest.raises(TimeoutError), anyio.fail_after(0):
        await news.wait()


async def test_a_cancelled_wait_leaves_the_others_waiting() -> None:
    news = News()
    scope = anyio.CancelScope()
    woken: list[str] = []

    async def wait() -> None:
        await news.wait()
        woken.append("other")

    async def give_up() -> None:
        with scope:
            await news.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(give_up)
        group.start_soon(wait)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert not woken
        news.tell()

    assert woken == ["other"]
