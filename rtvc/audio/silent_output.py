"""An endpoint that plays silence instead of its output."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.audio.forwarding import ForwardingEndpoint


class SilentOutput(ForwardingEndpoint):
    """An `Endpoint` that forwards to another one, but plays silence of the same length.

    The engine works as usual, and nobody hears it.

    Parameters
    ----------
    inner
        The endpoint to forward to.
    """

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue silence of the same length; nothing is played after it either."""
        self.inner.write(np.zeros_like(samples))
