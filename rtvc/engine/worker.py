"""The thread of a chain: builds it, and runs every use of it."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from rtvc.engine.chain import Chain
from rtvc.engine.thread_pool import Job, next_call, run_in_pool
from rtvc.settings import Settings
from rtvc.system.background import pause_no_more, pause_when_urgent
from rtvc.system.thread_priority import raise_thread_priority, yield_thread_priority

R = TypeVar("R")
_Call = tuple[Callable[[Chain], Any], "Future[Any]"]

LOAD_LIMIT_S = 120.0
"""Time that a voice may take to load, or to be fed, before nothing waits for it any more."""


class Worker:
    """Builds a chain on a thread of its own, and then runs calls with it there.

    MLX objects belong to the thread that created them, so each chain has its own thread.

    Parameters
    ----------
    build
        Returns the chain.
    background
        Whether it is built, and used until `promote`, with low priority.

    Attributes
    ----------
    ready
        Set once either `chain` or `error` is set.
    chain
        The chain, or None if it is not built yet or failed to build.
    error
        The exception that `build` raised, or None.
    """

    def __init__(self, build: Callable[[], Chain], *, background: bool = False) -> None:
        self._build, self._background = build, background
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self.ready = threading.Event()
        self.error: BaseException | None = None
        self.chain: Chain | None = None
        self._due_s = time.monotonic() + LOAD_LIMIT_S
        """When the thread must be done with what it does now."""
        self._job: Job | None = None
        try:
            self._job = run_in_pool(self._run, "rtvc chain")
        except RuntimeError as error:  # the system starts no more threads
            self.error = error.with_traceback(None)
            self.ready.set()

    @property
    def dead(self) -> bool:
        """Whether its thread runs no more calls."""
        return self._job is None or self._job.done

    @property
    def hangs(self) -> bool:
        """Whether it has built, or run one call, for longer than `LOAD_LIMIT_S`, or is abandoned.

        Not once its thread has come back.
        """
        if self._job is None or self._job.done:
            return False
        return self._job.thread.abandoned or time.monotonic() > self._due_s

    def wait(self) -> bool:
        """Wait until the chain is built or has failed; return False after `LOAD_LIMIT_S`."""
        return self.ready.wait(LOAD_LIMIT_S)

    def submit(self, use: Callable[[Chain], R]) -> Future[R]:
        """Run `use` with the chain on its thread, after all earlier calls."""
        result: Future[R] = Future()
        self._calls.put((use, result))
        return result

    def promote(self) -> None:
        """Run further calls with high priority: they have deadlines."""
        self.submit(lambda _: _hurry())

    def demote(self) -> None:
        """Run further calls with low priority, until `promote`: another chain converts."""
        self.submit(lambda _: work_in_background())

    def renew(self, settings: Settings) -> Future[None]:
        """Replace the chain by one at time 0, after all earlier calls; see `Chain.renewed`."""

        def use(chain: Chain) -> None:
            self.chain = chain.renewed(settings)

        return self.submit(use)

    def close(self) -> None:
        """Use the thread for other work once all calls have run; safe to repeat."""
        self._calls.put(None)

    def abandon(self) -> None:
        """Close it, and never wait for its thread again."""
        if self._job is not None:
            self._job.abandon()
        self.close()

    def _run(self) -> None:
        if self._background:
            work_in_background()
        try:
            self.chain = self._build()
        except BaseException as error:
            # A live run collects no garbage: what was loaded would stay, and so would this object.
            traceback.clear_frames(error.__traceback__)
            self.error = error
        self.ready.set()
        if self.chain is None:
            del self
            return
        self._due_s = math.inf
        while call := next_call(self._calls):
            use, result = call
            self._due_s = time.monotonic() + LOAD_LIMIT_S
            try:
                result.set_result(use(self.chain))
            except BaseException as error:
                result.set_exception(error)
            self._due_s = math.inf
            # Keep no references to arguments and results while this thread waits.
            del call, use, result


def work_in_background() -> None:
    """Give the calling thread a low priority, and let it pause while a step is computed."""
    yield_thread_priority()
    pause_when_urgent()


def _hurry() -> None:
    pause_no_more()
    raise_thread_priority()
