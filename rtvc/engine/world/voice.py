"""The built-in voice: your own, taken apart and put together differently, with no download."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float32
from rtvc.engine.plan import Plan
from rtvc.engine.voice import Rendered
from rtvc.engine.world.analysis import HOP, OFFSET, RATE, Analyzer, lookahead_samples
from rtvc.engine.world.effects import Effects
from rtvc.engine.world.synthesis import WorldSynthesizer
from rtvc.settings import BUILT_IN, Settings

_FRAME = RATE // 100


class WorldVoice:
    """Analysis and resynthesis with WORLD; see `rtvc.engine.voice.Voice`."""

    name = kind = BUILT_IN
    input_rate = RATE
    output_rate = RATE
    continuous = True

    def __repr__(self) -> str:
        return f"<WorldVoice {self.name!r}, {self.output_rate} Hz>"

    def lookahead_frames(self, settings: Settings) -> int:
        """Return the frames of 10 ms that must be heard after a moment: 3 at 70 Hz, 2 from 85 Hz.

        Pitch and envelope are measured in a window of three periods of the
        lowest pitch, half of which lies ahead (21.4 ms at 70 Hz); filters add
        1.2 ms. The rest of the last frame goes to surer pitch decisions.
        """
        return math.ceil((lookahead_samples(settings.pitch_floor) + OFFSET) / _FRAME)

    def open(self, plan: Plan, settings: Settings) -> WorldStream:
        """Return a stream at time 0.

        Raises
        ------
        ValueError
            If the plan has less lookahead than the settings need.
        """
        # One step of a vowel-like signal fills the caches of FFT and window tables.
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

    def render(self, block: Float32, settings: Settings) -> Rendered:
        """Take a block of whole 10 ms frames and give back as much, the lookahead late."""
        if len(block) > self._longest:
            raise ValueError(f"a block of {len(block)} samples, but the plan has {self._longest}")
        self._append(block)
        last = (self._end - self._lookahead * _FRAME) // HOP
        first = last - len(block) // HOP
        opening = int(self._synthesizer.silent)
        frames = self._analyzer.frames(first + 1 - opening, last - first + opening)
        changed = self._effects.apply(frames, settings)
        audio = self._synthesizer.render(first, changed)
        return Rendered(audio, float(frames.hz[-1]), float(changed.hz[-1]))

    def skip(self, samples: Float32) -> None:
        """Take input without making sound of it; what still rang is dropped."""
        self._append(samples)
        self._analyzer.reset()
        self._synthesizer.reset()

    def _append(self, samples: Float32) -> None:
        if len(samples) % _FRAME:
            raise ValueError(f"{len(samples)} samples are no whole number of 10 ms frames")
        self._end += len(samples)
        self._analyzer.push(samples)
