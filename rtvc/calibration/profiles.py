"""What was measured on this machine, and the sizes that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rtvc.calibration.timing import Timing
from rtvc.settings import BUILT_IN, SETTINGS

SIZES = ("block", "headroom", "context")
"""The settings that a measurement can decide."""

SHORTEST_BLOCK, LONGEST_BLOCK = 40, 500
"""Blocks that are proposed, in ms. Below, threads that wait for one another count more than
computing; beyond, nobody can talk."""

_BLOCK_STEP = 10
_GUARD_MS = 20.0
"""What must be left at the output when a block comes, or it is concealed."""
_PREEMPTION_MS = 20.0
"""How long other threads may hold a step up, whatever it takes by itself."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A place on the trade-off between sound, latency and what is left for other programs.

    Attributes
    ----------
    context
        Older sound that the voice hears again, in ms.
    max_load
        Part of a block that its step may take (p99).
    headroom_factor
        Headroom as a multiple of the longest step that was met: a long run meets longer ones.
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
    """Settings for a voice on this machine, in ms, and the p99 of a step with them."""

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
    method: str = "",
) -> Sizes | None:
    """Return the sizes with the smallest block that leaves the profile's margin.

    Parameters
    ----------
    timing
        Of the voice.
    profile
        Decides the context, the margin and the headroom.
    block, context
        Where the person has chosen them, in ms.
    method
        Pitch estimator.

    Returns
    -------
    Sizes or None
        None if no block up to `LONGEST_BLOCK` leaves the margin.
    """
    context = profile.context if context is None else context
    blocks = range(SHORTEST_BLOCK, LONGEST_BLOCK + 1, _BLOCK_STEP) if block is None else (block,)
    for candidate in blocks:
        sizes = _sizes(timing, profile, candidate, context, method)
        if block is not None or sizes.p99 <= profile.max_load * candidate:
            return sizes
    return None


def closest_sizes(timing: Timing, *, method: str = "") -> Sizes:
    """Return the sizes that come closest where no block leaves the margin."""
    fast = PROFILES["fast"]
    return _sizes(timing, fast, LONGEST_BLOCK, fast.context, method)


def too_slow(kind: str, timing: Timing, profile: Profile, *, method: str = "") -> str:
    """Return a sentence that a kind of voice is too slow here, and what would help."""
    most = closest_sizes(timing, method=method)
    return (
        f"This machine is too slow for {kind_name(kind)} in real time (profile {profile.name}): "
        f"a step of {most.block:.0f} ms with {most.context:.0f} ms of context takes "
        f"{most.p99:.0f} ms (p99); {_remedy(timing, profile, method, kind)}."
    )


def _remedy(timing: Timing, profile: Profile, method: str, kind: str) -> str:
    for other in PROFILES.values():
        sizes = choose(timing, other, method=method)
        if sizes is not None and other.context < profile.context:
            return (
                f"--profile {other.name} would do (context {other.context:.0f} ms, "
                f"block {sizes.block:.0f} ms)"
            )
    fast = PROFILES["fast"]
    for cheaper, saved in sorted(timing.methods.items(), key=lambda item: item[1]):
        sizes = choose(timing, fast, method=cheaper)
        if saved > timing.methods.get(method, 0.0) and sizes is not None:
            return f"--pitch-method {cheaper} --profile fast would do (block {sizes.block:.0f} ms)"
    for block in range(LONGEST_BLOCK, 1001, 50):
        if timing.p99(block, fast.context, method=method) <= fast.max_load * block:
            return f"--block {block} --profile fast would do"
    if kind == BUILT_IN:
        return "a faster processor would do"
    return (
        "a GPU that MLX can use would do, or here the built-in voice; "
        "'rtvc convert --quality offline' takes the time that it needs"
    )


def _sizes(timing: Timing, profile: Profile, block: float, context: float, method: str) -> Sizes:
    """Return a block and a context with the headroom that belongs to them."""
    p99 = timing.p99(block, context, method=method)
    longest = timing.max(block, context, method=method)
    needed = _GUARD_MS + max(profile.headroom_factor * longest, p99 + _PREEMPTION_MS)
    headroom = min(math.ceil(needed / _BLOCK_STEP) * float(_BLOCK_STEP), SETTINGS["headroom"].high)
    return Sizes(float(block), headroom, context, p99)


def kind_name(kind: str) -> str:
    """Return a kind of voice in words."""
    return "the built-in voice" if kind == BUILT_IN else f"RVC voices of {kind[4:-1]} kHz"


def kind_of_rate(rate: int) -> str:
    """Return the kind of an RVC voice of so many samples per second."""
    return f"rvc-{rate / 1000:g}k"
