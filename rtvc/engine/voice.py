"""What the chain needs of any voice, built-in or RVC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rtvc._types import Float32
from rtvc.engine.plan import Plan
from rtvc.settings import Settings


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a voice made of one block.

    Attributes
    ----------
    audio
        (samples,) float32 at the voice's `output_rate`: one block, preceded by
        nothing and, if the voice is not `continuous`, followed by the plan's
        crossfade and search, which the next block makes again.
    input_f0_hz, output_f0_hz
        Pitch of the input and of the output at the end of the block in Hz, 0 = unvoiced.
    """

    audio: Float32
    input_f0_hz: float = 0.0
    output_f0_hz: float = 0.0


class Stream(Protocol):
    """One voice at work on one stream: everything that it carries from block to block."""

    def render(self, block: Float32, settings: Settings) -> Rendered:
        """Take the next block at `input_rate` and give back one block.

        The result lags the newest input by exactly the plan's lookahead (and,
        unless continuous, crossfade and search). Settings that are not `shape`
        may differ from call to call and are ramped over 10 to 20 ms.
        """

    def skip(self, samples: Float32) -> None:
        """Take input of any whole number of frames without making sound of it.

        Keeps context and time, so that the next `render` sounds as if the
        stream had never paused.
        """


class Voice(Protocol):
    """A voice that can be streamed.

    Attributes
    ----------
    name
        As in ``Settings.voice``.
    kind
        Voices of one kind take equally long: ``"world"``, or ``"rvc-40k"`` by sample rate.
    input_rate, output_rate
        Samples per second that its streams take and give; whole samples per 10 ms frame.
    continuous
        True if the blocks of a stream continue one another by themselves; False
        if they are independent renders that must be aligned and crossfaded.
    """

    name: str
    kind: str
    input_rate: int
    output_rate: int
    continuous: bool

    def lookahead_frames(self, settings: Settings) -> int:
        """Return how many 10 ms frames after a moment the voice must hear to speak that moment."""

    def open(self, plan: Plan, settings: Settings) -> Stream:
        """Return a stream at absolute time 0, warmed up: no step costs more than another."""
