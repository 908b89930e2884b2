"""What convolutions remember of a signal that comes in pieces.

A convolution that looks to both sides needs, for the next piece, its newest inputs of
the piece before. Every layer remembers up to the same moment, however far it looks into
the future: what comes after that moment is computed again with the next piece. So
nothing is delayed, and sums of several layers stay aligned by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from rtvc.engine.models.ops import ops

StreamState = tuple[mx.array, ...]
"""The remembered inputs of all layers, in the order of their use; () before the first piece."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a piece ends, counted from its beginning at the rate of a layer.

    Attributes
    ----------
    advance
        Samples that will not come again: the next piece begins after them.
    size
        Samples that are to come out at the end; at least `advance`.
    """

    advance: int
    size: int

    def upsampled(self, rate: int) -> Chunk:
        """Return the same moments at a higher rate."""
        return Chunk(self.advance * rate, self.size * rate)


class ContextCache:
    """Hands out what the layers remember, and takes in what they are to remember.

    Parameters
    ----------
    state
        Of the piece before.
    """

    def __init__(self, state: StreamState) -> None:
        self._old = state
        self._new: list[mx.array] = []

    def prepend(self, x: mx.array, left: int, chunk: Chunk) -> mx.array:
        """Put a layer's `left` remembered inputs before its new ones, (1, L, C).

        Before the first piece are zeros, as before a whole signal.
        """
        if not left:
            return x
        zeros = mx.zeros((1, left, x.shape[2]), x.dtype)
        old = self._old[len(self._new)] if self._old else zeros
        whole = ops.concatenate_time([old, x])
        self._new.append(ops.keep_slice(whole[:, chunk.advance : chunk.advance + left]))
        return whole

    def zero_padding(self, x: mx.array, left: int, bias: mx.array | None) -> mx.array:
        """Silence the `left` samples that a layer made of zeros before the first piece.

        They are silent once the layer's bias has been added.
        """
        if self._old or not left:
            return x
        silence = mx.zeros_like(x[:, :left])
        return ops.concatenate_time([silence if bias is None else silence - bias, x[:, left:]])

    @property
    def state(self) -> StreamState:
        """What the next piece begins with."""
        return tuple(self._new)
