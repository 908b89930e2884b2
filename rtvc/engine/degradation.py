"""Where the engine stands while steps are late: down at once, and back up when there is room."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from rtvc.engine.degradation_levels import DegradationLevel
from rtvc.settings import Settings

_RECOVERY_LOAD = 0.75
"""Part of what is allowed that a step may take where one goes back up."""
_RECOVERY_LOAD_UNKNOWN = 0.5
"""The same where it is not known what the rung above takes."""

_LATE_LIMIT, _LATE_WINDOW_S = 3, 10.0
"""So many late blocks within so long are no accident."""
_SLOW_SHARE = 0.5
_SETTLING_STEPS = 5
"""Steps of a new chain that say nothing: it is joined to the old one."""
_TIMED_STEPS = 50
_RECOVERY_S, _MAX_RECOVERY_S = 20.0, 320.0
"""Without a late block for so long one goes back up; longer each time that it was too early."""
_RELAPSE_S = 60.0

_COMPARED_STEPS = 20
_MUCH_SLOWER = 1.5
_NOTICE_S = 20.0


class Degradation:
    """Where on the ladder the engine stands.

    Attributes
    ----------
    level
        Rungs below the top.
    """

    def __init__(self) -> None:
        self._requested_levels: tuple[DegradationLevel, ...] = ()
        self._levels: tuple[DegradationLevel, ...] = ()
        self.level = 0
        self._requested: Settings | None = None
        self._derived: Settings | None = None
        self._recovery_s = _RECOVERY_S
        self._raised_at = -math.inf
        self._notice = ""
        self._notice_until = -math.inf
        self._reset(0.0)

    def effective(self, settings: Settings, levels: tuple[DegradationLevel, ...]) -> Settings:
        """Return the settings to use; the same object as long as nothing changes.

        Parameters
        ----------
        settings
            Those that are asked for.
        levels
            Their ladder; another one than before is entered at its top.
        """
        if levels is not self._requested_levels:
            self._requested_levels = self._levels = levels
            self.level, self._recovery_s, self._derived = 0, _RECOVERY_S, None
            self._reset(0.0)
        if self._derived is None or settings is not self._requested:
            self._requested = settings
            changes = self._levels[self.level].changes
            self._derived = settings.replace(**changes) if changes else settings
        return self._derived

    def record_step(self, now: float, seconds: float, *, late: bool) -> None:
        """Learn how a step went, and move if there is reason to.

        Parameters
        ----------
        now
            Time on the endpoint's clock, in seconds.
        seconds
            What the step took on that clock.
        late
            Whether its sound had to be concealed.
        """
        self._steps += 1
        if self._steps <= _SETTLING_STEPS:
            self._since = now
            return
        self._durations.append(seconds)
        # Who was quick is late for another reason, such as a gap before.
        if late and seconds > _SLOW_SHARE * self._levels[self.level].allowed_s:
            self._late.append(now)
        while self._late and self._late[0] < now - _LATE_WINDOW_S:
            self._late.popleft()
        if len(self._late) >= _LATE_LIMIT:
            self._go_down(now)
        elif self.level and now - max(self._since, *self._late, -math.inf) >= self._recovery_s:
            self._go_up(now)
        elif self._steps == _SETTLING_STEPS + _COMPARED_STEPS:
            self._compare_with_calibration(now)

    def reject_level(self) -> None:
        """Take away the rung that no chain could be made for, and stand above it."""
        above, refused = self._levels[self.level - 1 : self.level + 1]
        below = [level.without(refused, above) for level in self._levels[self.level + 1 :]]
        self._levels = (*self._levels[: self.level], *below)
        self._set_level(self.level - 1, self._since)

    @property
    def degraded(self) -> str:
        """What is different from what was asked for, in words; "" at the top."""
        return ", ".join(self._levels[self.level].labels.values()) if self._levels else ""

    def message(self, now: float) -> str:
        """Return what a person should know at this moment, "" if nothing."""
        if self.degraded:
            return f"Late steps: now {self.degraded}. It goes back when there is room."
        return self._notice if now < self._notice_until else ""

    def _go_down(self, now: float) -> None:
        duration = float(np.quantile(self._durations, 0.95))
        below = range(self.level + 1, len(self._levels))
        fitting = [level for level in below if self._fits(level, duration)]
        if now - self._raised_at < _RELAPSE_S:
            self._recovery_s = min(2 * self._recovery_s, _MAX_RECOVERY_S)
        # Where no rung is known to be enough, the next one may be.
        target = fitting[0] if fitting else min(self.level + 1, len(self._levels) - 1)
        self._set_level(target, now)

    def _go_up(self, now: float) -> None:
        duration = float(np.quantile(self._durations, 0.95))
        if self._levels[self.level].predicted_s is None:
            if self._levels[self.level].fits(duration, _RECOVERY_LOAD_UNKNOWN):
                self._raised_at = now
                self._set_level(self.level - 1, now)
            return
        fitting = [
            level for level in range(self.level) if self._fits(level, duration, _RECOVERY_LOAD)
        ]
        if fitting:
            self._raised_at = now
            self._set_level(fitting[0], now)

    def _fits(self, level: int, duration: float, part: float = 1.0) -> bool:
        """Return whether steps fit on another rung, if they take `duration` on this one."""
        here, there = self._levels[self.level].predicted_s, self._levels[level].predicted_s
        if here is None or there is None:
            return False
        return self._levels[level].fits(duration * there / here, part)

    def _compare_with_calibration(self, now: float) -> None:
        """Compare the first steps with the calibration."""
        predicted = self._levels[self.level].predicted_s
        usual = float(np.median(self._durations))
        if predicted is not None and not self.level and usual > _MUCH_SLOWER * predicted:
            self._notice = (
                f"A step takes {1000 * usual:.0f} ms, where 'rtvc calibrate' found "
                f"{1000 * predicted:.0f}: close other programs, or run it again."
            )
            self._notice_until = now + _NOTICE_S

    def _set_level(self, level: int, now: float) -> None:
        if level != self.level:
            self.level = level
            self._derived = None
        self._reset(now)

    def _reset(self, now: float) -> None:
        self._steps = 0
        self._since = now
        self._durations: deque[float] = deque(maxlen=_TIMED_STEPS)
        self._late: deque[float] = deque()
