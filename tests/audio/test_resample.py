from __future__ import annotations

import numpy as np
import pytest

from rtvc.audio.resample import MAX_TRIM, BlockResampler, EdgeResampler
from tests.audio.signals import distortion_db, error_db, noise_below, sine

PAIRS = [
    (48000, 16000),
    (16000, 48000),
    (48000, 40000),
    (40000, 48000),
    (32000, 48000),
    (48000, 44100),
    (44100, 48000),
    (8000, 48000),
    (192000, 48000),
]


def in_blocks(resampler: BlockResampler, signal: np.ndarray, block: int) -> np.ndarray:
    return np.concatenate(
        [resampler.process(signal[i : i + block]) for i in range(0, signal.size, block)]
    )


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_counts_are_exact_and_blocks_do_not_matter(in_rate: int, out_rate: int) -> None:
    frame = in_rate // 100
    signal = np.random.default_rng(1).standard_normal(100 * frame).astype(np.float32)
    whole = BlockResampler(in_rate, out_rate).process(signal)
    assert whole.size == out_rate
    for frames in (1, 2, 5, 10, 20):
        resampler = BlockResampler(in_rate, out_rate)
        assert resampler.process(signal[: frames * frame]).size == frames * out_rate // 100
        resampler.reset()
        np.testing.assert_array_equal(in_blocks(resampler, signal, frames * frame), whole)


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_the_stated_delay_is_exact(in_rate: int, out_rate: int) -> None:
    hz = 0.11 * min(in_rate, out_rate)
    resampler = BlockResampler(in_rate, out_rate)
    result = in_blocks(resampler, sine(hz, in_rate, in_rate), in_rate // 10)
    wanted = sine(hz, out_rate, out_rate, start=-resampler.delay)
    settled = 4 * resampler.delay
    assert error_db(result[settled:], wanted[settled:]) < -95
    assert resampler.delay * in_rate == resampler.delay_in * out_rate


@pytest.mark.parametrize("middle", [16000, 32000, 40000, 44100])
def test_there_and_back_is_a_plain_delay(middle: int) -> None:
    signal = noise_below(0.4 * min(middle, 48000), 48000, 48000)
    down, up = BlockResampler(48000, middle), BlockResampler(middle, 48000)
    result = in_blocks(up, in_blocks(down, signal, 4800), middle // 10)
    delay = down.delay_in + up.delay
    assert error_db(result[delay + 4800 :], signal[4800:-delay]) < -90
    for off in (-1, 1):  # an offset of one sample gives a large error
        assert error_db(result[delay + off + 4800 :][:24000], signal[4800:][:24000]) > -20


def test_equal_rates_pass_every_bit_without_delay() -> None:
    signal = np.random.default_rng(2).standard_normal(4801).astype(np.float32)
    resampler = BlockResampler(48000, 48000)
    assert resampler.delay == 0
    np.testing.assert_array_equal(resampler.process(signal), signal)


def test_aliases_and_images_are_far_down() -> None:
    down = BlockResampler(48000, 16000)
    for hz in (8700, 12000, 20000):
        alias = in_blocks(down, sine(hz, 48000, 48000), 4800)[1600:]
        assert 20 * np.log10(np.abs(alias).max() / 0.5) < -95
        down.reset()
    image = in_blocks(BlockResampler(16000, 48000), sine(1000, 16000, 16000), 1600)[4800:]
    assert distortion_db(image, 1000, 48000) < -95
    flat = in_blocks(down, sine(7300, 48000, 48000), 4800)[1600:]
    assert np.abs(flat).max() == pytest.approx(0.5, rel=1e-3)


def test_a_constant_stays_exactly_constant() -> None:
    resampler = BlockResampler(16000, 48000)
    result = resampler.process(np.ones(16000, np.float32))[2 * resampler.delay :]
    np.testing.assert_allclose(result, 1.0, atol=1e-6)


def test_a_block_without_an_integer_output_length_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of 3"):
        BlockResampler(48000, 16000).process(np.zeros(100, np.float32))
    with pytest.raises(ValueError, match="positive"):
        BlockResampler(0, 16000)


@pytest.mark.parametrize(
    ("in_rate", "out_rate"), [(44100, 48000), (48000, 44100), (16000, 48000), (48000, 192000)]
)
def test_the_edge_resampler_keeps_a_sine_and_reports_its_delay(in_rate: int, out_rate: int) -> None:
    resampler = EdgeResampler(in_rate, out_rate)
    chunk = in_rate // 100
    output = [resampler.process(sine(440, in_rate, chunk, start=i * chunk)) for i in range(200)]
    result = np.concatenate(output)
    assert distortion_db(result[out_rate // 2 : out_rate], 440, out_rate) < -105
    assert result.size / out_rate + resampler.delay_s == pytest.approx(2.0, abs=1e-6)
    assert 0 < resampler.delay_s < 0.016


def test_the_edge_resampler_can_be_trimmed_up_to_its_limit() -> None:
    resampler = EdgeResampler(48000, 48000)
    chunks = [sine(440, 48000, 480, start=i * 480) for i in range(3000)]
    resampler.trim(1.0)
    count = sum(resampler.process(chunk).size for chunk in chunks)
    # One second is lost to the glide.
    assert count == pytest.approx(48000 * (30 + 29 * MAX_TRIM - 0.005), abs=60)
