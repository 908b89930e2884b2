"""Detects output that no voice makes: white noise, a constant, blocks that repeat, huge values.

A GPU, or its driver, that becomes wrong while rtvc runs returns finite numbers, and nothing else
notices. After wrong output, or errors of a GPU, the next chain should compute in another way.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from rtvc._types import Float32
from rtvc.engine.dsp.windows import windows
from rtvc.engine.voice import VoiceError
from rtvc.errors import RtvcError

WRONG_BLOCKS = 3
"""Wrong blocks in a row that are enough; the last one is not output."""
_WRONG_OF, _LAST = 4, 8
"""Wrong blocks among the last ones that are enough, if right ones are between them."""
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
_NOTHING_DB = -100.0
_SPEECH_DB = -45.0
"""Level of the input from which a voice makes some sound."""
_HUGE = 20.0
"""Peak relative to full scale, or to the input if that is louder, which no voice reaches."""
_STEADY = 0.02
"""Deviation of an audible constant, relative to it. Output has no constant part."""
_RECENT_BLOCKS = 30
_REPEATED = 4
"""Blocks that output may repeat: buffers are exchanged in turn."""
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
    """What the chains of one engine know together about wrong output and failed computations.

    Attributes
    ----------
    alarms
        Number of times that output was wrong, or failed again. A chain that was built before the
        last time is not used again.
    suspicious
        Whether one wrong block is enough, because output has been wrong.
    falls_back
        Why the next chain should compute in another way, with a place for the name of the voice;
        "" if it should not.
    """

    def __init__(self) -> None:
        self.alarms = 0
        self.suspicious = False
        self.falls_back = ""

    def note_failure(self, error: BaseException | None) -> None:
        """Note an error for which there is no output: if the computation fails twice, it is enough.

        Call it for chains in use or needed at once only: the memory may not be enough for others.
        """
        if not isinstance(error, VoiceError):
            return
        if self.suspicious:
            self.alarms += 1
            self.falls_back = "The computation of {} failed"
        self.suspicious = True

    def raise_alarm(self, what: str) -> None:
        """Note wrong output, and raise `WrongOutputError`."""
        self.alarms += 1
        self.suspicious = True
        self.falls_back = "The output of {} was wrong"
        raise WrongOutputError(f"The voice rendered {what}, which is a fault of the computation.")


class _Block(NamedTuple):
    """A block of input, with what the voice rendered when it arrived."""

    source: Float32
    output: Float32
    level_db: float
    """Level of the input."""


class OutputWatch:
    """Checks the blocks of one chain.

    Parameters
    ----------
    guard
        What other chains have found; it learns what this one finds.
    delay
        Blocks, rounded up, by which the output is later than the input.
    """

    def __init__(self, guard: OutputGuard, delay: int = 0) -> None:
        self._guard, self._alarms = guard, guard.alarms
        self._in_a_row = self._good = 0
        self._verdicts: deque[bool] = deque(maxlen=_LAST)
        self._sounded = False
        self._before: deque[_Block] = deque(maxlen=_REPEATED + delay + 1)
        self._delay = delay
        self._input_levels: deque[float] = deque(maxlen=_RECENT_BLOCKS)

    def renewed(self) -> OutputWatch:
        """Return a watch that has seen no block; what outdates this one outdates it too."""
        watch = OutputWatch(self._guard, self._delay)
        watch._alarms = self._alarms
        return watch

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
            What the voice rendered, (samples,).

        Raises
        ------
        RtvcError
            If a sample is not finite.
        WrongOutputError
            If this and the blocks before it are wrong, or have not been finite before.
        """
        if not np.isfinite(output).all():
            what = "samples that are not finite"
            if self._guard.suspicious:
                self._guard.raise_alarm(what)
            # Once may be an accident, after which another chain renders the same block.
            self._guard.suspicious = True
            raise RtvcError(f"The voice rendered {what}.")
        level, output_level = _level_db(source), _level_db(output)
        self._input_levels.append(level)
        if _huge(output, source):
            self._guard.raise_alarm("samples far above full scale")
        what = self._fault(_Block(source, output, level), output_level)
        self._before.append(_Block(source, output.copy(), level))
        self._sounded = self._sounded or output_level > _NOTHING_DB
        self._verdicts.append(bool(what))
        if not what:
            self._in_a_row = 0
            self._good += 1
            if self._good >= GOOD_BLOCKS:
                self._guard.suspicious = False
            return
        self._in_a_row += 1
        self._good = 0
        enough = self._in_a_row >= WRONG_BLOCKS or sum(self._verdicts) >= _WRONG_OF
        if self._guard.suspicious or enough:
            self._guard.raise_alarm(what)

    def _fault(self, block: _Block, level: float) -> str:
        """Return what is wrong with a block whose output has a level in dB, "" if nothing is."""
        source, output, _ = block
        # The input that the output belongs to.
        heard = [*self._before, block][-self._delay - 2 :]
        loudest = max(self._input_levels)
        if level < _NOTHING_DB:
            dead = self._sounded and min(one.level_db for one in heard) > _SPEECH_DB
            return "nothing at all" if dead and not _constant(source) else ""
        if _constant(output):
            return "" if _constant(source) else "a constant"
        if self._repeats(block):
            return "the same block again and again"
        if level < max(_AUDIBLE_DB, loudest + _FAR_BELOW_DB):
            return ""
        flatness = spectral_flatness(output)
        if flatness < (_FLAT if level > loudest + _FAR_ABOVE_DB else _WHITE):
            return ""
        explained = any(
            one.level_db > level - _FAR_ABOVE_DB and spectral_flatness(one.source) >= _INPUT_FLAT
            for one in heard
        )
        return "" if explained else "white noise"

    def _repeats(self, block: _Block) -> bool:
        """Return whether the output is that of a block before, and no input it belongs to is."""
        for apart in range(1, min(_REPEATED, len(self._before)) + 1):
            output = self._before[-apart].output
            if block.output[0] != output[0] or not np.array_equal(block.output, output):
                continue
            blocks = [*self._before, block]
            pairs = list(zip(blocks[apart:], blocks, strict=False))[-self._delay - 1 :]
            if not any(_similar(one.source, before.source) for one, before in pairs):
                return True
        return False


def spectral_flatness(samples: Float32) -> float:
    """Return the geometric mean of the power spectrum relative to its mean; white noise has 1.

    The spectrum is averaged over segments of 256 samples (Welch's method), so that white noise
    of a few segments has about 0.85.
    """
    if len(samples) < 2 * _SEGMENT:
        return 0.0
    count = len(samples) // (_SEGMENT // 2) - 1
    whole = np.ascontiguousarray(samples)
    segments = windows(whole, _SEGMENT, _SEGMENT // 2, count=count) * _WINDOW
    power = np.mean(np.abs(np.fft.rfft(segments)) ** 2, axis=0)[2:-1]
    mean = float(power.mean())
    return float(np.exp(np.mean(np.log(power / mean + 1e-12)))) if mean > 0 else 0.0


def _level_db(samples: Float32) -> float:
    square = float(np.mean(np.square(samples, dtype=np.float64)))
    return 10.0 * math.log10(square) if square else -math.inf


def _peak(samples: Float32) -> float:
    return max(float(samples.max()), -float(samples.min()))


def _huge(output: Float32, source: Float32) -> bool:
    peak = _peak(output)
    return peak > _HUGE and peak > _HUGE * _peak(source)


def _constant(samples: Float32) -> bool:
    mean = abs(float(samples.mean()))
    if 20.0 * math.log10(max(mean, 1e-9)) > _AUDIBLE_DB:
        return float(np.std(samples)) <= _STEADY * mean
    highest, lowest = float(samples.max()), float(samples.min())
    return highest - lowest <= 1e-4 * max(highest, -lowest)


def _similar(block: Float32, before: Float32) -> bool:
    if block.shape != before.shape:
        return False
    return float(np.max(np.abs(block - before))) <= 0.01 * float(np.max(np.abs(block)))
