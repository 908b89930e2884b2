"""Settings turned into whole frames and samples: the only place with such arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rtvc.settings import Settings

FRAMES_PER_SECOND = 100
"""A frame is 10 ms: the grid of content features, pitch and everything that is counted."""


def _frames(milliseconds: float) -> int:
    return round(milliseconds * FRAMES_PER_SECOND / 1000)


@dataclass(frozen=True, slots=True)
class Plan:
    """Fixed sizes of one chain, in 10 ms frames.

    Attributes
    ----------
    block
        New sound per step.
    context
        Older sound that the voice hears again.
    lookahead
        Sound after a moment that is heard before the moment is rendered.
    crossfade, search
        Overlap of two renders and how far it may slide to align them; both 0
        for a voice whose blocks continue one another.
    headroom
        Sound that waits at the output when a block arrives, in frames: how long
        a step may take.
    """

    block: int
    context: int
    lookahead: int
    crossfade: int
    search: int
    headroom: int

    @property
    def rendered(self) -> int:
        """Frames that a voice gives back per step."""
        return self.block + self.crossfade + self.search

    @property
    def delay(self) -> int:
        """Frames between the newest input of a step and the newest output of that step."""
        return self.lookahead + self.crossfade + self.search

    @staticmethod
    def samples(frames: int, rate: int) -> int:
        """Return the samples in so many frames at `rate`, which has whole samples per frame."""
        hop, rest = divmod(rate, FRAMES_PER_SECOND)
        if rest:
            raise ValueError(f"{rate} Hz has no whole number of samples in 10 ms")
        return frames * hop


def make_plan(settings: Settings, *, voice_lookahead: int, continuous: bool) -> Plan:
    """Return the sizes for these settings.

    Parameters
    ----------
    settings
        Only those that are marked `shape` count.
    voice_lookahead
        Frames after a moment that the voice needs in any case.
    continuous
        Whether the voice's blocks continue one another (no crossfade, no search).
    """
    return Plan(
        block=_frames(settings.block),
        context=_frames(settings.context),
        lookahead=voice_lookahead + _frames(settings.lookahead),
        # No more than a block can be faded in before the next one comes.
        crossfade=0 if continuous else _frames(min(settings.crossfade, settings.block)),
        # One period of the lowest pitch, or two renders cannot always be aligned.
        search=0 if continuous else math.ceil(FRAMES_PER_SECOND / settings.pitch_floor),
        headroom=_frames(settings.headroom),
    )
