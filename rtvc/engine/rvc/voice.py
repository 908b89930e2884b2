"""An RVC voice as a streaming voice: renders each block from a window of input."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from weakref import WeakKeyDictionary

import mlx.core as mx
import numpy as np

from rtvc._types import Float32
from rtvc.calibration.profiles import kind_of_rate
from rtvc.engine.dsp.input_statistics import InputStatistics
from rtvc.engine.dsp.melody import MeanPitch
from rtvc.engine.gpu_memory import ResidentMemory, array_bytes
from rtvc.engine.models.flow import MARGIN_FRAMES
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops.backend import traces_steps
from rtvc.engine.models.pitch_estimator import SAMPLE_RATE, PitchEstimator
from rtvc.engine.models.vocoder import StreamingVocoder
from rtvc.engine.plan import Plan
from rtvc.engine.rvc.content import Content
from rtvc.engine.rvc.decoder import Decoder, StreamingDecoder, WindowDecoder
from rtvc.engine.rvc.mlx_errors import mlx_errors
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.rvc.pitch_track import PitchTrack
from rtvc.engine.rvc.render import make_latent
from rtvc.engine.rvc.retrieval import Retrieval
from rtvc.engine.rvc.window import FRAME, PITCH_HEAD, PITCH_TAIL, Window, make_window
from rtvc.engine.voice import Rendered
from rtvc.errors import UsageError
from rtvc.settings import Settings

FindEstimator = Callable[[str], PitchEstimator]

LOOKAHEAD = 5
"""Lookahead of a streaming vocoder in frames. Later frames are replaced by the newest one, which
gives an error of 56 dB below the signal with 5 frames, 38 dB with 3 and 92 dB with 8."""

_warm: WeakKeyDictionary[SynthesizerNetwork, set[tuple[object, ...]]] = WeakKeyDictionary()
"""Sizes for which a network has computed before: it has its working memory then."""

_QUIET = 0.1
"""Level relative to the newest input (-20 dB) below which skipped input needs no f0."""


class RvcVoice:
    """An RVC voice; see `rtvc.engine.voice.Voice`.

    Parameters
    ----------
    name
        Value of ``Settings.voice``.
    voice
        The network of the voice.
    encoder
        The content encoder that the voice was trained with.
    find_estimator
        Returns the pitch estimator for a value of ``Settings.pitch_method``. Not called for a
        voice without f0.
    index
        The index of the voice, or None.
    notice
        What the self-test found wrong on this machine and what rtvc does about it.

    Raises
    ------
    RtvcError
        If the encoder or the index has another feature width.
    """

    input_rate = SAMPLE_RATE

    def __init__(
        self,
        name: str,
        voice: SynthesizerNetwork,
        encoder: Hubert,
        find_estimator: FindEstimator,
        index: Retrieval | None = None,
        *,
        notice: str = "",
    ) -> None:
        self.name, self.voice, self.notice = name, voice, notice
        self.output_rate = voice.sample_rate
        self.kind = kind_of_rate(voice.sample_rate)
        self.continuous = isinstance(voice.network.vocoder, StreamingVocoder)
        self.content = Content(encoder, voice.feature_dim, index)
        self._find_estimator = find_estimator

    def __repr__(self) -> str:
        index = ", with an index" if self.content.has_index else ""
        version = "v1" if self.voice.feature_dim == 256 else "v2"
        return f"<RvcVoice {self.name!r}, RVC {version}, {self.output_rate} Hz{index}>"

    def fall_back(self) -> str:
        """See `rtvc.engine.output_guard.FallsBack`."""
        from rtvc.engine.selftest.ladder import step_down

        return step_down()

    @property
    def features(self) -> frozenset[str]:
        """What the voice has; decides which settings apply."""
        having = {
            "f0": self.voice.uses_pitch,
            "index": self.content.has_index,
            "speakers": self.speakers > 1,
            "crossfade": not self.continuous,
        }
        return frozenset({"rvc", *(name for name, there in having.items() if there)})

    @cached_property
    def weights(self) -> int:
        """Bytes of the voice's own weights in memory, without the models that voices share."""
        return array_bytes(self.voice.network)

    @property
    def speakers(self) -> int:
        """Number of speakers that it was trained with."""
        return self.voice.n_speakers

    def lookahead_frames(self, settings: Settings) -> int:
        """Return the lookahead of the vocoder in frames; 0 for a vocoder without streaming."""
        return LOOKAHEAD if self.continuous else 0

    def leaves_unchanged(self, settings: Settings) -> bool:
        """Return False: the output is the trained voice, whatever the settings."""
        return False

    def estimator(self, settings: Settings) -> PitchEstimator | None:
        """Return the pitch estimator of the settings, or None for a voice without f0.

        Raises
        ------
        RtvcError
            If the estimator is not installed.
        """
        return self._find_estimator(settings.pitch_method) if self.voice.uses_pitch else None

    def check_speaker(self, settings: Settings) -> None:
        """Raise an error if the voice does not have the speaker of the settings.

        Raises
        ------
        UsageError
            If it does not; the message names the range of speakers.
        """
        if settings.speaker >= self.speakers:
            raise UsageError(
                f"{self.name} has no speaker {settings.speaker}; its speakers are 0 to "
                f"{self.speakers - 1}."
            )

    @mlx_errors("prepared")
    def open(self, plan: Plan, settings: Settings) -> RvcStream:
        """Return a stream at time 0, warmed up unless the voice has computed with these sizes.

        Raises
        ------
        RtvcError
            If the pitch estimator is not installed.
        """
        estimator = self.estimator(settings)
        sizes = plan, "" if estimator is None else estimator.name, settings.content
        warm = _warm.setdefault(self.voice, set())
        if sizes in warm and not traces_steps():
            return RvcStream(self, estimator, plan, settings)
        warm_up = RvcStream(self, estimator, plan, settings)
        noise = np.random.default_rng(0).standard_normal(plan.block * FRAME).astype(np.float32)
        if traces_steps():
            # The first step after a pause uses a longer f0 window, which must be traced too.
            warm_up.skip(np.tile(noise, 1 + warm_up.window.kept // plan.block))
            warm_up.render(noise, settings)
        warm_up.render(noise, settings)
        warm.add(sizes)
        return RvcStream(self, estimator, plan, settings)


class RvcStream:
    """One stream of an RVC voice; see `rtvc.engine.voice.Stream`.

    Attributes
    ----------
    window
        Sizes of a step.
    track
        f0 of the newest input.
    memory
        Keeps the memory of the GPU wired while input is skipped.
    """

    def __init__(
        self,
        owner: RvcVoice,
        estimator: PitchEstimator | None,
        plan: Plan,
        settings: Settings,
    ) -> None:
        self.memory = ResidentMemory()
        self._owner = owner
        self._voice = voice = owner.voice
        self.window: Window = make_window(
            plan,
            reach=voice.margin_frames,
            pitch_method="" if estimator is None else estimator.name,
        )
        self.track = PitchTrack(self.window.kept, settings)
        self._block = plan.block
        self._estimator = estimator
        self._content = owner.content
        self._running = (
            owner.content.running(self.window.frames, plan.block)
            if settings.content == "running"
            else None
        )
        self._decoder = _decoder(owner, self.window, plan)
        self._audio: Float32 = np.zeros(self.window.kept * FRAME, np.float32)

    @property
    def mean_pitch(self) -> MeanPitch:
        """Mean pitch of the input, which a chain that takes over continues with."""
        return self.track.mean_pitch

    @property
    def input_statistics(self) -> InputStatistics | None:
        """Statistics of the input, which a chain that takes over continues with, if there are."""
        return None if self._running is None else self._running.statistics

    @mlx_errors("rendered")
    def render(self, block: Float32, settings: Settings) -> Rendered:
        """Render the next block, and the crossfade and search that the next block renders again."""
        self._append(block)
        if self._running is not None:
            self._running.push(block)
        self.track.advance(len(block) // FRAME, settings)
        window, end = self.window, self.track.end
        start = end - window.frames
        lead = start % 2
        # Keep the device busy: it computes the features while the f0 graph is built, and while
        # the target f0 is computed here.
        begun = self._content.begin(
            self._audio[-(window.frames + lead) * FRAME :],
            start - lead,
            self._running,
            0 if self._estimator is None else self._estimator.reserved_frames,
        )
        find_f0 = None if self._estimator is None else self._start_pitch(self._estimator, settings)
        rows = self._content.rows(begun)
        mx.async_eval(rows)  # type: ignore[no-untyped-call]
        if find_f0 is not None:
            find_f0()
        self.track.compute_target_f0()
        pitch = self.track.frames(start, end)
        first = max(window.skip - self._decoder.before, 0)
        # Earliest frame that the flow of the first decoded frame depends on.
        reached = max(first - MARGIN_FRAMES, 0)
        features = self._content.frames(
            rows,
            lead,
            None if self._estimator is None else pitch.input_f0,
            settings,
            count=window.frames,
            first=reached,
        )
        z = make_latent(self._voice, features, pitch, settings, start=start, first=reached)
        mx.async_eval(z)  # type: ignore[no-untyped-call]
        sound = self._decoder.decode(
            z[:, first - reached :],
            pitch.part(first, window.frames),
            settings,
            start=start + first,
        )
        self.memory.note_work()
        emitted = window.skip + self._block
        self.track.finalize(start + emitted)
        return Rendered(
            sound, float(pitch.input_f0[emitted - 1]), float(pitch.output_f0[emitted - 1])
        )

    def skip(self, samples: Float32) -> None:
        """Consume input without rendering it; no network runs."""
        self._decoder.reset()
        self._append(samples)
        if self._running is not None:
            self._running.push(samples, skipped=True)
        self.track.advance(len(samples) // FRAME)
        self.memory.rest()

    def renewed(self, plan: Plan, settings: Settings) -> RvcStream:
        """See `rtvc.engine.voice.Stream`."""
        return RvcStream(self._owner, self._estimator, plan, settings)

    def _append(self, samples: Float32) -> None:
        if len(samples) % FRAME:
            raise ValueError(f"{len(samples)} samples is not a whole number of 10 ms frames")
        self._audio = np.concatenate([self._audio, samples])[-len(self._audio) :]

    def _start_pitch(self, estimator: PitchEstimator, settings: Settings) -> Callable[[], None]:
        """Start estimating the f0 of the newest frames, and of skipped frames if needed.

        Returns
        -------
        callable
            Waits for the result and writes it to the track.
        """
        frames = self.window.pitch
        if self._missed_speech():
            frames = self.window.long_pitch
        estimate = estimator.begin(
            self._audio[-frames * FRAME :],
            position=(self.track.end - frames) * FRAME,
            threshold=settings.pitch_threshold or None,
            f0_min=settings.pitch_floor,
            f0_max=settings.pitch_ceiling,
        )

        def write() -> None:
            hz = estimate()
            self.track.write(
                self.track.end - frames + PITCH_HEAD,
                hz[PITCH_HEAD : len(hz) - PITCH_TAIL],
                interpolate=settings.pitch_interpolation,
            )

        return write

    def _missed_speech(self) -> bool:
        """Return whether skipped frames before the usual f0 window contain speech."""
        reached = self.window.pitch - PITCH_HEAD
        missed = self.track.end - self.track.estimated_end - reached
        if missed <= 0:
            return False
        recent = self._audio[-reached * FRAME :]
        older = self._audio[-(missed + reached) * FRAME : -reached * FRAME]
        return bool(np.mean(older**2) > _QUIET**2 * np.mean(recent**2))


def _decoder(owner: RvcVoice, window: Window, plan: Plan) -> Decoder:
    """Return the decoder for a voice's vocoder."""
    voice, vocoder = owner.voice, owner.voice.network.vocoder
    if owner.continuous and isinstance(vocoder, StreamingVocoder):
        return StreamingDecoder(voice, vocoder, plan.block)
    return WindowDecoder(voice, window.margin, window.rendered, window.after)
