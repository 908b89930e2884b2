"""When the next frame may be drawn: once the terminal has taken the last one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

REPORT = "\x1b[6n"
"""Asks the terminal for the place of its cursor. It answers when it has drawn what came before."""
_PROBE_S = 2.0
"""Time after which a terminal that has not answered the first question is taken for mute."""
_PROBE_GAP_S = 0.25
"""Time between two frames until then, in seconds."""
_LOST_S = 5.0
"""Time after which an answer is lost."""
_SLOW_S, _FAST_S = 0.5, 0.2
"""Time until the answer from which a line is slow, and up to which it is fast again."""
_NEAR_S = 0.05
"""Time until the answer of a terminal on the same machine, at most."""
_SETTLE_S = 1.0
"""Longest wait for the last answer."""


class FramePace:
    """What the terminal has answered.

    The programs and buffers between rtvc and the screen, such as those of ssh, take megabytes
    without any delay. Only an answer of the terminal itself shows what is on the screen.

    Methods may be called from any thread.

    Parameters
    ----------
    clock
        Returns a monotonic time in seconds.

    Attributes
    ----------
    slow
        Whether a frame takes long to arrive, so that little should be drawn.
    near
        Whether the terminal answers at once, so that the number of bytes does not matter.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.slow = self.near = False
        self._answers = False
        self._asked_at: float | None = None
        self._drawn_at = float("-inf")
        self._settled = threading.Event()

    def drawn(self) -> bool:
        """Note that a frame is on its way; return whether to ask for a report behind it."""
        now = self._drawn_at = self._clock()
        if self._asked_at is not None and not (self._answers and now - self._asked_at > _LOST_S):
            return False
        self._asked_at = now
        self._settled.clear()
        return True

    def answered(self) -> None:
        """Note that the terminal has answered."""
        if self._asked_at is not None:
            took = self._clock() - self._asked_at
            self.slow = took > (_FAST_S if self.slow else _SLOW_S)
            self.near = took <= _NEAR_S
        self._answers, self._asked_at = True, None
        self._settled.set()

    @property
    def ready(self) -> bool:
        """Whether the terminal has taken the last frame, or does not answer."""
        asked, now = self._asked_at, self._clock()
        if asked is None:
            return True
        if self._answers:
            return now - asked > _LOST_S
        return now - asked > _PROBE_S or now - self._drawn_at >= _PROBE_GAP_S

    def settle(self) -> None:
        """Wait for the answer that is due: later it would be typed into a shell."""
        asked = self._asked_at
        if asked is not None and (self._answers or self._clock() - asked < _PROBE_S):
            self._settled.wait(_SETTLE_S if self._answers else _PROBE_GAP_S)
        self._asked_at = None
