"""The engine's thread: it owns one chain, from building it to the last step."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from rtvc.engine.chain import Chain
from rtvc.system.thread_priority import begin_as_equal


def leave_this_thread() -> None:
    """End what MLX has running for the calling thread: its last act.

    MLX does so by itself when a thread has ended, but if the program ends meanwhile it aborts.
    """
    mlx = sys.modules.get("mlx.core")
    if mlx is not None:
        mlx.clear_streams()


class Worker(threading.Thread):
    """Builds a chain, waits for its turn, then works until it is relieved.

    MLX objects belong to the thread that made them, so a new chain comes with a
    new thread: it builds and warms up while the old one plays on, and takes over
    between two blocks.

    Parameters
    ----------
    build
        Makes the chain.
    work
        Uses it, once its turn has come; gets the chain that was in use before
        (None at the start) and this worker's own.
    failed
        Told of whatever ends the work but a return.

    Attributes
    ----------
    ready
        Set once `chain` or `error` is there.
    """

    def __init__(
        self,
        build: Callable[[], Chain],
        work: Callable[[Chain | None, Chain], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="rtvc engine", daemon=True)
        self._build, self._work, self._failed = build, work, failed
        self._turn = threading.Event()
        self._cancelled = False
        self._before: Chain | None = None
        self.ready = threading.Event()
        self.error: Exception | None = None
        self.chain: Chain | None = None

    def take_over(self, before: Chain | None) -> None:
        """Give this worker its turn."""
        self._before = before
        self._turn.set()

    def cancel(self) -> None:
        """Send home a worker that has not had its turn."""
        self._cancelled = True
        self._turn.set()

    def run(self) -> None:
        """Do the thread's work."""
        begin_as_equal()
        try:
            self._live()
        finally:
            leave_this_thread()

    def _live(self) -> None:
        try:
            self.chain = self._build()
        except Exception as error:
            self.error = error
            return
        finally:
            self.ready.set()
        self._turn.wait()
        if self._cancelled:
            return
        before, self._before = self._before, None
        try:
            self._work(before, self.chain)
        except BaseException as error:
            self._failed(error)
