"""The delay between input and output, estimated from speech, and what happens if it is wrong."""

import dataclasses

import numpy as np
import pytest
import soundfile

from rtvc.audio.delay_estimate import estimate_delay
from rtvc.audio.delay_monitor import DelayMonitor
from rtvc.audio.endpoint import ENGINE_RATE as RATE
from rtvc.audio.resample import BlockResampler
from rtvc.audio.simulated import Fault, SimulatedDevice
from rtvc.audio.tee import TeeEndpoint
from rtvc.config.presets import find_preset
from rtvc.engine.chain import Chain
from rtvc.engine.thread_pool import all_rest
from rtvc.library.open_voice import find_voice
from rtvc.session import Session
from rtvc.settings import Settings
from tests.support.speech import UTTERANCES

pytestmark = pytest.mark.slow


def speech(seconds):
    parts = []
    for path in UTTERANCES:
        samples, rate = soundfile.read(path, dtype="float32")
        parts.append(BlockResampler(rate, RATE).process(samples[: len(samples) // 160 * 160]))
    return np.resize(np.concatenate(parts), round(seconds * RATE))


@pytest.mark.thorough
def test_the_delay_of_a_converted_voice_is_found():
    settings = find_preset("deep").settings
    chain = Chain(find_voice(settings.voice), settings)
    sound = speech(10.5)
    blocks = sound[: len(sound) // chain.block * chain.block].reshape(-1, chain.block)
    output = np.concatenate([chain.step(block, settings).output for block in blocks])
    for late in (0.0, 0.040, -0.040):
        begin = round(0.2 * RATE)
        shifted = output[begin + chain.delay - round(late * RATE) :][: 10 * RATE]
        found = estimate_delay(sound[begin : begin + len(shifted)], shifted)
        assert found.reliable
        assert found.seconds == pytest.approx(late, abs=0.002)


def test_nothing_is_said_of_signals_that_have_nothing_in_common():
    sound, other = speech(10.0), speech(25.0)[-10 * RATE :]
    noise = (0.1 * np.random.default_rng(1).standard_normal(10 * RATE)).astype(np.float32)
    beeps = np.where(np.arange(10 * RATE) % (RATE // 2) < 4800, noise, 0).astype(np.float32)
    for first, second in (
        (sound, other),
        (sound, noise),
        (sound, np.zeros_like(sound)),
        (np.zeros_like(sound), np.zeros_like(sound)),
        (beeps, np.roll(beeps, 4800)),  # they repeat, so their delay is ambiguous
    ):
        assert not estimate_delay(first, second).reliable


def test_a_window_that_was_disturbed_says_nothing():
    sound = speech(12.0).reshape(-1, 4800)
    for jump, expected in ((0, True), (1000, False)):
        monitor = DelayMonitor()
        monitor.take_window(0.2)
        for number, block in enumerate(sound):
            monitor.push_input(block, 0, 4800 + (jump if number > 60 else 0))
            monitor.push_output(block)
        assert (monitor.take_window(0.2) is not None) is expected


def run(seconds, monkeypatch, *, shift_at=None, faults=()):
    """Run a session in mode dry; from `shift_at` on its sound is 40 ms late."""
    all_rest(20.0)  # the first chain that makes a step is that of this session
    device = SimulatedDevice(speech(seconds), faults=faults)
    session = Session(TeeEndpoint(device), Settings(mode="dry", latency="constant"))
    step = Chain.step
    late: dict[Chain, np.ndarray] = {}

    def shifted(chain, block, settings):
        result = step(chain, block, settings)
        if shift_at is not None and device.now() >= shift_at and not late:
            late[chain] = np.zeros(1920, np.float32)
        if chain not in late:
            return result
        joined = np.concatenate([late[chain], result.output])
        late[chain] = joined[len(block) :]
        return dataclasses.replace(result, output=joined[: len(block)])

    monkeypatch.setattr(Chain, "step", shifted)
    with session:
        assert session.wait(60)
        return session.stats(), session.take_message()


def test_a_wrong_latency_is_found_told_and_corrected(monkeypatch):
    stats, message = run(70.0, monkeypatch, shift_at=5.0)
    assert stats.latency_faults == 1
    assert stats.restart_causes == {"wrong latency": 1}
    assert message.startswith("The latency was 243 ms instead of 203 ms")
    assert stats.estimated_latency == pytest.approx(stats.latency.total, abs=0.002)
    assert stats.late_blocks == 0


@pytest.mark.thorough
def test_stalls_and_losses_are_no_wrong_latency(monkeypatch):
    faults = [Fault(8, "stall", 0.5), Fault(14, "gap", 0.2), Fault(20, "lost", 1.0)]
    stats, message = run(45.0, monkeypatch, faults=faults)
    assert (stats.latency_faults, message) == (0, "")
    assert stats.estimated_latency == pytest.approx(stats.latency.total, abs=0.002)
    assert stats.device.input_fill_max > 0.2
    assert stats.device.output_fill_median == pytest.approx(stats.latency.headroom, abs=0.001)
