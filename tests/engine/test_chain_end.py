"""The end of a chain that another one replaces, which it renders before the next block is there."""

from __future__ import annotations

import numpy as np
import pytest

from rtvc._types import Float32
from rtvc.engine.chain import Chain, Step
from rtvc.engine.handover import CROSSFADE_S
from rtvc.engine.voice import Voice
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings
from tests.engine.rvc import rvc_stack
from tests.engine.test_renewal import RATE, sound
from tests.support.material import more

pytestmark = pytest.mark.slow

FADE = round(CROSSFADE_S * RATE)
BLOCKS = 4


class Listener:
    def __init__(self) -> None:
        self.blocks: list[Float32] = []

    def stepped(self, chain: Chain, block: Float32, settings: Settings, step: Step) -> None:
        self.blocks.append(block)

    def skipped(self, chain: Chain, block: Float32, settings: Settings) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "snr_db"), more([("world", 40.0), ("window decoder", 20.0), ("anna", 5.0)])
)
def test_the_end_is_nearly_what_the_next_step_outputs(name: str, snr_db: float):
    """Content features depend on the whole window, so an RVC voice renders it in another way."""
    voice: Voice = WorldVoice() if name == "world" else rvc_stack.voice(continuous=name == "anna")
    settings = Settings(voice=name, context=200.0, block=200.0, pitch=4.0, pitch_method="dio")
    speech = np.split(sound(0.2 * (BLOCKS + 1)), BLOCKS + 1)
    outputs = []
    listener = Listener()
    for ends in (True, False):
        chain = Chain(voice, settings, listener)
        before = [chain.step(block, settings).output for block in speech[:BLOCKS]][-1]
        if ends:
            outputs.append(chain.end(speech[BLOCKS - 1], settings))
        else:
            outputs.append(chain.step(speech[BLOCKS], settings).output)
    assert len(listener.blocks) == 2 * BLOCKS + 1  # the end is no block of the input
    end, following = (output[:FADE] for output in outputs)
    assert np.sum((end - following) ** 2) < 10 ** (-snr_db / 10) * np.sum(following**2)
    largest = np.abs(np.diff(before, 2)).max()
    assert np.abs(np.diff(np.concatenate([before[-2:], end[:2]]), 2)).max() <= largest
