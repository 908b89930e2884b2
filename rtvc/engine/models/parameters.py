"""Weights of a network in PyTorch's layout, handed out layer by layer in MLX's.

Every tensor is asked for once, by name and expected shape. What is missing,
misshapen or left over is collected, so that one message names all of it: the
reference loads leniently, and a wrong file then sings with random weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from rtvc.engine.models import layers
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.strict import check_keys
from rtvc.errors import RtvcError

Weights = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Linear:
    """Affine map of the last axis; the weight is (out, in)."""

    weight: mx.array
    bias: mx.array | None

    def __call__(self, x: mx.array) -> mx.array:
        """(..., in) to (..., out)."""
        return layers.linear(x, self.weight, self.bias)


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
        return layers.conv1d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def valid(self, x: mx.array) -> mx.array:
        """As calling, without the padding: only what all of the kernel hears."""
        return layers.conv1d(x, self.weight, self.bias, stride=self.stride, dilation=self.dilation)


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
        return layers.conv_transpose1d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
        )

    def whole(self, x: mx.array) -> mx.array:
        """As calling, with nothing cut off: (1, (L - 1) * stride + kernel, out)."""
        return layers.conv_transpose1d(x, self.weight, self.bias, stride=self.stride)


class Parameters:
    """A strict view of named weights, with weight norm already folded (``X.weight``).

    Parameters
    ----------
    weights
        Tensors by their PyTorch names, float32, in PyTorch's layout.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._prefix = ""
        self._asked: dict[str, tuple[int, ...]] = {}
        self._given: list[mx.array] = []

    def at(self, name: str | int) -> Parameters:
        """Return the view of one submodule; requests are still counted for the whole."""
        view = object.__new__(Parameters)
        view.__dict__.update(self.__dict__)
        view._prefix = f"{self._prefix}{name}."
        return view

    def has(self, name: str) -> bool:
        """Whether a tensor of this name, or any below it, is there."""
        path = self._prefix + name
        return path in self._weights or any(key.startswith(path + ".") for key in self._weights)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor in PyTorch's layout; () where it is missing."""
        found = self._weights.get(self._prefix + name)
        return () if found is None else found.shape

    def tensor(self, name: str, *shape: int) -> mx.array:
        """Take a tensor as it is: vectors, embeddings, anything without a convolution's axes."""
        return self._give(self._take(name, shape))

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> Linear:
        """Take a linear layer: (out, in) is MLX's layout too."""
        weight = self._give(self._take("weight", (outputs, inputs)))
        return Linear(weight, self._bias(outputs, bias))

    def pointwise(self, inputs: int, outputs: int) -> Linear:
        """Take a convolution of kernel 1 as the linear layer it is: (out, in, 1) -> (out, in)."""
        weight = self._give(self._take("weight", (outputs, inputs, 1))[:, :, 0])
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
        torch_weight = self._take("weight", (outputs, inputs, kernel))
        weight = self._give(layers.tap_major(mx.array(torch_weight.transpose(0, 2, 1))))
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
        torch_weight = self._take("weight", (inputs, outputs, kernel))
        weight = self._give(layers.tap_major(mx.array(torch_weight.transpose(1, 2, 0))))
        return ConvTranspose1d(weight, self._bias(outputs, True), stride, padding, output_padding)

    def finish(self) -> None:
        """Put the weights in place, and refuse them if they are not exactly what was asked for.

        Raises
        ------
        RtvcError
            Tensors are missing, have another shape, or were never asked for.
        """
        try:
            check_keys(self._asked, self._weights)
        except ContentError as clause:
            raise RtvcError(f"The voice cannot be used: {clause}.") from None
        mx.eval(self._given)

    def _take(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        path = self._prefix + name
        self._asked[path] = shape
        found = self._weights.get(path)
        # What does not fit is complained of once, at the end.
        return np.zeros(shape, np.float32) if found is None or found.shape != shape else found

    def _bias(self, outputs: int, wanted: bool) -> mx.array | None:
        return self.tensor("bias", outputs) if wanted else None

    def _give(self, array: npt.NDArray[np.float32] | mx.array) -> mx.array:
        given = array if isinstance(array, mx.array) else mx.array(array)
        self._given.append(given)
        return given
