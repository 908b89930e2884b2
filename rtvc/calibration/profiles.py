"""Profiles, and the choice of block, headroom and context from measured step times."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from rtvc.calibration.timing import Timing
from rtvc.calibration.work import USUAL, Work
from rtvc.settings import BUILT_IN, RESERVE_MS, SETTINGS

SIZES = ("block", "headroom", "context")
"""The settings that follow from a measurement."""

SHORTEST_BLOCK, LONGEST_BLOCK = 40, 500
"""Range of automatic blocks in ms. Below it, waiting between threads takes longer than computing;
above it, the latency makes conversation impossible."""

_BLOCK_STEP = 10
PREEMPTION_MS = 20.0
"""Time in ms for which other threads may delay a step, independent of its duration."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A trade-off between quality, latency and CPU time left for other programs.

    Attributes
    ----------
    name
        Name of the profile.
    context
        Past input given to the models with each block, in ms.
    max_load
        Largest p99 of the step time, as a share of the block.
    headroom_factor
        Headroom as a multiple of the longest measured step, since a long run has longer ones.
    """

    name: str
    context: float
    max_load: float
    headroom_factor: float


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("quality", 2500.0, 0.5, 2.0),
        Profile("balanced", 1000.0, 0.6, 1.5),
        Profile("fast", 500.0, 0.7, 1.2),
    )
}
DEFAULT_PROFILE = "balanced"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Block, headroom and context for a voice on this machine, and the p99 of its steps, in ms."""

    block: float
    headroom: float
    context: float
    p99: float


def choose(
    timing: Timing,
    profile: Profile,
    *,
    block: float | None = None,
    context: float | None = None,
    work: Work = USUAL,
) -> Sizes | None:
    """Return the sizes with the shortest block that keeps the profile's load.

    Parameters
    ----------
    timing
        Step times of the voice.
    profile
        Determines the context, the largest load and the headroom.
    block, context
        Values set by the user in ms, or None.
    work
        What the steps compute.

    Returns
    -------
    Sizes or None
        None if no block up to `LONGEST_BLOCK` keeps the load.
    """
    context = profile.context if context is None else context
    blocks = range(SHORTEST_BLOCK, LONGEST_BLOCK + 1, _BLOCK_STEP) if block is None else (block,)
    for candidate in blocks:
        sizes = _sizes(timing, profile, candidate, context, work)
        if block is not None or sizes.p99 <= profile.max_load * candidate:
            return sizes
    return None


def closest_sizes(timing: Timing, work: Work = USUAL) -> Sizes:
    """Return the sizes with the lowest load, for when no block keeps the profile's load."""
    fast = PROFILES["fast"]
    return _sizes(timing, fast, LONGEST_BLOCK, fast.context, work)


def too_slow(kind: str, timing: Timing, profile: Profile, work: Work = USUAL) -> str:
    """Return the message for a voice kind that is too slow on this machine, with a remedy."""
    most = closest_sizes(timing, work)
    return (
        f"This machine is too slow for {kind_name(kind)} in real time (profile {profile.name}): "
        f"a step of {most.block:.0f} ms with {most.context:.0f} ms of context takes "
        f"{most.p99:.0f} ms (p99). {_remedy(timing, profile, work, kind)}."
    )


def _remedy(timing: Timing, profile: Profile, work: Work, kind: str) -> str:
    for other in PROFILES.values():
        sizes = choose(timing, other, work=work)
        if sizes is not None and other.context < profile.context:
            return (
                f"Use --profile {other.name} (context {other.context:.0f} ms, "
                f"block {sizes.block:.0f} ms)"
            )
    fast = PROFILES["fast"]
    for cheaper, saved in sorted(timing.methods.items(), key=lambda item: item[1]):
        sizes = choose(timing, fast, work=dataclasses.replace(work, method=cheaper))
        if saved > timing.methods.get(work.method, 0.0) and sizes is not None:
            return f"Use --pitch-method {cheaper} --profile fast (block {sizes.block:.0f} ms)"
    for block in range(LONGEST_BLOCK, 1001, 50):
        if timing.p99(block, fast.context, work) <= fast.max_load * block:
            return f"Use --block {block} --profile fast"
    if kind == BUILT_IN:
        return "It needs a faster processor"
    return (
        "Use the built-in voice, a machine with a GPU that MLX supports, or "
        "'rtvc convert --quality offline' for files"
    )


def _sizes(timing: Timing, profile: Profile, block: float, context: float, work: Work) -> Sizes:
    """Return block and context with the matching headroom."""
    p99 = timing.p99(block, context, work)
    longest = timing.max(block, context, work)
    needed = RESERVE_MS + max(profile.headroom_factor * longest, p99 + PREEMPTION_MS)
    headroom = min(math.ceil(needed / _BLOCK_STEP) * float(_BLOCK_STEP), SETTINGS["headroom"].high)
    return Sizes(float(block), headroom, context, p99)


def kind_name(kind: str) -> str:
    """Return the text for a voice kind."""
    return "the built-in voice" if kind == BUILT_IN else f"RVC voices of {kind[4:-1]} kHz"


def kind_of_rate(rate: int) -> str:
    """Return the voice kind of RVC voices with a sample rate of `rate` Hz."""
    return f"rvc-{rate / 1000:g}k"
