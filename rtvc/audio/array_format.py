"""Convert the arrays of a caller to mono for the engine, and results to the same format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rtvc._types import AnyArray, Float32
from rtvc.errors import UsageError

MAX_CHANNELS = 64
"""An array with more channels has its axes in the wrong order."""
MAX_PEAK = 100.0
"""Float samples beyond this (40 dB above full scale) are integers that were not scaled."""

_CANCELLED = 1e-3
_PCM = ("int16", "int32")


@dataclass(frozen=True, slots=True)
class ArrayFormat:
    """The format of an array of samples.

    Attributes
    ----------
    dtype
        Any float type, with full scale at 1; or int16 or int32, with the type's full scale.
    channels
        None for (samples,), else the second dimension of (samples, channels).
    """

    dtype: np.dtype[Any]
    channels: int | None

    def __str__(self) -> str:
        """Return the format as shown in error messages, such as "(samples, 2) int16"."""
        shape = "(samples,)" if self.channels is None else f"(samples, {self.channels})"
        return f"{shape} {self.dtype}"

    def restore(self, mono: Float32) -> AnyArray:
        """Return mono samples in this format, the same on every channel.

        Integers are rounded, and clipped at full scale.
        """
        samples: AnyArray = mono.astype(self.dtype) if self.dtype.kind == "f" else self._pcm(mono)
        return samples if self.channels is None else np.repeat(samples[:, None], self.channels, 1)

    def _pcm(self, mono: Float32) -> AnyArray:
        info = np.iinfo(self.dtype)
        scaled = np.rint(mono.astype(np.float64) * -float(info.min))
        return np.clip(scaled, info.min, info.max).astype(self.dtype)


MONO = ArrayFormat(np.dtype(np.float32), None)
"""The engine's format."""


def to_mono(samples: object) -> tuple[Float32, ArrayFormat]:
    """Return the mean of the channels as a new (samples,) float32 array, and the original format.

    Raises
    ------
    UsageError
        If the shape or type is not supported, or samples are not finite or not scaled.
    """
    array, form = _checked(samples)
    scaled: AnyArray
    if form.dtype.kind == "i":
        scaled = array / np.float64(-float(np.iinfo(form.dtype).min))
    else:
        _check_values(array)
        scaled = array.astype(np.float32)
    mono = scaled if form.channels is None else scaled.mean(axis=1)
    return np.array(mono, np.float32), form


def cancels(samples: object, mono: Float32) -> bool:
    """Return whether the sum of the channels has 30 dB less power than the loudest channel."""
    array = np.asarray(samples)
    if array.ndim != 2 or array.shape[1] < 2 or not mono.size:
        return False
    full_scale = 1.0 if array.dtype.kind == "f" else -float(np.iinfo(array.dtype).min)
    loudest = max(
        float(np.mean(np.square(channel / full_scale, dtype=np.float64))) for channel in array.T
    )
    # The mean of many channels of which one has sound is quieter by their number.
    power = float(np.mean(np.square(mono, dtype=np.float64))) * array.shape[1] ** 2
    return bool(power < _CANCELLED * loudest)


def _checked(samples: object) -> tuple[AnyArray, ArrayFormat]:
    try:
        array = np.asarray(samples)
    except ValueError:
        raise UsageError(
            "The samples are rows of different lengths. Give an array of the shape (samples,) or "
            "(samples, channels)."
        ) from None
    if array.dtype.kind != "f" and array.dtype.name not in _PCM:
        raise UsageError(
            f"The samples are of type {array.dtype}. Give floats with full scale at 1, or int16 "
            "or int32."
        )
    if array.ndim not in (1, 2) or array.shape[1:] == (0,):
        raise UsageError(
            f"The samples have the shape {array.shape}. Give an array of the shape (samples,) or "
            "(samples, channels)."
        )
    if array.ndim == 2 and array.shape[1] > MAX_CHANNELS:
        raise UsageError(
            f"The samples have the shape {array.shape}, which is {array.shape[1]} channels. "
            "If it is (channels, samples), transpose it."
        )
    return array, ArrayFormat(array.dtype, array.shape[1] if array.ndim == 2 else None)


def _check_values(samples: AnyArray) -> None:
    if not samples.size:
        return
    peak = float(max(samples.max(), -samples.min()))
    if peak <= MAX_PEAK:
        return
    if not np.isfinite(peak):
        finite = np.isfinite(samples)
        first = int(np.argmin(finite if samples.ndim == 1 else finite.all(axis=1)))
        raise UsageError(
            f"The samples hold values that are not finite (NaN or infinite), the first at index "
            f"{first}. Remove them, for example with numpy.nan_to_num."
        )
    raise UsageError(
        f"The samples reach {peak:g}, but float samples have full scale at 1. Divide samples that "
        "were int16 by 32768, or give them as int16."
    )
