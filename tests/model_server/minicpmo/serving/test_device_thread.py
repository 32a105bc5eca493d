from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from model_server.engine import EngineFailed
from model_server.minicpmo.replies.steps import Step, Steps, asked
from model_server.minicpmo.scheduling.batcher import Running
from model_server.minicpmo.serving.device_thread import DeviceThread


class Broken(Exception):
    """A card that is gone."""


@pytest.fixture
async def device() -> AsyncIterator[DeviceThread]:
    device = DeviceThread(lambda error: isinstance(error, Broken))
    device.start()
    yield device
    await device.aclose()


async def held(device: DeviceThread, gate: threading.Event) -> asyncio.Task[None]:
    """The thread is busy until `gate` is set."""
    began, loop = asyncio.Event(), asyncio.get_running_loop()

    def hold() -> None:
        loop.call_soon_threadsafe(began.set)
        gate.wait()

    holding = asyncio.create_task(device.run(hold, 0.0))
    await began.wait()
    return holding


async def test_what_is_due_first_runs_first(device: DeviceThread) -> None:
    gate, order = threading.Event(), list[int]()
    first = await held(device, gate)
    rest = [
        asyncio.create_task(device.run(partial(order.append, number), due))
        for number, due in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 1.0))
    ]
    await asyncio.sleep(0)
    assert device.waiting == 4
    gate.set()
    await asyncio.gather(first, *rest)
    assert order == [2, 4, 3, 1]


async def test_all_work_runs_on_one_thread_and_errors_are_the_caller_s(device: DeviceThread) -> None:
    names = {await device.run(lambda: threading.current_thread().name, 0.0) for _ in range(3)}
    assert names == {"network"}
    with pytest.raises(ZeroDivisionError):
        await device.run(lambda: 1 // 0, 0.0)
    assert await device.run(lambda: 7, 0.0) == 7


async def test_work_that_nobody_waits_for_is_left_out(device: DeviceThread) -> None:
    gate, ran = threading.Event(), list[str]()
    first = await held(device, gate)
    given_up = asyncio.create_task(device.run(lambda: ran.append("given up"), 1.0))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    gate.set()
    await first
    await device.run(lambda: ran.append("last"), 2.0)
    assert ran == ["last"]


@pytest.mark.parametrize("error", [SystemExit("killed"), Broken("the card fell off the bus")])
async def test_a_thread_that_dies_tells_everybody(device: DeviceThread, error: BaseException) -> None:
    gate = threading.Event()

    def die() -> None:
        gate.wait()
        raise error

    told = asyncio.create_task(device.death())
    dying = asyncio.create_task(device.run(die, 0.0))
    waiting = asyncio.create_task(device.run(lambda: None, 1.0))
    await asyncio.sleep(0)
    gate.set()
    outcomes = await asyncio.gather(dying, waiting, return_exceptions=True)
    assert all(isinstance(outcome, EngineFailed) for outcome in outcomes)
    assert str(error) in await told
    with pytest.raises(EngineFailed, match=str(error)):
        await device.run(lambda: None, 2.0)


async def test_a_closed_thread_takes_nothing(device: DeviceThread) -> None:
    gate = threading.Event()
    running = await held(device, gate)
    waiting = asyncio.create_task(device.run(lambda: None, 1.0))
    await asyncio.sleep(0)
    closing = asyncio.create_task(device.aclose())
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(running, closing)
    for work in (waiting, device.run(lambda: None, 2.0)):
        with pytest.raises(EngineFailed, match="the engine is closed"):
            await work
    await device.aclose()


class Doing(Step[int]):
    """A step that does as it is told."""

    def __init__(self, work: Callable[[], int]) -> None:
        self._work = work

    def alone(self) -> int:
        return self._work()


def made(work: Callable[[], int], steps: int = 1) -> Running[int]:
    def run() -> Steps[int]:
        total = 0
        for _ in range(steps):
            total += yield from asked(Doing(work))
        yield total

    return Running(run())


async def test_replies_are_pulled_thing_by_thing(device: DeviceThread) -> None:
    running = made(lambda: 2, steps=3)
    assert await device.pull(running, 0.0) == 6
    assert await device.pull(running, 0.0) is None
    with pytest.raises(ZeroDivisionError):
        await device.pull(made(lambda: 1 // 0), 0.0)
    assert await device.run(lambda: 7, 0.0) == 7


async def test_work_that_is_due_earlier_comes_between_the_steps_of_a_reply(device: DeviceThread) -> None:
    gate, order, loop = threading.Event(), list[str](), asyncio.get_running_loop()
    began = asyncio.Event()

    def step() -> int:
        order.append("step")
        if len(order) == 1:
            loop.call_soon_threadsafe(began.set)
            gate.wait()
        return 0

    pull = asyncio.create_task(device.pull(made(step, steps=3), 2.0))
    await began.wait()
    job = asyncio.create_task(device.run(lambda: order.append("job"), 1.0))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(pull, job)
    assert order == ["step", "job", "step", "step"]


async def test_a_reply_that_is_closed_tells_who_waits(device: DeviceThread) -> None:
    gate = threading.Event()
    first = await held(device, gate)
    running = made(lambda: 1)
    pull = asyncio.create_task(device.pull(running, 2.0))
    closing = asyncio.create_task(device.run(running.close, 1.0))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, closing)
    assert await pull is None


def fall() -> int:
    raise Broken("the card fell off the bus")


async def test_a_step_that_breaks_the_card_ends_the_thread(device: DeviceThread) -> None:
    gate = threading.Event()
    first = await held(device, gate)
    pulls = [asyncio.create_task(device.pull(made(work), due)) for due, work in enumerate((fall, lambda: 1))]
    await asyncio.sleep(0)
    gate.set()
    await first
    outcomes = await asyncio.gather(*pulls, return_exceptions=True)
    assert all(isinstance(outcome, EngineFailed) for outcome in outcomes)
    assert "fell off the bus" in await device.death()
