"""Repair of short octave errors in an f0 track.

An estimator sometimes takes a multiple or a fraction of f0 for f0 over a few frames: in noise, in
creaky voice, where one formant dominates. Such a run of frames lies at a whole ratio to the
reliable frames around it, which a melody of speech or song does not do for so short a time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float64

_STEP_OCTAVES = 0.25
"""Step between neighbouring frames that starts another run."""
_GAP = 3
"""Unvoiced frames between a run and a neighbour, at most."""
_MAX_BETWEEN = 12
"""Longest run between two neighbours that is repaired, in frames."""
_MAX_AT_END = 6
"""Longest run with a neighbour on one side only that is repaired: the end of a live signal, or of
a phrase. A leap of an octave starts late by as much, less the lookahead."""
_RELIABLE = 3
"""Shortest neighbour, in frames."""
_RATIO_OCTAVES = tuple(math.log2(ratio) for ratio in (2, 3, 4, 5))
_TOLERANCE_OCTAVES = 0.12


class _Run(NamedTuple):
    """Voiced frames from `start` to before `end` without a step, and their mean confidence."""

    start: int
    end: int
    confidence: float

    @property
    def frames(self) -> int:
        return self.end - self.start


def repair_octaves(hz: Float64, confidence: Float64, voiced: NDArray[np.bool_]) -> Float64:
    """Return f0 with short runs at a multiple or a fraction of their neighbours corrected.

    Nothing is changed without a neighbour that is as reliable. A run is corrected with the frames
    after it unknown, too, so the result for the newest frames of a stream may still change.

    Parameters
    ----------
    hz
        (frames,) f0 in Hz, positive.
    confidence
        (frames,) from 0 to 1.
    voiced
        (frames,) frames that count.
    """
    octaves = np.log2(hz)
    runs = _runs(octaves, confidence, voiced)
    for number, run in enumerate(runs):
        offset = _error(octaves, run, runs[:number][-1:], runs[number + 1 :][:1])
        octaves[run.start : run.end] -= offset
    return np.exp2(octaves)


def _runs(octaves: Float64, confidence: Float64, voiced: NDArray[np.bool_]) -> list[_Run]:
    steps = np.abs(np.diff(octaves)) > _STEP_OCTAVES
    breaks = np.flatnonzero(steps | (voiced[1:] != voiced[:-1])) + 1
    ends = [*breaks.tolist(), len(octaves)]
    return [
        _Run(start, end, float(confidence[start:end].mean()))
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
        if voiced[start]
    ]


def _error(octaves: Float64, run: _Run, before: list[_Run], after: list[_Run]) -> float:
    """Return the octaves by which a run is too high; 0 if it is right, or nothing shows it."""
    if run.frames > _MAX_BETWEEN:
        return 0.0
    errors = []
    for other in before:
        if run.start - other.end <= _GAP and _supports(other, run):
            errors.append(_whole_ratio(octaves[run.start] - octaves[other.end - 1]))
    for other in after:
        if other.start - run.end <= _GAP and _supports(other, run):
            errors.append(_whole_ratio(octaves[run.end - 1] - octaves[other.start]))
    if not errors or (len(errors) == 1 and run.frames > _MAX_AT_END):
        return 0.0
    return errors[0] if all(error == errors[0] for error in errors) else 0.0


def _supports(other: _Run, run: _Run) -> bool:
    """Return whether a run is reliable enough to correct its neighbour `run`."""
    return other.frames >= _RELIABLE and (
        other.frames > run.frames or other.confidence > run.confidence
    )


def _whole_ratio(octaves: float) -> float:
    """Return the logarithm of the whole ratio that a step is close to, 0 for none."""
    for ratio in _RATIO_OCTAVES:
        if abs(abs(octaves) - ratio) < _TOLERANCE_OCTAVES:
            return ratio if octaves > 0 else -ratio
    return 0.0
