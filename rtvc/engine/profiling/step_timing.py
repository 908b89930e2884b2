"""Measurement of step times on this machine with the real chain, and a model fitted to them."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from rtvc._types import Float32, Float64
from rtvc.calibration.conditions import Conditions
from rtvc.calibration.profiles import DEFAULT_PROFILE, PROFILES, choose, closest_sizes
from rtvc.calibration.timing import Timing
from rtvc.calibration.work import PARTS
from rtvc.engine.chain import Chain
from rtvc.engine.voice import Voice
from rtvc.engine.world.voice import WorldVoice
from rtvc.errors import MissingPackageError
from rtvc.settings import Settings
from rtvc.system.thread_priority import lower_thread_priority

BLOCKS, CONTEXTS = (60.0, 200.0, 500.0), (500.0, 2500.0)
"""Measurement grid in ms. The other measured sizes follow from its results."""

_RUN = 5
"""Consecutive steps of one chain. The first, after steps of another chain, is not counted."""
_ROUNDS = 2
"""Minimum number of runs of each chain; then the time limit decides."""
_GRID_SHARE = 0.55
"""Share of the time for the grid; the rest is for the sizes chosen from it."""
_PAUSE_S = 0.1
"""Longest pause between two steps. In live use a step waits for its block, which makes it slower:
on two virtual cores by a twentieth after 30 ms and by a seventh after 100 ms."""
_REST_S = 1.5
"""Length of a rest. A voice that rests in silence computes nothing, and the step after it can be
slower: other memory was used meanwhile, and the f0 window is longer."""
_RESTS_FROM_S = 10.0
"""Duration of a measurement from which on the step after a rest is measured too."""
_TAIL = 0.99

_PARTS_BLOCK = 200.0
"""Block in ms for the parts around the voice, whose cost is proportional to it."""
PARTS_SHARE = 0.1
"""Time for these parts as a share of that for the voices."""

Show = Callable[[float], None]
"""Progress callback, called with 0 to 1. An exception from it ends the measurement."""


@dataclass(eq=False)
class Point:
    """The measured steps of one chain.

    Attributes
    ----------
    settings
        Settings of the chain.
    seconds
        Duration of each step.
    rested
        Duration of each step after a rest.
    """

    settings: Settings
    seconds: list[float] = field(default_factory=list)
    rested: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Return the quantile `share` (0 to 1) of the step time in ms."""
        return 1e3 * float(np.quantile(self.seconds, share))


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a measurement.

    Attributes
    ----------
    timing
        The fitted model.
    points
        The measured steps that it was fitted to.
    """

    timing: Timing
    points: list[Point]


def measure(
    voice: Voice,
    settings: Settings,
    sound: Float32,
    conditions: Conditions,
    *,
    seconds: float,
    methods: Sequence[str] = (),
    report_progress: Show = lambda share: None,
) -> Measured:
    """Measure the steps of a voice on the calling thread.

    Measures a grid of sizes first, then the sizes that follow from it for each profile. The model
    is fitted to both. At the sizes of the balanced profile, the time saved without retrieval and
    with other pitch methods is measured too.

    Parameters
    ----------
    voice
        The voice.
    settings
        Settings of the voice; sizes, gate and mode are ignored. An ``index_rate`` of 0 means
        that there is no retrieval to compare.
    sound
        (samples,) float32 at `ENGINE_RATE`, speech used as input.
    conditions
        Conditions of this measurement.
    seconds
        Approximate duration; slow steps make it longer.
    methods
        Pitch methods to compare with the one in `settings`.
    report_progress
        Progress callback.
    """
    settings = settings.replace(gate=-90.0, mode="converted")
    bench = _Chains(voice, sound)
    grid = [
        Point(settings.replace(block=block, context=context))
        for context in CONTEXTS
        for block in BLOCKS
    ]
    bench.run(grid, seconds * _GRID_SHARE, lambda part: report_progress(_GRID_SHARE * part))
    suggested = _suggested(fit(grid, conditions), settings)
    base = suggested[0]
    others = {method: Point(base.settings.replace(pitch_method=method)) for method in methods}
    if settings.index_rate > 0:
        others[""] = Point(base.settings.replace(index_rate=0.0))
    rest = 1.0 - _GRID_SHARE
    bench.run(
        [*suggested, *others.values()],
        seconds * rest,
        lambda part: report_progress(_GRID_SHARE + rest * part),
    )
    if seconds >= _RESTS_FROM_S:
        bench.rest(base)
    saved = {
        name: max(base.quantile(0.5) - point.quantile(0.5), 0.0) for name, point in others.items()
    }
    timing = dataclasses.replace(
        fit([*grid, *suggested], conditions), without_index=saved.pop("", 0.0), methods=saved
    )
    return Measured(timing, [*grid, *suggested])


def measure_processing(
    sound: Float32,
    *,
    seconds: float,
    busy: bool = False,
    report_progress: Show = lambda share: None,
) -> dict[str, float]:
    """Measure the parts of the chain around the voice, which are the same for every voice.

    The cost of a part is the time that a step takes outside the voice with the part on, less the
    time with all parts off. They run in turn. The shortest steps count, since the differences are
    small and other programs only add to them; on a machine that is `busy` on purpose, the medians.

    Parameters
    ----------
    sound
        As for `measure`.
    seconds
        Duration, at least that of one run of each part.
    busy
        Whether other threads keep the CPU busy, and their effect is part of the result.
    report_progress
        Progress callback.

    Returns
    -------
    dict
        ms per ms of block by name from `PARTS`, without parts whose package is not installed.
    """
    voice, off = WorldVoice(), Settings(gate=-90.0, block=_PARTS_BLOCK)
    chains: dict[str, tuple[Chain, Settings]] = {"": (Chain(voice, off), off)}
    for name, changes in PARTS.items():
        settings = off.replace(**changes)
        with suppress(MissingPackageError):
            chains[name] = Chain(voice, settings), settings
    blocks = _blocks(sound, chains[""][0].block)
    spent: dict[str, list[float]] = {name: [] for name in chains}
    began, runs = time.monotonic(), 0
    while runs < len(chains) or time.monotonic() - began < seconds:
        name = list(chains)[runs % len(chains)]
        chain, settings = chains[name]
        for number in range(_RUN):
            block = next(blocks)
            started = time.perf_counter()
            step = chain.step(block, settings)
            duration = time.perf_counter() - started - step.stages["voice"]
            if number:
                spent[name].append(duration)
        runs += 1
        elapsed = (time.monotonic() - began) / max(seconds, 0.1)
        report_progress(min(elapsed, runs / len(chains), 1.0))
    typical = {name: float(np.quantile(spent[name], 0.5 if busy else 0.0)) for name in spent}
    usual = typical.pop("")
    return {name: 1e3 * max(time - usual, 0.0) / _PARTS_BLOCK for name, time in typical.items()}


def fit(points: Sequence[Point], conditions: Conditions) -> Timing:
    """Fit the model to the medians of the points.

    Minimises the relative squared error with coefficients that are not negative. The tail is the
    p99 of all step times relative to the model, so it includes the error of the model; likewise
    the longest step, which may be one after a rest.
    """
    medians = np.array([point.quantile(0.5) for point in points])
    terms = np.array([(1.0, point.settings.block, point.settings.context) for point in points])
    weights = _not_negative(terms / medians[:, None], np.ones(len(points)))
    predicted = (terms @ weights).tolist()

    def ratios(durations: Callable[[Point], list[float]]) -> Float64:
        pairs = zip(points, predicted, strict=True)
        return np.concatenate([1e3 * np.asarray(durations(point)) / ms for point, ms in pairs])

    steps = ratios(lambda point: point.seconds)
    tail = max(float(np.quantile(steps, _TAIL)), 1.0)
    longest = max(float(steps.max()), tail, *ratios(lambda point: point.rested).tolist())
    constant, per_block, per_context = weights.tolist()
    return Timing(constant, per_block, per_context, tail, longest, conditions)


def _not_negative(matrix: Float64, values: Float64) -> Float64:
    """Return a least-squares solution without negative coefficients (for few columns)."""
    weights, used = np.zeros(matrix.shape[1]), np.arange(matrix.shape[1])
    while len(used):
        found, *_ = np.linalg.lstsq(matrix[:, used], values, rcond=None)
        if (found >= 0).all():
            weights[used] = found
            break
        used = np.delete(used, int(np.argmin(found * matrix[:, used].mean(axis=0))))
    return weights


def _suggested(timing: Timing, settings: Settings) -> list[Point]:
    """Return points with the sizes of all profiles, the default profile first."""
    profiles = sorted(PROFILES.values(), key=lambda profile: profile.name != DEFAULT_PROFILE)
    sizes = [choose(timing, profile) or closest_sizes(timing) for profile in profiles]
    pairs = dict.fromkeys((found.block, found.context) for found in sizes)
    return [Point(settings.replace(block=block, context=context)) for block, context in pairs]


class _Chains:
    """Chains of one voice with the same input, built on first use."""

    def __init__(self, voice: Voice, sound: Float32) -> None:
        self._voice, self._sound = voice, sound
        self._chains: dict[Point, tuple[Chain, Iterator[Float32]]] = {}

    def run(self, points: Sequence[Point], seconds: float, report_progress: Show) -> None:
        """Run all points in turn, so that other load on the machine affects all of them."""
        started, visits = time.monotonic(), 0
        while visits < _ROUNDS * len(points) or time.monotonic() - started < seconds:
            self._visit(points[visits % len(points)])
            visits += 1
            elapsed = (time.monotonic() - started) / seconds
            report_progress(min(elapsed, visits / (_ROUNDS * len(points)), 1.0))

    def rest(self, point: Point) -> None:
        """Let a chain rest as it does in silence, and measure the step after it."""
        chain, blocks = self._chain(point)
        silence = np.zeros(chain.block, np.float32)
        end = time.monotonic() + _REST_S
        while time.monotonic() < end:
            chain.skip(silence, point.settings)
            time.sleep(max(min(point.settings.block / 1000, end - time.monotonic()), 0.0))
        block = next(blocks)
        started = time.perf_counter()
        chain.step(block, point.settings)
        point.rested.append(time.perf_counter() - started)

    def _chain(self, point: Point) -> tuple[Chain, Iterator[Float32]]:
        if point not in self._chains:
            chain = Chain(self._voice, point.settings)
            self._chains[point] = chain, _blocks(self._sound, chain.block)
        return self._chains[point]

    def _visit(self, point: Point) -> None:
        chain, blocks = self._chain(point)
        for number in range(_RUN):
            block = next(blocks)
            started = time.perf_counter()
            chain.step(block, point.settings)
            duration = time.perf_counter() - started
            if number:
                point.seconds.append(duration)
            time.sleep(max(min(point.settings.block / 1000 - duration, _PAUSE_S), 0.0))


def _blocks(sound: Float32, size: int) -> Iterator[Float32]:
    endless = np.resize(sound, len(sound) + size)
    at = 0
    while True:
        yield endless[at : at + size]
        at = (at + size) % len(sound)


@contextmanager
def background_load() -> Iterator[None]:
    """Keep the machine busy in the context: one thread in Python, and one that loads a core."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=work, args=(stop,), name="rtvc load", daemon=True)
        for work in (_keep_interpreter, _load_core)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _keep_interpreter(stop: threading.Event) -> None:
    value = 1
    while not stop.is_set():
        for _ in range(1000):
            value = (value * 1103515245 + 12345) % 2147483648


def _load_core(stop: threading.Event) -> None:
    lower_thread_priority()  # like another program
    data = bytes(1 << 20)
    while not stop.is_set():
        hashlib.sha256(data)  # releases the GIL
