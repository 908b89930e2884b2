"""Voices that return their input, to measure what the engine does around a voice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rtvc._types import Float32
from rtvc.engine.plan import Plan
from rtvc.engine.voice import Rendered, Voice
from rtvc.errors import UsageError
from rtvc.settings import Settings


class PlainStream:
    def __init__(self, voice: PlainVoice, plan: Plan, rate: int) -> None:
        self.voice, self.plan, self.rate = voice, plan, rate
        lag = plan.samples(plan.delay, rate)
        self.past = np.zeros(lag + plan.samples(plan.block, rate), np.float32)
        self.renders = self.skipped = 0

    def render(self, block: Float32, settings: Settings) -> Rendered:
        self.renders += 1
        if self.voice.on_render is not None:
            self.voice.on_render(self.renders)
        self._push(block)
        size = self.plan.samples(self.plan.rendered, self.rate)
        end = len(self.past) - self.plan.samples(self.plan.lookahead, self.rate)
        return Rendered(self.past[end - size : end].copy(), 100.0, 100.0)

    def skip(self, samples: Float32) -> None:
        self.skipped += len(samples)
        self._push(samples)

    def renewed(self, plan: Plan, settings: Settings) -> PlainStream:
        return self.voice.open(plan, settings)

    def _push(self, samples: Float32) -> None:
        self.past = np.concatenate([self.past, samples])[-len(self.past) :]


@dataclass
class PlainVoice:
    """A voice that returns its input, delayed by its lookahead."""

    name: str = "plain"
    kind: str = "world"
    continuous: bool = True
    input_rate: int = 48_000
    output_rate: int = 48_000
    lookahead: int = 3
    features: frozenset[str] = frozenset()
    speakers: int = 1
    on_render: Callable[[int], object] | None = None
    streams: list[PlainStream] = field(default_factory=list)

    def lookahead_frames(self, settings: Settings) -> int:
        return self.lookahead

    def leaves_unchanged(self, settings: Settings) -> bool:
        return False

    def open(self, plan: Plan, settings: Settings) -> PlainStream:
        self.streams.append(PlainStream(self, plan, self.input_rate))
        return self.streams[-1]


class SilentVoice(PlainVoice):
    """A voice whose output is silence: whatever is heard is not converted."""

    def open(self, plan: Plan, settings: Settings) -> PlainStream:
        stream = super().open(plan, settings)
        render = stream.render

        def silent(block: Float32, settings: Settings) -> Rendered:
            rendered = render(block, settings)
            return type(rendered)(np.zeros_like(rendered.audio))

        stream.render = silent  # type: ignore[method-assign]
        return stream


def finder(**voices: Voice) -> Callable[[str], Voice]:
    """Return a find_voice for these voices; 'world' is a plain voice unless given."""
    voices = {"world": PlainVoice(), **voices}

    def find(name: str) -> Voice:
        if name not in voices:
            raise UsageError(f"There is no voice {name!r}.")
        return voices[name]

    return find
