"""Convolutions of the content encoder for new input only, normalised by the last seconds.

The encoder normalises the output of its first convolution over time. Normalised over a window of
input, it changes everywhere with each new block, so every step computes the whole window again.
Normalised by what came in during the last seconds, a frame is computed once and stays. It also
comes closer to the conversion of a file, which normalises over a whole phrase.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float32
from rtvc.engine.dsp.input_statistics import InputStatistics
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops.cpu_streams import partition
from rtvc.engine.rvc.window import FRAME


class RunningConvolutions:
    """The output of the convolutions for the windows of a stream; computes new rows only.

    Parameters
    ----------
    encoder
        The content encoder.
    frames
        Frames of 10 ms in a window that begins where it should; the encoder's rows are 20 ms
        long, so a window may begin one frame earlier.
    block
        Frames from one window to the next.

    Attributes
    ----------
    statistics
        Those of the input, which the first convolution is normalised by.
    """

    def __init__(self, encoder: Hubert, frames: int, block: int) -> None:
        self._encoder = encoder
        self.statistics = InputStatistics(*encoder.first_kernel)
        # Sizes do not vary between steps, since each size would be traced.
        self._all = encoder.frames((frames + 1) * FRAME)
        self._new = min((block + 1) // 2, self._all)
        self._rows: mx.array | None = None
        self._end = 0

    def push(self, samples: Float32, *, skipped: bool = False) -> None:
        """Count the next samples of the input; see `InputStatistics.push`."""
        self.statistics.push(samples, skipped=skipped)

    def begin(self, audio_16k: Float32, start: int) -> list[mx.array]:
        """Return the output of the convolutions for a window, not evaluated.

        Rows that an earlier call has returned stay as they were. After a gap all are computed.

        Parameters
        ----------
        audio_16k
            (samples,) at 16 kHz; its last samples are the last ones that were pushed.
        start
            Index of its first frame of 10 ms, even.

        Returns
        -------
        list of array
            See `Hubert.convolve`.
        """
        count = self._encoder.frames(len(audio_16k))
        end = start // 2 + count
        fresh = end - self._end
        known = count - fresh
        if self._rows is not None and 0 <= fresh <= self._new and known <= self._rows.shape[1]:
            new = self._compute(audio_16k, max(count - self._new, 0), self._new)
            old = self._rows[:, self._rows.shape[1] - known :]
            self._rows = mx.concatenate([old, new[:, new.shape[1] - fresh :]], axis=1)
        else:
            self._rows = self._compute(audio_16k, 0, self._all)[:, :count]
        self._end = end
        return [self._rows[:, part] for part in partition(count)]

    def _compute(self, audio_16k: Float32, first: int, count: int) -> mx.array:
        """Return `count` rows from row `first` on; those beyond the audio are of silence."""
        hop = self._encoder.hop
        needed = (count - 1) * hop + self._encoder.receptive_field
        audio = audio_16k[first * hop : first * hop + needed]
        audio = np.pad(audio, (0, needed - len(audio)))
        mean, covariance = self.statistics.values()
        parts = self._encoder.convolve_by(
            mx.array(audio),
            mx.array(mean.astype(np.float32)),
            mx.array(covariance.astype(np.float32)),
        )
        return mx.concatenate(parts, axis=1)
