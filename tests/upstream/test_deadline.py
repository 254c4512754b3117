"""The deadline of a call means what `asyncio.timeout` means."""

import asyncio

import pytest

from gateway.upstream.deadline import Deadline


async def test_what_ends_in_time_is_left_alone() -> None:
    with Deadline(5):
        await asyncio.sleep(0)
    with pytest.raises(KeyError), Deadline(5):
        raise KeyError


async def test_what_does_not_end_is_ended_and_the_task_lives_on() -> None:
    with pytest.raises(TimeoutError), Deadline(0.01):
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def work() -> None:
        with Deadline(5):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_with_the_deadline_is_not_swallowed() -> None:
    async def work() -> None:
        with Deadline(0.01):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                # The deadline is over; now somebody outside cancels, too.
                task.cancel()
                raise

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_outer_of_two_deadlines_ends_both() -> None:
    with pytest.raises(TimeoutError, match=r"0\.01 s"), Deadline(0.01), Deadline(5):
        await asyncio.Event().wait()
