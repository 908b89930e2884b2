"""Mix the channels of a recording to mono: a voice is mono."""

from __future__ import annotations

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


def _only(channel: int, channels: int) -> Downmix:
    return Downmix(tuple(float(number == channel) for number in range(channels)))
