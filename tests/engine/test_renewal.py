"""A chain that was used and is set back to time 0 outputs what a newly built one does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import soxr

from rtvc._types import Float32
from rtvc.engine.catch_up import skip_blocks
from rtvc.engine.chain import Chain
from rtvc.engine.output_guard import OutputGuard
from rtvc.engine.voice import Voice
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings
from tests.engine.rvc import rvc_stack
from tests.support.material import more
from tests.support.voices import PlainVoice

pytestmark = pytest.mark.slow

RATE = 48_000
BASE = Settings(block=100.0, context=200.0, auto_pitch_target=220.0)
BUSY = BASE.replace(
    auto_pitch="on",
    tune=1.0,
    key="A",
    scale="minor",
    pitch_range=1.3,
    formant=2.0,
    breathiness=0.4,
    input_gain=3.0,
    gate=-40.0,
    low_cut=80.0,
    eq_mid=4.0,
    deess=0.5,
    comp_ratio=4.0,
    level=-20.0,
    reverb=0.3,
    loudness=0.7,
    output_gain=4.0,
    index_rate=0.9,
    protect=0.2,
)
"""With all that a chain does to the sound, so that all of it has a state."""


@dataclass
class Case:
    """What a chain is built for.

    Attributes
    ----------
    make
        Returns its voice.
    shape
        Settings by which its state differs.
    """

    make: Callable[[], Voice]
    shape: dict[str, str | float | bool]


def windows() -> Voice:
    voice: Voice = rvc_stack.voice(continuous=False)
    return voice


CASES = {
    "built-in": Case(WorldVoice, {"voice": "world", "speech_gate": True}),
    "running content": Case(
        rvc_stack.voice, {"voice": "anna", "content": "running", "pitch_method": "swift"}
    ),
    "window decoder": Case(windows, {"voice": "anna", "pitch_method": "dio"}),
    "rmvpe": Case(rvc_stack.voice, {"voice": "anna"}),
    "harvest": Case(rvc_stack.voice, {"voice": "anna", "pitch_method": "harvest"}),
    "light noise suppression": Case(PlainVoice, {"noise": "light", "speech_gate": True}),
}


def sound(seconds: float) -> Float32:
    """Return speech that begins at once."""
    speech = soxr.resample(rvc_stack.speech()[4000:], 16_000, RATE)
    return np.resize(speech, round(seconds * RATE)).astype(np.float32)


def use(chain: Chain, settings: Settings, seconds: float = 1.0) -> list[Float32]:
    """Feed a chain as at a change, and with some blocks after that; return their outputs."""
    speech, size = sound(seconds + 0.6), chain.block
    blocks = [speech[at : at + size] for at in range(0, len(speech) - size + 1, size)]
    skip_blocks(chain, blocks[:-2], settings)
    return [chain.step(block, settings).output for block in blocks[-2:]]


@pytest.mark.parametrize("name", more(CASES, 2))
def test_a_renewed_chain_outputs_what_a_new_one_does(name: str):
    case = CASES[name]
    voice, settings = case.make(), BUSY.replace(**case.shape)
    other = BASE.replace(**case.shape, pitch=5.0, output_gain=-3.0, formant=-1.0, mode="dry")
    used = Chain(voice, settings, guard=OutputGuard())
    loud = [4.0 * sound(0.1)[: used.block], *np.split(sound(0.5), 5)]
    for block in loud[:3]:
        used.step(block, settings)
    used.step(np.full(used.block, np.nan, np.float32), other)
    renewed = used.renewed(other.replace(voice="someone else", block=500.0))
    assert renewed.built_for == other
    for now, new in zip(use(renewed, settings), use(Chain(voice, other), settings), strict=True):
        assert np.abs(new).max() > 0.01
        np.testing.assert_array_equal(now, new)


def test_nothing_is_opened_or_loaded_for_a_renewed_chain():
    voice = rvc_stack.voice()
    used = Chain(voice, BASE.replace(voice="anna"))
    voice.open = voice.estimator = None
    assert used.renewed(used.built_for).weights == used.weights > 0


@pytest.mark.thorough
def test_strong_noise_suppression_that_was_used_is_not_heard():
    """Its network keeps what it has learned, and gets the input of the last seconds."""
    settings = BASE.replace(noise="strong", gate=-90.0)
    used = Chain(PlainVoice(), settings)
    used.skip(sound(1.0), settings)
    chains = used.renewed(settings), Chain(PlainVoice(), settings)
    now, new = (np.concatenate(use(chain, settings)) for chain in chains)
    assert np.sum((now - new) ** 2) < 1e-4 * np.sum(new**2)


def test_wrong_output_outdates_a_chain_that_waits():
    guard = OutputGuard()
    renewed = Chain(PlainVoice(), BASE, guard=guard).renewed(BASE)
    assert not renewed.outdated
    guard.alarms += 1
    assert renewed.outdated
    assert renewed.renewed(BASE).outdated
