"""Conversion of a network's weights from PyTorch's layout to MLX's, layer by layer.

Each tensor is requested once, by name and expected shape. Missing, misshapen and unused
tensors are collected, so that one message names all of them. The reference implementation
loads leniently and would run a wrong file with random weights.
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
from rtvc.engine.models.ops.backend import default_precision
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.strict import check_keys
from rtvc.errors import RtvcError

# A layer computes in the precision of its weights and casts its input to it.


@dataclass(frozen=True)
class Linear:
    """Affine map of the last axis; the weight is (out, in)."""

    weight: mx.array
    bias: mx.array | None

    def __call__(self, x: mx.array) -> mx.array:
        """(..., in) to (..., out)."""
        x = x.astype(self.weight.dtype)
        if self.weight.shape[1] == 1:  # element-wise, so that a GPU fuses it with the rest
            y = x * self.weight[:, 0]
            return y if self.bias is None else y + self.bias
        return ops.linear(x, self.weight, self.bias)


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
        """Convolve without padding: only output samples whose inputs all exist."""
        return self._biased(self.without_bias(x))

    def without_bias(self, x: mx.array, padding: int = 0) -> mx.array:
        """Convolve without the bias, which the caller adds together with other terms."""
        return ops.conv1d_packed(x.astype(self.weight.dtype), self._taps, padding=padding)

    @cached_property
    def _taps(self) -> Any:
        taps = ops.pack_taps(self.weight, self.stride, self.dilation)
        mx.eval(taps)
        return taps

    def select_outputs(self, *parts: slice) -> Conv1d:
        """Return the convolution to the output channels in `parts`, in this order."""
        if sum(part.stop - part.start for part in parts) == self.weight.shape[0]:
            return self
        weight = ops.tap_major(mx.concatenate([self.weight[part] for part in parts]))
        bias = self.bias
        if bias is not None:
            bias = mx.concatenate([bias[part] for part in parts])
        mx.eval(weight, bias)
        return replace(self, weight=weight, bias=bias)

    def select_inputs(self, part: slice) -> Conv1d:
        """Return the convolution of the input channels in `part`, without the bias."""
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
        """Convolve without bias and trimming: (1, (L - 1) * stride + kernel, out)."""
        x = x.astype(self.weight.dtype)
        return ops.conv_transpose1d(x, self.weight, stride=self.stride)


@dataclass(frozen=True)
class Condition:
    """Speaker bias of one layer: a slice of a row of `Parameters.speaker_biases`."""

    begin: int
    end: int

    def __call__(self, speaker: mx.array) -> mx.array:
        """(1, 1, S) to (1, 1, end - begin)."""
        return speaker[..., self.begin : self.end]


class Parameters:
    """A strict view of named weights, whose weight norm is already folded (``X.weight``).

    Parameters
    ----------
    weights
        Tensors by PyTorch name, float32, in PyTorch's layout.
    precision
        Type of the returned arrays; None for that of this machine.
    """

    def __init__(self, weights: Weights, precision: mx.Dtype | None = None) -> None:
        self.precision = precision or default_precision()
        self._weights = weights
        self._prefix = ""
        self._embeddings = np.zeros((0, 0), np.float32)
        self._conditions: list[Float32] = []
        self._requested: dict[str, tuple[int, ...]] = {}
        self._arrays: list[mx.array] = []

    def at(self, name: str | int) -> Parameters:
        """Return a view of one submodule; `finalize` still covers all requests."""
        return self._view(_prefix=f"{self._prefix}{name}.")

    def as_float32(self) -> Parameters:
        """Return the same view with float32 as its precision."""
        return self._view(precision=mx.float32)

    def has(self, name: str) -> bool:
        """Return whether there is a tensor or a submodule with this name."""
        path = self._prefix + name
        return path in self._weights or any(key.startswith(path + ".") for key in self._weights)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor in PyTorch's layout; () if it is missing."""
        found = self._weights.get(self._prefix + name)
        return () if found is None else found.shape

    def read(self, name: str, *shape: int) -> Float32:
        """Return a tensor in PyTorch's layout, to fold it; pass the result to `add`.

        A tensor that is missing or has another shape gives zeros; `finalize` reports it.
        """
        self._requested[self._prefix + name] = shape
        found = self._weights.get(self._prefix + name)
        return np.zeros(shape, np.float32) if found is None or found.shape != shape else found

    def add(self, array: npt.NDArray[np.floating]) -> mx.array:
        """Convert a folded array to the precision of this view."""
        return self._convert(mx.array(np.ascontiguousarray(array, np.float32)))

    def tensor(self, name: str, *shape: int) -> mx.array:
        """Convert a tensor without a change of layout, such as a vector or an embedding."""
        return self.add(self.read(name, *shape))

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> Linear:
        """Convert a linear layer; its layout, (out, in), is the same in MLX."""
        weight = self.tensor("weight", outputs, inputs)
        return Linear(weight, self._bias(outputs, bias))

    def pointwise(self, inputs: int, outputs: int) -> Linear:
        """Convert a convolution of kernel 1 to a linear layer: (out, in, 1) -> (out, in)."""
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
        """Convert a convolution: (out, in, kernel) -> (out, kernel, in).

        A padding of None keeps the length; the kernel must be odd.
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
        """Convert a transposed convolution: (in, out, kernel) -> (out, kernel, in)."""
        torch_weight = self.read("weight", inputs, outputs, kernel)
        weight = self._convert(mx.array(torch_weight.transpose(1, 2, 0)), ops.frame_major)
        return ConvTranspose1d(weight, self._bias(outputs, True), stride, padding, output_padding)

    def read_speakers(self, name: str, n_speakers: int, width: int) -> None:
        """Read the table of speaker embeddings; call it before `condition`."""
        self._embeddings = self.read(name, n_speakers, width)

    def condition(
        self,
        outputs: int,
        bias: Float32 | None = None,
        order: npt.NDArray[np.intp] | None = None,
    ) -> Condition:
        """Apply a convolution of kernel 1, whose only input is the speaker, to all speakers.

        Parameters
        ----------
        outputs
            Output channels.
        bias
            Added to the bias of the convolution, (outputs,).
        order
            Permutation of the outputs; None keeps their order.
        """
        conv_bias = self.read("bias", outputs)
        weight = self.read("weight", outputs, self._embeddings.shape[1], 1)[:, :, 0]
        biases = self._embeddings @ weight.T + (conv_bias if bias is None else conv_bias + bias)
        if order is not None:
            biases = biases[:, order]
        begin = sum(other.shape[1] for other in self._conditions)
        self._conditions.append(biases)
        return Condition(begin, begin + outputs)

    def speaker_biases(self) -> mx.array:
        """Return the biases of all conditioned layers for every speaker, (speakers, S)."""
        return self.add(np.concatenate(self._conditions, axis=1))

    def finalize(self) -> None:
        """Evaluate the arrays, after a check that exactly the given weights were requested.

        Raises
        ------
        RtvcError
            Tensors are missing, have another shape, or were never requested.
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
        converted = store(array.astype(self.precision))
        self._arrays.append(converted)
        return converted
