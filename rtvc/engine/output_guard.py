"""Detects output that no voice makes: white noise, a constant, or the same block for ever.

A GPU, or its driver, that becomes wrong while rtvc runs returns finite numbers, and nothing else
notices.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np

from rtvc._types import Float32
from rtvc.errors import RtvcError

WRONG_BLOCKS = 3
"""Wrong blocks in a row that are enough; the last one is not output."""
GOOD_BLOCKS = 20
"""Right blocks after which an output that was wrong is trusted again."""
_WHITE = 0.82
"""Spectral flatness from which a block is white noise, for which it is about 0.9. Voices reach
0.5, in whispered and breathy sounds."""
_FLAT = 0.72
"""The same for a block that is far louder than the input."""
_FAR_ABOVE_DB = 20.0
_FAR_BELOW_DB = -15.0
"""Noise that is so far below the loudest recent input is that of the microphone."""
_INPUT_FLAT = 0.3
"""Flatness of an input that is noise itself."""
_AUDIBLE_DB = -50.0
_SPEECH_DB = -45.0
"""Level of the input from which a voice makes some sound."""
_RECENT_BLOCKS = 30
_SEGMENT = 256
_WINDOW = np.hanning(_SEGMENT)


class WrongOutputError(RtvcError):
    """The output of a voice is no sound that a voice makes."""


@runtime_checkable
class FallsBack(Protocol):
    """A voice that can compute in another, safer way.

    Attributes
    ----------
    notice
        What the self-test found wrong on this machine and what rtvc does about it, "" if nothing.
    """

    notice: str

    def fall_back(self) -> str:
        """Compute in the next way, in networks that are loaded from now on.

        Returns
        -------
        str
            What is done, as a sentence; "" if there is no other way.
        """


class OutputGuard:
    """What the chains of one engine know together about wrong output.

    Attributes
    ----------
    alarms
        Number of times that output was wrong. A chain that was built before the last time is not
        used again.
    suspicious
        Whether one wrong block is enough, because output has been wrong.
    falls_back
        Whether the next chain should compute in another way.
    """

    def __init__(self) -> None:
        self.alarms = 0
        self.suspicious = False
        self.falls_back = False

    def raise_alarm(self, what: str) -> None:
        """Note wrong output, and raise `WrongOutputError`."""
        self.alarms += 1
        self.suspicious = self.falls_back = True
        raise WrongOutputError(f"The voice rendered {what}, which is a fault of the computation.")


class OutputWatch:
    """Checks the blocks of one chain.

    Parameters
    ----------
    guard
        What other chains have found; it learns what this one finds.
    """

    def __init__(self, guard: OutputGuard) -> None:
        self._guard, self._alarms = guard, guard.alarms
        self._in_a_row = self._good = 0
        self._sounded = False
        self._last_input: Float32 = np.zeros(0, np.float32)
        self._last_output: Float32 = np.zeros(0, np.float32)
        self._input_levels: list[float] = []

    @property
    def outdated(self) -> bool:
        """Whether output of this engine was wrong since the chain was built."""
        return self._alarms != self._guard.alarms

    def check(self, source: Float32, output: Float32) -> None:
        """Check a block.

        Parameters
        ----------
        source
            The input block, (samples,), at any rate.
        output
            What the voice rendered, (samples,), finite.

        Raises
        ------
        WrongOutputError
            If this and the blocks before it are wrong.
        """
        self._input_levels = [*self._input_levels, _level_db(source)][-_RECENT_BLOCKS:]
        what = self._fault(source, output)
        self._last_input, self._last_output = source, output.copy()
        self._sounded = self._sounded or bool(output.any())
        if not what:
            self._in_a_row = 0
            self._good += 1
            if self._good >= GOOD_BLOCKS:
                self._guard.suspicious = False
            return
        self._in_a_row += 1
        self._good = 0
        if self._guard.suspicious or self._in_a_row >= WRONG_BLOCKS:
            self._guard.raise_alarm(what)

    def _fault(self, source: Float32, output: Float32) -> str:
        """Return what is wrong with a block, "" if nothing is."""
        if not output.any():
            dead = self._sounded and self._input_levels[-1] > _SPEECH_DB
            return "nothing at all" if dead and not _constant(source) else ""
        if _constant(output):
            return "" if _constant(source) else "a constant"
        if np.array_equal(output, self._last_output):
            return "" if _similar(source, self._last_input) else "the same block again and again"
        level, loudest = _level_db(output), max(self._input_levels)
        if level < max(_AUDIBLE_DB, loudest + _FAR_BELOW_DB):
            return ""
        flatness = spectral_flatness(output)
        if flatness < (_FLAT if level > loudest + _FAR_ABOVE_DB else _WHITE):
            return ""
        return "" if spectral_flatness(source) >= _INPUT_FLAT else "white noise"


def spectral_flatness(samples: Float32) -> float:
    """Return the geometric mean of the power spectrum relative to its mean; white noise has 1.

    The spectrum is averaged over segments of 256 samples (Welch's method), so that white noise
    of a few segments has about 0.85.
    """
    if len(samples) < 2 * _SEGMENT:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(samples, _SEGMENT)[:: _SEGMENT // 2]
    power = np.mean(np.abs(np.fft.rfft(windows * _WINDOW, axis=1)) ** 2, axis=0)[2:-1]
    mean = float(power.mean())
    return float(np.exp(np.mean(np.log(power / mean + 1e-12)))) if mean > 0 else 0.0


def _level_db(samples: Float32) -> float:
    square = float(np.mean(np.square(samples, dtype=np.float64)))
    return 10.0 * math.log10(square) if square else -math.inf


def _constant(samples: Float32) -> bool:
    return float(np.ptp(samples)) <= 1e-4 * float(np.max(np.abs(samples)))


def _similar(block: Float32, before: Float32) -> bool:
    if block.shape != before.shape:
        return False
    return float(np.max(np.abs(block - before))) <= 0.01 * float(np.max(np.abs(block)))
