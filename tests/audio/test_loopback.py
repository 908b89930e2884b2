from __future__ import annotations

import numpy as np
import pytest

from rtvc.audio.loopback import align, find_signal
from rtvc.errors import RtvcError
from tests.audio.signals import chirp, noise_below

RATE = 48_000


def in_noise(
    sound: np.ndarray, at: int, *, size: int, noise: float, gain: float = 1.0
) -> np.ndarray:
    recording = noise * np.random.default_rng(4).standard_normal(size)
    recording[at : at + sound.size] += gain * sound
    return recording.astype(np.float32)


@pytest.mark.parametrize("at", [0, 1, 4321, 40_000])
def test_a_chirp_is_found_in_noise(at: int) -> None:
    sound = chirp()
    found = find_signal(in_noise(sound, at, size=60_000, noise=0.1, gain=-0.2), sound)
    assert found.is_match
    assert found.delay == pytest.approx(at, abs=0.1)
    assert found.gain == pytest.approx(-0.2, rel=0.1)


def test_the_delay_is_found_to_a_fraction_of_a_sample() -> None:
    from scipy.signal import resample_poly  # 1.5 s to import

    sound = chirp()
    finer = resample_poly(np.pad(sound, 1000), 10, 1)
    for shift in range(0, 10, 3):
        late = np.concatenate((np.zeros(shift), finer))[::10].astype(np.float32)
        assert find_signal(late, sound).delay == pytest.approx(1000 + shift / 10, abs=0.03)


def test_an_absent_signal_is_not_found() -> None:
    noise = np.random.default_rng(5).standard_normal(60_000).astype(np.float32)
    assert not find_signal(noise, chirp()).is_match
    assert not find_signal(np.zeros(60_000, np.float32), chirp()).is_match
    assert not find_signal(np.zeros(10, np.float32), chirp()).is_match


def test_an_exact_copy_is_exact() -> None:
    sent = noise_below(7000, RATE, 4 * RATE)
    result = align(sent, np.pad(sent, (1234, 9600)))
    assert result.delay == 1234
    assert result.exact == len(result.offsets) == 40
    assert (result.slips(), result.broken()) == (0, 0)


def test_lost_and_repeated_samples_are_slips() -> None:
    sent = noise_below(7000, RATE, 4 * RATE)
    lost = np.delete(sent, slice(50_000, 50_480))
    recording = np.insert(lost, 120_000, lost[119_000:120_000])
    result = align(sent, np.pad(recording, (100, 20_000)))
    assert result.slips() == 2
    assert sorted(set(result.offsets)) == [100 - 480, 100, 100 - 480 + 1000]
    assert result.exact >= len(result.offsets) - 2


def test_a_long_stall_is_one_slip() -> None:
    sent = noise_below(7000, RATE, 5 * RATE)
    stalled = np.insert(sent, 60_000, np.zeros(RATE, np.float32))
    result = align(sent, np.pad(stalled, (0, 9600)))
    assert result.slips() == 1
    assert result.offsets[-1] == RATE


def test_a_click_is_a_broken_block_and_a_flipped_bit_is_inexact() -> None:
    sent = noise_below(7000, RATE, 4 * RATE)
    clicked = sent.copy()
    clicked[100_000:100_010] += 0.3
    result = align(sent, np.pad(clicked, (0, 9600)))
    assert (result.broken(), result.slips(), result.exact) == (1, 0, 39)
    flipped = sent.copy()
    flipped[77_777] = np.nextafter(flipped[77_777], np.float32(1))
    result = align(sent, np.pad(flipped, (0, 9600)))
    assert (result.broken(), result.exact) == (0, 39)


def test_a_silent_recording_is_refused() -> None:
    with pytest.raises(RtvcError, match="is not in the recording"):
        align(noise_below(7000, RATE, RATE), np.zeros(2 * RATE, np.float32))
