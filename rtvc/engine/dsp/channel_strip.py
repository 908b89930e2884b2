"""The effects on the converted voice, in their order."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32, Float64
from rtvc.engine.dsp.auto_level import AutoLevel
from rtvc.engine.dsp.compressor import Compressor
from rtvc.engine.dsp.deesser import DeEsser
from rtvc.engine.dsp.equalizer import Equalizer
from rtvc.engine.dsp.reverb import Reverb
from rtvc.settings import Settings


class ChannelStrip:
    """Low cut, equaliser, de-esser, compressor, automatic level and reverb, without delay.

    The signal is that of the voice after the gate: the reverberation of the last word continues
    when the gate closes, and the compressor raises no noise. Your own voice in the dry mode does
    not pass through it. While all effects are off, the signal is returned as it is.

    Parameters
    ----------
    rate
        Samples per second, 48000.
    settings
        Settings at the start of the stream.
    """

    def __init__(self, rate: int, settings: Settings) -> None:
        self._equalizer = Equalizer(rate, settings)
        self._deesser = DeEsser(rate)
        self._compressor = Compressor(rate, settings)
        self._auto_level = AutoLevel(rate)
        self._reverb = Reverb(rate, settings.reverb)

    def forget(self) -> None:
        """Forget the sound from before, not the gains."""
        self._equalizer.forget()
        self._reverb.forget()

    def skip(self, samples: int, settings: Settings) -> None:
        """Let time pass without output: a number of samples, whole 10 ms frames."""
        self._reverb.skip(samples, settings.reverb, settings.reverb_size)

    def process(self, block: Float32, settings: Settings) -> Float32:
        """Return the next block, (samples,) float32, whole 10 ms frames."""
        audio: Float64 = self._equalizer.process(block, settings)  # type: ignore[arg-type]
        audio = self._deesser.process(audio, settings.deess)
        audio = self._compressor.process(audio, settings)
        audio = self._auto_level.process(audio, settings.level, settings.level_range)
        audio = self._reverb.process(audio, settings.reverb, settings.reverb_size)
        return audio.astype(np.float32, copy=False)
