"""Block and headroom that settle: the least that this machine keeps while it converts speech.

Arithmetic only. `settle` gets one step after the other, with a state that it returns changed, so
it runs on any clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rtvc.calibration.profiles import DEFAULT_PROFILE, LONGEST_BLOCK, PROFILES, Profile
from rtvc.calibration.step_line import Line, estimate, line_through
from rtvc.settings import RESERVE_MS

SPEECH_S = 20.0
"""Seconds of speech after which the sizes are constant, except for late blocks."""
LEAST, GRID = 20, 10
"""Least block and headroom, and what both are a multiple of, in ms."""

_EVIDENCE_S, _EVIDENCE_STEPS = 4.0, 12
"""Speech and steps with the same block before the first decision about it."""
_GAIN_MS = 20.0
"""Least sum of block and headroom that a change saves."""
_CHANGES = 6
"""Most changes until the sizes are constant."""
_PROBED_LOAD = 0.85
"""Largest p99 as a share of a shorter block, if its steps are not known to be faster."""
_LARGEST_STEP = 0.6
"""Least block as a share of the block before, where the steps are only estimated to fit."""
_OVERLOAD = 0.9
"""Median step time as a share of the block above which the block is raised."""
_OVERLOADED_STEPS = 10
_LEAST_USE_MS = 10.0
"""Least use of the headroom in ms that is expected: a rare block uses more than those of 20 s."""
_LEAST_PEAK_MS = 24.0
"""Use of the headroom in ms that the margin is for at least: another program holds a thread up for
as long with short steps as with long ones."""
_NEAR = 0.9
"""Share of the usable headroom that a block may take before the headroom is raised."""
_RAISE_MS = 40.0
"""Least raise of the headroom after a late block."""
_SURPRISE = 2.0
"""How far the use of the headroom by the first late block is exceeded by the blocks after it, if a
program has begun to compute; the second late block says that one has, so its own is exceeded by
twice as much at most."""
_JUMP_MS = 40.0
"""Half of the most that the use may grow after the first late block, in ms: a stall is no hog."""
_TRIM_S = 3.0
"""Seconds without a late block after which the headroom comes down to what the late ones needed."""
_BRIDGED_S = 2.0
"""Time in which slower steps than the block must not make blocks late: a longer one is built."""
_FIRST_STEPS = 5
"""Steps after a change of the block that are not counted: building disturbs them."""
_INTERRUPTION_MS = 250.0
"""Lateness beyond the headroom that is an interruption of the program, not of this machine."""
_TAKES = 300
_SHORTEST_STEP_MS = 0.1
"""Least step time in ms that is told from none: a clock may be too coarse for fast steps."""
_QUIET_S = 25.0
"""Seconds without a late block after which raised sizes come down again, at first."""
_WINDOW = 0.8
"""Share of that time whose blocks decide: a load may last longer than its late blocks."""
_FIRST_QUIET_S = 8.0
"""The same time while the sizes settle: the start of a run disturbs itself."""
_FREE_EPISODES, _MEMORY_S = 3, 600.0
"""Disturbances within `_MEMORY_S` seconds from which on each doubles the time `_QUIET_S`. One
lasts from a raise until the sizes come down again."""


@dataclass(frozen=True, slots=True)
class StepSeen:
    """One step of the engine.

    Attributes
    ----------
    now
        Time at its end in seconds, on any clock.
    block, headroom
        The sizes in use, in ms.
    took
        Its duration in ms.
    used
        Time from the completed block of input to its output in ms: the part of the headroom that
        is used.
    late
        Whether its output was late, so that concealment was output.
    speech
        Whether the input was speech.
    """

    now: float
    block: float
    headroom: float
    took: float
    used: float
    late: bool = False
    speech: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """Sizes to change to; those in use if the change before is given up.

    Attributes
    ----------
    block, headroom
        The sizes in ms.
    reason
        Why, as a clause after "because".
    at_once
        Whether the change must not wait for silence.
    """

    block: float
    headroom: float
    reason: str
    at_once: bool


@dataclass(frozen=True, slots=True)
class Settling:
    """What is known of the steps, and the sizes that follow.

    Attributes
    ----------
    block, headroom
        The sizes to use, in ms.
    profile
        Determines the largest load and the margin of the headroom.
    free
        Which of ``block`` and ``headroom`` may change.
    line
        Step time of the voice as ``line[0] + line[1] * block``, up to a factor, where that is
        known.
    speech_s
        Seconds of speech so far.
    changes
        Number of changes so far.
    """

    block: float
    headroom: float
    profile: Profile = PROFILES[DEFAULT_PROFILE]
    free: frozenset[str] = frozenset({"block", "headroom"})
    line: Line | None = None
    speech_s: float = 0.0
    changes: int = 0
    _in_use: float = 0.0
    """Block in ms of the steps in `_takes` and `_peaks`."""
    _longer: bool = False
    """Whether it is longer than the one before."""
    _steps: int = 0
    """Steps with this block."""
    _evidence_s: float = 0.0
    """Seconds of speech since the last change."""
    _takes: tuple[float, ...] = ()
    _peaks: tuple[tuple[int, float], ...] = ()
    """Second, and the longest use of the headroom in it, in ms."""
    _points: tuple[tuple[float, float], ...] = ()
    """Blocks and the p99 of their steps, both in ms; the newest last."""
    _disturbed_at: float | None = None
    """Time of the last late block, of one that was nearly late, or of the last change since;
    None while there was none."""
    _looked: int = -1
    """Second in which the least sizes were looked for; doing so takes longer than the rest."""
    _steps_since: int = 0
    """Steps since then."""
    _lates: int = 0
    """Late blocks since the sizes came down."""
    _episodes: tuple[tuple[float, float], ...] = ()
    """Begin of each disturbance, and `_worst` at its end."""
    _disturbed: bool = False
    """Whether the last one lasts."""
    _used: float = 0.0
    """Use of the headroom by the newest step in ms."""
    _own: float = 0.0
    """The same without the time that the step waited for the one before."""
    _worst: float = 0.0
    """The longest `_own` in the last disturbance."""
    _trimmed: bool = True
    """Whether the headroom that was raised in it is no more than these blocks need."""
    _refused: tuple[float, float] = field(default=(0.0, -math.inf))
    """Largest block that was too short, and the time until which it is not tried again."""

    @property
    def settled(self) -> bool:
        """Whether only late blocks change the sizes from now on."""
        return self.speech_s >= SPEECH_S or self.changes >= _CHANGES

    @property
    def quiet_s(self) -> float:
        """Seconds without a late block after which raised sizes come down again."""
        if not self.settled:
            return _FIRST_QUIET_S
        return _QUIET_S * 2.0 ** max(0, len(self._episodes) - _FREE_EPISODES)


def settle(state: Settling, step: StepSeen) -> tuple[Settling, Change | None]:
    """Return the state after a step, and the change that follows from it, if there is one.

    A change may be applied at any later time: steps tell which sizes are in use. Until then a
    later change replaces it.

    Parameters
    ----------
    state
        The state before.
    step
        The newest step.
    """
    state = _noted(state, step)
    # A longer block is in use because the machine is slow: its first late blocks tell so too.
    counts = state._steps > _FIRST_STEPS or (step.late and state._longer)
    if not counts or step.used > step.headroom + _INTERRUPTION_MS:
        return state, None
    if (change := _raise(state, step)) is not None:
        return _raised(state, step, change), change
    if state.block != step.block or state.headroom != step.headroom:
        return _given_up(state, step)  # the last change is not in use yet
    return _lowered(state, step)


def needed_headroom(peak: float, profile: Profile) -> float:
    """Return the headroom in ms for blocks that use up to `peak` ms of it."""
    used = max(peak, _LEAST_USE_MS)
    needed = RESERVE_MS + used + (profile.headroom_factor - 1.0) * max(used, _LEAST_PEAK_MS)
    return float(min(max(_ceil(needed), LEAST), LONGEST_BLOCK))


def high_quantile(times: Iterable[float]) -> float:
    """Return the p99 of step times, the lower one of two neighbours."""
    ordered = sorted(times)
    return ordered[math.floor(0.99 * (len(ordered) - 1))]


def _noted(state: Settling, step: StepSeen) -> Settling:
    """Return the state with the figures of a step."""
    if step.block != state._in_use:
        kept = state._peaks if step.block > state._in_use else ()
        longer = 0.0 < state._in_use < step.block
        state = replace(state, _in_use=step.block, _longer=longer, _peaks=kept)
        state = replace(state, _steps=0, _takes=(), _evidence_s=0.0)
    speech_s = 1e-3 * step.block if step.speech else 0.0
    state = replace(
        state,
        _steps=state._steps + 1,
        speech_s=state.speech_s + speech_s,
        _steps_since=state._steps_since + 1,
        _used=step.used,
        _own=step.used - max(state._used - step.block, 0.0),
    )
    if state._steps <= _FIRST_STEPS:
        return state
    second, peak = math.floor(step.now), step.used
    peaks, worst = state._peaks, state._worst
    if step.used <= step.headroom + _INTERRUPTION_MS:
        if peaks and peaks[-1][0] == second:
            peaks = (*peaks[:-1], (second, max(peak, peaks[-1][1])))
        else:
            oldest = second - max(state.quiet_s, SPEECH_S)
            peaks = (*(one for one in peaks if one[0] >= oldest), (second, peak))
        worst = max(worst, state._own)
    return replace(
        state,
        _takes=(*state._takes[1 - _TAKES :], max(step.took, _SHORTEST_STEP_MS)),
        _peaks=peaks,
        _worst=worst,
        _evidence_s=state._evidence_s + speech_s,
    )


def _raise(state: Settling, step: StepSeen) -> Change | None:
    """Return the change after a block that was late or nearly so, or after slow steps."""
    newest = sorted(state._takes[-_OVERLOADED_STEPS:])
    median = newest[len(newest) // 2] if len(newest) == _OVERLOADED_STEPS else 0.0
    # Input that waits meanwhile uses the headroom up.
    bridge = max(median / step.block - 1.0, 0.0) * 1000.0 * _BRIDGED_S
    longer_comes = state.block > step.block
    overloaded = "block" in state.free and median > _OVERLOAD * step.block
    if overloaded and step.block < LONGEST_BLOCK and not longer_comes:
        state = _with_point(state, step.block, newest[-1])
        block = _longer_block(state, step.block, newest[-1])
        longest = estimate(state.line, step.block, newest[-1], block)
        headroom = max(needed_headroom(longest, state.profile), step.headroom)
        headroom = max(headroom, float(_ceil(RESERVE_MS + step.used + bridge)))
        headroom = min(headroom, float(LONGEST_BLOCK))
        reason = f"steps take {median:.0f} of {step.block:.0f} ms"
        return Change(block, _if_free(state, "headroom", headroom), reason, at_once=True)
    usable = step.headroom - RESERVE_MS
    if "headroom" not in state.free or not (step.late or step.used > _NEAR * usable):
        return None
    headroom = needed_headroom(step.used, state.profile)
    if step.late:
        surprise = _SURPRISE if not state._lates else 2.0 * _SURPRISE
        before = max((peak for _, peak in state._episodes), default=0.0)
        known = not state._lates and step.used <= 1.2 * before
        further = min(surprise * step.used, step.used + surprise * _JUMP_MS)
        headroom = before if known else further
        headroom = needed_headroom(headroom + bridge, state.profile)
        headroom = max(headroom, step.headroom + (_GAIN_MS if known else _RAISE_MS))
    headroom = min(headroom, float(LONGEST_BLOCK))
    # A shorter block that is under way is given up: the headroom can be raised at once.
    block = state.block if longer_comes else step.block
    under_way = state.headroom if state.block == block else 0.0
    headroom = max(headroom, under_way)
    at_once = step.late or longer_comes
    if headroom <= (step.headroom if at_once else max(step.headroom, under_way)):
        return None
    what = "late" if step.late else "nearly late"
    reason = f"a block was {what}: it was ready after {step.used:.0f} ms"
    return Change(block, headroom, reason, at_once)


def _raised(state: Settling, step: StepSeen, change: Change) -> Settling:
    """Return the state after a raise."""
    if not state._disturbed:
        recent = tuple(one for one in state._episodes if one[0] > step.now - _MEMORY_S)
        recent = (*recent, (step.now, 0.0))
        state = replace(state, _disturbed=True, _episodes=recent, _worst=state._own)
    state = replace(
        state,
        _trimmed=state._trimmed and not step.late and change.block <= step.block,
        _disturbed_at=step.now,
        _steps_since=0,
        _lates=state._lates + step.late,
    )
    if change.block > max(step.block, state.block):
        state = _with_point(state, step.block, high_quantile(state._takes))
        state = replace(state, _refused=(step.block, step.now + state.quiet_s))
    return _with(state, change)


def _trim(state: Settling, step: StepSeen) -> Change | None:
    """Return the change after a raise to more than was needed: it has not got worse."""
    calm_s = step.now - (step.now if state._disturbed_at is None else state._disturbed_at)
    known = calm_s >= _TRIM_S and state._steps_since >= _EVIDENCE_STEPS
    if state._trimmed or not known or "headroom" not in state.free:
        return None
    since = step.now - _TRIM_S
    newest = max((peak for second, peak in state._peaks if second >= since), default=step.used)
    peak = max(newest, state._worst)
    headroom = needed_headroom(peak, state.profile)
    if step.headroom - headroom < _GAIN_MS:
        return None
    reason = f"blocks since the late ones were ready after {newest:.0f} ms at most"
    return Change(step.block, headroom, reason, at_once=False)


def _given_up(state: Settling, step: StepSeen) -> tuple[Settling, Change | None]:
    """Give a lower headroom up that waits for silence, if this block would nearly be late."""
    usable = state.headroom - RESERVE_MS
    if state.block != step.block or state.headroom > step.headroom or step.used <= _NEAR * usable:
        return state, None
    back = Change(step.block, step.headroom, "", at_once=False)
    return replace(state, headroom=step.headroom, changes=state.changes - 1), back


def _calm(state: Settling) -> Settling:
    """Return the state at the end of a disturbance."""
    episodes = state._episodes
    if state._disturbed and episodes and not episodes[-1][1]:
        episodes = (*episodes[:-1], (episodes[-1][0], state._worst))
    return replace(state, _lates=0, _disturbed=False, _trimmed=True, _episodes=episodes)


def _with(state: Settling, change: Change) -> Settling:
    return replace(
        state,
        block=change.block,
        headroom=change.headroom,
        changes=state.changes + 1,
        _evidence_s=0.0,
    )


def _lowered(state: Settling, step: StepSeen) -> tuple[Settling, Change | None]:
    """Return the change to less than the sizes in use, or to what the steps need at first."""
    if (change := _trim(state, step)) is not None:
        return _with(replace(state, _trimmed=True), change), change
    if not _due(state, step):
        return state, None
    state = replace(state, _looked=math.floor(step.now))
    # Steps from before, with a load that has gone, would keep the block long.
    deciding_s = _deciding_s(state)
    p99 = high_quantile(state._takes[-math.ceil(1000.0 * deciding_s / step.block) :])
    state = _with_point(state, step.block, p99)
    change = _least(state, step, p99)
    if change is None or (change.block <= step.block and not _quiet(state, step)):
        return state, None
    if change.block <= step.block:
        state = _calm(state)
    return _with(replace(state, _disturbed_at=state._disturbed_at and step.now), change), change


def _due(state: Settling, step: StepSeen) -> bool:
    """Return whether there is enough to go by to find the least sizes, and reason to do so."""
    if len(state._takes) < _EVIDENCE_STEPS or not state._peaks:
        return False
    if math.floor(step.now) == state._looked:
        return False
    if not state.settled:
        return state._evidence_s >= _EVIDENCE_S
    return state._disturbed_at is not None and _quiet(state, step)


def _quiet(state: Settling, step: StepSeen) -> bool:
    """Return whether no block was late, or nearly, for long enough."""
    if state._disturbed_at is None:
        return True
    long = step.now - state._disturbed_at >= state.quiet_s
    return long and state._steps_since >= _EVIDENCE_STEPS


def _deciding_s(state: Settling) -> float:
    """Return the time in seconds whose steps and blocks decide."""
    return max(_WINDOW * state.quiet_s, SPEECH_S)


def _least(state: Settling, step: StepSeen, p99: float) -> Change | None:
    """Return the change to the least sizes that the steps allow, None if these are in use."""
    since = step.now - _deciding_s(state)
    peak = max((peak for second, peak in state._peaks if second >= since), default=step.used)
    block = _if_free(state, "block", _shortest_block(state, step, p99))
    used = peak * max(1.0, estimate(state.line, step.block, p99, block) / p99)
    headroom = _if_free(state, "headroom", needed_headroom(used, state.profile))
    saved = step.block + step.headroom - block - headroom
    longer = block > step.block
    if not longer and saved < _GAIN_MS:
        return None
    if longer and (state.settled or p99 <= 1.05 * state.profile.max_load * step.block):
        return None
    reason = f"steps take {p99:.0f} ms (p99) and blocks were ready after {peak:.0f} ms at most"
    return Change(block, headroom, reason, at_once=False)


def _with_point(state: Settling, block: float, p99: float) -> Settling:
    """Return the state with the line through the newest point and one before it."""
    points = (*(point for point in state._points if point[0] != block), (block, p99))
    state = replace(state, _points=points)
    return state if len(points) < 2 else replace(state, line=line_through(points))


def _shortest_block(state: Settling, step: StepSeen, p99: float) -> float:
    """Return the shortest block that keeps the load of the profile, as far as is known."""
    known = state.line is not None and sum(state.line) > 0
    load = state.profile.max_load
    if not known and p99 <= load * step.block:
        # Steps of a shorter block take no longer than these.
        load = _PROBED_LOAD
    least = LEAST
    if step.now < state._refused[1]:
        least = max(least, round(state._refused[0]) + GRID)
    # One change leads no further than to where steps of the present length nearly fit.
    least = max(least, min(_ceil(p99 / _PROBED_LOAD), _ceil(_LARGEST_STEP * step.block)))
    for block in range(least, LONGEST_BLOCK + 1, GRID):
        if estimate(state.line, step.block, p99, block) <= load * block:
            return float(block)
    return step.block


def _longer_block(state: Settling, block: float, longest: float) -> float:
    """Return the block after steps that take nearly all of the time."""
    most = min(_ceil(3 * block), LONGEST_BLOCK)
    for longer in range(_ceil(1.3 * block), most, GRID):
        if estimate(state.line, block, longest, longer) <= state.profile.max_load * longer:
            return float(longer)
    return float(most)


def _if_free(state: Settling, name: str, value: float) -> float:
    return value if name in state.free else float(getattr(state, name))


def _ceil(milliseconds: float) -> int:
    return math.ceil(milliseconds / GRID - 1e-9) * GRID
