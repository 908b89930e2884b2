"""Mix the channels of a recording or of a device to mono: a voice is mono."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rtvc._types import Float32, Float64
from rtvc.errors import UsageError

_SILENT = 1e-4
"""Power relative to the loudest channel below which a channel is silent (-40 dB)."""
_CANCELLED = 0.1
"""Power of the mix, relative to that of unrelated channels, below which channels cancel."""
_CANCELLED_SHARE = 0.2
"""Share of the power in pieces with cancelling channels from which they are not mixed."""

_MEMORY_S = 10.0
"""Time constant over which a live input's channels are compared, weighted by their power."""
_HYSTERESIS = 4.0
"""Factor of power by which a channel must differ before the mix of a live input changes."""

ChannelChoice = int | str
"""The number of a channel from 1, ``"mix"`` or ``"loudest"``."""


@dataclass(frozen=True, slots=True)
class Downmix:
    """Weights of the channels, (channels,), and a sentence if they are not those of a mean."""

    weights: tuple[float, ...]
    note: str = ""

    def apply(self, frames: Float32) -> Float32:
        """Return (samples,) float32 for (frames, channels)."""
        used = [number for number, weight in enumerate(self.weights) if weight]
        if len(used) == 1:
            return np.ascontiguousarray(frames[:, used[0]])
        mono: Float32 = frames[:, used].mean(1, dtype=np.float32)
        return mono

    def power(self, products: Float64) -> Float64:
        """Return the power of the mix for (pieces, channels, channels) mean products."""
        weights = np.array(self.weights)
        power: Float64 = np.einsum("i,pij,j->p", weights, products, weights)
        return power


def choose_downmix(choice: ChannelChoice, products: Float64, name: str) -> Downmix:
    """Return the mix of a recording.

    Channels without sound do not count, and channels that cancel each other are not mixed.

    Parameters
    ----------
    choice
        What the user asked for.
    products
        (pieces, channels, channels) mean products of the channels with one another.
    name
        What messages call the recording.

    Raises
    ------
    UsageError
        If there is no such channel.
    """
    channels = products.shape[1]
    if isinstance(choice, int):
        if not 1 <= choice <= channels:
            has = "one channel" if channels == 1 else f"{channels} channels"
            raise UsageError(f"There is no channel {choice} in {name}, which has {has}.")
        return _only(choice - 1, channels)
    power = np.einsum("pii->i", products)
    loudest = int(power.argmax())
    if choice == "loudest":
        return _only(loudest, channels)
    active = power > _SILENT * power[loudest] if power[loudest] else np.ones(channels, bool)
    mix = Downmix(tuple((active / active.sum()).tolist()))
    unrelated = np.einsum("pii,i->p", products, active / active.sum() ** 2)
    lost = mix.power(products) < _CANCELLED * unrelated
    if unrelated[lost].sum() > _CANCELLED_SHARE * unrelated.sum():
        note = (
            "Its channels cancel each other, as if one were inverted: channel "
            f"{loudest + 1} alone is used. --input-channel selects another."
        )
        return Downmix(_only(loudest, channels).weights, note)
    return mix


class LiveDownmix:
    """Mixes the channels of a device by the same rules, as they are recorded.

    The mean of all channels, unless one is 40 dB below the other or they cancel each other. The
    comparison is weighted by power, so it does not follow the noise in pauses. A change is ramped
    over the samples of a call.

    Parameters
    ----------
    channels
        Number of channels.
    rate
        Samples per second.
    """

    def __init__(self, channels: int, rate: int) -> None:
        self._rate = rate
        self._products: Float64 = np.zeros((channels, channels))
        self._mean = np.full(channels, np.float32(1 / channels))
        self._weights = self._mean

    def process(self, frames: Float32) -> Float32:
        """Return (samples,) float32 for the next (frames, channels)."""
        if len(self._mean) == 1:
            return frames[:, 0]
        rows = np.ascontiguousarray(frames.T)
        products = np.array([[float(np.dot(a, b)) for a in rows] for b in rows])
        self._products *= math.exp(-len(frames) / (_MEMORY_S * self._rate))
        if np.isfinite(products).all():
            self._products += products
        before, self._weights = self._weights, self._choose()
        if self._weights is before:
            mono: Float32 = (
                frames.mean(1, dtype=np.float32) if before is self._mean else frames @ before
            )
            return mono
        ramp = np.linspace(0, 1, len(frames), dtype=np.float32)[:, None]
        mixed: Float32 = (frames * (before + ramp * (self._weights - before))).sum(1)
        return mixed

    def _choose(self) -> Float32:
        power = self._products.diagonal()
        mixing = self._weights is self._mean
        loudest = int(power.argmax())
        if not mixing:  # keep the channel unless another is clearly louder
            current = int(self._weights.argmax())
            loudest = current if power[loudest] < _HYSTERESIS * power[current] else loudest
        factor = 1.0 if mixing else _HYSTERESIS
        mean = float(self._mean @ self._products @ self._mean)
        unrelated = float((self._mean**2) @ power)
        silent = bool((power < factor * _SILENT * power[loudest]).any())
        if power[loudest] > 0 and (silent or mean < factor * _CANCELLED * unrelated):
            if not mixing and self._weights[loudest]:
                return self._weights
            only: Float32 = np.eye(len(power), dtype=np.float32)[loudest]
            return only
        return self._mean


def _only(channel: int, channels: int) -> Downmix:
    return Downmix(tuple(float(number == channel) for number in range(channels)))
