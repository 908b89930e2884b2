"""The chirps of a loop measurement: what they find in a recording, and what they do not."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile

from rtvc.audio.endpoint import ENGINE_RATE as RATE
from rtvc.audio.loop_latency import measure_loop_latency
from rtvc.audio.loop_signal import CHIRPS, analyse, loop_chirps
from rtvc.audio.resample import BlockResampler
from rtvc.audio.simulated import Fault, SimulatedDevice
from rtvc.errors import RtvcError
from tests.support.speech import UTTERANCES

LAG = 2000


def recording(*, lag: int = LAG, gain: float = 0.5, noise: float = 1e-4) -> np.ndarray:
    signal = loop_chirps()
    samples = noise * np.random.default_rng(3).standard_normal(signal.size + lag + RATE)
    samples[lag : lag + signal.size] += gain * signal
    return samples.astype(np.float32)


@pytest.mark.parametrize("lag", [0, LAG, 90_000])
def test_the_lag_of_every_chirp_is_found(lag):
    found = analyse(recording(lag=lag))
    assert len(found.lags_s) == CHIRPS
    assert np.array(found.lags_s) * RATE == pytest.approx(lag, abs=0.1)
    assert found.gain_db == pytest.approx(-6, abs=0.2)
    assert (found.events, len(found.paths), found.clipped) == ((), 1, 0)
    assert found.agree
    assert not found.too_quiet


@pytest.mark.thorough
def test_planted_gaps_shifts_and_clicks_are_found():
    random = np.random.default_rng(7)
    clean = recording()
    for at in random.integers(LAG + RATE // 20, LAG + 2 * RATE, 4):
        when = (at - LAG) / RATE
        silent = clean.copy()
        silent[at : at + 240] = 0.0
        (gap,) = analyse(silent).events
        assert gap.kind == "gap"
        assert gap.seconds == pytest.approx(0.005, abs=0.0005)
        assert gap.at_s == pytest.approx(when, abs=0.02)
        clicked = clean.copy()
        clicked[at] += 0.05
        (click,) = analyse(clicked).events
        assert click.kind == "click"
        assert click.at_s == pytest.approx(when, abs=0.001)
        inserted = analyse(np.insert(clean, at, np.zeros(240, np.float32)))
        lost = analyse(np.delete(clean, slice(at, at + 240)))
        for found, seconds in ((inserted, 0.005), (lost, -0.005)):
            shifts = [event for event in found.events if event.kind == "shift"]
            assert [shift.seconds for shift in shifts] == [pytest.approx(seconds, abs=0.0005)]
            assert shifts[0].at_s == pytest.approx(when, abs=0.26)
            assert not found.agree


def test_a_second_path_is_found_with_its_level():
    clean = recording(noise=0.0)
    both = clean + 10 ** (-12 / 20) * np.roll(clean, 1440)
    direct, echo = analyse(both.astype(np.float32)).paths
    assert direct.lag_s * RATE == pytest.approx(LAG, abs=0.2)
    assert echo.lag_s - direct.lag_s == pytest.approx(0.030, abs=0.0005)
    assert echo.level_db == pytest.approx(-12, abs=0.5)


def test_clipping_and_a_quiet_input_are_told():
    loud = analyse(np.clip(recording(gain=20.0), -1, 1))
    assert loud.clipped > 1000
    assert analyse(recording(gain=0.003, noise=1e-3)).too_quiet


def test_a_loop_that_carries_few_frequencies_has_one_lag():
    spectrum = np.fft.rfft(recording())
    spectrum[round(3400 * recording().size / RATE) :] *= 0.001
    found = analyse(np.fft.irfft(spectrum).astype(np.float32))
    assert found.agree
    assert 6 <= len(found.lags_s) < CHIRPS


def test_speech_and_noise_are_no_chirps():
    for path in UTTERANCES[:3]:
        samples, rate = soundfile.read(path, dtype="float32")
        speech = BlockResampler(rate, RATE).process(samples[: len(samples) // 160 * 160])
        assert not analyse(np.resize(speech, 5 * RATE)).found
    noise = np.random.default_rng(5).standard_normal(5 * RATE)
    assert not analyse((0.1 * noise).astype(np.float32)).found


class Loop(SimulatedDevice):
    """A simulated device whose output is its input `lag` samples later."""

    def __init__(self, lag: int, faults=()) -> None:
        super().__init__(np.zeros(20 * RATE, np.float32), faults=faults)
        self._lag = lag

    def _run_callback(self) -> None:
        super()._run_callback()
        period = self._played[-1] if self._played else np.zeros(0, np.float32)
        at = self._now + self._lag - period.size
        self._source[at : at + period.size] = period


def test_the_latency_of_an_endpoint_is_measured_without_its_queues():
    seen = []
    loop = measure_loop_latency(Loop(1920), running=lambda: seen.append("running"))
    assert seen == ["running"]
    assert loop.measured == pytest.approx(0.040, abs=1e-4)
    assert loop.reliable
    assert loop.warnings == ()


def test_a_measurement_that_must_end_plays_nothing_more():
    device = Loop(1920)
    with pytest.raises(RtvcError, match=r"You muted the output\."):
        measure_loop_latency(
            device, ended=lambda: "You muted the output." if device.now() > 1.5 else ""
        )
    assert 0.09 < np.abs(device.played[RATE : 3 * RATE // 2]).max() < 0.11
    assert device.played.size < 1.7 * RATE, "only what was queued is played"
    assert np.abs(device.played[-5:]).max() < 0.01, "it ends without a click"


def test_many_clicks_are_counted():
    class Noisy(Loop):
        """A loop next to which somebody makes a noise."""

        _calls = 0

        def _run_callback(self) -> None:
            super()._run_callback()
            self._calls += 1
            if self._calls % 40 == 0:
                self._source[self._now + self._lag - 10] += 0.05

    warnings = measure_loop_latency(Noisy(1920)).warnings
    assert any(re.match(r"There are \d+ clicks, the first at ", text) for text in warnings)
    assert sum("click" in text for text in warnings) == 1


def test_lost_input_is_told_and_makes_the_latency_unreliable():
    loop = measure_loop_latency(Loop(1920, [Fault(2.0, "gap", 0.02)]))
    assert not loop.reliable
    assert any("disagree" in warning for warning in loop.warnings)
    assert any("samples were lost" in warning for warning in loop.warnings)


def test_no_loop_is_told():
    with pytest.raises(RtvcError, match="did not come back"):
        measure_loop_latency(SimulatedDevice(np.zeros(20 * RATE, np.float32)))
