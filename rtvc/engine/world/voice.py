"""The built-in voice: your own voice, modified by the settings; needs no download."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float32
from rtvc.engine.dsp.melody import MeanPitch
from rtvc.engine.plan import Plan
from rtvc.engine.voice import Rendered
from rtvc.engine.world.analysis import HOP, OFFSET, RATE, Analyzer, lookahead_samples
from rtvc.engine.world.effects import Effects
from rtvc.engine.world.synthesis import WorldSynthesizer
from rtvc.engine.world.unchanged import leaves_unchanged
from rtvc.settings import BUILT_IN, Settings

_FRAME = RATE // 100


class WorldVoice:
    """Analysis, effects and resynthesis with WORLD; see `rtvc.engine.voice.Voice`."""

    name = kind = BUILT_IN
    input_rate = RATE
    output_rate = RATE
    continuous = True
    features = frozenset({"built-in", "f0"})
    speakers = 1

    def __repr__(self) -> str:
        return f"<WorldVoice {self.name!r}, {self.output_rate} Hz>"

    def lookahead_frames(self, settings: Settings) -> int:
        """Return the lookahead in frames of 10 ms: 2 at a pitch floor of 70 Hz.

        The windows of the f0 analysis reach 1.31 periods of the pitch floor after a frame
        (18.7 ms at 70 Hz). Filters add 1.2 ms. The remainder of the last frame delays the f0
        decision, which makes it more reliable.
        """
        return math.ceil((lookahead_samples(settings.pitch_floor) + OFFSET) / _FRAME)

    def leaves_unchanged(self, settings: Settings) -> bool:
        """Return whether the output with these settings is still recognisably your own voice."""
        return leaves_unchanged(settings)

    def open(self, plan: Plan, settings: Settings) -> WorldStream:
        """Return a stream at time 0.

        Raises
        ------
        ValueError
            If the plan has less lookahead than the settings require.
        """
        # One step with a vowel-like signal fills the caches of FFT plans and windows.
        time = np.arange(plan.block * _FRAME) / RATE
        sound = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 9))
        WorldStream(plan, settings).render(
            np.float32(0.05) * np.asarray(sound, np.float32), settings
        )
        return WorldStream(plan, settings)


class WorldStream:
    """One stream of the built-in voice; see `rtvc.engine.voice.Stream`."""

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self._lookahead = plan.lookahead
        self._longest = plan.block * _FRAME
        self._analyzer = Analyzer(
            settings.pitch_floor,
            settings.pitch_ceiling,
            plan.lookahead * _FRAME - OFFSET,
            self._longest,
        )
        self._effects = Effects(self._analyzer.bins, settings)
        self._synthesizer = WorldSynthesizer(self._analyzer.bins, settings.seed)
        self._end = 0

    @property
    def mean_pitch(self) -> MeanPitch:
        """Mean pitch of the input, which a chain that takes over continues with."""
        return self._effects.mean_pitch

    def render(self, block: Float32, settings: Settings) -> Rendered:
        """Convert a block of whole 10 ms frames; the output lags by the plan's lookahead."""
        if len(block) > self._longest:
            raise ValueError(f"a block of {len(block)} samples exceeds the plan's {self._longest}")
        self._append(block)
        last = (self._end - self._lookahead * _FRAME) // HOP
        first = last - len(block) // HOP
        opening = int(self._synthesizer.silent)
        frames = self._analyzer.frames(first + 1 - opening, last - first + opening)
        changed = self._effects.apply(frames, settings)
        audio = self._synthesizer.render(first, changed)
        return Rendered(audio, float(frames.hz[-1]), float(changed.hz[-1]), frames.repaired)

    def skip(self, samples: Float32) -> None:
        """Consume input without rendering it; the tail of the output is cleared."""
        self._append(samples)
        self._analyzer.reset(len(samples) // HOP)
        self._synthesizer.reset()

    def renewed(self, plan: Plan, settings: Settings) -> WorldStream:
        """See `rtvc.engine.voice.Stream`."""
        return WorldStream(plan, settings)

    def _append(self, samples: Float32) -> None:
        if len(samples) % _FRAME:
            raise ValueError(f"{len(samples)} samples is not a whole number of 10 ms frames")
        self._end += len(samples)
        self._analyzer.push(samples)
