"""The first stage of a chain: takes rumble, and noise if that is asked for, out of the input."""

from __future__ import annotations

from collections import deque

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.dsp.conditioning import HighPass
from rtvc.engine.dsp.noise_suppression import NoiseSuppressor, make_suppressor


class Cleaner:
    """A high-pass and a noise suppressor on one stream.

    What it outputs does not depend on the voice, and noise suppression takes much of the time in
    which a chain catches up. So it keeps its newest output for a chain that takes over.

    Parameters
    ----------
    noise
        Value of ``Settings.noise``.
    keep
        Samples of output to keep, at least, if noise is suppressed.
    like
        One for this kind of noise suppression whose stream has ended; see `make_suppressor`.
    """

    def __init__(self, noise: str, keep: int, like: Cleaner | None = None) -> None:
        self._high_pass = HighPass(ENGINE_RATE)
        self._suppressor: NoiseSuppressor | None = make_suppressor(
            noise, None if like is None else like._suppressor
        )
        self._keep = keep
        self._cleaned: deque[Float32] = deque()
        self._cleaned_samples = 0

    def process(self, raw: Float32) -> Float32:
        """Return the next block without rumble and noise, (samples,) float32."""
        filtered = self._high_pass.process(raw)
        if self._suppressor is None:
            return filtered
        cleaned = self._suppressor.process(filtered)
        self._cleaned.append(cleaned)
        self._cleaned_samples += len(cleaned)
        while self._cleaned_samples - len(self._cleaned[0]) >= self._keep:
            self._cleaned_samples -= len(self._cleaned.popleft())
        return cleaned

    def newest(self, samples: int) -> Float32 | None:
        """Return the newest output; None if that is not kept, or no noise is suppressed."""
        if not samples or self._cleaned_samples < samples:
            return None
        return np.concatenate(self._cleaned)[-samples:]
