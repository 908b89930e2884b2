"""The engine's thread: it owns one chain, from building it to the last step."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from rtvc.engine.chain import Chain
from rtvc.system.thread_priority import reset_thread_priority


def clear_mlx_streams() -> None:
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
    on_error
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
        on_error: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="rtvc engine", daemon=True)
        self._build, self._work, self._on_error = build, work, on_error
        self._activated = threading.Event()
        self._cancelled = False
        self._previous: Chain | None = None
        self.ready = threading.Event()
        self.error: Exception | None = None
        self.chain: Chain | None = None

    def activate(self, previous: Chain | None) -> None:
        """Give this worker its turn."""
        self._previous = previous
        self._activated.set()

    def cancel(self) -> None:
        """Send home a worker that has not had its turn."""
        self._cancelled = True
        self._activated.set()

    def run(self) -> None:
        """Do the thread's work."""
        reset_thread_priority()
        try:
            self._build_and_work()
        finally:
            clear_mlx_streams()

    def _build_and_work(self) -> None:
        try:
            self.chain = self._build()
        except Exception as error:
            self.error = error
            return
        finally:
            self.ready.set()
        self._activated.wait()
        if self._cancelled:
            return
        previous, self._previous = self._previous, None
        try:
            self._work(previous, self.chain)
        except BaseException as error:
            self._on_error(error)
