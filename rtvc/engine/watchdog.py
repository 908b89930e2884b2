"""A limit for the time that a step may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from rtvc.audio.endpoint import Endpoint
from rtvc.engine.chain import Chain
from rtvc.engine.worker import Worker

R = TypeVar("R")

STEP_LIMIT_S = 2.0
"""Time that a step may take."""
_MAX_TICK_S = 0.05
"""Longest time that one tick may add: more has passed while the program did not run, because it
was stopped, the machine slept, or the interpreter was held."""
_STOP_LIMIT_S = 0.25
"""Time that a step may take once the engine is to stop."""


class NoResponseError(Exception):
    """A call did not end within its limit, or its thread has ended."""


class Watchdog:
    """Waits for calls on a worker's thread, up to a limit.

    The limit counts the time in which the program runs. Only the engine thread calls `ask`, `wait`
    and `stop_requested`; any thread may call the others.

    Parameters
    ----------
    endpoint
        Whose clock counts. Without deadlines there is no limit.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._stop_at = 0.0
        self._running = False
        self._spent_s = 0.0
        self._last: float | None = None

    def tick(self) -> None:
        """Measure the call in progress; called every few milliseconds."""
        if self._running:
            now = self._endpoint.now()
            last, self._last = self._last, now
            if last is not None:
                self._spent_s += min(max(now - last, 0.0), _MAX_TICK_S)
            if self._expired:
                self._wake.set()

    def request_stop(self) -> None:
        """Shorten the limit: the engine is to stop."""
        self._stop_at = time.monotonic()
        self._stop.set()
        self._wake.set()

    @property
    def stop_requested(self) -> bool:
        """Whether the engine is to stop."""
        return self._stop.is_set()

    def wait(self, seconds: float) -> None:
        """Wait on the wall clock, until a stop is requested."""
        self._stop.wait(seconds)

    def ask(self, worker: Worker, use: Callable[[Chain], R]) -> R:
        """Return the result of a call on the worker's thread.

        Raises
        ------
        NoResponseError
            If it does not end in time.
        Exception
            Whatever the call raises.
        """
        result = worker.submit(use)
        result.add_done_callback(lambda _: self._wake.set())
        self._spent_s, self._last, self._running = 0.0, None, True
        try:
            while not result.done():
                if worker.dead:
                    raise NoResponseError("The thread of the engine has ended.")
                if self._expired or self._stop_is_overdue():
                    raise NoResponseError(f"The engine did not respond for {STEP_LIMIT_S:g} s.")
                self._wake.wait(_MAX_TICK_S)
                self._wake.clear()
                if self._endpoint.realtime:
                    self.tick()  # the heartbeat may have ended
            return result.result()
        finally:
            self._running = False
            del result  # its error leads back here: only a garbage collection would release both

    @property
    def _expired(self) -> bool:
        return self._spent_s >= STEP_LIMIT_S

    def _stop_is_overdue(self) -> bool:
        limit = _STOP_LIMIT_S if self._endpoint.realtime else STEP_LIMIT_S
        return self._stop.is_set() and time.monotonic() > self._stop_at + limit
