"""Degradation: cheaper settings while steps are late, until there is headroom again."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from rtvc.engine.degradation_levels import DegradationLevel
from rtvc.settings import Settings

_RECOVERY_LOAD = 0.75
"""Share of the allowed time that a step may take on a level to raise to it."""
_RECOVERY_LOAD_UNKNOWN = 0.5
"""The same share on the current level, if the step time of the level above is not known."""

_WINDOW_S = 10.0
"""Seconds of newest steps that decide whether to lower the level."""
_LATE_LIMIT, _LATE_SHARE = 4, 0.05
"""The level is lowered if more than this share of the steps in the window are slow and late, and
at least this many: when the 95th percentile is too slow, not for single stalls."""
_SLOW_SHARE = 0.5
"""Share of the allowed time above which a step, not something else, explains a late block."""
_SETTLING_STEPS = 5
"""First steps of a chain that are not counted: replacing the previous chain disturbs them."""
_INTERRUPTION_S = 0.3
"""Time without a step, beyond that of three steps, that is an interruption: the program was
stopped, the device lost, or a call did not end. Blocks that are late around it tell nothing about
the sizes."""
_CATCHING_UP_S = 1.5
"""Time from an interruption on in which late steps are not counted."""
_INTERRUPTIONS_APART_S = 5.0
"""Time after an interruption in which the next one counts as late steps do: on a machine that is
much too slow each step looks like an interruption."""
_TIMED_STEPS = 50
"""Newest steps whose durations decide."""
_RECOVERY_S, _MAX_RECOVERY_S = 20.0, 320.0
"""Seconds without a late block before the level is raised: at first, and at most.

The time doubles whenever the level is lowered within `_RELAPSE_S` of raising it, and is back at
its first value after `_RELAPSE_S` without that."""
_RELAPSE_S = 60.0
_NEXT_RECOVERY_S = 4.0
"""The same for each further level, while there is room: from the lowest to the highest level the
way takes less than a minute."""

_COMPARED_STEPS = 20
"""Counted steps after which the median duration is compared with the calibration."""
_MUCH_SLOWER = 1.5
"""Ratio of the median duration to the calibrated one above which a notice is shown."""
_NOTICE_S = 20.0
"""Seconds for which the notice is shown."""


class Degradation:
    """Selects the degradation level from the durations of the steps.

    Attributes
    ----------
    level
        Index of the current level; 0 is not degraded.
    """

    def __init__(self) -> None:
        self._requested_levels: tuple[DegradationLevel, ...] = ()
        self._levels: tuple[DegradationLevel, ...] = ()
        self.level = 0
        self._requested: Settings | None = None
        self._derived: Settings | None = None
        self._recovery_s = _RECOVERY_S
        self._raised_at = -math.inf
        self._raised_last = False
        self._last_step = math.inf
        self._interrupted_at = -math.inf
        self._notice = ""
        self._notice_until = -math.inf
        self._unsaid = ""
        self._reset(0.0)

    def effective(self, settings: Settings, levels: tuple[DegradationLevel, ...]) -> Settings:
        """Return the settings to use; the same object until something changes.

        Parameters
        ----------
        settings
            The requested settings.
        levels
            Their degradation levels. A different tuple than before resets the level to 0.
        """
        if levels is not self._requested_levels:
            self._requested_levels = self._levels = levels
            self.level, self._recovery_s, self._derived = 0, _RECOVERY_S, None
            self._raised_last = False
            self._reset(0.0)
        if self._derived is None or settings is not self._requested:
            self._requested = settings
            changes = self._levels[self.level].changes
            self._derived = settings.replace(**changes) if changes else settings
        return self._derived

    def record_step(self, now: float, seconds: float, *, late: bool) -> None:
        """Record a step, and change the level if needed.

        Parameters
        ----------
        now
            Time on the endpoint's clock, in seconds.
        seconds
            Duration of the step on that clock.
        late
            Whether the block was late, so that concealment was output.
        """
        self._notice_interruption(now)
        self._steps += 1
        if self._steps <= _SETTLING_STEPS:
            self._since = now
            return
        self._times.append(now)
        if now - self._interrupted_at < _CATCHING_UP_S:
            return
        self._durations.append(seconds)
        # A fast step is late for another reason, such as a gap before it.
        if late and seconds > _SLOW_SHARE * self._levels[self.level].allowed_s:
            self._late.append(now)
        for times in (self._times, self._late):
            while times and times[0] < now - _WINDOW_S:
                times.popleft()
        if self._raised_last and now - self._raised_at > _RELAPSE_S:
            self._recovery_s = _RECOVERY_S
        if len(self._late) >= max(_LATE_LIMIT, _LATE_SHARE * len(self._times) + 1):
            self._go_down(now)
        elif self.level and now - max(self._since, *self._late, -math.inf) >= self._wait_s:
            self._go_up(now)
        elif self._steps == _SETTLING_STEPS + _COMPARED_STEPS:
            self._compare_with_calibration(now)

    def skip_step(self, now: float) -> None:
        """Note a step that tells nothing, as one that rendered nothing."""
        self._last_step = now

    def reject_level(self) -> None:
        """Remove the current level, for which no chain could be built, and use the one above."""
        above, refused = self._levels[self.level - 1 : self.level + 1]
        below = [level.without(refused, above) for level in self._levels[self.level + 1 :]]
        self._levels = (*self._levels[: self.level], *below)
        self._set_level(self.level - 1, self._since)

    @property
    def degraded(self) -> str:
        """How the settings in use differ from the requested ones; "" if they do not."""
        return ", ".join(self._levels[self.level].labels.values()) if self._levels else ""

    def message(self, now: float) -> str:
        """Return the sentence to show at time `now`, "" if there is none."""
        if self.degraded:
            reductions = ", ".join(self._levels[self.level].phrases.values())
            return f"Running behind: {reductions} until there is headroom."
        if self._unsaid:
            self._notice, self._unsaid = self._unsaid, ""
            self._notice_until = now + _NOTICE_S
        return self._notice if now < self._notice_until else ""

    def notify(self, notice: str) -> None:
        """Show a notice that is not shown yet for `_NOTICE_S` seconds; from any thread."""
        if notice and notice != self._notice:
            self._unsaid = notice

    @property
    def _wait_s(self) -> float:
        """Seconds without a late block before the level is raised."""
        further = self._raised_last and self._recovery_s == _RECOVERY_S
        return _NEXT_RECOVERY_S if further else self._recovery_s

    def _go_down(self, now: float) -> None:
        duration = float(np.quantile(self._durations, 0.95))
        below = range(self.level + 1, len(self._levels))
        fitting = [level for level in below if self._fits(level, duration)]
        if now - self._raised_at < _RELAPSE_S:
            self._recovery_s = min(2 * self._recovery_s, _MAX_RECOVERY_S)
        self._raised_last = False
        # If no level is known to be cheap enough, try the next one.
        target = fitting[0] if fitting else min(self.level + 1, len(self._levels) - 1)
        self._set_level(target, now)

    def _go_up(self, now: float) -> None:
        duration = float(np.quantile(self._durations, 0.95))
        if self._levels[self.level].predicted_s is None:
            if self._levels[self.level].fits(duration, _RECOVERY_LOAD_UNKNOWN):
                self._raised_at, self._raised_last = now, True
                self._set_level(self.level - 1, now)
            return
        fitting = [
            level for level in range(self.level) if self._fits(level, duration, _RECOVERY_LOAD)
        ]
        if fitting:
            self._raised_at, self._raised_last = now, True
            self._set_level(fitting[0], now)

    def _fits(self, level: int, duration: float, part: float = 1.0) -> bool:
        """Return whether steps of `duration` seconds on this level would fit on another one."""
        here, there = self._levels[self.level].predicted_s, self._levels[level].predicted_s
        if here is None or there is None:
            return False
        return self._levels[level].fits(duration * there / here, part)

    def _notice_interruption(self, now: float) -> None:
        """Leave out the steps from here on if nothing ran for a while."""
        allowed = self._levels[self.level].allowed_s
        if (
            now - self._last_step > 3 * allowed + _INTERRUPTION_S
            and now - self._interrupted_at > _INTERRUPTIONS_APART_S
        ):
            self._interrupted_at = now
        self._last_step = now

    def _compare_with_calibration(self, now: float) -> None:
        """Set the notice if the first steps are much slower than calibrated."""
        predicted = self._levels[self.level].predicted_s
        usual = float(np.median(self._durations))
        if predicted is not None and not self.level and usual > _MUCH_SLOWER * predicted:
            self._notice = (
                f"A step takes {1000 * usual:.0f} ms, but 'rtvc calibrate' measured "
                f"{1000 * predicted:.0f} ms. Close other programs, or run it again."
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
        self._times: deque[float] = deque()
        self._late: deque[float] = deque()
