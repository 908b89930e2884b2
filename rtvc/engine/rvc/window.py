"""What an RVC voice hears and makes in one step, in frames and rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rtvc.engine.plan import Plan

FRAME = 160
"""Samples in a frame at 16 kHz."""

PITCH_HEAD, PITCH_TAIL = 3, 1
"""Estimates at the edges of a window of pitch that are thrown away."""

_REESTIMATED = 3
"""Newest frames of the step before that are estimated again, now that more is heard after them.
The reference takes as many; with them a block of 250 ms is one row of RMVPE's bottleneck."""

_MIN_PITCH_FRAMES = 31
_MIN_FCPE_FRAMES = 63
"""Frames that a pitch estimator gets at least. FCPE looks 92 frames far: on speech, 31 frames
give it a voicing error in 6 % of the frames that are 6 to 14 from the newest, 63 in 2 %, 127 no
fewer."""

_DECODER_MARGIN = 6
"""Frames that are decoded before the first one that is heard, at least. With so many the error
of that frame is 40 dB below the sound and falls by 10 dB and more a frame; under the fade-in it
stays below -60 dB. Exact would be up to 13 frames."""


def _rmvpe_frames(frames: int) -> int:
    """Round up to 32 k - 1 frames: with both edges counted its U-Net then needs no padding."""
    return math.ceil((frames + 1) / 32) * 32 - 1


@dataclass(frozen=True, slots=True)
class Window:
    """The frames of one step, counted from the oldest that the voice hears.

    Attributes
    ----------
    frames
        Frames that the text encoder hears: context, what is rendered, lookahead.
    skip
        First frame that is rendered.
    rendered
        Frames that are given back.
    margin, after
        Frames that are decoded before and after those, for a vocoder that does not
        remember what it has decoded.
    pitch, long_pitch
        Frames that the pitch estimator hears in most steps, and after a pause that was
        none in the sound.
    """

    frames: int
    skip: int
    rendered: int
    margin: int
    after: int
    pitch: int
    long_pitch: int

    @property
    def kept(self) -> int:
        """Frames of sound and of pitch that must be kept.

        One more than is heard lets the content encoder begin at an even frame.
        """
        return max(self.frames + 1, self.long_pitch)


def make_window(plan: Plan, *, reach: int | None, pitch_method: str) -> Window:
    """Return the sizes of a step.

    Parameters
    ----------
    plan
        Sizes of the chain.
    reach
        ``RvcVoice.margin_frames``: so many frames are decoded before what is heard, which
        makes it exact, unless that is more than half a block.
    pitch_method
        Name of the pitch estimator.
    """
    wanted = min(max(_DECODER_MARGIN, plan.block // 2), plan.context)
    margin = wanted if reach is None else min(reach, wanted)
    after = plan.lookahead if reach is None else min(reach, plan.lookahead)
    frames = plan.context + plan.rendered + plan.lookahead
    minimum = _MIN_FCPE_FRAMES if pitch_method == "fcpe" else _MIN_PITCH_FRAMES
    pitch = max(plan.block + _REESTIMATED + PITCH_HEAD, minimum)
    long_pitch = max(frames + PITCH_HEAD, pitch)
    if pitch_method == "rmvpe":
        pitch, long_pitch = _rmvpe_frames(pitch), _rmvpe_frames(long_pitch)
    return Window(
        frames=frames,
        skip=plan.context,
        rendered=plan.rendered,
        margin=margin,
        after=after,
        pitch=pitch,
        long_pitch=long_pitch,
    )
