"""Numbers for the self-test: repeatable inputs, and the comparison with reference numbers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from rtvc._types import Float32, Float64

STORED = 144
"""Reference numbers per case."""
MIN_SNR_DB = 35.0
"""float16 reaches 40 dB in the least exact network and 65 dB in an operator."""
MAX_GAIN_ERROR = 0.005
"""Deviation of the level from the reference; rounding has no preferred sign."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The comparison of one result with its reference.

    Attributes
    ----------
    snr_db
        Signal-to-noise ratio; -inf if a number is not finite.
    gain
        Level relative to the reference; nan if a number is not finite.
    """

    snr_db: float
    gain: float

    @property
    def passed(self) -> bool:
        """Whether the result is right."""
        return self.snr_db >= MIN_SNR_DB and abs(self.gain - 1.0) <= MAX_GAIN_ERROR


_series: ContextVar[str] = ContextVar("series", default="")


@contextmanager
def other_numbers() -> Iterator[None]:
    """Let `uniform` return other numbers than those of the reference, in this thread."""
    token = _series.set("other ")
    try:
        yield
    finally:
        _series.reset(token)


def uniform(name: str, *shape: int, scale: float = 1.0, offset: float = 0.0) -> Float32:
    """Return repeatable numbers, (shape,) float32, which float16 represents exactly.

    Parameters
    ----------
    name, shape
        All that the numbers depend on, but for `scale`, `offset` and `other_numbers`.
    scale, offset
        Standard deviation and mean.
    """
    size = math.prod(shape)
    # The raw words of the generator are the same in all versions of NumPy. Large weights repeat
    # a shorter sequence, of a prime length.
    seed = zlib.crc32(f"{_series.get()}{name}".encode())
    words = np.random.PCG64(seed).random_raw(min(size, 65_521))
    unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    values = offset + scale * math.sqrt(12.0) * (unit - 0.5)
    return np.resize(values.astype(np.float16).astype(np.float32), shape)


def weights(prefix: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Float32]:
    """Return weights by name that keep the level of a signal; see `uniform`."""
    found = {}
    for name, shape in shapes.items():
        full = f"{prefix}.{name}"
        if len(shape) > 1:
            found[name] = uniform(full, *shape, scale=math.prod(shape[1:]) ** -0.5)
        elif name.endswith(("gamma", "running_var", "weight")):
            found[name] = uniform(full, *shape, scale=0.05, offset=1.1)
        else:
            found[name] = uniform(full, *shape, scale=0.05)
    return found


def fold(result: Float64) -> Float64:
    """Return at most `STORED` numbers to which every number of a result contributes.

    Each is a sum with signs that look random, so that an error in any part of the result keeps
    its share of the energy.
    """
    flat = result.reshape(-1)
    if flat.size <= STORED:
        return flat
    index = np.arange(flat.size, dtype=np.uint64)
    signs = 1.0 - 2.0 * ((index * np.uint64(2654435761) >> np.uint64(17)) & np.uint64(1))
    rows = -(-flat.size // STORED)
    padded = np.zeros(rows * STORED)
    padded[: flat.size] = flat * signs
    folded: Float64 = padded.reshape(rows, STORED).sum(0) / math.sqrt(rows)
    return folded


def judge(folded: Float64, reference: Float64) -> Judgement:
    """Compare a result with its reference, both folded."""
    if folded.shape != reference.shape or not np.isfinite(folded).all():
        return Judgement(-math.inf, math.nan)
    energy = float(reference @ reference)
    error = float(np.sum((folded - reference) ** 2))
    snr = 10.0 * math.log10(energy / error) if error else math.inf
    return Judgement(snr, float(folded @ reference) / energy)
