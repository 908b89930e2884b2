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
from tests.support.voices import PlainVoice

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

    def continued(self, chain: Chain) -> None:
        pass

    def forgot(self, chain: Chain) -> None:
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


@pytest.mark.parametrize("noise", more(["light", "strong"]))
def test_noise_suppression_continues_in_the_chain_that_takes_over(noise: str):
    """Without being computed again for the input that the new chain catches up on."""
    settings = Settings(voice="plain", noise=noise, context=200.0, block=100.0, gate=-90.0)
    hiss = 0.02 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    blocks = np.split(sound(2.0) + hiss, 20)
    whole, before, after = (Chain(PlainVoice(), settings) for _ in range(3))
    expected = [whole.step(block, settings).output for block in blocks]
    for block in blocks[:17]:
        before.step(block, settings)
    past = np.concatenate(blocks[5:17])
    cleaned = before.cleaned(len(past))
    assert cleaned is not None
    after.skip(past, settings, cleaned)
    # A block that the chain before converts meanwhile.
    before.step(blocks[17], settings)
    after.skip(blocks[17], settings, before.cleaned(len(blocks[17])))
    newest = before.cleaned(before.block)
    after.exchange_cleaners(before)
    end = before.end(blocks[17], settings, newest)
    taken = np.concatenate([after.step(block, settings).output for block in blocks[18:]])
    np.testing.assert_allclose(end[:FADE], expected[18][:FADE], atol=1e-6)
    # The output fades in at first.
    np.testing.assert_allclose(taken[FADE:], np.concatenate(expected[18:])[FADE:], atol=1e-6)
    # And the one before has a suppressor that was not used, or `strong` one that got silence.
    renewed = before.renewed(settings)
    outputs = np.concatenate([renewed.step(block, settings).output for block in blocks[:3]])
    error = outputs - np.concatenate(expected[:3])
    assert np.sum(error**2) <= (1e-3 if noise == "strong" else 0.0) * np.sum(outputs**2)


def test_without_noise_suppression_nothing_is_kept():
    settings = Settings(voice="plain", context=200.0, block=100.0)
    chain = Chain(PlainVoice(), settings)
    chain.step(sound(0.1), settings)
    assert chain.cleaned(chain.block) is None
