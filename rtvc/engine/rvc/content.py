"""What is said: content features of a window, moved towards those of the voice's training."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Float64
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.rvc.retrieval import FeatureIndex
from rtvc.errors import RtvcError
from rtvc.settings import Settings

_V1_WIDTH, _V1_LAYER = 256, 9
FULL_PROTECT = 0.5
"""From this setting on, unvoiced frames are treated like all others."""


class Content:
    """Audio to features, with retrieval between them where there is an index.

    Parameters
    ----------
    encoder
        Content encoder.
    feature_dim
        Width of the features that the voice takes: 256 is layer 9 with the final
        projection (v1), any other the last layer as it is (v2).
    index
        Of the voice, or None.

    Raises
    ------
    RtvcError
        If the encoder gives features of another width.
    """

    def __init__(self, encoder: Hubert, feature_dim: int, index: FeatureIndex | None) -> None:
        self._encoder, self._index = encoder, index
        self._projects = feature_dim == _V1_WIDTH and encoder.config.projection is not None
        self._layer = _V1_LAYER if self._projects else None
        width = encoder.config.projection if self._projects else encoder.config.width
        if width != feature_dim:
            raise RtvcError(
                f"The voice takes content features {feature_dim} wide, but the content encoder "
                f"gives {width}; it needs the encoder that it was trained with."
            )
        if index is not None:
            index.check_width(feature_dim)

    @property
    def has_index(self) -> bool:
        """Whether there is an index to retrieve from."""
        return self._index is not None

    def begin(self, audio_16k: Float32, reserved: int = 0) -> list[mx.array]:
        """Have the device begin with a window; `rows` makes its features of what comes.

        Parameters
        ----------
        audio_16k
            (frames * 160,), beginning at an even frame so that the grid of 20 ms is the
            same in all windows.
        reserved
            See `Hubert.convolve`.
        """
        convolved = self._encoder.convolve(mx.array(audio_16k), reserved=reserved)
        mx.async_eval(convolved)  # type: ignore[no-untyped-call]
        return convolved

    def rows(self, begun: list[mx.array]) -> mx.array:
        """Return the features of a window at 50 Hz, (rows, width), unevaluated.

        The encoder hears 25 ms for each, so there is none for the last 20 ms.
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

        Each row serves two frames, the last one also those after it. Without retrieval nothing
        is evaluated.

        Parameters
        ----------
        rows
            As `rows` gives them.
        lead
            Frames of the window before the first that is wanted, 0 or 1.
        input_f0_hz
            Pitch of each frame, (count,): unvoiced frames are protected. None for a voice
            without pitch, which protects none.
        settings
            ``index_rate`` and ``protect``.
        count
            Frames wanted.
        first
            First of them that is heard, or that the flow of a heard one reaches: those
            before are context, and stay as they are.
        """
        row_of = np.minimum((lead + np.arange(count, dtype=np.int32)) // 2, len(rows) - 1)
        if self._index is None or settings.index_rate == 0:
            return mx.take(rows, mx.array(row_of), axis=0)[None]
        said = np.array(rows)
        moved = said.copy()
        first_row = int(row_of[first])
        moved[first_row:] = self._index.blend(said[first_row:], settings.index_rate)
        frames = moved[row_of]
        if input_f0_hz is not None and settings.protect < FULL_PROTECT:
            unvoiced = np.flatnonzero(input_f0_hz == 0)
            own = said[row_of[unvoiced]]
            frames[unvoiced] = own + np.float32(settings.protect) * (frames[unvoiced] - own)
        return mx.array(frames)[None]
