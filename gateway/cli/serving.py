"""`skillway serve`: one process or several on one socket, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from gateway.app import bind
from gateway.app import serve as serve_until
from gateway.checkup import others_may_write
from gateway.cli import output
from gateway.cli.operator import misconfigured, run, settings_of, settings_options
from gateway.installation import open_installation, read_catalog
from gateway.logs import set_up
from gateway.operator_file import BadSetting, Installation
from gateway.settings import Settings, check_together, options

#: prctl(2).
_PR_SET_DUMPABLE = 4
#: mallopt(3). Set, the threshold no longer grows with what was freed.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE = 256 * 1024


@click.command()
@settings_options
@click.option("--host", help="Address to listen on (127.0.0.1).")
@click.option("--port", help="Port to listen on (8700); 0 takes a free one.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on the one socket."
)
@click.option("--help-settings", is_flag=True, help="List every setting with its default, and leave.")
def serve(workers: int, help_settings: bool, **flags: Any) -> None:
    """Run the gateway until SIGTERM, which lets calls in flight finish. SIGHUP reads the catalog again.

    \b
    skillway serve --port 8700 --workers 2
    """
    if help_settings:
        for name, default, help in options():
            print(f"{name}  (default: {default})\n    {help}")
        return
    # What is loaded from here on stays: there is no rubbish to look for before the gateway serves.
    gc.disable()
    settings, installation = settings_of(**flags)
    set_up(settings.effective_log_format())
    _keep_memory_private()
    _give_memory_back()
    # Until there is a catalog there is nothing to reload, and the default would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        listening = bind(settings)
    except BadSetting as error:
        raise misconfigured(str(error)) from None
    if others_may_write(settings.config):
        output.warn(f"others may write {settings.config}: chmod go-w {settings.config}")
    with listening:
        _serve(settings, installation, listening, workers)


def _serve(settings: Settings, installation: Installation, listening: socket.socket, workers: int) -> None:
    if workers > 1:
        # The schema and the master key are made once, before there are several who could; what is wrong is said once.
        run(_prepare(settings, installation))
        leader = _fork(workers, listening)
    else:
        leader = True

    async def until_told() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stopper(stop))
        early = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, early.set)

        def on_reload(again: Callable[[], object]) -> None:
            loop.add_signal_handler(signal.SIGHUP, again)
            if early.is_set():
                # It was asked for between the reading of the files and now.
                again()

        await serve_until(
            settings,
            installation,
            listening,
            announce=lambda url: print(f"listening on {url}", flush=True) if leader else None,
            stop=stop,
            reload=on_reload,
        )

    import uvloop

    uvloop.install()
    run(until_told())


def _keep_memory_private() -> None:
    """No core file, and no look into this process for others of the same user: its memory holds secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _give_memory_back() -> None:
    """Large buffers go back to the system when they are freed, whichever thread had them, instead of lying in its heap."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_ARENA_MAX, 2)


def _stopper(stop: asyncio.Event) -> Callable[[], None]:
    def told() -> None:
        if stop.is_set():
            # The second signal: somebody does not want to wait for the calls in flight.
            os._exit(1)
        stop.set()

    return told


async def _prepare(settings: Settings, installation: Installation) -> None:
    read_catalog(installation)
    check_together(settings, installation)
    async with open_installation(settings):
        pass


def _fork(workers: int, listening: socket.socket) -> bool:
    """Makes the worker processes; returns in each of them. The parent hands signals on and never returns."""
    children: list[int] = []
    for number in range(workers):
        child = os.fork()
        if child == 0:
            return number == 0
        children.append(child)
    # Who connects while the workers drain shall be refused, and not wait on a socket that nobody serves.
    listening.close()

    def hand_on(number: int, _frame: object) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, hand_on)
    first_failure = 0
    while children:
        child, status = os.wait()
        children.remove(child)
        if status != 0 and first_failure == 0:
            # One that died takes the others along: the supervisor outside starts all of them anew.
            code = os.waitstatus_to_exitcode(status)
            # A second SIGTERM ends a worker that has closed its loop by itself: the same as `_stopper` does.
            told_twice = code in (-signal.SIGTERM, -signal.SIGINT)
            first_failure = 1 if told_twice else code if code > 0 else 128 - code
            hand_on(signal.SIGTERM, None)
    os._exit(first_failure)
