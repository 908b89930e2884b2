"""An endpoint that reads known sound instead of its input, on the clock of its device."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import Endpoint
from rtvc.audio.forwarding import ForwardingEndpoint


class KnownInput(ForwardingEndpoint):
    """An `Endpoint` that forwards to another one, but reads a sound, again and again.

    What the device records is thrown away, and only its timing matters.

    Parameters
    ----------
    inner
        The endpoint to forward to.
    sound
        (samples,) float32 at `rtvc.audio.endpoint.ENGINE_RATE`.
    """

    def __init__(self, inner: Endpoint, sound: Float32) -> None:
        super().__init__(inner)
        self._sound, self._position = sound, 0

    def read(self, samples: int) -> Float32:
        """Return the next samples of the sound, as many as the device has recorded."""
        recorded = self.inner.read(samples).size
        places = np.arange(self._position, self._position + recorded) % self._sound.size
        self._position = int((self._position + recorded) % self._sound.size)
        return self._sound[places]
