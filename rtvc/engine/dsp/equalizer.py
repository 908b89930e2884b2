"""Low cut and a three-band equaliser with a sweepable middle."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float64
from rtvc.engine.dsp.biquad import THROUGH, Cascade, Section, high_pass, high_shelf, low_shelf, peak
from rtvc.engine.dsp.conditioning import RAMP_S
from rtvc.engine.dsp.sola import fade_in
from rtvc.settings import Settings

LOW_HZ, HIGH_HZ = 150.0, 6000.0
"""Frequencies of the shelves, where they have half of their gain."""
MID_Q = 0.9
"""Width of the middle band: 1.5 octaves."""


def sections(settings: Settings, rate: int) -> tuple[Section, ...]:
    """Return the filters of the settings in order, all of them `THROUGH` while they are off."""
    return (
        high_pass(rate, settings.low_cut) if settings.low_cut else THROUGH,
        low_shelf(rate, LOW_HZ, settings.eq_low) if settings.eq_low else THROUGH,
        peak(rate, settings.eq_mid_freq, settings.eq_mid, MID_Q) if settings.eq_mid else THROUGH,
        high_shelf(rate, HIGH_HZ, settings.eq_high) if settings.eq_high else THROUGH,
    )


class Equalizer:
    """Filters the signal; changed settings are crossfaded over `RAMP_S`.

    Parameters
    ----------
    rate
        Samples per second.
    settings
        Settings at the start of the stream.
    """

    def __init__(self, rate: int, settings: Settings) -> None:
        self._rate = rate
        self._fade = fade_in(round(RAMP_S * rate))
        self._set_for = self._values(settings)
        self._active = False
        self._filter = Cascade()
        self._use(settings)
        self._before = np.zeros(0)
        """The block before, in which a new filter settles."""

    def process(self, audio: Float64, settings: Settings) -> Float64:
        """Return the next block, (samples,); `audio` itself while all is off."""
        before, self._before = self._before, audio
        values = self._values(settings)
        if values == self._set_for:
            return self._filter.process(audio) if self._active else audio
        old = self._filter.process(audio) if self._active else audio
        self._set_for = values
        self._use(settings)
        new = audio
        if self._active:
            if len(before):
                self._filter.process(before)
            new = self._filter.process(audio)
        width = len(self._fade)
        mixed = new.astype(np.float64)
        mixed[:width] = old[:width] + self._fade * (new[:width] - old[:width])
        return mixed

    def forget(self) -> None:
        """Forget the past: the next block follows silence."""
        self._filter.clear()
        self._before = np.zeros(0)

    def _use(self, settings: Settings) -> None:
        filters = sections(settings, self._rate)
        self._active = any(section != THROUGH for section in filters)
        self._filter = Cascade(*filters) if self._active else Cascade()

    @staticmethod
    def _values(settings: Settings) -> tuple[float, ...]:
        middle = settings.eq_mid_freq if settings.eq_mid else 0.0
        return settings.low_cut, settings.eq_low, settings.eq_mid, middle, settings.eq_high
