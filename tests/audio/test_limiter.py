import numpy as np
import pytest
import soxr

from rtvc.audio.limiter import LimitedResampler, Limiter
from tests.audio.signals import in_blocks, tone
from tests.engine.speech_measures import speech

RATE = 48_000


def true_peak_db(signal):
    spectrum = np.fft.rfft(signal.astype(np.float64))
    fine = np.fft.irfft(spectrum, 8 * len(signal)) * 8
    return 20 * np.log10(np.abs(fine).max())


def test_a_quiet_signal_passes_bit_for_bit():
    limiter = Limiter(RATE)
    signal = tone(997, 0.8)
    out = in_blocks(lambda b: limiter.process(b, -1.0), signal)
    np.testing.assert_array_equal(out[limiter.delay :], signal[: -limiter.delay])


@pytest.mark.parametrize("size", [480, 960, 4800])
def test_the_limiter_does_not_depend_on_the_block(size):
    rng = np.random.default_rng(1)
    signal = (rng.standard_normal(RATE) * np.repeat(rng.uniform(0, 2, 100), 480)).astype("f4")
    a, b = Limiter(RATE), Limiter(RATE)
    whole = a.process(signal, -3.0)
    np.testing.assert_allclose(
        in_blocks(lambda x: b.process(x, -3.0), signal, size), whole, atol=1e-6
    )


@pytest.mark.parametrize("ceiling", [-0.3, -1.0, -6.0])
def test_true_peaks_stay_under_the_ceiling(ceiling):
    limiter = Limiter(RATE)
    # A quarter-rate sine at 45 degrees: its true peak is 3 dB above its samples.
    parts = [tone(12_000, 1.4, 0.5, np.pi / 4), tone(200, 3.0, 0.5), tone(5000, 0.9)]
    edges = [
        np.minimum(1.0, np.minimum(np.arange(len(p)), np.arange(len(p))[::-1]) / 480) for p in parts
    ]
    loud = np.concatenate([p * e for p, e in zip(parts, edges, strict=True)] + [np.zeros(4800)])
    out = in_blocks(lambda b: limiter.process(b, ceiling), loud.astype(np.float32))
    assert true_peak_db(out) < ceiling + 0.1
    assert np.abs(out).max() <= 10 ** (ceiling / 20) + 1e-6


def test_the_lowest_gain_of_a_block_is_told():
    limiter = Limiter(RATE)
    limiter.process(tone(997, 0.5)[:4800], -1.0)
    assert limiter.lowest_gain == 1.0
    for _ in range(2):  # the jump has a higher true peak than what follows
        limiter.process(np.full(4800, 2.0, np.float32), -6.0)
    expected = 10 ** (-6 / 20) / 2
    assert limiter.lowest_gain == pytest.approx(expected, rel=0.02)
    limiter.process(np.zeros(48_000, np.float32), -6.0)
    assert limiter.lowest_gain < 1.0, "it recovers in this block"
    limiter.process(np.zeros(48_000, np.float32), -6.0)
    assert limiter.lowest_gain == 1.0


def test_a_steady_loud_sine_stays_a_tone():
    limiter = Limiter(RATE)
    out = in_blocks(lambda b: limiter.process(b, -1.0), tone(1000, 2.0, 2.0))[RATE:]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)))) ** 2
    peak = spectrum[990:1011].sum()
    assert 10 * np.log10((spectrum.sum() - peak) / peak) < -40


def test_the_gain_comes_down_and_recovers_without_a_step():
    limiter = Limiter(RATE)
    signal = np.full(RATE, 0.5, np.float32)
    signal[20_000:20_480] = 2.0
    out = in_blocks(lambda b: limiter.process(b, -1.0), signal)
    gain = out[limiter.delay :] / signal[: -limiter.delay]
    assert gain[15_000] == 1.0
    assert gain[-1] == pytest.approx(1.0, abs=1e-3)
    assert np.abs(np.diff(gain)).max() < 0.01


def test_a_lower_ceiling_does_not_clip_what_came_in_before():
    limiter, loud = Limiter(RATE), tone(220, 0.5)[: 48 * 480]
    ceilings = np.repeat([-1.0, -24.0, -1.0, -12.0], 12 * 480)
    blocks = zip(loud.reshape(-1, 480), ceilings[::480], strict=True)
    out = np.concatenate([limiter.process(block, ceiling) for block, ceiling in blocks])
    late, out = ceilings[: -limiter.delay], out[limiter.delay :]
    assert np.abs(np.diff(out, 2)).max() < 10 * np.abs(np.diff(loud, 2)).max()
    assert np.all(np.abs(out) <= 10 ** (late / 20) + 1e-6)


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 16_000, 22_050, 44_100, 96_000])
def test_peaks_stay_under_the_ceiling_at_another_rate_and_time_is_kept(rate):
    limiter = Limiter(RATE)
    loud = in_blocks(lambda b: limiter.process(b, -1.0), 20 * speech("2086-149214-0000", 2.0))
    plain = soxr.resample(loud, RATE, rate)
    converter, open_end = (LimitedResampler(RATE, rate, ceiling) for ceiling in (-1.0, 40.0))
    nothing = np.empty(0, np.float32)
    out = np.concatenate(
        [in_blocks(converter.process, loud, 4801), converter.process(nothing, last=True)]
    )
    assert len(out) == len(plain) == 2 * rate
    assert 20 * np.log10(np.abs(out).max()) <= -1.0 + 1e-4
    assert np.corrcoef(out, plain)[0, 1] > 0.999
    # Below the ceiling nothing changes.
    free = np.concatenate([open_end.process(loud), open_end.process(nothing, last=True)])
    np.testing.assert_allclose(free, plain, atol=1e-5)
