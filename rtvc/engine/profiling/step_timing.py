"""How long steps take on this machine: measured on the real chain, and put into a formula."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from rtvc._types import Float32, Float64
from rtvc.calibration.conditions import Conditions
from rtvc.calibration.profiles import DEFAULT_PROFILE, PROFILES, choose, closest_sizes
from rtvc.calibration.timing import Timing
from rtvc.engine.chain import Chain
from rtvc.engine.voice import Voice
from rtvc.settings import Settings
from rtvc.system.thread_priority import lower_thread_priority

BLOCKS, CONTEXTS = (60.0, 200.0, 500.0), (500.0, 2500.0)
"""The grid in ms. All else is chosen by what is found there."""

_RUN = 5
"""Steps of one chain in a row. The first, after steps of other chains, is not counted."""
_ROUNDS = 2
"""Visits to each chain, at least; after that time decides."""
_GRID_SHARE = 0.55
"""Part of the time that the grid gets; the rest is for the sizes that it suggests."""
_PAUSE_S = 0.1
"""Rest between two steps, at most. Live a step waits for its block, and is slower to start for
it: on two virtual cores a twentieth after 30 ms, a seventh after 100."""
_TAIL = 0.99

Show = Callable[[float], None]
"""Is told which part of the work is done, 0 to 1; what it raises ends the measurement."""


@dataclass(eq=False)
class Point:
    """Steps of one chain.

    Attributes
    ----------
    settings
        Its sizes, and all else.
    seconds
        What each step took.
    """

    settings: Settings
    seconds: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Return the time that this share of the steps stayed below, in ms."""
        return 1e3 * float(np.quantile(self.seconds, share))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement found.

    Attributes
    ----------
    timing
        The formula.
    points
        The steps that it stands on.
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

    The grid comes first; then the sizes that it suggests for each profile are measured, and
    count like the others. At the sizes of the balanced profile it is also measured what less
    retrieval and other pitch estimators would save.

    Parameters
    ----------
    voice
        The voice.
    settings
        Those of the voice; sizes, gate and mode do not matter. An ``index_rate`` of 0 says
        that there is no retrieval to do without.
    sound
        (samples,) float32 at `ENGINE_RATE`: speech, for the microphone.
    conditions
        Of this measurement.
    seconds
        For about so long; longer where steps are slow.
    methods
        Pitch estimators to compare with the one that `settings` names.
    report_progress
        Is told how far it is.
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
    saved = {
        name: max(base.quantile(0.5) - point.quantile(0.5), 0.0) for name, point in others.items()
    }
    timing = dataclasses.replace(
        fit([*grid, *suggested], conditions), without_index=saved.pop("", 0.0), methods=saved
    )
    return Measured(timing, [*grid, *suggested])


def fit(points: Sequence[Point], conditions: Conditions) -> Timing:
    """Return the formula that comes closest to the medians of some measurements.

    What counts is the deviation in percent, and nothing gets faster with more sound. The tail
    is that of all steps together, over what the formula says of each, so it covers what the
    formula misses; likewise the longest step.
    """
    medians = np.array([point.quantile(0.5) for point in points])
    terms = np.array([(1.0, point.settings.block, point.settings.context) for point in points])
    weights = _not_negative(terms / medians[:, None], np.ones(len(points)))
    ratios = np.concatenate(
        [
            1e3 * np.asarray(point.seconds) / predicted
            for point, predicted in zip(points, (terms @ weights).tolist(), strict=True)
        ]
    )
    tail = max(float(np.quantile(ratios, _TAIL)), 1.0)
    longest = max(float(ratios.max()), tail)
    constant, per_block, per_context = weights.tolist()
    return Timing(constant, per_block, per_context, tail, longest, conditions)


def _not_negative(matrix: Float64, values: Float64) -> Float64:
    """Return the least-squares solution without what would be negative (few columns only)."""
    weights, used = np.zeros(matrix.shape[1]), np.arange(matrix.shape[1])
    while len(used):
        found, *_ = np.linalg.lstsq(matrix[:, used], values, rcond=None)
        if (found >= 0).all():
            weights[used] = found
            break
        used = np.delete(used, int(np.argmin(found * matrix[:, used].mean(axis=0))))
    return weights


def _suggested(timing: Timing, settings: Settings) -> list[Point]:
    """Return the sizes of all profiles, those of the usual one first."""
    profiles = sorted(PROFILES.values(), key=lambda profile: profile.name != DEFAULT_PROFILE)
    sizes = [choose(timing, profile) or closest_sizes(timing) for profile in profiles]
    pairs = dict.fromkeys((found.block, found.context) for found in sizes)
    return [Point(settings.replace(block=block, context=context)) for block, context in pairs]


class _Chains:
    """Chains of one voice that all hear the same speech, built when they are first needed."""

    def __init__(self, voice: Voice, sound: Float32) -> None:
        self._voice, self._sound = voice, sound
        self._chains: dict[Point, tuple[Chain, Iterator[Float32]]] = {}

    def run(self, points: Sequence[Point], seconds: float, report_progress: Show) -> None:
        """Visit all points in turn, so that what disturbs the machine meets them all."""
        started, visits = time.monotonic(), 0
        while visits < _ROUNDS * len(points) or time.monotonic() - started < seconds:
            self._visit(points[visits % len(points)])
            visits += 1
            elapsed = (time.monotonic() - started) / seconds
            report_progress(min(elapsed, visits / (_ROUNDS * len(points)), 1.0))

    def _visit(self, point: Point) -> None:
        if point not in self._chains:
            chain = Chain(self._voice, point.settings)
            self._chains[point] = chain, _blocks(self._sound, chain.block)
        chain, blocks = self._chains[point]
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
    """Compute beside what is measured: one thread in Python, one that only loads a core."""
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
    lower_thread_priority()  # as another program would be
    data = bytes(1 << 20)
    while not stop.is_set():
        hashlib.sha256(data)  # lets the interpreter go meanwhile
