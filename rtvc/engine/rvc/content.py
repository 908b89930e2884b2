"""Content features of a window of input, with retrieval from the index of the voice."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Float64
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.rvc.retrieval import Retrieval
from rtvc.engine.rvc.running_convolutions import RunningConvolutions
from rtvc.errors import RtvcError
from rtvc.settings import Settings

_V1_WIDTH, _V1_LAYER = 256, 9
FULL_PROTECT = 0.5
"""Value of ``Settings.protect`` from which unvoiced frames are not protected."""


class Content:
    """Computes content features, and blends them with retrieved ones if there is an index.

    Parameters
    ----------
    encoder
        The content encoder.
    feature_dim
        Feature width of the voice. 256 uses layer 9 and the final projection (v1); any other
        width uses the last layer without projection (v2).
    index
        Index of the voice, the indexes of two voices, or None.

    Raises
    ------
    RtvcError
        If the encoder or the index has another feature width.
    """

    def __init__(self, encoder: Hubert, feature_dim: int, index: Retrieval | None) -> None:
        self._encoder, self._index = encoder, index
        self._projects = feature_dim == _V1_WIDTH and encoder.config.projection is not None
        self._layer = _V1_LAYER if self._projects else None
        width = encoder.config.projection if self._projects else encoder.config.width
        if width != feature_dim:
            raise RtvcError(
                f"The voice needs content features of width {feature_dim}, but the content "
                f"encoder produces {width}. Use the encoder that the voice was trained with."
            )
        if index is not None:
            index.check_width(feature_dim)

    @property
    def has_index(self) -> bool:
        """Whether there is an index to retrieve from."""
        return self._index is not None

    def running(self, frames: int, block: int) -> RunningConvolutions:
        """Return the state of a stream that computes new input only; for `begin`.

        Parameters
        ----------
        frames, block
            See `RunningConvolutions`.
        """
        return RunningConvolutions(self._encoder, frames, block)

    def begin(
        self,
        audio_16k: Float32,
        start: int = 0,
        running: RunningConvolutions | None = None,
        reserved: int = 0,
    ) -> list[mx.array]:
        """Start the convolutions of the encoder on a window; `rows` completes the features.

        Parameters
        ----------
        audio_16k
            (frames * 160,) float32, starting at an even frame so that all windows have the same
            20 ms grid.
        start
            Index of its first frame.
        running
            State of the stream if only new input is computed; None to compute the window,
            normalised by itself.
        reserved
            See `Hubert.convolve`; of no use for the little that new input takes.

        Returns
        -------
        list of array
            Argument for `rows`.
        """
        if running is None:
            convolved = self._encoder.convolve(mx.array(audio_16k), reserved=reserved)
        else:
            convolved = running.begin(audio_16k, start)
        mx.async_eval(convolved)  # type: ignore[no-untyped-call]
        return convolved

    def rows(self, begun: list[mx.array]) -> mx.array:
        """Return the features of a window at 50 Hz, (rows, width), not evaluated.

        Each row covers 25 ms of input, so the last 20 ms have no row. They have the precision of
        the encoder.
        """
        return self._encoder.transform(begun, layer=self._layer, project=self._projects)

    def frames(
        self,
        rows: mx.array,
        lead: int,
        input_f0_hz: Float64 | None,
        settings: Settings,
        *,
        count: int,
        first: int,
    ) -> mx.array:
        """Return the features at 100 Hz, (1, count, width).

        Each row is repeated for two frames, the last row also for any frames after it. Without
        retrieval nothing is evaluated.

        Parameters
        ----------
        rows
            Result of `rows`, (n, width).
        lead
            Frames of the window before the first returned one, 0 or 1.
        input_f0_hz
            Input f0 of each frame, (count,); unvoiced frames are protected. None for a voice
            without f0, which protects none.
        settings
            ``index_rate`` and ``protect`` are used.
        count
            Number of frames.
        first
            First frame to blend: the earliest one that the flow needs for the rendered frames.
            Frames before it are context and are not blended.
        """
        row_of = np.minimum((lead + np.arange(count, dtype=np.int32)) // 2, len(rows) - 1)
        if self._index is None or settings.index_rate == 0:
            return mx.take(rows, mx.array(row_of), axis=0)[None]
        original = np.array(rows, dtype=np.float32)
        blended = original.copy()
        first_row = int(row_of[first])
        blended[first_row:] = self._index.blend(original[first_row:], settings.index_rate)
        frames = blended[row_of]
        if input_f0_hz is not None and settings.protect < FULL_PROTECT:
            unvoiced = np.flatnonzero(input_f0_hz == 0)
            own = original[row_of[unvoiced]]
            frames[unvoiced] = own + np.float32(settings.protect) * (frames[unvoiced] - own)
        return mx.array(frames)[None]
