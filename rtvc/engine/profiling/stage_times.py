"""Durations and operation counts of a step by stage.

A stage consists of public methods of the networks, which are wrapped during the measurement. The
code of the step itself is the same as in live use.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

from rtvc.engine.chain import Chain
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.pitch_estimator import SalienceEstimator
from rtvc.engine.models.source import SineSource
from rtvc.engine.models.swift_f0 import SwiftF0Estimator
from rtvc.engine.models.synthesizer import Synthesizer
from rtvc.engine.models.vocoder import StreamingVocoder
from rtvc.engine.profiling.op_count import Counts, Function, arrays_in, count, with_arrays
from rtvc.engine.rvc.decoder import StreamingDecoder, WindowDecoder
from rtvc.engine.rvc.pitch_track import PitchTrack
from rtvc.engine.rvc.retrieval import FeatureIndex
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.engine.voice import Voice
from rtvc.settings import Settings

STAGES = ("content encoder", "retrieval", "pitch", "text encoder", "flow", "decoder", "rest")
"""The stages of a step, in order. "pitch" includes the target f0; "rest" is noise, resampling,
joining and the gate.

A method compiled into another one counts as part of it. If text encoder and flow are compiled into
one function, there is no text encoder stage.
"""

_SETTLED_AFTER = 3
"""Steps after which all further steps compute the same; the first ones have no state."""

Around = Callable[["StageMethod", Function, tuple[Any, ...], dict[str, Any]], Any]
"""Called in place of a method, with the stage method, the original function and its arguments."""


class StageMethod(NamedTuple):
    """A method that belongs to a stage; calls of another stage's methods in it count there.

    Attributes
    ----------
    stage
        One of `STAGES`.
    owner, method
        The class and the name of the method.
    lazy
        Whether it accepts and returns arrays that are not evaluated.
    overrides
        Keyword arguments for the call when the stages run one after the other.
    """

    stage: str
    owner: type
    method: str
    lazy: bool = True
    overrides: tuple[tuple[str, object], ...] = ()


def stage_methods(voice: Voice, settings: Settings) -> list[StageMethod]:
    """Return the stage methods of a voice; none for the built-in voice, which is all "rest"."""
    if not isinstance(voice, RvcVoice):
        return []
    vocoder = voice.voice.network.vocoder
    parts = [
        StageMethod("content encoder", Hubert, "convolve", overrides=(("reserved", 0),)),
        StageMethod("content encoder", Hubert, "convolve_by", overrides=(("reserved", 0),)),
        StageMethod("content encoder", Hubert, "transform"),
        StageMethod("retrieval", FeatureIndex, "blend", lazy=False),
        StageMethod("text encoder", Synthesizer, "statistics"),
        StageMethod("flow", Synthesizer, "latent"),
        *(
            StageMethod("decoder", way, "decode", lazy=False)
            for way in (StreamingDecoder, WindowDecoder)
        ),
        StageMethod("decoder", SineSource, "__call__"),
        StageMethod("decoder", type(vocoder), "__call__"),
    ]
    if isinstance(vocoder, StreamingVocoder):
        parts.append(StageMethod("decoder", type(vocoder), "stream"))
    estimator = voice.estimator(settings)
    if estimator is not None:
        parts.append(StageMethod("pitch", type(estimator), "__call__", lazy=False))
        parts.append(StageMethod("pitch", PitchTrack, "compute_target_f0", lazy=False))
        parts.append(StageMethod("pitch", PitchTrack, "finalize", lazy=False))
    if isinstance(estimator, SalienceEstimator):
        parts.append(StageMethod("pitch", type(estimator), "activations"))
        parts.append(StageMethod("pitch", type(estimator), "decode"))
    if isinstance(estimator, SwiftF0Estimator):
        parts.append(StageMethod("pitch", type(estimator), "scores", lazy=estimator.in_mlx))
    return parts


@contextmanager
def time_stages(
    parts: Sequence[StageMethod], clock: Callable[[], float] = time.perf_counter
) -> Iterator[dict[str, float]]:
    """Time the stages of the code in the context.

    Each stage is evaluated before the next one starts, so their sum exceeds the duration of a
    plain step.

    Parameters
    ----------
    parts
        The methods of the stages.
    clock
        Returns seconds; ``time.process_time`` for the processor time of all threads.

    Yields
    ------
    dict
        Seconds by stage, complete when the context ends. Their sum is the duration of the
        context without the time for finding arrays in the arguments.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    stack = ["rest"]
    mark = 0.0

    def turn() -> None:
        nonlocal mark
        now = clock()
        seconds[stack[-1]] += now - mark
        mark = now

    def around(
        part: StageMethod, real: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        nonlocal mark
        began = clock()
        given = arrays_in((args, kwargs))
        mark += clock() - began
        if not _evaluated(given):  # evaluates pending work in the stage that it belongs to
            return real(*args, **kwargs)
        turn()
        stack.append(part.stage)
        try:
            result = real(*args, **(kwargs | dict(part.overrides)))
            mx.eval(arrays_in(result))
            return result
        finally:
            turn()
            stack.pop()

    with _wrapped(parts, around):
        mark = clock()
        yield seconds
        turn()


def count_step(voice: Voice, settings: Settings, *, as_gpu: bool = False) -> dict[str, Counts]:
    """Count the operations of one step by stage, without running a network of MLX.

    Networks in NumPy run, and are not counted.

    Parameters
    ----------
    voice, settings
        Arguments of a `Chain`.
    as_gpu
        See `rtvc.engine.profiling.op_count.count`.
    """
    settings = settings.replace(gate=-90.0)  # in silence a step computes nothing
    with _recorded_calls(stage_methods(voice, settings)) as calls:
        chain = Chain(voice, settings)
        for _ in range(_SETTLED_AFTER):
            calls.clear()
            chain.step(np.ones(chain.block, np.float32), settings)
    own: defaultdict[str, Counts] = defaultdict(Counts)
    for call in calls:
        counts = call.count(as_gpu)
        own[call.stage] += counts
        if call.within is not None:
            own[call.within.stage] -= counts
    return dict(own)


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a lazy stage method with its arguments; `within` is the enclosing call."""

    stage: str
    function: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    within: _Call | None

    def count(self, as_gpu: bool) -> Counts:
        """Count all operations of the call, including nested calls of other stages."""
        given = self.args, self.kwargs

        def called(*arrays: mx.array) -> Any:
            args, kwargs = with_arrays(given, arrays)
            return self.function(*args, **kwargs)

        return count(called, *arrays_in(given), as_gpu=as_gpu)


@contextmanager
def _recorded_calls(parts: Sequence[StageMethod]) -> Iterator[list[_Call]]:
    """Record the calls of lazy stage methods in the context.

    The calls return zeros in the shapes of their results.
    """
    calls: list[_Call] = []
    stack: list[_Call] = []

    def around(
        part: StageMethod, real: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if not _evaluated(arrays_in((args, kwargs))):
            return real(*args, **kwargs)
        calls.append(_Call(part.stage, real, args, kwargs, stack[-1] if stack else None))
        stack.append(calls[-1])
        try:
            result = real(*args, **kwargs)
        finally:
            stack.pop()
        return with_arrays(result, [mx.zeros(a.shape, a.dtype) for a in arrays_in(result)])

    with _wrapped([part for part in parts if part.lazy], around):
        yield calls


def _evaluated(given: list[mx.array]) -> bool:
    """Evaluate the arguments of a call; return False if impossible, while MLX compiles it."""
    try:
        mx.eval(given)
    except ValueError:
        return False
    return True


@contextmanager
def _wrapped(parts: Sequence[StageMethod], around: Around) -> Iterator[None]:
    """Replace each method by a call of `around` in the context, then restore them."""
    with ExitStack() as undo:
        for part in parts:
            inherited = part.method not in vars(part.owner)
            real = getattr(part.owner, part.method)
            setattr(part.owner, part.method, _wrapper(part, real, around))
            if inherited:
                undo.callback(delattr, part.owner, part.method)
            else:
                undo.callback(setattr, part.owner, part.method, real)
        yield


def _wrapper(part: StageMethod, real: Function, around: Around) -> Function:
    @functools.wraps(real)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return around(part, real, args, kwargs)

    return wrapper
