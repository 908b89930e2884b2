"""Where there is speech in a stream, for the gate."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.resample import BlockResampler
from rtvc.engine.dsp.silero_vad import CHUNK, RATE, SileroVad

_STEP = RATE // 200
_BEGIN, _END = 0.5, 0.2
"""Probability from which speech begins, and below which it ends."""
_HOLD_S = 0.2
"""Time that speech lasts after it, in seconds."""


class SpeechTracker:
    """Tells for every 5 ms whether there is speech, as far as the sound until then shows."""

    def __init__(self) -> None:
        self._down = BlockResampler(ENGINE_RATE, RATE, 80.0)
        self._detector = SileroVad()
        self._pending: Float32 = np.zeros(0, np.float32)
        self._speech = False
        self._hold_left = 0.0

    def process(self, block: Float32) -> list[bool]:
        """Return one value for each 5 ms of the next block, whole frames of 10 ms."""
        found = []
        for step in self._down.process(block).reshape(-1, _STEP):
            self._pending = np.concatenate([self._pending, step])
            if len(self._pending) >= CHUNK:
                self._decide(self._detector.probability(self._pending[:CHUNK]))
                self._pending = self._pending[CHUNK:]
            found.append(self._speech)
        return found

    def _decide(self, probability: float) -> None:
        if probability >= (_END if self._speech else _BEGIN):
            self._speech, self._hold_left = True, _HOLD_S
        else:
            self._hold_left -= CHUNK / RATE
            self._speech = self._speech and self._hold_left > 0.0
