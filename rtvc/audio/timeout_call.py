"""Call a function that may never return, with a timeout."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class TimeoutCall(Generic[T]):
    """A call that runs in its own daemon thread, so that the caller can stop waiting for it.

    Calls into the sound system may hang after a device was lost.
    """

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
        """Wait up to `timeout` seconds; return whether the call has returned."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def result(self) -> T:
        """Return the call's result or raise its exception; only after it has returned."""
        if self._error:
            raise self._error
        return self._results[0]
