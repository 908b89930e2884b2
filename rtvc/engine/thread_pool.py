"""Threads that compute with MLX, kept to be used again.

MLX starts a helper thread for each thread that computes with it, and never ends it. A program that
started a thread for every voice would have more threads with each change of voice.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from rtvc.system.abandoned import abandon_thread
from rtvc.system.background import pause_no_more
from rtvc.system.thread_priority import reset_thread_priority

T = TypeVar("T")

_JOIN_S = 5.0
_LOOK_S = 0.005
_idle: list[_PoolThread] = []
_all: list[_PoolThread] = []
_lock = threading.Lock()


class Job:
    """Work that runs on a thread of the pool.

    Attributes
    ----------
    thread
        The thread that it runs on.
    """

    def __init__(self, work: Callable[[], None], name: str, thread: _PoolThread) -> None:
        self.work, self.name, self.thread = work, name, thread
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        """Whether the work has ended."""
        return self._done.is_set()

    def wait(self, timeout: float) -> bool:
        """Wait until the work has ended, at most `timeout` seconds; return whether it has."""
        return self._done.wait(timeout)

    def abandon(self) -> None:
        """Never use the thread again, nor wait for it.

        What it runs continues. Python can raise an exception in another thread, but not without
        the risk that a lock stays held, on which everything else would wait.
        """
        with _lock:
            if self.done or self.thread.abandoned:
                return
            self.thread.abandoned = True
        abandon_thread(self.thread)

    def run(self) -> None:
        """Run the work on its thread, which is free then; the work handles its exceptions."""
        self.thread.name = self.name
        reset_thread_priority()
        pause_no_more()
        try:
            with contextlib.suppress(BaseException):
                self.work()
        finally:
            del self.work
            self.thread.name = "rtvc idle"
            with _lock:
                if not self.thread.abandoned:
                    _idle.append(self.thread)
                self._done.set()


def run_in_pool(work: Callable[[], None], name: str) -> Job:
    """Run `work` on an idle thread of the pool, or on a new one, which gets the name `name`."""
    with _lock:
        thread = _idle.pop() if _idle else None
    if thread is None:
        thread = _PoolThread()
        thread.start()
        with _lock:
            _all.append(thread)
    job = Job(work, name, thread)
    thread.jobs.put(job)
    return job


def next_call(calls: SimpleQueue[T]) -> T:
    """Return the next call for the work that runs on this thread, which rests until it comes."""
    thread = threading.current_thread()
    if not isinstance(thread, _PoolThread):
        return calls.get()
    thread.rests = True
    try:
        return calls.get()
    finally:
        thread.rests = False


def all_rest(timeout: float) -> bool:
    """Return whether all threads rest, or are abandoned, after at most `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        with _lock:
            work = any(not (thread.rests or thread.abandoned) for thread in _all)
        if not work or time.monotonic() >= end:
            return not work
        time.sleep(_LOOK_S)


class _PoolThread(threading.Thread):
    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.ended = threading.Event()
        self.abandoned = False
        self.rests = False

    def run(self) -> None:
        try:
            while job := next_call(self.jobs):
                job.run()
                if self.abandoned:
                    return
                del job
        finally:
            clear_mlx_streams()
            with _lock:
                _all.remove(self)
            self.ended.set()


def clear_mlx_streams() -> None:
    """Release the MLX streams of the calling thread, which ends.

    MLX also does this when a thread has ended, but aborts if the program exits meanwhile.
    """
    mlx = sys.modules.get("mlx.core")
    if mlx is not None:
        mlx.clear_streams()


@atexit.register
def _end_threads() -> None:
    # A thread may still be inside MLX: its voice failed, or it was interrupted. Python would end
    # the thread there, and C++ then aborts the program.
    with _lock:
        threads = list(_all)
    for thread in threads:
        thread.jobs.put(None)
    end = time.monotonic() + _JOIN_S
    for thread in threads:
        # Not is_alive(): until Python 3.13 it is wrong after an interrupted join().
        while not (thread.ended.is_set() or thread.abandoned) and time.monotonic() < end:
            with contextlib.suppress(KeyboardInterrupt):
                thread.ended.wait(max(0.0, end - time.monotonic()))


def _forget_threads() -> None:
    """Forget all threads: a forked process has none of those of its parent."""
    _idle.clear()
    _all.clear()
    _lock.release()


os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forget_threads
)
