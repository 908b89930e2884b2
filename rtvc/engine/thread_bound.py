"""An object that lives on a thread of its own and is used from others."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from rtvc.engine.thread_pool import Job, next_call, run_in_pool

T = TypeVar("T")
R = TypeVar("R")

_JOIN_S = 5.0


class ThreadBound(Generic[T]):
    """Creates an object on a thread of the pool, and runs every use of it there.

    MLX arrays belong to the thread that created them, and a thread that has used MLX must
    clear its streams before it ends, or the program may be aborted at exit. With this class
    a caller's threads never use MLX. The thread is free at `close`, when this object is deleted,
    or when the program exits.

    Parameters
    ----------
    make
        Creates the object.
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
        # The thread holds no reference to this object, which would keep it alive.
        job = run_in_pool(functools.partial(_serve, make, made, self._calls), name)
        self._end = weakref.finalize(self, _end, self._calls, job, os.getpid())
        try:
            made.result()
        except BaseException:
            self.close()
            raise
        finally:
            del made  # its error leads back here: only a garbage collection would release both

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
        try:
            # Another thread may have closed it just before: then nothing answers this call.
            if not self._end.alive and result.cancel():
                raise RuntimeError("the thread has ended")
            return result.result()
        finally:
            del result  # as above

    def close(self) -> None:
        """Delete the object and end the thread; safe to repeat."""
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
    try:
        held = make()
    except BaseException as error:
        made.set_exception(error)
        del made
        return
    finally:
        del make
    made.set_result(None)
    while call := next_call(calls):
        use, result = call
        try:
            if result.set_running_or_notify_cancel():
                result.set_result(use(held))
        except BaseException as error:
            result.set_exception(error)
        # Keep no references to arguments and results while this thread waits.
        del call, use, result


def _end(calls: SimpleQueue[_Call[T] | None], job: Job, process: int) -> None:
    if os.getpid() != process:  # a forked process does not have the thread
        return
    calls.put(None)
    # The owner may be deleted on this very thread.
    if job.thread is not threading.current_thread():
        job.wait(_JOIN_S)
