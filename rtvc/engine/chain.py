"""One step of the engine: converts one block of input into one block of output."""

from __future__ import annotations

import itertools
import math
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.limiter import Limiter
from rtvc.audio.resample import BlockResampler
from rtvc.engine.dsp.auto_pitch import AutoPitch, in_force
from rtvc.engine.dsp.channel_strip import ChannelStrip
from rtvc.engine.dsp.cleaning import Cleaner
from rtvc.engine.dsp.conditioning import Gate, Ramp, repair
from rtvc.engine.dsp.delay import Delay
from rtvc.engine.dsp.feedback import FeedbackSuppressor
from rtvc.engine.dsp.input_statistics import InputStatistics
from rtvc.engine.dsp.loudness import LoudnessFollow
from rtvc.engine.dsp.melody import MeanPitch, limited_pitch
from rtvc.engine.dsp.sola import Sola, fade_in
from rtvc.engine.dsp.speech import SpeechTracker
from rtvc.engine.output_guard import OutputGuard, OutputWatch
from rtvc.engine.plan import Plan, make_plan
from rtvc.engine.voice import Rendered, Stream, Voice
from rtvc.errors import RtvcError
from rtvc.settings import SETTINGS, Settings
from rtvc.stats import Latency, Level, State


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one step.

    Attributes
    ----------
    output
        (block,) float32 at `ENGINE_RATE`, finite and within the ceiling.
    stages
        Seconds spent in each part (condition, voice, output), by name.
    repaired
        Whether the input held NaN or infinite samples, which were set to 0, or the voice
        replaced such values.
    gate_open
        Whether the newest input is above the gate's threshold.
    idle
        Whether rendering was skipped because the input has been silent longer than the context.
    rendered
        Whether the voice rendered this block: False while idle, and in the dry and muted
        modes.
    input_f0_hz, output_f0_hz
        f0 of input and output at the end of the block in Hz, 0 = unvoiced.
    feedback
        Whether the output is reduced because the microphone picks it up.
    input_level, conditioned_level, output_level
        Levels of the unprocessed input, of the input after high-pass and gain, and of the output.
    limited_db
        Largest gain reduction of the limiter in the block in dB, 0 or less.
    auto_pitch
        Transposition by ``auto_pitch`` in semitones, None while there is none.
    """

    output: Float32
    stages: dict[str, float]
    repaired: bool
    gate_open: bool
    idle: bool
    rendered: bool
    input_f0_hz: float
    output_f0_hz: float
    feedback: bool
    input_level: Level
    conditioned_level: Level
    output_level: Level
    limited_db: float
    auto_pitch: float | None


class Learned(NamedTuple):
    """What a chain has learned of the user and the room, for the chain that takes over."""

    auto_pitch: AutoPitch
    feedback: FeedbackSuppressor
    mean_pitch: MeanPitch | None
    """That of the input, if the voice follows it."""
    input_statistics: InputStatistics | None
    """Those of the input, if the voice is normalised by them."""
    noise: str
    """The noise suppression that the input for the statistics has passed."""


BEFORE_S = 1.0
"""Input before its context that a chain needs to catch up, for gate and loudness, in seconds."""
_RISE_S = 0.005
_RISE = fade_in(round(_RISE_S * ENGINE_RATE))
"""Fade-in of the output after a gap, within the crossfades of those who join it."""


class Observer(Protocol):
    """Receives every block that a chain has processed, on the thread of the chain.

    What a chain outputs depends on its voice, the settings that it was built for, and what these
    calls tell only. A call delays the output, so it must return within 0.1 ms, in which it can
    keep the state of a chain now and then, and must not raise.
    """

    def stepped(self, chain: Chain, block: Float32, settings: Settings, step: Step) -> None:
        """Receive a block that was converted, with the result."""

    def skipped(self, chain: Chain, block: Float32, settings: Settings) -> None:
        """Receive a block that was consumed without output."""

    def continued(self, chain: Chain) -> None:
        """Learn that the chain continues with what another one has learned; on any thread."""

    def forgot(self, chain: Chain) -> None:
        """Learn that the chain holds silence now in place of its input."""


def _gain(db: float) -> float:
    return float(10.0 ** (db / 20.0))


def _output_gain(settings: Settings) -> float:
    return _gain(settings.output_gain + settings.trim)


def _level(samples: Float32) -> Level:
    peak = max(float(samples.max()), -float(samples.min()))
    rms = math.sqrt(float(np.add.reduce(np.square(samples, dtype=np.float64))) / len(samples))
    return Level(
        20 * math.log10(peak) if peak else -math.inf,
        20 * math.log10(rms) if rms else -math.inf,
        peak >= 0.999,
    )


class Chain:
    """The processing chain of one voice: conditioning, conversion and output, for fixed sizes.

    Use a chain only in the thread that created it. After `skip` its output fades in.

    Parameters
    ----------
    voice
        The voice to convert to.
    settings
        Initial settings. Those marked `shape` stay fixed.
    observer
        Receives every block; by default none.
    guard
        Checks that the voice renders what a voice can; by default nothing does.
    like
        A chain of this voice and of the same shape, which is not used any more: what it computes
        with is used again; see `renewed`.

    Attributes
    ----------
    plan
        The sizes in frames.
    built_for
        The settings that the chain was built for.
    block
        Samples per step at `ENGINE_RATE`.
    headroom
        Samples that should be queued at the output when an input block is complete.
    delay
        Samples by which the output lags the input, in addition to the block.
    auto_pitch
        The pitch of the user.
    """

    def __init__(
        self,
        voice: Voice,
        settings: Settings,
        observer: Observer | None = None,
        guard: OutputGuard | None = None,
        *,
        like: Chain | None = None,
    ) -> None:
        self.built_for = settings
        self._observer = observer
        self._voice = voice
        self.plan = make_plan(
            settings,
            voice_lookahead=voice.lookahead_frames(settings),
            continuous=voice.continuous,
        )
        plan = self.plan
        delay = math.ceil(plan.delay / plan.block)
        self._watch = None if guard is None else OutputWatch(guard, delay)
        if like is not None and like._watch is not None:
            self._watch = like._watch.renewed()
        self.block = Plan.samples(plan.block, ENGINE_RATE)
        self.headroom = Plan.samples(plan.headroom, ENGINE_RATE)
        self._voice_block = Plan.samples(plan.block, voice.output_rate)
        self._to_voice_rate = BlockResampler(ENGINE_RATE, voice.input_rate)
        self._to_engine_rate = BlockResampler(voice.output_rate, ENGINE_RATE)
        resampling = self._to_voice_rate.delay_in + self._to_engine_rate.delay
        voice_delay = Plan.samples(plan.delay, ENGINE_RATE) + resampling
        raw_delay = Plan.samples(plan.input_delay, ENGINE_RATE) + voice_delay
        self._cleaner: Cleaner = Cleaner(
            settings.noise,
            Plan.samples(plan.context, ENGINE_RATE) + round(BEFORE_S * ENGINE_RATE),
            None if like is None else like._cleaner,
        )
        speech_delay = Plan.samples(plan.speech_gate, ENGINE_RATE)
        self._gate = Gate(
            ENGINE_RATE,
            speech_delay + voice_delay,
            SpeechTracker() if settings.speech_gate else None,
        )
        self._speech_delay = Delay(speech_delay)
        self._reference_delay = Delay(voice_delay)
        self._dry_delay = Delay(raw_delay)
        self._sola = (
            None
            if voice.continuous
            else Sola(
                self._voice_block,
                Plan.samples(plan.crossfade, voice.output_rate),
                Plan.samples(plan.search, voice.output_rate),
            )
        )
        self.auto_pitch = AutoPitch()
        self._loudness = LoudnessFollow(ENGINE_RATE)
        self._strip = ChannelStrip(ENGINE_RATE, settings)
        self._limiter = Limiter(ENGINE_RATE)
        self.delay = raw_delay + self._limiter.delay
        self._feedback = FeedbackSuppressor(ENGINE_RATE, self.delay)
        self._input_gain = Ramp(ENGINE_RATE, _gain(settings.input_gain))
        self._output_gain = Ramp(ENGINE_RATE, _output_gain(settings))
        self._converted_gain = Ramp(ENGINE_RATE, float(settings.mode == "converted"))
        self._dry_gain = Ramp(ENGINE_RATE, float(settings.mode == "dry"))
        self._skipped = False
        """Whether the newest block was skipped, so that the next output does not continue the
        one before."""
        self._voice_rests = False
        """Whether the voice did not render the newest block, so that its next one would begin at
        once: a step, which comes out of the resampler later than a ramp of the gain begins, and
        would click in each echo of the reverb."""
        self._stream: Stream = (
            voice.open(plan, settings) if like is None else like._stream.renewed(plan, settings)
        )

    def renewed(self, settings: Settings) -> Chain:
        """Return a chain at time 0 that outputs what a newly built one would; on its thread.

        Nothing is loaded and nothing warmed up: it has the voice of this chain, which is not used
        after that. Its settings differ from `built_for` in none that is marked `shape`.
        """
        kept = {name: getattr(self.built_for, name) for name, s in SETTINGS.items() if s.shape}
        return Chain(self._voice, settings.replace(**kept), self._observer, like=self)

    def use_headroom(self, settings: Settings) -> None:
        """Use the headroom of settings that differ from `built_for` in nothing else of the shape.

        It is how much output waits when a block arrives, so the sound is not changed.
        """
        self.built_for = settings
        self.plan = replace(self.plan, headroom=round(settings.headroom / 10.0))
        self.headroom = Plan.samples(self.plan.headroom, ENGINE_RATE)

    def follow_headroom(self, settings: Settings) -> Settings:
        """Use the headroom of `settings` if nothing else of the shape differs; any thread.

        Returns
        -------
        Settings
            `built_for`.
        """
        same = self.built_for.headroom == settings.headroom
        if not same and self.built_for.replace(headroom=settings.headroom).shape == settings.shape:
            self.use_headroom(settings)
        return self.built_for

    @property
    def outdated(self) -> bool:
        """Whether output of this engine was found wrong since the chain was built."""
        return self._watch is not None and self._watch.outdated

    @property
    def features(self) -> frozenset[str]:
        """What the voice has; see `rtvc.engine.voice.Voice`."""
        return self._voice.features

    @property
    def weights(self) -> int:
        """Bytes of the voice's own weights in memory, 0 for the built-in voice."""
        return int(getattr(self._voice, "weights", 0))

    @property
    def speakers(self) -> int:
        """Number of speakers of the voice."""
        return self._voice.speakers

    def check_speaker(self, settings: Settings) -> None:
        """Raise `UsageError` if the voice lacks the speaker of the settings: before a conversion.

        A live run uses its last speaker instead, and says so; see `missing_speaker`.
        """
        check = getattr(self._voice, "check_speaker", None)
        if check is not None:
            check(settings)

    def missing_speaker(self, settings: Settings) -> str:
        """Return a sentence if the voice lacks the speaker of the settings, "" if it has it."""
        last = self.speakers - 1
        if settings.speaker <= last or not SETTINGS["speaker"].applies_to(self.features):
            return ""
        return (
            f"{self.built_for.voice!r} has no speaker {settings.speaker}; its speakers are 0 to "
            f"{last}. Speaker {last} is used."
        )

    @property
    def latency(self) -> Latency:
        """Latency of this chain by part, in seconds; the device parts are 0."""
        plan, frame = self.plan, 0.010
        return Latency(
            block=plan.block * frame,
            headroom=plan.headroom * frame,
            noise=plan.noise * frame,
            speech_gate=plan.speech_gate * frame,
            lookahead=plan.lookahead * frame,
            crossfade=plan.crossfade * frame,
            search=plan.search * frame,
            filters=self.delay / ENGINE_RATE - (plan.input_delay + plan.delay) * frame,
        )

    def state(self, settings: Settings) -> State:
        """Return what the output is with these settings."""
        if settings.mode == "converted":
            used = self.auto_pitch.use(settings)
            if self._mean_pitch is not None:
                used = limited_pitch(used, self._mean_pitch)
            if self._voice.leaves_unchanged(used):
                return State.UNCHANGED
        return State(settings.mode)

    def step(self, block: Float32, settings: Settings) -> Step:
        """Convert the next block.

        Parameters
        ----------
        block
            (block,) float32 input at `ENGINE_RATE`. Any values, NaN and infinity included.
        settings
            Settings for this step. Those not marked `shape` may differ between steps.

        Raises
        ------
        ValueError
            If `block` is not a float32 array of this shape; the chain is unchanged.
        RtvcError
            If the voice renders samples that are not finite, or that the guard finds wrong.
        Exception
            Any error of the voice. Discard the chain after an error.
        """
        step = self._convert(block, settings)
        if self._observer is not None:
            self._observer.stepped(self, block, settings, step)
        return step

    def _convert(self, block: Float32, settings: Settings, cleaned: Float32 | None = None) -> Step:
        """Convert the next block; `cleaned` is what the cleaner would output, if that is known."""
        marks = [time.perf_counter()]
        self._require_block(block)
        raw, repaired = repair(block)
        size = len(raw)
        conditioned = self._cleaner.process(raw) if cleaned is None else cleaned
        conditioned = conditioned * self._input_gain.process(_gain(settings.input_gain), size)
        gate = self._gate.process(conditioned, settings)
        level = _level(conditioned)
        conditioned = self._speech_delay.process(conditioned)
        marks.append(time.perf_counter())

        wanted = settings.mode == "converted" or self._converted_gain.value > 0.0
        quiet = self.plan.context + self.plan.speech_gate
        silent = self._gate.closed_s * 100 > quiet and not gate.any()
        rendered = wanted and not silent
        rendered_block = (
            self._render(conditioned, self.auto_pitch.use(settings))
            if rendered
            else self._render_silence(conditioned)
        )
        self.auto_pitch.update(rendered_block.input_f0_hz, size / ENGINE_RATE, settings)
        marks.append(time.perf_counter())

        audio, reference = rendered_block.audio, self._reference_delay.process(conditioned)
        if wanted or silent:  # otherwise there is no output to compare with the input
            audio = self._loudness.process(audio, reference, settings.loudness)
        audio = self._strip.process(audio * gate, settings)
        audio = audio * self._output_gain.process(_output_gain(settings), size)
        audio = audio * self._converted_gain.process(float(settings.mode == "converted"), size)
        dry_gain = self._dry_gain.process(float(settings.mode == "dry"), size)
        dry = self._dry_delay.process(raw)
        if isinstance(dry_gain, np.ndarray) or dry_gain > 0.0:
            audio = audio + dry * dry_gain
        audio = audio.astype(np.float32, copy=False)
        if self._skipped:
            self._skipped = False
            self._limiter.clear()
            audio = audio.copy()
            audio[: len(_RISE)] *= _RISE[: len(audio)]
        output = self._limiter.process(audio, settings.ceiling)
        output = self._feedback.process(raw, output)
        marks.append(time.perf_counter())
        seconds = (end - begin for begin, end in itertools.pairwise(marks))
        stages = dict(zip(("condition", "voice", "output"), seconds, strict=True))
        return Step(
            output=output,
            stages=stages,
            repaired=repaired or rendered_block.repaired,
            gate_open=self._gate.open,
            idle=silent,
            rendered=rendered,
            input_f0_hz=rendered_block.input_f0_hz,
            output_f0_hz=rendered_block.output_f0_hz,
            feedback=self._feedback.active,
            input_level=_level(raw),
            conditioned_level=level,
            output_level=_level(output),
            limited_db=20 * math.log10(max(self._limiter.lowest_gain, 1e-6)),
            auto_pitch=self.auto_pitch.semitones if in_force(settings) else None,
        )

    def end(self, newest: Float32, settings: Settings, cleaned: Float32 | None = None) -> Float32:
        """Return what the next step would output, before its block is there; the last use.

        The newest block, reversed in time, takes the place of the next one: what comes out first
        is the end of what went in before, and has its lookahead from there. For some tens of
        milliseconds the output is as good as that of the next step. The observer learns nothing
        of it.

        Parameters
        ----------
        newest
            The block of the last step.
        settings
            As `step`.
        cleaned
            The same block without its noise, if another chain has the cleaner now.
        """
        reversed_cleaned = None if cleaned is None else cleaned[::-1]
        return self._convert(newest[::-1].copy(), settings, reversed_cleaned).output

    def cleaned(self, samples: int) -> Float32 | None:
        """Return the newest input without its noise, None if that is not at hand."""
        return self._cleaner.newest(samples)

    def exchange_cleaners(self, other: Chain) -> None:
        """Continue with the cleaner of a chain that has the same input; it gets the one of this."""
        self._cleaner, other._cleaner = other._cleaner, self._cleaner

    @property
    def learned(self) -> Learned:
        """What a chain that takes over is to continue with."""
        return Learned(
            self.auto_pitch,
            self._feedback,
            self._mean_pitch,
            self._input_statistics,
            self.built_for.noise,
        )

    @property
    def _mean_pitch(self) -> MeanPitch | None:
        return getattr(self._stream, "mean_pitch", None)

    @property
    def _input_statistics(self) -> InputStatistics | None:
        return getattr(self._stream, "input_statistics", None)

    def continue_with(self, learned: Learned, known: int = 0) -> None:
        """Continue with what another chain has learned, which keeps it; between two blocks.

        Parameters
        ----------
        learned
            What the other chain has learned.
        known
            Samples of input that come next although the other chain has had them.
        """
        self.auto_pitch = deepcopy(learned.auto_pitch)
        self._feedback.follow(learned.feedback)
        if self._mean_pitch is not None and learned.mean_pitch is not None:
            self._mean_pitch.follow(learned.mean_pitch)
        statistics, others = self._input_statistics, learned.input_statistics
        if statistics is not None and others is not None and learned.noise == self.built_for.noise:
            statistics.follow(others, known * self._voice.input_rate // ENGINE_RATE)
        if self._observer is not None:
            self._observer.continued(self)

    def forget(self, settings: Settings) -> None:
        """Consume silence, so that no input from before is output any more; between two blocks."""
        silence = np.zeros(math.ceil(self.delay / self.block) * self.block, np.float32)
        self._consume(silence, settings)
        self._strip.forget()
        if self._observer is not None:
            self._observer.forgot(self)

    def skip(self, samples: Float32, settings: Settings, cleaned: Float32 | None = None) -> None:
        """Consume one block of input, or several at once, without rendering output.

        Keeps context and time position, so the next step continues without a break.

        Parameters
        ----------
        samples
            Whole blocks, (samples,) float32 input at `ENGINE_RATE`.
        settings
            As `step`.
        cleaned
            The same without its noise if it is known. Then the cleaner of the chain that has
            computed it is to be used from the next block on; see `exchange_cleaners`.

        Raises
        ------
        ValueError
            As `step`.
        """
        self._require_block(samples, several=True)
        self._consume(samples, settings, cleaned)
        if self._observer is not None:
            self._observer.skipped(self, samples, settings)

    def _consume(
        self, samples: Float32, settings: Settings, cleaned: Float32 | None = None
    ) -> None:
        raw, _ = repair(samples)
        conditioned = self._cleaner.process(raw) if cleaned is None else cleaned
        conditioned = conditioned * np.float32(_gain(settings.input_gain))
        self._gate.process(conditioned, settings)
        conditioned = self._speech_delay.process(conditioned)
        self._reference_delay.process(conditioned)
        self._strip.skip(len(samples), settings)
        self._dry_delay.process(raw)
        self._feedback.skip()
        self._to_engine_rate.reset()
        self._skipped = True
        # A ramp from what was asked for before, such as the mode when a chain that has waited since
        # was built, would be heard.
        self._input_gain.jump(_gain(settings.input_gain))
        self._output_gain.jump(_output_gain(settings))
        self._converted_gain.jump(float(settings.mode == "converted"))
        self._dry_gain.jump(float(settings.mode == "dry"))
        self._skip_voice(conditioned)

    def _require_block(self, block: Float32, *, several: bool = False) -> None:
        if (
            not isinstance(block, np.ndarray)
            or block.dtype != np.float32
            or block.ndim != 1
            or not block.size
            or block.size % self.block
            or (block.size != self.block and not several)
        ):
            array = np.asarray(block)
            raise ValueError(
                f"A block must be a float32 array of shape ({self.block},), "
                f"not {array.dtype} of shape {array.shape}."
            )

    def _render(self, conditioned: Float32, settings: Settings) -> Rendered:
        rendered_block = self._stream.render(self._to_voice_rate.process(conditioned), settings)
        if self._watch is not None:
            self._watch.check(conditioned, rendered_block.audio)
        elif not np.isfinite(rendered_block.audio).all():
            raise RtvcError("The voice rendered samples that are not finite.")
        audio = (
            rendered_block.audio if self._sola is None else self._sola.join(rendered_block.audio)
        )
        if self._voice_rests:
            self._voice_rests = False
            rise = fade_in(round(_RISE_S * self._voice.output_rate))
            audio = np.concatenate([audio[: len(rise)] * rise, audio[len(rise) :]])
        return Rendered(
            self._to_engine_rate.process(audio),
            rendered_block.input_f0_hz,
            rendered_block.output_f0_hz,
            rendered_block.repaired,
        )

    def _render_silence(self, conditioned: Float32) -> Rendered:
        self._skip_voice(conditioned)
        return Rendered(self._to_engine_rate.process(np.zeros(self._voice_block, np.float32)))

    def _skip_voice(self, conditioned: Float32) -> None:
        self._stream.skip(self._to_voice_rate.process(conditioned))
        self._voice_rests = True
        if self._sola is not None:
            self._sola.clear()
