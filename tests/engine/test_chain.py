"""The edge of the chain: which blocks it takes."""

import time

import numpy as np
import pytest

from rtvc.engine.chain import Chain
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import voice
from tests.engine.speech_measures import speech
from tests.support.voices import PlainVoice, SilentVoice

SETTINGS = Settings(block=100.0, gate=-90.0)
BLOCK = 4800
SOUND = (0.1 * np.sin(np.arange(2 * BLOCK) / 20)).astype(np.float32)


@pytest.mark.parametrize("method", ["step", "skip"])
@pytest.mark.parametrize(
    ("block", "what"),
    [
        (np.zeros(BLOCK, np.int16), r"int16 of shape \(4800,\)"),
        (np.zeros(BLOCK, np.float64), r"float64 of shape \(4800,\)"),
        (np.zeros((BLOCK, 2), np.float32), r"float32 of shape \(4800, 2\)"),
        (np.zeros((1, BLOCK), np.float32), r"float32 of shape \(1, 4800\)"),
        (np.zeros(BLOCK - 1, np.float32), r"float32 of shape \(4799,\)"),
        (np.zeros(2 * BLOCK + 1, np.float32), r"float32 of shape \(9601,\)"),
        (np.zeros(0, np.float32), r"float32 of shape \(0,\)"),
        ([0.0] * BLOCK, r"float64 of shape \(4800,\)"),
    ],
)
def test_another_block_is_refused_in_a_sentence_and_changes_nothing(method, block, what):
    chain, other = Chain(PlainVoice(), SETTINGS), Chain(PlainVoice(), SETTINGS)
    sentence = rf"^A block must be a float32 array of shape \(4800,\), not {what}\.$"
    with pytest.raises(ValueError, match=sentence):
        getattr(chain, method)(block, SETTINGS)
    for piece in SOUND.reshape(2, BLOCK):
        expected = other.step(piece, SETTINGS).output
        np.testing.assert_array_equal(chain.step(piece, SETTINGS).output, expected)


def test_a_step_takes_one_block_only():
    with pytest.raises(ValueError, match=r"not float32 of shape \(9600,\)"):
        Chain(PlainVoice(), SETTINGS).step(np.zeros(2 * BLOCK, np.float32), SETTINGS)


@pytest.mark.parametrize("kind", ["world", "rvc"])
def test_blocks_are_skipped_at_once_as_one_by_one(kind):
    made = WorldVoice() if kind == "world" else voice()
    settings = Settings(voice="any", pitch=3.0, formant=1.0)
    chains = [Chain(made, settings) for _ in range(2)]
    sound = speech("2086-149214-0000")[: 24 * BLOCK].reshape(24, BLOCK)
    for chain in chains:
        for block in sound[:2]:
            chain.step(block, settings)
    for block in sound[2:20]:
        chains[0].skip(block, settings)
    chains[1].skip(sound[2:20].ravel(), settings)
    for block in sound[20:]:
        one, other = (chain.step(block, settings).output for chain in chains)
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_check_costs_nothing_next_to_a_step():
    chain = Chain(PlainVoice(), SETTINGS)
    block = SOUND[:BLOCK]
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(1000):
            chain._require_block(block)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) / 1000 < 10e-6  # a step takes a millisecond and more


def test_a_step_tells_the_level_after_the_gain_and_what_the_limiter_takes():
    chain = Chain(PlainVoice(), SETTINGS)
    loud = SETTINGS.replace(input_gain=12.0, output_gain=12.0, ceiling=-6.0)
    steady = (0.1 * np.sin(2 * np.pi * np.arange(BLOCK) / 48)).astype(np.float32)
    for _ in range(4):  # gains are ramped, and the output lags the input
        step = chain.step(steady, loud)
    assert step.conditioned_level.peak_db == pytest.approx(step.input_level.peak_db + 12, abs=0.5)
    # The tone has -20 dBFS, and leaves with 24 dB more: 10 dB above the ceiling.
    assert step.limited_db == pytest.approx(-10, abs=1)
    quiet = Chain(PlainVoice(), SETTINGS).step(SOUND[:BLOCK], SETTINGS)
    assert quiet.limited_db == 0


@pytest.mark.parametrize("built", ["converted", "dry", "muted"])
@pytest.mark.parametrize("mode", ["converted", "dry", "muted"])
def test_a_chain_that_has_waited_begins_with_the_mode_of_today(built, mode):
    """The input is output in the mode dry only, and nothing at all in the mode muted."""
    chain = Chain(SilentVoice(), SETTINGS.replace(mode=built))
    now = SETTINGS.replace(mode=mode)
    noise = np.random.default_rng(0).standard_normal(12 * BLOCK).astype(np.float32)
    chain.skip(noise[: 11 * BLOCK], now)
    output = chain.step(noise[11 * BLOCK :], now).output
    assert output.any() == (mode == "dry")


def test_a_chain_that_has_waited_begins_with_the_gains_of_today():
    tone = (0.1 * np.sin(2 * np.pi * np.arange(12 * BLOCK) / 48)).astype(np.float32)
    gains = SETTINGS.replace(input_gain=9.0, output_gain=3.0)
    outputs = []
    for built in (SETTINGS, gains):
        chain = Chain(PlainVoice(), built)
        chain.skip(tone[: 11 * BLOCK], gains)
        outputs.append(chain.step(tone[11 * BLOCK :], gains).output)
    np.testing.assert_array_equal(outputs[0], outputs[1])


@pytest.mark.parametrize("mode", ["dry", "muted"])
def test_the_loudness_is_followed_from_where_it_was_before_another_mode(mode):
    """There is no burst while the smoothed power of the output rises from nothing."""
    settings = SETTINGS.replace(loudness=1.0)
    chain = Chain(PlainVoice(), settings)
    tone = (0.05 * np.sin(2 * np.pi * np.arange(BLOCK) / 48)).astype(np.float32)
    for _ in range(5):
        before = chain.step(tone, settings).output
    for _ in range(5):
        chain.step(tone, settings.replace(mode=mode))
    after = np.concatenate([chain.step(tone, settings).output for _ in range(5)])
    assert np.abs(after).max() < 1.05 * np.abs(before).max()


def test_a_chain_that_takes_over_continues_with_the_reduction_of_feedback():
    """A loop that was quiet would howl again at each change of the voice."""
    before, after, fresh = (Chain(PlainVoice(), SETTINGS) for _ in range(3))
    before._feedback._gain_db = -20.0
    after.continue_with(before.learned)
    steps = [chain.step(SOUND[:BLOCK], SETTINGS) for chain in (after, fresh)]
    assert [step.feedback for step in steps] == [True, False]
    np.testing.assert_allclose(steps[0].output, 0.1 * steps[1].output, atol=1e-6)


def test_a_chain_that_takes_over_continues_with_the_mean_pitch():
    """Around it the pitch varies, and it decides the limit of a shift downwards."""
    settings = SETTINGS.replace(pitch_range=0.0)
    before, after = (Chain(WorldVoice(), settings) for _ in range(2))
    phase = np.cumsum(np.where(np.arange(30 * BLOCK) < 25 * BLOCK, 220.0, 140.0)) / 48_000
    sound = sum(0.05 / k * np.sin(2 * np.pi * k * phase) for k in range(1, 9))
    blocks = np.asarray(sound, np.float32).reshape(-1, BLOCK)
    for block in blocks[:28]:
        before.step(block, settings)
    after.skip(blocks[18:28].reshape(-1), settings)
    after.continue_with(before.learned)
    for block in blocks[28:]:
        expected = before.step(block, settings).output_f0_hz
        assert expected > 190.0
        assert after.step(block, settings).output_f0_hz == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("first", [WorldVoice, voice])
@pytest.mark.parametrize("second", [WorldVoice, voice])
def test_any_voice_continues_with_the_mean_pitch_of_any_other_one(first, second):
    before, after = (Chain(make(), SETTINGS).learned.mean_pitch for make in (first, second))
    assert before is not None
    assert after is not None
    before.update(np.full(300, 220.0))
    after.follow(before)
    assert after.update(np.array([110.0]))[0] == pytest.approx(np.log2(220.0), abs=0.007)


def test_the_reverb_of_a_chain_that_takes_over_does_not_click():
    """The sound begins at once there, and so would each of its echoes."""
    settings = SETTINGS.replace(reverb=1.0)
    tone = (0.3 * np.sin(2 * np.pi * np.arange(12 * BLOCK) / 218)).astype(np.float32)
    chain = Chain(PlainVoice(), settings)
    chain.skip(tone[: 10 * BLOCK], settings)
    blocks = tone[10 * BLOCK :].reshape(-1, BLOCK)
    output = np.concatenate([chain.step(block, settings).output for block in blocks])
    assert np.abs(output).max() > 0.1
    assert np.abs(np.diff(output, 2)).max() < 1.5 * np.abs(np.diff(tone, 2)).max()


def test_the_reverberation_decays_while_blocks_are_skipped():
    """After a stall it would come out as loud as it was before."""
    settings = SETTINGS.replace(reverb=1.0, reverb_size=1.0)
    sound = (0.1 * np.random.default_rng(0).standard_normal(10 * BLOCK)).astype(np.float32)
    silence = np.zeros(BLOCK, np.float32)
    levels = []
    for skips in (True, False):
        chain = Chain(PlainVoice(), settings)
        for block in sound.reshape(-1, BLOCK):
            chain.step(block, settings)
        for _ in range(10):
            if skips:
                chain.skip(silence, settings)
            else:
                chain.step(silence, settings)
        output = np.concatenate([chain.step(silence, settings).output for _ in range(3)])
        levels.append(20 * np.log10(np.std(output[480:])))
    assert levels[0] == pytest.approx(levels[1], abs=1.5)


@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000])
@pytest.mark.parametrize("gap", ["dry", "muted", "skipped"])
def test_a_voice_that_begins_again_in_a_sound_does_not_click(rate, gap):
    """The resampler holds its first samples back, and a gain has begun to rise by then."""
    tone = (0.3 * np.sin(2 * np.pi * np.arange(12 * BLOCK) / 218)).astype(np.float32)
    chain = Chain(PlainVoice(input_rate=rate, output_rate=rate), SETTINGS)
    outputs = []
    for number, block in enumerate(tone.reshape(-1, BLOCK)):
        pauses = 4 <= number < 8
        if pauses and gap == "skipped":
            chain.skip(block, SETTINGS)
        else:
            settings = SETTINGS.replace(mode=gap) if pauses else SETTINGS
            outputs.append(chain.step(block, settings).output)
    again = np.concatenate(outputs[-4:])
    assert np.abs(again).max() > 0.29
    assert np.abs(np.diff(again, 2)).max() < 1.5 * np.abs(np.diff(tone, 2)).max()
