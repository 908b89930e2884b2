"""The interface between a chain and a voice, built-in or RVC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rtvc._types import Float32
from rtvc.engine.plan import Plan
from rtvc.errors import RtvcError
from rtvc.settings import Settings


class VoiceError(RtvcError):
    """What a voice computes with has failed."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One rendered block.

    Attributes
    ----------
    audio
        (samples,) float32 at the voice's `output_rate`: one block. If the voice is not
        `continuous`, the plan's crossfade and search follow, which the next block renders
        again.
    input_f0_hz, output_f0_hz
        f0 of input and output at the end of the block in Hz, 0 = unvoiced.
    repaired
        Whether the voice replaced values that were not finite.
    """

    audio: Float32
    input_f0_hz: float = 0.0
    output_f0_hz: float = 0.0
    repaired: bool = False


class Stream(Protocol):
    """The state of a voice on one stream, carried from block to block."""

    def render(self, block: Float32, settings: Settings) -> Rendered:
        """Convert the next block.

        The result lags the newest input by exactly the plan's lookahead, plus crossfade and
        search unless the voice is continuous.

        Parameters
        ----------
        block
            (block,) float32 at `input_rate`.
        settings
            Settings not marked `shape` may differ between calls; changes are ramped over 10
            to 20 ms.
        """

    def skip(self, samples: Float32) -> None:
        """Consume input without rendering it.

        Keeps context and time position, so the next `render` continues without a break.

        Parameters
        ----------
        samples
            (samples,) float32 at `input_rate`, a whole number of frames.
        """

    def renewed(self, plan: Plan, settings: Settings) -> Stream:
        """Return a stream at time 0 that outputs what a newly opened one would.

        It needs no warm-up, because what was computed with is used again: call it on the thread of
        this stream, with the plan of this stream. This one is not used after that.
        """


@runtime_checkable
class Voice(Protocol):
    """A voice that can be streamed.

    Attributes
    ----------
    name
        Value of ``Settings.voice``.
    kind
        ``"world"``, or for example ``"rvc-40k"`` by sample rate. Steps of voices of one kind
        take the same time.
    input_rate, output_rate
        Sample rates of input and output in Hz; a 10 ms frame is a whole number of samples.
    continuous
        True if consecutive blocks join without processing; False if they are independent
        renders that must be aligned and crossfaded.
    features
        What it has, for `rtvc.setting.Setting.applies_to`.
    speakers
        Number of speakers, at least 1. A ``Settings.speaker`` above the last one is the last one.
    """

    name: str
    kind: str
    input_rate: int
    output_rate: int
    continuous: bool

    @property
    def features(self) -> frozenset[str]:
        """What the voice has; decides which settings apply."""

    @property
    def speakers(self) -> int:
        """Number of speakers, at least 1."""

    def lookahead_frames(self, settings: Settings) -> int:
        """Return the lookahead that the voice needs, in frames of 10 ms."""

    def leaves_unchanged(self, settings: Settings) -> bool:
        """Return whether the output with these settings is still recognisably your own voice."""

    def open(self, plan: Plan, settings: Settings) -> Stream:
        """Return a stream at time 0, warmed up so that its first step is not slower."""
