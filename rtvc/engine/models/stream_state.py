"""State of streaming convolutions: the left context that each layer needs from earlier chunks.

A convolution with a symmetric kernel needs the last inputs of the previous chunk as left
context. It also needs right context, which each chunk supplies as lookahead: the samples
after `Chunk.advance` are computed again with the next chunk. Every layer therefore stores
its context up to the same point in time, so that a chunk adds no latency of its own and
the branches of a sum stay aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from rtvc.engine.models.ops import ops

StreamState = tuple[mx.array, ...]
"""Left contexts of all layers, in the order in which they run; () before the first chunk."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lengths of one chunk, in samples at the rate of a layer.

    Attributes
    ----------
    advance
        Samples from the start of this chunk to the start of the next one.
    size
        Samples to output, at least `advance`; the next chunk computes the excess again.
    """

    advance: int
    size: int

    def upsampled(self, rate: int) -> Chunk:
        """Return the same lengths at `rate` times the sample rate."""
        return Chunk(self.advance * rate, self.size * rate)


class ContextCache:
    """Reads the left contexts of the previous chunk and stores those for the next one.

    Layers must call `prepend` in the same order in every chunk.

    Parameters
    ----------
    state
        State after the previous chunk.
    """

    def __init__(self, state: StreamState) -> None:
        self._old = state
        self._new: list[mx.array] = []

    def prepend(self, x: mx.array, left: int, chunk: Chunk, *, zeros_after: int = 0) -> mx.array:
        """Prepend a layer's left context to its new inputs, and store the next context.

        Parameters
        ----------
        x
            New inputs, (1, L, C).
        left
            Length of the left context, in samples.
        chunk
            Lengths of the chunk at this layer's rate.
        zeros_after
            Zeros to append; the next context does not include them.

        Returns
        -------
        mx.array
            (1, left + L + zeros_after, C). The context of the first chunk is zeros.
        """
        if not left:
            return x
        zeros = mx.zeros((1, left, x.shape[2]), x.dtype)
        old = self._old[len(self._new)] if self._old else zeros
        parts = [old, x]
        if zeros_after:
            parts.append(mx.zeros((1, zeros_after, x.shape[2]), x.dtype))
            mx.eval(parts[-1])  # a constant of a trace, not a launch per step
        extended = ops.concatenate_time(parts)
        context = extended[:, chunk.advance : chunk.advance + left]
        self._new.append(ops.keep_slice(context))
        return extended

    def zero_padding(self, x: mx.array, left: int) -> mx.array:
        """Set the first `left` samples of the first chunk to 0; later chunks pass through.

        A layer that convolves the zero context of the first chunk outputs samples before the
        start of the signal. The next layer expects zeros there.
        """
        if self._old or not left:
            return x
        return ops.concatenate_time([mx.zeros_like(x[:, :left]), x[:, left:]])

    @property
    def state(self) -> StreamState:
        """State for the next chunk."""
        return tuple(self._new)
