from __future__ import annotations

import numpy as np
import pytest
import rtmixer

from rtvc.audio.resample import EdgeResampler
from rtvc.audio.tail_ring import TailRing

CALLBACK = 100
TAIL = -1.0


class Device:
    """Reads a ring as the callback does."""

    def __init__(self, frames: int = 4096) -> None:
        memory = np.zeros((frames, 2), np.float32)
        self.ring = TailRing(memory, rtmixer.RingBuffer(8, buffer=memory))
        self.frames = self.underruns = 0
        self._pieces: list[np.ndarray] = []

    def play(self, callbacks: int) -> None:
        for _ in range(callbacks):
            data = np.zeros((CALLBACK, 2), np.float32)
            ended = self.ring.ring.readinto(data) < CALLBACK
            self.frames += CALLBACK
            self._pieces.append(data[:, 0])
            self.underruns += self.ring.observe(self.frames, ended)

    @property
    def played(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.float32), *self._pieces])


@pytest.mark.parametrize("seed", range(20))
def test_output_is_played_once_and_unchanged_whatever_the_timing(seed: int) -> None:
    random = np.random.default_rng(seed)
    device, sent, missed = Device(), 0, 0
    tail = np.full((int(random.integers(0, 600)), 2), TAIL, np.float32)
    for _ in range(200):
        frames = np.repeat(
            np.arange(sent + 1, sent + int(random.integers(2, 900)), dtype=np.float32)[:, None],
            2,
            axis=1,
        )
        missed += device.ring.take_missed(device.frames)
        before = device.ring.read_available
        written = device.ring.write(frames, device.frames, tail)
        assert device.ring.read_available == before + written
        sent += written
        device.play(int(random.integers(0, 10)))
    missed += device.ring.take_missed(device.frames)
    output = device.played[device.played > 0]
    np.testing.assert_array_equal(output, np.arange(1, output.size + 1, dtype=np.float32))
    assert output.size == sent - device.ring.read_available
    first = int(np.argmax(device.played > 0))
    assert missed == np.count_nonzero(device.played[first:] <= 0)
    assert device.underruns > 0


def test_the_tail_is_played_once_if_nothing_follows() -> None:
    device = Device()
    device.ring.write(np.ones((250, 2), np.float32), 0, np.full((130, 2), TAIL, np.float32))
    device.play(10)
    np.testing.assert_array_equal(device.played[:250], 1.0)
    np.testing.assert_array_equal(device.played[250:380], TAIL)
    assert not device.played[380:].any()
    assert device.underruns == 1
    assert device.ring.read_available == 0


def test_a_full_ring_keeps_the_output_that_fits() -> None:
    device = Device(1024)
    assert device.ring.write(np.ones((900, 2), np.float32), 0, np.zeros((300, 2), "f4")) == 900
    assert device.ring.write(np.ones((900, 2), np.float32), 0, np.zeros((300, 2), "f4")) == 124
    assert device.ring.write_available == 0
    device.play(20)
    assert np.count_nonzero(device.played) == 1024


def test_queued_output_fades_out_and_in_in_place() -> None:
    device = Device()
    device.ring.write(np.ones((2000, 2), np.float32), 0)
    device.ring.fade_out(200, 100, 300)
    device.play(6)
    np.testing.assert_array_equal(device.played[:200], 1.0)
    assert np.all(np.diff(device.played[200:300]) <= 0)
    assert not device.played[300:600].any()
    device.ring.fade_in(100)
    device.play(4)
    assert np.all(np.diff(device.played[600:700]) >= 0)
    np.testing.assert_array_equal(device.played[700:1000], 1.0)


@pytest.mark.parametrize("queued", [2000, 800])
def test_a_fade_in_begins_where_the_silence_ends(queued: int) -> None:
    device = Device()
    device.ring.write(np.ones((queued, 2), np.float32), 0)
    device.ring.fade_out(200, 100, 700)
    device.play(5)  # the device is stopped in the midst of the silence
    device.ring.write(np.ones((600, 2), np.float32), device.frames, np.ones((300, 2), np.float32))
    device.ring.fade_in(100)
    device.play(8)
    end = min(queued, 1000)
    assert not device.played[300:end].any()
    assert np.all(np.diff(device.played[end : end + 100]) >= 0)
    assert np.abs(np.diff(device.played)).max() < 0.02
    np.testing.assert_array_equal(device.played[end + 100 : 1300], 1.0)


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_a_tail_continues_what_the_resampler_has_returned(rate: int) -> None:
    resampler = EdgeResampler(48_000, rate)
    resampler.trim(300e-6)
    time = np.arange(48_000 + 2880) / 48_000
    wave = (0.5 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    output = np.concatenate([resampler.process(piece) for piece in np.split(wave[:48_000], 10)])
    joined = np.concatenate([output[-200:], resampler.continued(wave[48_000:])])
    curved = np.abs(np.diff(joined.astype(np.float64), 2)).max()
    assert curved < 2 * 0.5 * (2 * np.pi * 300 / rate) ** 2


@pytest.mark.parametrize("rate", [8_000, 12_000])
def test_a_tail_for_a_slow_device_has_the_sound_that_is_in_the_resampler(rate: int) -> None:
    resampler = EdgeResampler(48_000, rate)
    wave = (0.5 * np.sin(2 * np.pi * 300 * np.arange(50_880) / 48_000)).astype(np.float32)
    returned = sum(resampler.process(piece).size for piece in np.split(wave[:48_000], 10))
    tail = resampler.continued(wave[48_000:])
    expected = wave[:: 48_000 // rate][returned:]
    joined = rate // 200  # 5 ms
    np.testing.assert_allclose(tail[joined:], expected[joined : tail.size], atol=0.01)
