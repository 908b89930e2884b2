"""Compressor: reduces the level above a threshold."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float64
from rtvc.engine.dsp.conditioning import Ramp
from rtvc.settings import Settings

KNEE_DB = 6.0
"""Width of the transition around the threshold."""
_HELD_HOPS = 10
"""Hops of 1 ms over which the peak is held: half a period of 50 Hz."""
_SMALLEST_DB = 0.005


def static_gain_db(level_db: Float64, threshold_db: float, ratio: float) -> Float64:
    """Return the gain for steady levels in dB, 0 or less.

    It has the soft knee of Giannoulis, Massberg and Reiss, "Digital Dynamic Range Compressor
    Design" (2012), equation 4.
    """
    over = level_db - threshold_db
    knee = np.clip(over + KNEE_DB / 2, 0.0, KNEE_DB)
    above = np.maximum(over - KNEE_DB / 2, 0.0)
    gain: Float64 = (1.0 / ratio - 1.0) * (knee * knee / (2 * KNEE_DB) + above)
    return gain


class Compressor:
    """Feed-forward compressor on the peak of the last 10 ms, without look-ahead or delay.

    The gain reduction in dB follows its target with the time constants of attack and release,
    and the gain is linear over each millisecond. A ratio of 1 is off.

    Parameters
    ----------
    rate
        Samples per second.
    settings
        Settings at the start of the stream.
    """

    def __init__(self, rate: int, settings: Settings) -> None:
        self._hop = rate // 1000
        self._makeup = Ramp(rate, _makeup(settings))
        self._recent = np.zeros(_HELD_HOPS - 1)
        self._gain_db = 0.0

    def process(self, audio: Float64, settings: Settings) -> Float64:
        """Return the next block, whole milliseconds; `audio` itself while it is off."""
        makeup = self._makeup.process(_makeup(settings), len(audio))
        off = settings.comp_ratio == 1.0 and self._gain_db == 0.0
        if off:
            # No ramp and no gain: the signal is not touched.
            return audio if isinstance(makeup, float) and makeup == 1.0 else audio * makeup
        peaks = np.abs(audio).reshape(-1, self._hop).max(axis=1)
        joined = np.concatenate([self._recent, peaks])
        self._recent = joined[len(peaks) :].astype(np.float64)
        held = np.lib.stride_tricks.sliding_window_view(joined, _HELD_HOPS).max(axis=1)
        level_db = 20 * np.log10(np.maximum(held, 1e-6))
        targets = static_gain_db(level_db, settings.comp_threshold, settings.comp_ratio)
        attack, release = (
            1 - math.exp(-1.0 / ms) for ms in (settings.comp_attack, settings.comp_release)
        )
        gains = [self._gain_db]
        for target in targets.tolist():
            now = gains[-1]
            now += (attack if target < now else release) * (target - now)
            gains.append(0.0 if target == 0.0 and now > -_SMALLEST_DB else now)
        self._gain_db = gains[-1]
        edges = np.arange(len(gains)) * self._hop
        line = np.interp(np.arange(1, len(audio) + 1), edges, 10 ** (np.array(gains) / 20))
        return audio * line * makeup


def _makeup(settings: Settings) -> float:
    return float(10 ** (settings.comp_makeup / 20)) if settings.comp_ratio > 1.0 else 1.0
