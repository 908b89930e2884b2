"""Light noise suppression: that of WebRTC, by the package webrtc-noise-gain.

It works at 16 kHz. What is above 8 kHz gets the gain of the octave below, as in WebRTC's own
suppressor at 48 kHz. Where nothing is suppressed, the sum of both bands is the input.
"""

from __future__ import annotations

import numpy as np
from webrtc_noise_gain import AudioProcessor

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.resample import BlockResampler
from rtvc.engine.dsp.delay import Delay

_RATE = 16_000
_FRAME = _RATE // 100
_SUPPRESSOR_DELAY = 96
"""Delay of WebRTC's suppressor in samples at 16 kHz."""
_STOPBAND_DB = 80.0
"""With this the filters delay by 2 ms each, and everything by 10 ms."""
_LEVEL = 2
"""Level of suppression, 1 to 4: 4 rates worse on clean speech and in pink noise."""
_FULL_SCALE = 32_767.0
_UPPER = slice(80, 150)
"""Bins of the octave below 8 kHz, 50 Hz each, without the slope of the filters."""
_FLOOR = 1e-3
"""Energy of a frame below which the gain is that of the frame before."""


class WebRtcNoiseSuppressor:
    """One stream; see `rtvc.engine.dsp.noise_suppression.NoiseSuppressor`."""

    def __init__(self) -> None:
        self._processor = AudioProcessor(0, _LEVEL)  # 0: no automatic gain
        self._down = BlockResampler(ENGINE_RATE, _RATE, _STOPBAND_DB)
        self._up_low = BlockResampler(_RATE, ENGINE_RATE, _STOPBAND_DB)
        self._up_clean = BlockResampler(_RATE, ENGINE_RATE, _STOPBAND_DB)
        self._low_delay = Delay(_SUPPRESSOR_DELAY)
        self._delay = Delay(
            self._down.delay_in + _SUPPRESSOR_DELAY * (ENGINE_RATE // _RATE) + self._up_clean.delay
        )
        self._past = np.zeros((2, _FRAME), np.float32)
        """The newest frame of the low band, before and after the suppression."""
        self._window = np.hanning(2 * _FRAME).astype(np.float32)
        self._gain = 1.0

    def process(self, block: Float32) -> Float32:
        """Return the next block with less noise, 480 samples late."""
        low = self._down.process(block)
        # The suppressor works with 16 bits. What it cannot get goes with the upper band.
        low = np.clip(low, -1.0, 1.0)
        clean = self._suppress(low)
        low = self._low_delay.process(low)
        gain = self._upper_gain(low, clean)
        high = self._delay.process(block) - self._up_low.process(low)
        output: Float32 = self._up_clean.process(clean) + gain * high
        return output

    def _suppress(self, low: Float32) -> Float32:
        integers = np.round(low * _FULL_SCALE).astype(np.int16)
        frames = [
            self._processor.Process10ms(frame.tobytes()).audio
            for frame in integers.reshape(-1, _FRAME)
        ]
        return np.frombuffer(b"".join(frames), np.int16) * np.float32(1 / _FULL_SCALE)

    def _upper_gain(self, low: Float32, clean: Float32) -> Float32:
        """Return the gain of the band above 8 kHz per sample at the engine's rate."""
        frames = np.stack([low, clean]).reshape(2, -1, _FRAME)
        before = np.concatenate([self._past[:, None], frames[:, :-1]], axis=1)
        self._past = frames[:, -1]
        pairs = np.concatenate([before, frames], axis=2)
        bins = np.fft.rfft(pairs * self._window)[:, :, _UPPER]
        energy = np.sum(bins.real**2 + bins.imag**2, axis=2)
        ramp = np.arange(1, ENGINE_RATE // 100 + 1) / (ENGINE_RATE // 100)
        parts = []
        for dirty, rest in energy.T.tolist():
            goal = min(1.0, (rest / dirty) ** 0.5) if dirty > _FLOOR else self._gain
            parts.append(self._gain + (goal - self._gain) * ramp)
            self._gain = goal
        return np.concatenate(parts).astype(np.float32)
