"""An object on a thread of its own, used from any other."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from rtvc.engine.worker import clear_mlx_streams
from rtvc.system.thread_priority import reset_thread_priority

T = TypeVar("T")
R = TypeVar("R")

_JOIN_S = 5.0


class ThreadBound(Generic[T]):
    """Makes an object on a new thread, and runs there everything that is done with it.

    MLX arrays belong to the thread that made them, and a thread that has used MLX must end
    its streams before it ends: a program that exits meanwhile is aborted. So the threads of
    a caller never touch MLX. The thread ends with `close`, with this object, or with the
    program, whichever is first.

    Parameters
    ----------
    make
        Makes the object.
    name
        Name of the thread.

    Raises
    ------
    Exception
        Whatever `make` raises.
    """

    def __init__(self, make: Callable[[], T], name: str) -> None:
        made: Future[None] = Future()
        self._calls: SimpleQueue[_Call[T] | None] = SimpleQueue()
        # The thread must not hold this object, or it would live as long as the thread.
        thread = threading.Thread(
            target=_serve, args=(make, made, self._calls), name=name, daemon=True
        )
        self._end = weakref.finalize(self, _end, self._calls, thread)
        thread.start()
        try:
            made.result()
        except BaseException:
            self.close()
            raise

    def call(self, use: Callable[[T], R]) -> R:
        """Run `use` with the object on its thread, and return the result or raise the error.

        Raises
        ------
        RuntimeError
            After `close`.
        """
        if not self._end.alive:
            raise RuntimeError("the thread has ended")
        result: Future[R] = Future()
        self._calls.put((use, result))
        return result.result()

    def close(self) -> None:
        """Let go of the object and end the thread; safe to repeat."""
        self._end()


def run_in_thread(work: Callable[[], R], name: str) -> R:
    """Run `work` on a thread of its own that may use MLX, and return its result."""
    bound = ThreadBound(work, name)
    try:
        return bound.call(lambda made: made)
    finally:
        bound.close()


_Call = tuple[Callable[[T], Any], "Future[Any]"]


def _serve(make: Callable[[], T], made: Future[None], calls: SimpleQueue[_Call[T] | None]) -> None:
    reset_thread_priority()
    try:
        _answer(make, made, calls)
    finally:
        clear_mlx_streams()


def _answer(make: Callable[[], T], made: Future[None], calls: SimpleQueue[_Call[T] | None]) -> None:
    try:
        held = make()
    except BaseException as error:
        made.set_exception(error)
        return
    finally:
        del make
    made.set_result(None)
    while call := calls.get():
        use, result = call
        try:
            result.set_result(use(held))
        except BaseException as error:
            result.set_exception(error)
        # Arguments and results belong to the caller alone while this thread waits.
        del call, use, result


def _end(calls: SimpleQueue[_Call[T] | None], thread: threading.Thread) -> None:
    calls.put(None)
    # The last reference may have gone on the thread itself, or before it was started.
    if thread.ident is not None and thread is not threading.current_thread():
        thread.join(_JOIN_S)
