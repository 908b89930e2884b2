"""The first chain of a voice whose speed on this machine is not known: at a block that it keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rtvc._types import Float32
from rtvc.calibration.first_sizes import MOST_STEPS, Point, first_sizes
from rtvc.calibration.profiles import Profile
from rtvc.engine.chain import Chain
from rtvc.engine.voice import Voice
from rtvc.settings import Settings

LIMIT_S = 2.0
"""Time in seconds after which no further chain is built to be measured."""
_LEVEL = 0.1
"""RMS of the noise that is the input, relative to full scale."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class FirstChain:
    """A chain that was measured.

    Attributes
    ----------
    chain
        The chain: warmed up, and not to be used as it is, since it has converted noise.
    points
        The step times of this chain and of those before it.
    block, headroom
        The sizes to start with, in ms; another block than that of the chain if time was up.
    """

    chain: Chain
    points: tuple[Point, ...]
    block: float
    headroom: float


def measured_chain(
    voice: Voice,
    settings: Settings,
    profile: Profile,
    free: frozenset[str],
    clock: Clock = time.perf_counter,
) -> FirstChain:
    """Build a chain and time its steps; if they do not fit, build one with a longer block.

    It has neither an observer nor a guard, so nobody learns of the noise that it converts. One
    step is enough where it is short.

    Parameters
    ----------
    voice
        The voice.
    settings
        Settings with the least sizes to start with.
    profile
        Determines the largest load and the margin of the headroom.
    free
        Which of ``block`` and ``headroom`` may be longer.
    clock
        Returns the time in seconds.
    """
    end = clock() + LIMIT_S
    points: tuple[Point, ...] = ()
    least = settings.headroom
    while True:
        chain = Chain(voice, settings)
        point = Point(settings.block)
        noise = _noise(chain.block)
        while len(point.times) < MOST_STEPS and (not point.times or clock() < end):
            began = clock()
            chain.step(noise, settings.replace(mode="converted", gate=-90.0))
            point = point.with_step(1e3 * (clock() - began))
            found = first_sizes((*points, point), least, profile, free)
            if found == (settings.block, least) or _is_too_slow(point, profile):
                break
        points = (*points, point)
        block, headroom = found
        if block <= settings.block or clock() >= end:
            return FirstChain(chain, points, block, headroom)
        settings = settings.replace(block=block)


def _is_too_slow(point: Point, profile: Profile) -> bool:
    """Return whether the block is too short, however many more steps are timed."""
    return len(point.times) > 1 and min(point.times) > profile.max_load * point.block


def _noise(samples: int) -> Float32:
    noise = np.random.default_rng(0).standard_normal(samples)
    return (_LEVEL * noise).astype(np.float32)
