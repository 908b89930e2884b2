import numpy as np
import pytest

from rtvc.engine.dsp.conditioning import Gate, HighPass, Ramp, repair
from rtvc.engine.dsp.delay import Delay
from rtvc.settings import Settings

RATE = 48_000


def in_blocks(process, signal, size):
    return np.concatenate([process(signal[i : i + size]) for i in range(0, len(signal), size)])


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32) * 0.1


@pytest.mark.parametrize("size", [1, 63, 64, 480, 4801])
def test_high_pass_does_not_depend_on_the_block(size):
    signal = noise(9600)
    whole = HighPass(RATE).process(signal)
    np.testing.assert_allclose(in_blocks(HighPass(RATE).process, signal, size), whole, atol=1e-7)


@pytest.mark.parametrize(("hz", "db"), [(12, -24.1), (48, -3.01), (480, 0.0), (8000, 0.0)])
def test_high_pass_has_the_response_of_butterworth(hz, db):
    impulse = np.zeros(RATE, np.float32)
    impulse[0] = 1.0
    response = np.abs(np.fft.rfft(HighPass(RATE).process(impulse).astype(np.float64)))
    assert 20 * np.log10(response[hz]) == pytest.approx(db, abs=0.1)


def test_high_pass_removes_dc_and_ends_in_silence():
    high_pass = HighPass(RATE)
    assert np.abs(high_pass.process(np.ones(RATE, np.float32))[-4800:]).max() < 1e-6
    high_pass.process(np.zeros(2 * RATE, np.float32))
    assert not high_pass.process(np.zeros(480, np.float32)).any()


def test_repair_changes_only_invalid_samples():
    good = noise(480)
    same, bad = repair(good)
    assert not bad
    np.testing.assert_array_equal(same, good)
    repaired, bad = repair(np.array([np.nan, np.inf, -np.inf, 1e30, 0.5], np.float32))
    assert bad
    np.testing.assert_array_equal(repaired, np.array([0, 0, 0, 4, 0.5], np.float32))


@pytest.mark.parametrize("size", [240, 480, 1000])
def test_ramp_reaches_its_target_in_15_ms_without_a_step(size):
    ramp = Ramp(RATE, 0.0)
    gains = [ramp.process(1.0, size) for _ in range(0, 2000, size)]
    line = np.concatenate([np.broadcast_to(np.float32(g), size) for g in gains])
    assert np.diff(line).max() == pytest.approx(np.pi / 2 / 720, rel=1e-3)
    assert np.abs(np.diff(line, 2)).max() < 6 / 720**2
    assert np.argmax(line > 0.9999) in range(710, 720)


def test_delay_is_exact():
    signal = noise(5000)
    delayed = in_blocks(Delay(777).process, signal, 480)
    assert not delayed[:777].any()
    np.testing.assert_array_equal(delayed[777:], signal[:-777])


def burst(level_db, start=0.3, end=0.6, seconds=1.2):
    signal = np.zeros(int(seconds * RATE), np.float32)
    a, b = int(start * RATE), int(end * RATE)
    signal[a:b] = 10 ** (level_db / 20) * np.sqrt(2) * np.sin(np.arange(b - a) * 0.1)
    return signal


@pytest.mark.parametrize("size", [480, 1000, 4800])
def test_gate_opens_before_the_sound_and_holds_after_it(size):
    delay = 2400
    settings = Settings(gate=-50.0, gate_lookback=20.0, gate_hold=100.0, gate_release=50.0)
    gate = Gate(RATE, delay)
    gain = in_blocks(lambda b: gate.process(b, settings), burst(-40), size)[delay:]
    at = lambda s: gain[int(s * RATE)]  # noqa: E731
    assert at(0.27) == 0.0
    assert at(0.2995) == 1.0  # whole before the first sample of the burst
    assert at(0.69) == 1.0
    assert at(0.78) == 0.0
    assert np.abs(np.diff(gain)).max() < 1.5 / (0.003 * RATE) * 1.01


def test_gate_does_not_depend_on_the_block():
    settings = Settings(gate=-50.0)
    results = []
    for size in (480, 960, 4800):
        gate = Gate(RATE, 3000)
        results.append(in_blocks(lambda b, g=gate: g.process(b, settings), burst(-40), size))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_gate_stays_shut_below_its_threshold_and_open_at_minus_90():
    shut = Gate(RATE, 2400)
    assert not in_blocks(
        lambda b: shut.process(b, Settings(gate=-50.0)), burst(-60, 0, 1.2), 480
    ).any()
    assert shut.closed_s == pytest.approx(1.2)
    never = Gate(RATE, 2400)
    gain = in_blocks(lambda b: never.process(b, Settings(gate=-90.0)), np.zeros(RATE, "f4"), 480)
    assert (gain[3000:] == 1.0).all()
    assert never.open


def test_gate_without_any_delay_still_works():
    gate = Gate(RATE, 0)
    gain = in_blocks(lambda b: gate.process(b, Settings(gate=-50.0)), burst(-40), 480)
    assert gain[int(0.31 * RATE)] == 1.0


def test_changing_the_look_back_while_running_keeps_time():
    gate = Gate(RATE, 2400)
    signal = burst(-40, seconds=2.4)
    out = []
    for i in range(0, len(signal), 480):
        lookback = (0.0, 20.0, 40.0)[(i // 4800) % 3]
        out.append(gate.process(signal[i : i + 480], Settings(gate=-50.0, gate_lookback=lookback)))
    gain = np.concatenate(out)[2400:]
    assert gain[int(0.31 * RATE) : int(0.59 * RATE)].min() == 1.0
    assert gain[int(1.0 * RATE) :].max() == 0.0
