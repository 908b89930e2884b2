"""The thread that owns PortAudio: every call into it runs there, one after the other.

PortAudio is not thread-safe, and its calls may hang for as long as the sound server does.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from rtvc.audio.errors import NoAnswerError
from rtvc.audio.stderr_capture import end_captures

T = TypeVar("T")

_LOOK_S = 0.05
"""Time between two looks at whether another call hangs."""
_NEVER = float("inf")


class Closable(Protocol):
    """A stream that PortAudio has open."""

    def close(self) -> None:
        """Release it; safe to repeat."""


class PendingCall(Generic[T]):
    """A call that waits for the owner thread, runs, or has returned.

    Attributes
    ----------
    limit
        Seconds after which it counts as hung.
    began
        When it began, on the monotonic clock; None while it waits for the calls before it.
    """

    def __init__(
        self,
        owner: PortAudioThread,
        act: Callable[[], T],
        limit: float,
        discard: Callable[[T], object] | None,
    ) -> None:
        self.limit = limit
        self.began: float | None = None
        self._owner = owner
        self._act = act
        self._discard = discard
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._returned = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; return whether the call has returned."""
        returned = self._returned.wait(max(timeout, 0.0))
        if not returned and self._owner.hung:
            end_captures()  # nothing else could be printed until the call returns
        return returned

    def result(self) -> T:
        """Return the call's result or raise its exception; once, after it has returned."""
        error, self._error = self._error, None
        try:
            if error:
                raise error
        finally:
            del error  # its traceback would keep everything here until a garbage collection
        return self._results[0]

    def abandon(self) -> None:
        """Give up the result: the call does not begin any more, or its result is discarded."""
        with self._lock:
            self._abandoned = True
            results = self._results if self._returned.is_set() else []
        if results and self._discard:
            self._owner.begin(lambda: self._discard_result(results[0]), self.limit)

    def run(self) -> None:
        """Run the call, on the owner thread."""
        if self._abandoned:
            return
        self.began = time.monotonic()
        try:
            result = self._act()
        except BaseException as error:
            self._error = error
            self._returned.set()
            return
        with self._lock:
            self._results.append(result)
            self._returned.set()
            abandoned = self._abandoned
        if abandoned:
            self._discard_result(result)

    def _discard_result(self, result: T) -> None:
        # Nobody waits for an error, and it must not end the owner thread.
        if self._discard:
            with contextlib.suppress(Exception):
                self._discard(result)


class PortAudioThread:
    """Runs calls one after the other, on a thread of its own that starts with the first one.

    A caller stops waiting at its limit. Until the call that hangs returns, further calls fail
    at once, and those of `begin` wait.

    Attributes
    ----------
    streams
        The open streams, which must be closed before PortAudio is terminated.
    """

    def __init__(self) -> None:
        self.streams: WeakSet[Closable] = WeakSet()
        self._calls: deque[PendingCall[Any]] = deque()
        self._more = threading.Condition()
        self._thread: threading.Thread | None = None
        self._due = _NEVER
        """When the call that runs will have reached its limit."""

    @property
    def hung(self) -> bool:
        """Whether a call has not returned within its limit."""
        return time.monotonic() >= self._due

    def call(
        self, act: Callable[[], T], limit: float, discard: Callable[[T], object] | None = None
    ) -> T:
        """Call `act` on the owner thread and return its result.

        Parameters
        ----------
        act
            The call. On the owner thread itself it is called directly.
        limit
            Seconds to wait for it, from when the calls before it have returned.
        discard
            Called with the result, on the owner thread, if nobody waits for it any more.

        Raises
        ------
        NoAnswerError
            If it has not returned within `limit`, or a call before it hangs.
        """
        if threading.current_thread() is self._thread:
            return act()
        if self.hung:
            raise NoAnswerError
        pending = self.begin(act, limit, discard)
        try:
            while not self.hung:
                if pending.wait(_LOOK_S):
                    return pending.result()
        except BaseException:  # as Ctrl-C
            pending.abandon()
            raise
        pending.abandon()
        raise NoAnswerError

    def begin(
        self,
        act: Callable[[], T],
        limit: float,
        discard: Callable[[T], object] | None = None,
    ) -> PendingCall[T]:
        """Call `act` on the owner thread when the calls before it have returned."""
        pending = PendingCall(self, act, limit, discard)
        with self._more:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="rtvc portaudio", daemon=True
                )
                self._thread.start()
            self._calls.append(pending)
            self._more.notify()
        return pending

    def settled(self, timeout: float) -> bool:
        """Return whether all calls have returned, after at most `timeout` seconds."""
        return self._thread is None or self.begin(lambda: None, timeout).wait(timeout)

    def _run(self) -> None:
        while True:
            with self._more:
                self._more.wait_for(lambda: self._calls)
                call = self._calls.popleft()
                self._due = time.monotonic() + call.limit
            call.run()
            self._due = _NEVER


PORTAUDIO = PortAudioThread()
"""The owner of this process's PortAudio."""
