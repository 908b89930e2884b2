"""A thread for what blocks, which nothing waits for at the program's end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue


class BackgroundThread:
    """Calls functions one after the other. Their exceptions are theirs to report.

    It is a daemon: a device or a subprocess that hangs does not keep the program from ending.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, act: Callable[..., object], *args: object) -> threading.Event:
        """Call `act` after the calls before it; return an event that is set then."""
        done = threading.Event()

        def call() -> None:
            try:
                act(*args)
            finally:
                done.set()

        self._calls.put(call)
        return done

    def end(self) -> None:
        """End after the calls that were submitted before; does not wait."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            with contextlib.suppress(Exception):
                call()
