"""The speech gate: what it lets through, and what it keeps of speech."""

import numpy as np
import pytest
import soundfile

from rtvc.engine.chain import Chain
from rtvc.engine.dsp import silero_vad
from rtvc.engine.dsp.silero_vad import CHUNK, SileroVad
from rtvc.engine.dsp.speech import SpeechTracker
from rtvc.engine.plan import SPEECH_GATE_FRAMES
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import voice as rvc_voice
from tests.engine.speech_measures import NAMES, RATE, SPEECH, speech
from tests.support.library_files import GOLDEN
from tests.support.material import more
from tests.support.room_sounds import breath, fan, typing
from tests.support.voices import PlainVoice

ON = Settings(block=100.0, speech_gate=True)
STEP = RATE // 200


def through(sound, settings):
    """Return the output aligned with the input, and the chain."""
    chain = Chain(PlainVoice(), settings)
    padded = np.pad(sound, (0, chain.delay))
    padded = np.pad(padded, (0, -len(padded) % chain.block))
    steps = [chain.step(block, settings).output for block in padded.reshape(-1, chain.block)]
    return np.concatenate(steps)[chain.delay : chain.delay + len(sound)], chain


def levels_db(sound):
    frames = sound[: len(sound) // STEP * STEP].reshape(-1, STEP)
    return 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-20)


def onsets(sound):
    """Return the 5 ms frames in which speech begins after 70 ms of quiet and then stays."""
    levels = levels_db(sound)
    active = levels > np.percentile(levels, 95) - 28
    return [
        at
        for at in range(14, len(active) - 30)
        if active[at] and not active[at - 14 : at].any() and active[at : at + 30].mean() > 0.7
    ]


def test_the_network_is_that_of_the_package():
    with np.load(GOLDEN / "silero_vad.npz") as golden:
        for name in golden.files:
            audio, _ = soundfile.read(SPEECH / f"{name}.wav", dtype="float32")
            detector = SileroVad()
            chunks = audio[: len(golden[name]) * CHUNK].reshape(-1, CHUNK)
            found = [detector.probability(chunk) for chunk in chunks]
            # The package computes in float16.
            np.testing.assert_allclose(found, golden[name], atol=0.03)
            assert max(found) > 0.9
            assert min(found) < 0.1


@pytest.mark.parametrize("seconds", more([4.0, 20.0]))
def test_typing_fan_and_breath_stay_silent(seconds):
    sounding = 0.0
    for make in (typing, fan, breath):
        sound = make(seconds)
        output, _ = through(sound, ON)
        sounding += np.count_nonzero(output) / RATE
        assert np.count_nonzero(through(sound, ON.replace(speech_gate=False))[0]) / RATE > 0.5
    assert sounding <= 0.5 * seconds / 20  # of 60 s in all


@pytest.mark.parametrize("noise", more([None, fan, typing, breath]))
def test_no_onset_loses_more_than_10_ms(noise):
    begun = 0
    # Without noise one utterance always; with noise, thorough, all of them.
    for name in NAMES if noise else NAMES[1:2]:
        quiet = np.zeros(RATE // 2, np.float32)
        sound = np.concatenate([quiet, speech(name), quiet])
        found = onsets(sound)
        sound = sound + np.float32(1e-4) * np.random.default_rng(1).standard_normal(
            len(sound)
        ).astype(np.float32)
        if noise is not None:
            sound = sound + noise(len(sound) / RATE, level=0.01)[: len(sound)]
        settings = ON.replace(gate=-90.0)
        gated, _ = through(sound, settings)
        whole, _ = through(sound, settings.replace(speech_gate=False))
        lost = levels_db(gated) < levels_db(whole) - 3
        for at in found:
            begun += 1
            assert lost[at : at + 40].sum() * 5 <= 10, f"onset of {name} at {at * 5} ms"
    assert begun >= (10 if noise else 3)


def test_the_stated_delay_is_the_measured_one_to_the_sample():
    sound = np.concatenate([np.zeros(RATE // 4, np.float32), speech(NAMES[1], 1.5)])
    output, chain = through(sound, ON)
    part = slice(RATE // 2, RATE)
    size = 2 * len(sound)
    # The high-pass shifts low frequencies, which a difference leaves out.
    after, before = (np.fft.rfft(np.diff(one[part], 2), size) for one in (output, sound))
    product = after * np.conj(before)
    assert int(np.argmax(np.fft.irfft(product, size))) == 0
    assert chain.latency.speech_gate == SPEECH_GATE_FRAMES / 100
    assert chain.delay == Chain(PlainVoice(), Settings()).delay + SPEECH_GATE_FRAMES * 480


def test_the_blocks_change_nothing():
    sound = speech(NAMES[1], 1.0)
    sound = sound[: len(sound) // 4800 * 4800]
    whole = SpeechTracker().process(sound)
    tracker = SpeechTracker()
    assert [one for block in sound.reshape(-1, 480) for one in tracker.process(block)] == whole
    assert any(whole)
    assert not all(whole)


def test_an_rvc_voice_rests_while_there_is_no_speech():
    settings = ON.replace(voice="small", context=200.0)
    chain = Chain(rvc_voice(with_index=False), settings)
    steps = [chain.step(block, settings) for block in typing(1.2).reshape(-1, chain.block)]
    assert steps[-1].idle
    assert not steps[-1].gate_open


def test_off_reads_no_weights():
    silero_vad._layers.cache_clear()
    chain = Chain(PlainVoice(), Settings())
    chain.step(np.zeros(chain.block, np.float32), Settings())
    assert silero_vad._layers.cache_info().currsize == 0
