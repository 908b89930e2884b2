"""Wrong output of a voice is heard for three blocks at most, and speech is never taken for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from rtvc._types import Float32
from rtvc.audio.simulated import SimulatedDevice
from rtvc.config.presets import list_presets, load_preset
from rtvc.engine.chain import Chain
from rtvc.engine.output_guard import (
    GOOD_BLOCKS,
    OutputGuard,
    OutputWatch,
    WrongOutputError,
    spectral_flatness,
)
from rtvc.engine.plan import Plan
from rtvc.engine.voice import Rendered, Voice, VoiceError
from rtvc.engine.world.voice import WorldVoice
from rtvc.session import Session
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import voice as rvc_voice
from tests.support.material import more
from tests.support.speech import UTTERANCES
from tests.support.voices import PlainStream, PlainVoice, finder

RATE, BLOCK = 48_000, 4800
Render = Callable[[Float32, Float32], Float32]


def speech(seconds: float, floor_db: float = -60.0) -> Float32:
    """Speech with the noise of a microphone, peak 0.5."""
    audio, rate = soundfile.read(UTTERANCES[0], dtype="float32")
    audio = soxr.resample(audio, rate, RATE)[: int(seconds * RATE)]
    audio = np.resize(0.5 * audio / np.max(np.abs(audio)), int(seconds * RATE))
    hiss = np.random.default_rng(1).standard_normal(len(audio)) * 10 ** (floor_db / 20)
    found: Float32 = (audio + hiss).astype(np.float32)
    return found


_RANDOM = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise of a test does not depend on the tests before it."""
    monkeypatch.setitem(globals(), "_RANDOM", np.random.default_rng(5))


def hiss(samples: int, level: float) -> Float32:
    found: Float32 = (level * _RANDOM.standard_normal(samples)).astype(np.float32)
    return found


FAULTS: dict[str, Render] = {
    "white noise": lambda block, last: hiss(len(block), 0.3),
    "quiet noise": lambda block, last: hiss(len(block), 0.08),
    "a constant": lambda block, last: np.full(len(block), 0.4, np.float32),
    "the last block": lambda block, last: last.copy(),
    "zeros": lambda block, last: np.zeros(len(block), np.float32),
}


class BrokenVoice(PlainVoice):
    """A voice whose output is wrong from the N-th block of a run on, until it falls back."""

    notice = ""

    def __init__(self, fault: Render, first: int, cured_by: int = 1) -> None:
        super().__init__()
        self.fault, self.left, self.cured_by = fault, first, cured_by
        self.fell_back = 0
        self.wrong: list[Float32] = []

    def fall_back(self) -> str:
        self.fell_back += 1
        return "rtvc computes on the processor from now on." if self.fell_back == 1 else ""

    def open(self, plan: Plan, settings: Settings) -> PlainStream:
        stream = super().open(plan, settings)
        render, last = stream.render, [np.zeros(plan.samples(plan.rendered, RATE), np.float32)]

        def broken(block: Float32, settings: Settings) -> Rendered:
            rendered = render(block, settings)
            self.left -= 1
            if self.left < 0 and self.fell_back < self.cured_by:
                audio = self.fault(rendered.audio, last[0])
                self.wrong.append(audio)
                return Rendered(audio)
            last[0] = rendered.audio
            return rendered

        stream.render = broken  # type: ignore[method-assign]
        return stream


def heard_s(output: Float32, fault: str) -> float:
    """Return how long noise above the band of the speech, a constant or a repetition is heard."""
    frames = output[: len(output) // 480 * 480].reshape(-1, 480)
    if fault == "the last block":
        before = frames[: -BLOCK // 480]
        change = np.abs(frames[BLOCK // 480 :] - before).max(axis=1)
        peak = np.abs(before).max(axis=1)
        return 0.01 * float(np.sum((peak > 0.01) & (change < 0.05 * peak)))
    if fault == "a constant":
        return 0.01 * float(np.sum((np.ptp(frames, axis=1) < 0.02) & (frames.mean(1) > 0.05)))
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(480), axis=1))
    above = np.sqrt(np.mean(spectrum[:, 100:] ** 2, axis=1))  # 10 to 24 kHz
    return 0.01 * float(np.sum(above > 0.1))


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_output_is_heard_for_three_blocks_at_most(fault: str):
    broken = BrokenVoice(FAULTS[fault], first=20)
    device = SimulatedDevice(speech(8.0))
    seen = []
    with Session(
        device, Settings(gate=-90.0, loudness=0.0, latency="constant"), finder(world=broken)
    ) as session:
        while not session.wait(0.05):
            seen.append(session.stats())
    stats = session.stats()
    assert stats.last_cause.startswith("The engine failed: The voice rendered ")
    assert broken.fell_back == 1
    # The third one is refused, and so is the first one of a spare that computes like it.
    assert 3 <= len(broken.wrong) <= 4
    assert any("rtvc computes on the processor from now on." in s.reason for s in seen)
    if fault != "zeros":
        assert 0.1 < heard_s(device.played, fault) <= 0.3
        assert heard_s(device.played[: int(1.9 * RATE)], fault) == 0.0
    assert np.std(device.played[-2 * RATE : -RATE]) > 0.01  # the voice is back


def test_a_chain_after_wrong_output_gets_no_second_chance():
    guard = OutputGuard()
    blocks = np.array_split(speech(3.0), 30)
    first = OutputWatch(guard)
    for block in blocks[:5]:
        first.check(block, block)
    wrong = FAULTS["white noise"](blocks[0], blocks[0])
    first.check(blocks[5], wrong)
    first.check(blocks[6], FAULTS["white noise"](wrong, wrong))
    with pytest.raises(WrongOutputError, match="The voice rendered white noise"):
        first.check(blocks[7], FAULTS["white noise"](wrong, wrong))
    assert first.outdated
    second = OutputWatch(guard)
    assert not second.outdated
    with pytest.raises(WrongOutputError):
        second.check(blocks[8], FAULTS["white noise"](wrong, wrong))
    third = OutputWatch(guard)
    for n in range(GOOD_BLOCKS):
        third.check(blocks[n], blocks[n])
    third.check(blocks[9], wrong)  # trusted again: one wrong block is not enough


def alarms(voice: Any, settings: Settings, audio: Float32) -> int:
    guard = OutputGuard()
    chain = Chain(voice, settings, guard=guard)
    for start in range(0, len(audio) - chain.block + 1, chain.block):
        chain.step(audio[start : start + chain.block], settings)
    return guard.alarms


PRESETS = {preset.name: preset.path for preset in list_presets()}


@pytest.mark.parametrize("floor_db", [-60.0, *more([-40.0, -30.0])])
@pytest.mark.parametrize("name", ["whisper", "breathy", *more(sorted(PRESETS))])
def test_no_preset_is_taken_for_wrong_output(name: str, floor_db: float):
    settings = load_preset(PRESETS[name]).apply_to(Settings(block=50.0))
    assert alarms(WorldVoice(), settings, speech(2.5, floor_db)) == 0


@pytest.mark.thorough
@pytest.mark.parametrize("level", more([0.01, 1.0]))
def test_no_test_voice_is_taken_for_wrong_output(level: float):
    settings = Settings(context=200.0, pitch_method="dio", gate=-90.0)
    voice = rvc_voice("voice_v1_f0_40k", with_index=False)
    assert alarms(voice, settings, (level * speech(1.5)).astype(np.float32)) == 0


@pytest.mark.parametrize("kind", ["noise", "silence", "tone", "constant"])
def test_output_that_follows_such_an_input_is_right(kind: str):
    time = np.arange(2 * RATE) / RATE
    inputs = {
        "noise": hiss(len(time), 0.3),
        "silence": np.zeros(len(time)),
        "tone": 0.3 * np.sin(2 * np.pi * 100 * time),
        "constant": np.full(len(time), 0.2),
    }
    audio = np.asarray(inputs[kind], np.float32)
    assert alarms(PlainVoice(), Settings(gate=-90.0), audio) == 0


@pytest.mark.parametrize("samples", [960, 4800, 24_000])
def test_flatness(samples: int):
    noise = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    assert 0.8 < spectral_flatness(noise) <= 1.0
    assert spectral_flatness(np.sin(np.arange(samples) * 0.1).astype(np.float32)) < 0.01


LATER_FAULTS: dict[str, Callable[[Float32, list[Float32], int], Float32]] = {
    "two blocks in turn": lambda block, before, n: before[-2],
    "four blocks in turn": lambda block, before, n: before[-4],
    "every other block is the last one": lambda block, before, n: before[-1] if n % 2 else block,
    "every other block is noise": lambda block, before, n: (
        hiss(len(block), 0.3) if n % 2 else block
    ),
    "two of three blocks are noise": lambda block, before, n: (
        hiss(len(block), 0.3) if n % 3 else block
    ),
    "a constant with a little noise": lambda block, before, n: 0.4 + hiss(len(block), 0.001),
    "another constant each time": lambda block, before, n: np.full_like(block, 0.1 + 0.1 * (n % 7)),
    "huge": lambda block, before, n: (block * 1e38).astype(np.float32),
    "random bits": lambda block, before, n: np.nan_to_num(
        _RANDOM.integers(0, 1 << 32, len(block), dtype=np.uint32).view(np.float32)
    ),
}


def heard_blocks(audio: Float32, size: int, render: Any) -> tuple[int, str]:
    """Return how many wrong blocks are output before an alarm, and the alarm; 100 without one."""
    watch, wrong = OutputWatch(OutputGuard()), 0
    before: list[Float32] = []
    for n in range(len(audio) // size):
        source = audio[n * size : (n + 1) * size]
        output = source if n < 12 else render(source, before, n - 12)
        before.append(output)
        try:
            watch.check(source, output.astype(np.float32))
        except WrongOutputError as error:
            return wrong, str(error)
        wrong += output is not source
    return 100, ""


@pytest.mark.parametrize("block_ms", [20, 100])
@pytest.mark.parametrize("fault", LATER_FAULTS)
def test_other_wrong_output_is_heard_for_three_blocks_at_most(fault: str, block_ms: int):
    audio, render = speech(4.0)[RATE:], LATER_FAULTS[fault]
    assert heard_blocks(audio, RATE * block_ms // 1000, render)[0] <= 3


@pytest.mark.parametrize("level", [1e-40, 1e-9])
def test_output_that_cannot_be_heard_is_silence(level: float):
    found = heard_blocks(speech(4.0)[RATE:], BLOCK, lambda block, before, n: block * level)
    assert "nothing at all" in found[1]


def test_noise_in_a_pause_is_not_explained_by_the_noise_of_the_microphone():
    found = heard_blocks(
        hiss(2 * RATE, 0.001), BLOCK, lambda block, before, n: hiss(len(block), 0.1)
    )
    assert found[0] == 2
    assert "white noise" in found[1]


def test_late_noise_of_the_microphone_is_not_taken_for_wrong_output():
    # Speech begins, and the short blocks of the output still have the pause before it.
    settings = Settings(block=20.0, lookahead=100.0, gate=-90.0)
    assert alarms(WorldVoice(), settings, speech(3.0, -35.0)) == 0


def test_speech_after_digital_silence_is_not_taken_for_wrong_output():
    audio = speech(3.0, -200.0)
    audio[: len(audio) // 2] = 0.0
    audio[len(audio) // 2 - RATE // 2 : len(audio) // 2] = speech(0.5)  # it has sounded before
    settings = Settings(block=20.0, lookahead=100.0, gate=-90.0)
    assert alarms(PlainVoice(lookahead=13), settings, audio) == 0


@pytest.mark.parametrize(("lookahead", "samples"), [(0.0, 0), (100.0, 13)])
def test_late_output_of_a_looped_tone_is_not_taken_for_wrong_output(lookahead: float, samples: int):
    # Each block of the tone is the same to the bit, and so is the output when it has ended.
    tone = np.tile(0.3 * np.sin(2 * np.pi * np.arange(480) / 480), 100)
    audio = np.concatenate([tone, speech(1.0), tone, hiss(RATE, 0.05)]).astype(np.float32)
    settings = Settings(block=20.0, lookahead=lookahead, gate=-90.0)
    assert alarms(PlainVoice(lookahead=samples), settings, audio) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_output_that_stays_out_of_range_falls_back(value: float):
    broken = BrokenVoice(lambda block, last: np.full(len(block), value, np.float32), first=20)
    device = SimulatedDevice(speech(6.0))
    with Session(
        device, Settings(gate=-90.0, loudness=0.0, latency="constant"), finder(world=broken)
    ) as session:
        while not session.wait(0.05):
            pass
    assert broken.fell_back == 1
    assert len(broken.wrong) <= 3
    assert np.isfinite(device.played).all()
    assert np.std(device.played[-2 * RATE : -RATE]) > 0.01  # the voice is back


def test_one_block_that_is_not_finite_does_not_fall_back():
    broken = BrokenVoice(lambda block, last: np.full(len(block), np.nan, np.float32), first=20)
    render_fault, left = broken.fault, [1]

    def once(block: Float32, last: Float32) -> Float32:
        left[0] -= 1
        return render_fault(block, last) if left[0] >= 0 else block

    broken.fault = once
    with Session(
        SimulatedDevice(speech(4.0)), Settings(gate=-90.0, latency="constant"), finder(world=broken)
    ) as session:
        while not session.wait(0.05):
            pass
    assert broken.fell_back == 0
    assert session.stats().restarts == 1


def failing(times: int) -> Render:
    left = [times]

    def fail(block: Float32, last: Float32) -> Float32:
        left[0] -= 1
        if left[0] >= 0:
            raise VoiceError("The GPU failed while the voice was rendered: out of memory.")
        return block

    return fail


def played(broken: BrokenVoice, find: Callable[[str], Voice], seconds: float) -> set[str]:
    """Return the reasons of a session that ends with sound."""
    device, seen = SimulatedDevice(speech(seconds)), set()
    settings = Settings(gate=-90.0, loudness=0.0, latency="constant")
    with Session(device, settings, find) as session:
        while not session.wait(0.05):
            seen.add(session.stats().reason)
    assert np.std(device.played[-2 * RATE : -RATE]) > 0.01
    return seen


def test_a_computation_that_fails_again_falls_back():
    """As on a GPU whose memory another program has taken; it was tried for ever, in silence."""
    broken = BrokenVoice(failing(10**6), first=20)
    seen = played(broken, finder(world=broken), 6.0)
    assert broken.fell_back == 1
    told = "The computation of world failed: rtvc computes on the processor from now on."
    assert told in seen


def test_one_failure_does_not_fall_back():
    broken = BrokenVoice(failing(1), first=20)
    played(broken, finder(world=broken), 4.0)
    assert broken.fell_back == 0


def test_a_voice_that_cannot_be_loaded_falls_back(monkeypatch: pytest.MonkeyPatch):
    broken = BrokenVoice(failing(1), first=20)
    stepped: list[str] = []

    def step_down() -> str:
        stepped.append("rtvc computes on the processor from now on.")
        return stepped[-1]

    def find(name: str) -> Voice:
        if broken.left < 0 and not stepped:
            raise VoiceError("The GPU failed while the voice was loaded: out of memory.")
        return broken

    monkeypatch.setattr("rtvc.engine.selftest.ladder.step_down", step_down)
    seen = played(broken, find, 8.0)
    assert len(stepped) == 1
    assert f"The computation of world failed: {stepped[0]}" in seen


def test_what_fails_next_to_a_voice_that_converts_changes_nothing():
    broken = BrokenVoice(failing(0), first=0)

    def find(name: str) -> Voice:
        if name != "world":
            raise VoiceError("The GPU failed while the voice was loaded: out of memory.")
        return broken

    with Session(
        SimulatedDevice(speech(6.0)), Settings(gate=-90.0, latency="constant"), find
    ) as session:
        for name in ("a", "b", "c"):
            session.apply(voice=name)
            session.wait(0.5)
        session.apply(voice="world")
        while not session.wait(0.05):
            pass
    assert broken.fell_back == 0
    assert session.stats().restarts == 0
