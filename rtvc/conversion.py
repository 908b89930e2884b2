"""Arrays through the engine: a whole recording at once, or a stream block by block."""

from __future__ import annotations

import functools
import operator
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, SupportsIndex, TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from rtvc._types import Float32
from rtvc.audio.array_format import MONO, ArrayFormat, cancels, to_mono
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.fifo import SampleFifo
from rtvc.audio.limiter import LimitedResampler
from rtvc.engine.chain import Chain
from rtvc.engine.dsp.noise_suppression import suppress_noise
from rtvc.engine.thread_bound import ThreadBound
from rtvc.engine.voice import Voice
from rtvc.errors import UsageError
from rtvc.library.load_voice import load_voice
from rtvc.library.names import is_path
from rtvc.library.preset_morph import resolve_morph
from rtvc.settings import BUILT_IN, Settings, combine_settings
from rtvc.system.unicode_names import comparison_key

Sample = TypeVar("Sample", bound=np.generic)
R = TypeVar("R")

LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000
_PIECE_S = 1.0
"""Length of the pieces that `convert` works on: Ctrl-C takes effect between two."""
_TAIL = ENGINE_RATE // 100
"""Silence after the input, so that the result is never a sample short at another rate."""
_THREAD = "rtvc converter"


def convert(
    samples: NDArray[Sample],
    *,
    sample_rate: float | np.floating[Any] | SupportsIndex,
    voice: Voice | str | Path | None = None,
    settings: Settings | None = None,
    quality: Literal["live", "offline"] = "live",
    **changes: Any,
) -> NDArray[Sample]:
    """Change the voice in a recording.

    The result is as long as the input and aligned with it to the sample. It is that of
    ``rtvc convert`` for a mono file (which lowers the gate for quiet recordings), and the same
    input and settings give the same result.

    Parameters
    ----------
    samples
        (samples,) or (samples, channels) of float16, float32, float64 (full scale at 1),
        int16 or int32 (full scale at the type's). Channels are averaged: a voice is mono.
    sample_rate
        Samples per second of the input and of the result, 8000 to 192000.
    voice
        A voice from `load_voice`, or anything that `load_voice` accepts, which this call then
        loads. By default ``settings.voice``, which is the built-in voice unless it is set.
    settings
        By default all settings are at their defaults.
    quality
        ``"live"`` is what a live session outputs. With ``"offline"`` an RVC voice converts whole
        phrases, using what follows each moment, and takes more memory; with the built-in voice
        it is the same.
    **changes
        Single settings, such as ``pitch=4``.

    Returns
    -------
    ndarray
        Same shape and type as `samples`; all channels are equal.

    Raises
    ------
    UsageError
        For samples of another shape, type or range, values that are not finite, channels that
        cancel each other, a sample rate out of range, or a voice or setting that does not exist
        or is given twice.
    RtvcError
        If the voice cannot be loaded or used.

    Examples
    --------
    >>> samples, sample_rate = soundfile.read("talk.wav")
    >>> higher = rtvc.convert(samples, sample_rate=sample_rate, pitch=4)
    """
    mono, form = to_mono(samples)
    if cancels(samples, mono):
        raise UsageError(
            "The channels of the samples cancel each other, as if one were inverted, so their "
            "mean is silent. Give one channel, such as samples[:, 0]."
        )
    rate = _checked_rate(sample_rate)
    if quality not in ("live", "offline"):
        raise UsageError(f"The quality is {quality!r}. Choose 'live' or 'offline'.")
    opened, used = _opened_voice(voice, combine_settings(settings, changes))

    def make() -> _Stream:
        voice = opened
        if quality == "offline" and mono.size:
            voice = offline_voice(opened, lambda to: soxr.resample(mono, rate, to, "VHQ"), used)
        return _Stream(voice, used, rate)

    stream = ThreadBound(make, _THREAD)
    made, at = np.empty_like(mono), 0
    try:
        for piece in _in_pieces(mono, rate):
            done = stream.call(functools.partial(_Stream.process, samples=piece))
            made[at : at + done.size] = done
            at += done.size
        made[at:] = stream.call(_Stream.flush)
    finally:
        stream.close()
    return form.restore(made)


class Converter:
    """Changes the voice in a stream, block by block.

    The results of `process` and `flush`, concatenated, are as long as the input and equal to
    what `convert` returns for all of it, whatever the lengths of the blocks.

    Any thread may call `process`; concurrent calls wait for each other. The voice runs on a
    thread of its own, which ends at `flush` or when the converter is deleted.

    Parameters
    ----------
    voice
        A voice from `load_voice`, or anything that `load_voice` accepts.
    settings
        By default all settings are at their defaults. `Settings.voice` may be that of `voice`.
    sample_rate
        Samples per second of the input and of the result, 8000 to 192000.
    **changes
        Single settings, such as ``pitch=4``.

    Raises
    ------
    UsageError
        For a sample rate out of range, a voice or setting that does not exist, a setting that is
        given twice, or another voice in the settings.
    RtvcError
        If the voice cannot be loaded or used.

    Examples
    --------
    >>> converter = rtvc.Converter("world", rtvc.Settings(pitch=4), sample_rate=44_100)
    >>> out = [converter.process(block) for block in blocks]
    >>> out.append(converter.flush())
    """

    def __init__(
        self,
        voice: Voice | str | Path,
        settings: Settings | None = None,
        *,
        sample_rate: float | np.floating[Any] | SupportsIndex,
        **changes: Any,
    ) -> None:
        self._rate = rate = _checked_rate(sample_rate)
        self._settings = combine_settings(settings, changes)
        opened, used = _opened_voice(voice, self._settings)
        self._name = opened.name
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._form: ArrayFormat | None = None
        self._over = ""
        """Why it accepts no more samples, "" while it does."""
        self._stream = ThreadBound(lambda: _Stream(opened, used, rate), _THREAD)
        self._latency: float = self._stream.call(lambda stream: stream.latency)

    def __repr__(self) -> str:
        return f"<Converter {self._name!r}, {self._rate} Hz, latency {self._latency:.3f} s>"

    @property
    def settings(self) -> Settings:
        """The settings, which do not change."""
        return self._settings

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return self._rate

    @property
    def latency(self) -> float:
        """Seconds by which the results lag the input, at most.

        The block, the voice's lookahead and the filters. Rates other than 48000 Hz add the
        sample-rate conversion: 0.04 s at 44100 Hz, 0.07 s at 16000 Hz, 0.3 s at 8000 Hz.
        """
        return self._latency

    def process(self, samples: NDArray[Sample]) -> NDArray[Sample]:
        """Convert the next samples, and return the part of the result that is ready.

        Parameters
        ----------
        samples
            As for `convert`, any number of them, including 0. All blocks of a stream have the
            same type and number of channels. Channels that cancel each other, which `convert`
            refuses, become silence. You may overwrite the array afterwards.

        Returns
        -------
        ndarray
            (n,) or (n, channels) of the type of `samples`. n differs from call to call and
            can be 0.

        Raises
        ------
        UsageError
            For samples of another shape, type or range, values that are not finite, or samples
            whose type or number of channels differs from the blocks before; the stream is then
            unchanged. Also after `flush`, and in a process forked after the converter was made.
        RtvcError
            If the voice fails. The converter cannot be used afterwards.
        """
        mono, form = to_mono(samples)
        self._check_process()
        with self._lock:
            self._check_open()
            if form != (self._form or form):
                raise UsageError(
                    f"These samples are {form}, and those before were {self._form}. Give all "
                    "blocks of a stream the same type and number of channels."
                )
            self._form = form
            return form.restore(self._call(functools.partial(_Stream.process, samples=mono)))

    def flush(self) -> NDArray[Any]:
        """End the stream, and return the rest of the result.

        Before any `process` it is an empty (0,) array of float32.

        Raises
        ------
        UsageError
            After `flush`, and in a process forked after the converter was made.
        RtvcError
            If the voice fails.
        """
        self._check_process()
        with self._lock:
            self._check_open()
            left = self._call(_Stream.flush)
            self._over = "This converter has been flushed. Make another one for another stream."
            self._stream.close()
            return (self._form or MONO).restore(left)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise UsageError(
                "This converter was made before the process was forked, and its thread is not in "
                "this process. Make a converter here."
            )

    def _check_open(self) -> None:
        if self._over:
            raise UsageError(self._over)

    def _call(self, use: Callable[[_Stream], R]) -> R:
        # After a call that failed or was interrupted, the position in the stream is unknown.
        self._over = "An earlier call failed or was interrupted. Make another converter."
        result = self._stream.call(use)
        self._over = ""
        return result


class _Stream:
    """Mono samples at any rate through a chain, its delay compensated; for one thread."""

    def __init__(self, voice: Voice, settings: Settings, rate: int) -> None:
        self._settings = settings
        self._chain = chain = Chain(voice, settings)
        chain.check_speaker(settings)
        self._into = _resampler(rate, ENGINE_RATE)
        self._back = (
            None if rate == ENGINE_RATE else LimitedResampler(ENGINE_RATE, rate, settings.ceiling)
        )
        self._waiting = SampleFifo()
        self._early = chain.delay
        """Output samples still to be dropped: the chain's delay at the start."""
        self._taken = self._given = 0
        self.latency = (
            (chain.block + chain.delay) / ENGINE_RATE
            + _resampling_latency(rate, ENGINE_RATE)
            + _resampling_latency(ENGINE_RATE, rate)
            + (self._back.delay / rate if self._back else 0.0)
        )

    def process(self, samples: Float32) -> Float32:
        """Convert the next samples, and return what is ready."""
        self._taken += samples.size
        self._waiting.push(samples if self._into is None else self._into.resample_chunk(samples))
        return self._made(last=False)

    def flush(self) -> Float32:
        """Return the rest."""
        if self._into is not None:
            self._waiting.push(self._into.resample_chunk(np.empty(0, np.float32), last=True))
        silence = self._chain.delay + _TAIL
        silence += -(self._waiting.size + silence) % self._chain.block
        self._waiting.push(np.zeros(silence, np.float32))
        return self._made(last=True)

    def _made(self, *, last: bool) -> Float32:
        chain, pieces = self._chain, [np.empty(0, np.float32)]
        while self._waiting.size >= chain.block:
            output = chain.step(self._waiting.pop(chain.block), self._settings).output
            late = min(self._early, output.size)
            self._early -= late
            # Block by block: the result must not depend on how much is ready in one call.
            pieces.append(self._at_rate(output[late:]))
        if last:
            pieces.append(self._at_rate(np.empty(0, np.float32), last=True))
        made = np.concatenate(pieces)
        made = made[: self._taken - self._given]
        self._given += made.size
        return made

    def _at_rate(self, samples: Float32, *, last: bool = False) -> Float32:
        return samples if self._back is None else self._back.process(samples, last=last)


def _resampler(in_rate: int, out_rate: int) -> Any:
    return None if in_rate == out_rate else soxr.ResampleStream(in_rate, out_rate, 1)


@functools.cache
def _resampling_latency(in_rate: int, out_rate: int) -> float:
    """Return the most seconds of input that a resampler buffers.

    It depends on the stages that soxr chooses for the ratio, so it is measured with silence.
    """
    resampler, step = _resampler(in_rate, out_rate), in_rate // 1000
    if resampler is None:
        return 0.0
    silence = np.zeros(step, np.float32)
    held = most = 0.0
    for _ in range(1000):
        held += step / in_rate
        most = max(most, held)
        held -= resampler.resample_chunk(silence).size / out_rate
    return most


def _in_pieces(mono: Float32, rate: int) -> Iterator[Float32]:
    size = round(_PIECE_S * rate)
    return (mono[at : at + size] for at in range(0, mono.size, size))


def _checked_rate(rate: float | np.floating[Any] | SupportsIndex) -> int:
    whole = 0
    if isinstance(rate, float | np.floating):  # such as 44100.0, which some libraries have
        whole = int(rate) if rate.is_integer() else 0
    else:
        with suppress(TypeError):
            whole = operator.index(rate)
    if not LOWEST_RATE <= whole <= HIGHEST_RATE:
        raise UsageError(
            f"The sample rate is {rate!r}. Give a whole number of samples per second from "
            f"{LOWEST_RATE} to {HIGHEST_RATE}."
        )
    return whole


def _opened_voice(voice: Voice | str | Path | None, settings: Settings) -> tuple[Voice, Settings]:
    """Return the voice, and the settings to use with it."""
    named = voice.name if isinstance(voice, Voice) else str(voice)
    same = settings.voice == BUILT_IN or _is_same(settings.voice, named)
    if voice is not None and not same:
        raise UsageError(
            f"The voice is given twice, also as {settings.voice!r} in the settings. Leave one out."
        )
    if settings.morphs and voice is not None:
        if isinstance(voice, Voice) and voice.kind == BUILT_IN:
            return voice, resolve_morph(settings)
        if not isinstance(voice, str):
            raise UsageError("To morph, give the first voice by its name, such as voice='Anna'.")
        settings = settings.replace(voice=voice)
    if voice is None or voice == settings.voice:
        settings = resolve_morph(settings)
        return load_voice(settings.voice_to_load), settings
    if isinstance(voice, str | Path):
        return load_voice(voice), settings
    if not isinstance(voice, Voice):
        raise UsageError(
            f"The voice is of type {type(voice).__name__}. Give the name of a voice, or what "
            "rtvc.load_voice returns."
        )
    return voice, settings


def _is_same(one: str, other: str) -> bool:
    """Return whether two values of ``Settings.voice`` name one voice; names ignore case."""
    if is_path(one) or is_path(other):
        return one == other
    return comparison_key(one) == comparison_key(other)


def offline_voice(
    voice: Voice,
    read: Callable[[int], Float32],
    settings: Settings,
    report_progress: Callable[[float], None] = lambda share: None,
) -> Voice:
    """Return a voice that plays a recording converted offline.

    The built-in voice is returned as it is: it uses the whole context that it can.

    Parameters
    ----------
    voice
        The voice to convert to.
    read
        Returns the recording as mono at a sample rate.
    settings
        Settings of the voice.
    report_progress
        Called with the share that is done, 0 to 1.
    """
    if voice.kind == BUILT_IN:
        return voice
    from rtvc.engine.rvc import offline
    from rtvc.engine.rvc.voice import RvcVoice

    assert isinstance(voice, RvcVoice)
    if settings.noise == "off":
        sound = read(voice.input_rate)
    else:
        clean = suppress_noise(read(ENGINE_RATE), settings.noise)
        sound = soxr.resample(clean, ENGINE_RATE, voice.input_rate, "VHQ")
    return offline.convert(voice, sound, settings, report_progress)
