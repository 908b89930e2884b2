"""Conversion of settings in milliseconds to whole frames and samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rtvc.settings import Settings

FRAMES_PER_SECOND = 100
"""Frame rate: a frame is 10 ms, the grid of content features, f0 and all sizes."""

NOISE_FRAMES = {"off": 0, "light": 1, "strong": 3}
"""Delay of the noise suppression in frames, by ``Settings.noise``."""
SPEECH_GATE_FRAMES = 8
"""Delay of the speech gate in frames: time to find speech before its first sound is output."""


def _frames(milliseconds: float) -> int:
    return round(milliseconds * FRAMES_PER_SECOND / 1000)


@dataclass(frozen=True, slots=True)
class Plan:
    """Fixed sizes of one chain, in 10 ms frames.

    Attributes
    ----------
    block
        New input per step.
    context
        Past input given to the models with each block.
    lookahead
        Input after a frame that the models see before the frame is rendered.
    crossfade, search
        Overlap of consecutive renders, and the largest offset to align them. Both are 0 for
        a continuous voice.
    headroom
        Output queued when a block arrives: the time that a step may take.
    noise, speech_gate
        Delay of the noise suppression, and of the speech gate, before the voice.
    """

    block: int
    context: int
    lookahead: int
    crossfade: int
    search: int
    headroom: int
    noise: int = 0
    speech_gate: int = 0

    @property
    def rendered(self) -> int:
        """Frames that a voice renders per step."""
        return self.block + self.crossfade + self.search

    @property
    def delay(self) -> int:
        """Frames between the newest input of the voice in a step and its newest output."""
        return self.lookahead + self.crossfade + self.search

    @property
    def input_delay(self) -> int:
        """Frames between the newest input of a step and the newest input of the voice."""
        return self.noise + self.speech_gate

    @staticmethod
    def samples(frames: int, rate: int) -> int:
        """Return the number of samples in `frames` frames at `rate`.

        Raises
        ------
        ValueError
            If a frame is not a whole number of samples at `rate`.
        """
        hop, rest = divmod(rate, FRAMES_PER_SECOND)
        if rest:
            raise ValueError(f"10 ms is not a whole number of samples at {rate} Hz")
        return frames * hop


def make_plan(settings: Settings, *, voice_lookahead: int, continuous: bool) -> Plan:
    """Return the plan for these settings.

    Parameters
    ----------
    settings
        Only settings marked `shape` are used.
    voice_lookahead
        Lookahead that the voice always needs, in frames.
    continuous
        Whether the blocks of the voice join without crossfade and search.
    """
    return Plan(
        block=_frames(settings.block),
        context=_frames(settings.context),
        lookahead=voice_lookahead + _frames(settings.lookahead),
        # The fade-in must end before the next block begins.
        crossfade=0 if continuous else _frames(min(settings.crossfade, settings.block)),
        # With less than one period of the lowest f0, two renders cannot always be aligned.
        search=0 if continuous else math.ceil(FRAMES_PER_SECOND / settings.pitch_floor),
        headroom=_frames(settings.headroom),
        noise=NOISE_FRAMES[settings.noise],
        speech_gate=SPEECH_GATE_FRAMES if settings.speech_gate else 0,
    )
