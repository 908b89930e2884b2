"""De-esser: reduces the high frequencies of sibilants."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float64
from rtvc.engine.dsp.biquad import Cascade, first_order_high_pass, high_pass

CORNER_HZ = 3500.0
"""Corner of the two shelves that are lowered."""
_DETECTOR_HZ = 5000.0
_NONE_DB, _FULL_DB = -12.0, -4.0
"""Share of the power above 5 kHz, in dB, from which the reduction begins and is complete. Vowels
have less than -20 dB, sibilants more than -6 dB."""
_ATTACK_S, _RELEASE_S = 0.003, 0.020
_AVERAGE_S = 0.003
_QUIET = 1e-6
"""Power below which a sound is no sibilant (-60 dBFS)."""


class DeEsser:
    """Lowers two shelves of first order in a row while most of the power is above 5 kHz.

    What decides is the share of the high frequencies, so the level of the voice does not matter.
    It adds no delay.

    Parameters
    ----------
    rate
        Samples per second.
    """

    def __init__(self, rate: int) -> None:
        self._rate, self._hop = rate, rate // 1000
        self._detector, self._first, self._second = Cascade(), Cascade(), Cascade()
        self._powers = np.zeros(2)
        self._reduction_db = 0.0
        self._active = False

    def process(self, audio: Float64, amount_db: float) -> Float64:
        """Return the next block, whole milliseconds; `audio` itself while it is off.

        Parameters
        ----------
        audio
            (samples,).
        amount_db
            Largest reduction in dB, 0 = off.
        """
        if not self._active:
            if amount_db == 0.0:
                return audio
            self._detector = Cascade(high_pass(self._rate, _DETECTOR_HZ))
            self._first, self._second = (
                Cascade(first_order_high_pass(self._rate, CORNER_HZ)) for _ in range(2)
            )
            self._powers = np.zeros(2)
            self._active = True
        gains = self._gains(audio, amount_db)
        edges = np.arange(len(gains)) * self._hop
        removed = 1.0 - np.interp(np.arange(1, len(audio) + 1), edges, gains)
        once = audio - removed * self._first.process(audio)
        twice: Float64 = once - removed * self._second.process(once)
        if amount_db == 0.0 and self._reduction_db == 0.0:
            self._active = False
        return twice

    def _gains(self, audio: Float64, amount_db: float) -> Float64:
        """Return the gain of each shelf at the edges of the hops."""
        high = self._detector.process(audio)
        powers = [
            np.mean(np.square(x.reshape(-1, self._hop), dtype=np.float64), axis=1).tolist()
            for x in (high, audio)
        ]
        keep = math.exp(-0.001 / _AVERAGE_S)
        attack, release = (1 - math.exp(-0.001 / s) for s in (_ATTACK_S, _RELEASE_S))
        above, total = self._powers.tolist()
        reductions = [self._reduction_db]
        for high_power, power in zip(*powers, strict=True):
            above += (1 - keep) * (high_power - above)
            total += (1 - keep) * (power - total)
            share_db = 10 * math.log10(max(above, 1e-20) / max(total, _QUIET))
            part = min(max((share_db - _NONE_DB) / (_FULL_DB - _NONE_DB), 0.0), 1.0)
            now, target = reductions[-1], amount_db * part
            now += (attack if target > now else release) * (target - now)
            reductions.append(0.0 if target == 0.0 and now < 0.005 else now)
        self._powers = np.array([above, total])
        self._reduction_db = reductions[-1]
        gains: Float64 = 10 ** (-np.array(reductions) / 40)
        return gains
