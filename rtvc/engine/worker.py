"""The engine thread, which owns one chain from construction to its last step."""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
from collections.abc import Callable

from rtvc.engine.chain import Chain
from rtvc.system.thread_priority import reset_thread_priority

_JOIN_S = 5.0


def clear_mlx_streams() -> None:
    """Release the MLX streams of the calling thread; call it last in the thread.

    MLX also does this when a thread has ended, but aborts if the program exits meanwhile.
    """
    mlx = sys.modules.get("mlx.core")
    if mlx is not None:
        mlx.clear_streams()


class Worker(threading.Thread):
    """Builds a chain, waits until it is activated, then runs it until it is replaced.

    MLX objects belong to the thread that created them, so each chain has its own thread.
    A new chain is built and warmed up while the current one runs, and replaces it between
    two blocks.

    Parameters
    ----------
    build
        Returns the chain.
    work
        Runs the chain after activation. Its arguments are the chain in use before (None for
        the first worker) and this worker's chain.
    on_error
        Called with any exception that ends `work`.

    Attributes
    ----------
    ready
        Set once either `chain` or `error` is set.
    chain
        The chain, or None if it is not built yet or failed to build.
    error
        The exception that `build` raised, or None.
    """

    def __init__(
        self,
        build: Callable[[], Chain],
        work: Callable[[Chain | None, Chain], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="rtvc engine", daemon=True)
        self._build, self._work, self._on_error = build, work, on_error
        self._activated, self._ended = threading.Event(), threading.Event()
        self._cancelled = False
        self._previous: Chain | None = None
        self.ready = threading.Event()
        self.error: Exception | None = None
        self.chain: Chain | None = None

    def activate(self, previous: Chain | None) -> None:
        """Start `work`.

        Parameters
        ----------
        previous
            The chain that this worker's chain replaces, or None.
        """
        self._previous = previous
        self._activated.set()

    def cancel(self) -> None:
        """End a worker that has not been activated."""
        self._cancelled = True
        self._activated.set()

    def run(self) -> None:
        """Build the chain and run it."""
        reset_thread_priority()
        try:
            self._build_and_work()
        finally:
            clear_mlx_streams()
            self._ended.set()

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

    def finish(self) -> None:
        """Wait until the worker has ended, at most 5 seconds; a second Ctrl-C is ignored."""
        self.cancel()
        end = time.monotonic() + _JOIN_S
        # Not is_alive(): until Python 3.13 it is wrong after an interrupted join().
        while not self._ended.is_set() and time.monotonic() < end:
            with contextlib.suppress(KeyboardInterrupt):
                self._ended.wait(max(0.0, end - time.monotonic()))


@atexit.register
def _finish_workers() -> None:
    # A worker whose voice failed, or that was interrupted, may still be inside MLX. Python
    # would end its thread there, and C++ then aborts the program.
    for thread in threading.enumerate():
        if isinstance(thread, Worker):
            thread.finish()
