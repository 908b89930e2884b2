"""Weights of a network in PyTorch's layout, handed out layer by layer in MLX's.

Every tensor is asked for once, by name and expected shape. What is missing,
misshapen or left over is collected, so that one message names all of it: the
reference loads leniently, and a wrong file then sings with random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from rtvc._types import Float32, Weights
from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.backend import PRECISION
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.strict import check_keys
from rtvc.errors import RtvcError

# A layer computes in the precision of its weights, so what comes in takes on that of the network.


@dataclass(frozen=True)
class Linear:
    """Affine map of the last axis; the weight is (out, in)."""

    weight: mx.array
    bias: mx.array | None

    def __call__(self, x: mx.array) -> mx.array:
        """(..., in) to (..., out)."""
        return ops.linear(x.astype(self.weight.dtype), self.weight, self.bias)


@dataclass(frozen=True)
class Conv1d:
    """Convolution over time; the weight is (out, kernel, in)."""

    weight: mx.array
    bias: mx.array | None
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __call__(self, x: mx.array) -> mx.array:
        """(1, L, in) to (1, L', out)."""
        return self._biased(self.without_bias(x, self.padding))

    def valid(self, x: mx.array) -> mx.array:
        """As calling, without the padding: only what all of the kernel hears."""
        return self._biased(self.without_bias(x))

    def without_bias(self, x: mx.array, padding: int = 0) -> mx.array:
        """Convolve without the bias, for a caller who adds it together with other things."""
        return ops.conv1d_packed(x.astype(self.weight.dtype), self._taps, padding=padding)

    @cached_property
    def _taps(self) -> Any:
        taps = ops.pack_taps(self.weight, self.stride, self.dilation)
        mx.eval(taps)
        return taps

    def select_outputs(self, *parts: slice) -> Conv1d:
        """Return the convolution that gives some of the channels, in this order."""
        if sum(part.stop - part.start for part in parts) == self.weight.shape[0]:
            return self
        weight = ops.tap_major(mx.concatenate([self.weight[part] for part in parts]))
        bias = self.bias
        if bias is not None:
            bias = mx.concatenate([bias[part] for part in parts])
        mx.eval(weight, bias)
        return replace(self, weight=weight, bias=bias)

    def select_inputs(self, part: slice) -> Conv1d:
        """Return what some of the channels that come in add to the result, without the bias."""
        weight = self.weight
        if part != slice(0, weight.shape[2]):
            weight = ops.tap_major(weight[:, :, part])
            mx.eval(weight)
        return replace(self, weight=weight, bias=None)

    def _biased(self, y: mx.array) -> mx.array:
        return y if self.bias is None else y + self.bias


@dataclass(frozen=True)
class ConvTranspose1d:
    """Transposed convolution over time; the weight is (out, kernel, in)."""

    weight: mx.array
    bias: mx.array | None
    stride: int
    padding: int
    output_padding: int

    def __call__(self, x: mx.array) -> mx.array:
        """(1, L, in) to (1, L', out)."""
        return ops.conv_transpose1d(
            x.astype(self.weight.dtype),
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
        )

    def untrimmed(self, x: mx.array) -> mx.array:
        """As calling, with nothing cut off: (1, (L - 1) * stride + kernel, out)."""
        x = x.astype(self.weight.dtype)
        return ops.conv_transpose1d(x, self.weight, self.bias, stride=self.stride)


@dataclass(frozen=True)
class Condition:
    """Speaker bias of one layer: a slice of a row of `Parameters.speaker_biases`."""

    begin: int
    end: int

    def __call__(self, speaker: mx.array) -> mx.array:
        """(1, 1, S) to (1, 1, end - begin)."""
        return speaker[..., self.begin : self.end]


class Parameters:
    """A strict view of named weights, with weight norm already folded (``X.weight``).

    Parameters
    ----------
    weights
        Tensors by their PyTorch names, float32, in PyTorch's layout.
    precision
        What is handed out is of this type.
    """

    def __init__(self, weights: Weights, precision: mx.Dtype = PRECISION) -> None:
        self.precision = precision
        self._weights = weights
        self._prefix = ""
        self._embeddings = np.zeros((0, 0), np.float32)
        self._conditions: list[Float32] = []
        self._requested: dict[str, tuple[int, ...]] = {}
        self._arrays: list[mx.array] = []

    def at(self, name: str | int) -> Parameters:
        """Return the view of one submodule; requests are still counted for the whole."""
        return self._view(_prefix=f"{self._prefix}{name}.")

    def as_float32(self) -> Parameters:
        """Return the same view, handing out float32."""
        return self._view(precision=mx.float32)

    def has(self, name: str) -> bool:
        """Whether a tensor of this name, or any below it, is there."""
        path = self._prefix + name
        return path in self._weights or any(key.startswith(path + ".") for key in self._weights)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor in PyTorch's layout; () where it is missing."""
        found = self._weights.get(self._prefix + name)
        return () if found is None else found.shape

    def read(self, name: str, *shape: int) -> Float32:
        """Take a tensor in order to fold it; `add` puts in place what becomes of it."""
        self._requested[self._prefix + name] = shape
        found = self._weights.get(self._prefix + name)
        # What does not fit is complained of once, at the end.
        return np.zeros(shape, np.float32) if found is None or found.shape != shape else found

    def add(self, array: npt.NDArray[np.floating]) -> mx.array:
        """Hand out what was folded."""
        return self._convert(mx.array(np.ascontiguousarray(array, np.float32)))

    def tensor(self, name: str, *shape: int) -> mx.array:
        """Take a tensor as it is: vectors, embeddings, anything without a convolution's axes."""
        return self.add(self.read(name, *shape))

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> Linear:
        """Take a linear layer: (out, in) is MLX's layout too."""
        weight = self.tensor("weight", outputs, inputs)
        return Linear(weight, self._bias(outputs, bias))

    def pointwise(self, inputs: int, outputs: int) -> Linear:
        """Take a convolution of kernel 1 as the linear layer it is: (out, in, 1) -> (out, in)."""
        weight = self.add(self.read("weight", outputs, inputs, 1)[:, :, 0])
        return Linear(weight, self._bias(outputs, True))

    def conv(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        bias: bool = True,
    ) -> Conv1d:
        """Take a convolution: (out, in, kernel) -> (out, kernel, in).

        Without a padding it keeps the length, which takes an odd kernel.
        """
        torch_weight = self.read("weight", outputs, inputs, kernel)
        weight = self._convert(mx.array(torch_weight.transpose(0, 2, 1)), ops.tap_major)
        if padding is None:
            padding = dilation * (kernel - 1) // 2
        return Conv1d(weight, self._bias(outputs, bias), stride, padding, dilation)

    def conv_transpose(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int,
        padding: int,
        output_padding: int,
    ) -> ConvTranspose1d:
        """Take a transposed convolution: (in, out, kernel) -> (out, kernel, in)."""
        torch_weight = self.read("weight", inputs, outputs, kernel)
        weight = self._convert(mx.array(torch_weight.transpose(1, 2, 0)), ops.frame_major)
        return ConvTranspose1d(weight, self._bias(outputs, True), stride, padding, output_padding)

    def read_speakers(self, name: str, n_speakers: int, width: int) -> None:
        """Take the table of speakers; what conditions on them comes after this."""
        self._embeddings = self.read(name, n_speakers, width)

    def condition(
        self,
        outputs: int,
        bias: Float32 | None = None,
        order: npt.NDArray[np.intp] | None = None,
    ) -> Condition:
        """Take a convolution of kernel 1 that sees nothing but the speaker.

        As it is linear, it is applied to all speakers now; `bias` is added to its own. The
        outputs come in the `order` that is given, or as they are.
        """
        own = self.read("bias", outputs)
        weight = self.read("weight", outputs, self._embeddings.shape[1], 1)[:, :, 0]
        biases = self._embeddings @ weight.T + (own if bias is None else own + bias)
        if order is not None:
            biases = biases[:, order]
        begin = sum(other.shape[1] for other in self._conditions)
        self._conditions.append(biases)
        return Condition(begin, begin + outputs)

    def speaker_biases(self) -> mx.array:
        """Return what all layers add for every speaker, (speakers, S)."""
        return self.add(np.concatenate(self._conditions, axis=1))

    def finalize(self) -> None:
        """Put the weights in place, and refuse them if they are not exactly what was asked for.

        Raises
        ------
        RtvcError
            Tensors are missing, have another shape, or were never asked for.
        """
        try:
            check_keys(self._requested, self._weights)
        except ContentError as clause:
            raise RtvcError(f"The voice cannot be used: {clause}.") from None
        mx.eval(self._arrays)

    def _view(self, **changes: object) -> Parameters:
        view = object.__new__(Parameters)
        view.__dict__.update(self.__dict__ | changes)
        return view

    def _bias(self, outputs: int, wanted: bool) -> mx.array | None:
        return self.tensor("bias", outputs) if wanted else None

    def _convert(
        self, array: mx.array, store: Callable[[mx.array], mx.array] = mx.contiguous
    ) -> mx.array:
        given = store(array.astype(self.precision))
        self._arrays.append(given)
        return given
