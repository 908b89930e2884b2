"""Calls into a sound system that may never come back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class TimeoutCall(Generic[T]):
    """A call that runs in a daemon thread of its own, so that one can stop waiting for it."""

    def __init__(self, action: Callable[[], T]) -> None:
        self._action = action
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="rtvc audio call", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._action())
        except BaseException as error:
            self._error = error

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds, and return whether the call has come back."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def result(self) -> T:
        """Return what the call returned, or raise what it raised; only once it has come back."""
        if self._error:
            raise self._error
        return self._results[0]
