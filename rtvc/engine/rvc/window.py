"""Sizes of one step of an RVC voice, in frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rtvc.engine.plan import Plan

FRAME = 160
"""Samples per frame at 16 kHz."""

PITCH_HEAD, PITCH_TAIL = 3, 1
"""Frames at the edges of an f0 window whose estimates are discarded."""

_REESTIMATED = 3
"""Newest frames of the previous step that are estimated again with more input after them. The
reference uses the same number; with it a block of 250 ms is one row of RMVPE's bottleneck."""

_MIN_PITCH_FRAMES = 31
_MIN_FCPE_FRAMES = 63
"""Smallest f0 window in frames. FCPE depends on 92 frames on either side. On speech, for the
frames 6 to 14 before the newest, its voicing error is 6 % with a window of 31 frames, 2 % with
63, and no smaller with 127."""

_SWIFT_MARGIN = 20
"""Frames before a frame on which its f0 by SwiftF0 depends: 2816 samples, and those to the next
earlier frame of the network. The newest frames of a block become final with the lookahead of the
voice only. Of speech in blocks of 100 ms, with a lookahead of 50 ms, 99.8 % of the voiced frames
are within 50 cents of the result for the whole signal; voicing differs in 0.4 % of all frames."""

_DECODER_MARGIN = 6
"""Smallest number of frames decoded before the first one that is output. With 6 frames the error
of that frame is 40 dB below the signal and falls by at least 10 dB per frame; under the fade-in it
stays below -60 dB. An exact result needs up to 13 frames."""


def _rmvpe_frames(frames: int) -> int:
    """Round up to 32 k - 1 frames, for which RMVPE's U-Net needs no padding."""
    return math.ceil((frames + 1) / 32) * 32 - 1


@dataclass(frozen=True, slots=True)
class Window:
    """The frames of one step, counted from the oldest one used.

    Attributes
    ----------
    frames
        Frames of the text encoder: context, rendered frames and lookahead.
    skip
        First rendered frame.
    rendered
        Frames returned.
    margin, after
        Frames decoded before and after the returned ones, by a vocoder without state.
    pitch, long_pitch
        Frames of the f0 window in most steps, and after skipped frames that contain speech.
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
        """Frames of input and of f0 to keep.

        One more than used lets the content encoder start at an even frame.
        """
        return max(self.frames + 1, self.long_pitch)


def make_window(plan: Plan, *, reach: int | None, pitch_method: str) -> Window:
    """Return the sizes of a step.

    Parameters
    ----------
    plan
        Sizes of the chain.
    reach
        `SynthesizerNetwork.margin_frames`, or None. Decoding this many extra frames makes the
        result exact; it is limited to half a block.
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
    if pitch_method == "swift":
        pitch = plan.block + plan.delay + _SWIFT_MARGIN
        long_pitch = frames + _SWIFT_MARGIN
    elif pitch_method == "rmvpe":
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
