"""Mix the channels of a recording or of a device to mono: a voice is mono."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rtvc._types import Float32, Float64
from rtvc.device_choice import LOUDEST, MIX, ChannelChoice, check_channel

_SILENT = 1e-4
"""Power relative to the loudest channel below which a channel is silent (-40 dB)."""
_CANCELLED = 0.1
"""Power of the mix, relative to that of unrelated channels, below which channels cancel."""
_CANCELLED_SHARE = 0.2
"""Share of the power in pieces with cancelling channels from which they are not mixed."""

_MOST_IN_ONE = 0.6
"""Power of the mix, relative to that of unrelated channels as loud as the loudest, below which
most of the sound is in one channel."""
_MEMORY_S = 10.0
"""Time constant over which a live input's channels are compared, weighted by their power."""
MIXED_CHANNELS = 2
"""Channels of a live input that are mixed."""
_HYSTERESIS = 4.0
"""Factor of power by which a channel must differ before the mix of a live input changes."""
_NOTICED_S = 1.0
"""Sound of a live input in which its channels cancel each other before the user is told."""
_AUDIBLE = 1e-6
"""Power from which that counts (-60 dBFS)."""


@dataclass(frozen=True, slots=True)
class Downmix:
    """Weights of the channels, (channels,), equal or 0, and a sentence about an odd choice."""

    weights: tuple[float, ...]
    note: str = ""

    def apply(self, frames: Float32) -> Float32:
        """Return (samples,) float32 for (frames, channels)."""
        used = [number for number, weight in enumerate(self.weights) if weight]
        if len(used) == 1:
            return np.ascontiguousarray(frames[:, used[0]])
        mono: Float32 = frames[:, used].mean(1, dtype=np.float32)
        return mono * np.float32(sum(self.weights))

    def power(self, products: Float64) -> Float64:
        """Return the power of the mix for (pieces, channels, channels) mean products."""
        weights = np.array(self.weights)
        power: Float64 = np.einsum("i,pij,j->p", weights, products, weights)
        return power


def choose_downmix(choice: ChannelChoice, products: Float64, name: str) -> Downmix:
    """Return the mix of a recording.

    Channels without sound do not count, and channels that cancel each other are not mixed. If
    most of the sound is in one channel, as of a voice in one of eight and noise in the others,
    the mix is as loud as that channel.

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
    check_channel(choice, channels, name)
    if isinstance(choice, int):
        return _only(choice - 1, channels)
    power = np.einsum("pii->i", products)
    loudest = int(power.argmax())
    if choice == LOUDEST:
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
    mixed = float(mix.power(products).sum())
    if not 0 < mixed < _MOST_IN_ONE * power[loudest] / active.sum():
        return mix
    gain = min(math.sqrt(power[loudest] / mixed), active.sum())
    return Downmix(tuple((active / active.sum() * gain).tolist()))


class LiveDownmix:
    """Makes the channels of a device mono by the same rules, as they are recorded.

    ``"mix"`` is the mean of the first `MIXED_CHANNELS`: further inputs of an interface are often
    loopbacks of what the computer plays. If one of these is 40 dB below the other, or they cancel
    each other, the louder one is used alone. The comparison is weighted by power, so it does not
    follow the noise in pauses. A change is ramped over the samples of a call.

    Parameters
    ----------
    channels
        Number of channels.
    rate
        Samples per second.
    choice
        The channel to use, one of these.

    Attributes
    ----------
    cancelled
        The number of the channel that is used because the channels cancel each other, noticed
        after a second of sound; 0 while they do not.
    """

    def __init__(self, channels: int, rate: int, choice: ChannelChoice = MIX) -> None:
        self._rate = rate
        self._choice = choice
        if choice == MIX:
            channels = min(channels, MIXED_CHANNELS)
        self._products: Float64 = np.zeros((channels, channels))
        self._mean = np.full(channels, np.float32(1 / channels))
        self._weights = self._mean if choice == MIX else _one(0, channels)
        self._cancelling_s = 0.0
        self.cancelled = 0

    def process(self, frames: Float32) -> Float32:
        """Return (samples,) float32 for the next (frames, channels)."""
        if len(self._mean) == 1:
            return frames[:, 0]
        if isinstance(self._choice, int):
            return np.ascontiguousarray(frames[:, self._choice - 1])
        frames = frames[:, : len(self._mean)]
        rows = np.ascontiguousarray(frames.T)
        if self._choice == MIX:
            products = np.array([[float(np.dot(a, b)) for a in rows] for b in rows])
        else:
            products = np.diag([float(np.dot(row, row)) for row in rows])
        self._products *= math.exp(-len(frames) / (_MEMORY_S * self._rate))
        if np.isfinite(products).all():
            self._products += products
        before, self._weights = self._weights, self._choose()
        self._note_cancelling(len(frames), products)
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
            loudest = current if power[loudest] <= _HYSTERESIS * power[current] else loudest
        if self._choice == MIX and not (power[loudest] and self._is_one_enough(loudest)):
            return self._mean
        if not mixing and self._weights[loudest]:
            return self._weights
        return _one(loudest, len(power))

    def _is_one_enough(self, loudest: int) -> bool:
        """Return whether the others are silent or cancel the loudest channel."""
        power = self._products.diagonal()
        factor = 1.0 if self._weights is self._mean else _HYSTERESIS
        silent = bool((power < factor * _SILENT * power[loudest]).any())
        return silent or self._cancel(self._products, factor)

    def _cancel(self, products: Float64, factor: float = 1.0) -> bool:
        mean = float(self._mean @ products @ self._mean)
        unrelated = float((self._mean**2) @ products.diagonal())
        return mean < factor * _CANCELLED * unrelated

    def _note_cancelling(self, frames: int, products: Float64) -> None:
        """Count the sound in which the channels cancel each other, and note when it is enough."""
        if self._weights is self._mean or self._choice != MIX:
            self._cancelling_s, self.cancelled = 0.0, 0
            return
        if products.diagonal().max() > _AUDIBLE * frames:
            seconds = frames / self._rate
            self._cancelling_s += seconds if self._cancel(products) else -seconds
            self._cancelling_s = min(max(self._cancelling_s, 0.0), 2 * _NOTICED_S)
        if self._cancelling_s >= _NOTICED_S or (self.cancelled and self._cancelling_s):
            self.cancelled = int(self._weights.argmax()) + 1
        else:
            self.cancelled = 0


def _one(channel: int, channels: int) -> Float32:
    one: Float32 = np.eye(channels, dtype=np.float32)[channel]
    return one


def _only(channel: int, channels: int) -> Downmix:
    return Downmix(tuple(float(number == channel) for number in range(channels)))
