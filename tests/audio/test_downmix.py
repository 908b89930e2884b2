"""Channels of recordings and devices become mono without losing the voice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.audio.downmix import LiveDownmix
from rtvc.audio.sound_input import SoundInput, inspect
from rtvc.audio.sound_source import read_whole
from rtvc.errors import UsageError
from tests.audio.signals import noise_below

RATE = 48_000


class TestFiles:
    voice = 0.3 * noise_below(3000, RATE, 2 * RATE)

    def made(self, path: Path, *channels: np.ndarray, **options: int | str) -> SoundInput:
        soundfile.write(path / "x.wav", np.stack(channels, 1), RATE)
        return inspect(path / "x.wav", **options)  # type: ignore[arg-type]

    def level(self, sound: SoundInput) -> float:
        read = read_whole(sound, RATE)
        return float(20 * np.log10(np.sqrt(np.mean(read**2) / np.mean(self.voice**2))))

    @pytest.mark.parametrize("count", [2, 6, 32])
    def test_silent_channels_do_not_count(self, tmp_path: Path, count: int) -> None:
        noise = 1e-4 * np.random.default_rng(1).standard_normal((count - 1, len(self.voice)))
        sound = self.made(tmp_path, *noise, self.voice)
        assert self.level(sound) == pytest.approx(0, abs=0.1)
        assert sound.notes == ()

    def test_channels_that_cancel_are_noticed(self, tmp_path: Path) -> None:
        sound = self.made(tmp_path, self.voice, -0.9 * self.voice)
        assert self.level(sound) == pytest.approx(0, abs=0.1)
        assert "cancel each other" in sound.notes[0]

    def test_related_and_unrelated_channels_are_averaged(self, tmp_path: Path) -> None:
        other = 0.3 * noise_below(3000, RATE, 2 * RATE, seed=9)
        for second, level in ((self.voice, 0.0), (other, -3.0)):
            sound = self.made(tmp_path, self.voice, second)
            assert self.level(sound) == pytest.approx(level, abs=0.2)

    @pytest.mark.parametrize("count", [1, 7])
    def test_noise_in_other_channels_makes_the_voice_no_quieter(
        self, tmp_path: Path, count: int
    ) -> None:
        noises = 2e-3 * np.random.default_rng(1).standard_normal((count, len(self.voice)))
        for others in (noises, [0.1 * self.voice] * count):
            sound = self.made(tmp_path, self.voice, *others)
            assert self.level(sound) == pytest.approx(0, abs=0.3 if count > 1 else 6)

    def test_a_constant_offset_is_no_sound(self, tmp_path: Path) -> None:
        sound = self.made(tmp_path, self.voice, np.full(len(self.voice), 0.5))
        assert self.level(sound) == pytest.approx(0, abs=0.1)
        assert self.made(tmp_path, np.full(RATE, 0.5)).loud_db < -100

    def test_a_channel_can_be_chosen(self, tmp_path: Path) -> None:
        channels = 0.5 * self.voice, self.voice, 0.1 * self.voice
        for choice, level in ((1, -6), (2, 0), (3, -20), ("loudest", 0)):
            sound = self.made(tmp_path, *channels, channel=choice)
            assert self.level(sound) == pytest.approx(level, abs=0.1)
        with pytest.raises(UsageError, match=r"no channel 4 in .*, which has 3 channels"):
            self.made(tmp_path, *channels, channel=4)


class TestLive:
    voice = (0.3 * noise_below(3000, RATE, 2 * RATE)).astype(np.float32)

    def mixed(self, *channels: np.ndarray) -> np.ndarray:
        frames = np.stack(channels, 1).astype(np.float32)
        mix = LiveDownmix(len(channels), RATE)
        return np.concatenate([mix.process(frames[at : at + 96]) for at in range(0, 2 * RATE, 96)])

    def test_equal_channels_are_kept_bit_for_bit(self) -> None:
        np.testing.assert_array_equal(self.mixed(self.voice), self.voice)
        np.testing.assert_array_equal(self.mixed(self.voice, self.voice), self.voice)

    def test_channels_that_cancel_leave_one_of_them(self) -> None:
        made = self.mixed(self.voice, -self.voice)
        inner = slice(96, None)
        np.testing.assert_allclose(np.abs(made[inner]), np.abs(self.voice[inner]), atol=1e-6)
        assert np.ptp(np.sign(made[inner] * self.voice[inner])) <= 1  # it never changes sides

    def test_a_silent_channel_does_not_count_and_pauses_change_nothing(self) -> None:
        noise = 1e-4 * np.random.default_rng(2).standard_normal((2, 2 * RATE))
        speech = np.where(np.arange(2 * RATE) // (RATE // 4) % 2, self.voice, 0)
        made = self.mixed(noise[0], speech + noise[1])
        speaking = (np.arange(2 * RATE) > RATE // 2) & (speech != 0)
        level = np.sqrt(np.mean(made[speaking] ** 2) / np.mean(speech[speaking] ** 2))
        assert 20 * np.log10(level) == pytest.approx(0, abs=0.1)

    def test_a_change_is_no_click(self) -> None:
        tone = (0.3 * np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE)).astype(np.float32)
        made = self.mixed(np.where(np.arange(2 * RATE) < RATE, tone, -tone), tone)
        assert np.abs(np.diff(made)).max() < 2 * np.abs(np.diff(tone)).max()

    def test_cancelling_channels_are_noticed_after_a_second_of_sound(self) -> None:
        pause = np.zeros(RATE, np.float32)
        left = np.concatenate([pause, self.voice])
        mix = LiveDownmix(2, RATE)

        def played(right: np.ndarray, start: int = 0) -> list[int]:
            """Return what is noticed after each 10 ms."""
            frames = np.stack([0.9 * left, right], 1).astype(np.float32)
            seen = []
            for at in range(start, len(frames), 480):
                mix.process(frames[at : at + 480])
                seen.append(mix.cancelled)
            return seen

        seen = played(-left)
        assert 1.9 < seen.index(2) / 100 < 2.3, "the pause does not count"
        assert seen[-1] == 2, "the louder one"
        assert played(left, RATE)[-1] == 0, "the plug was turned round"
        assert played(np.zeros_like(left), RATE)[-1] == 0, "a silent channel is no fault"

    def test_noise_that_cancels_is_not_reported(self) -> None:
        noise = 3e-4 * np.random.default_rng(3).standard_normal(4 * RATE).astype(np.float32)
        mix = LiveDownmix(2, RATE)
        for at in range(0, len(noise), 480):
            mix.process(np.stack([noise, -noise], 1)[at : at + 480])
        assert mix.cancelled == 0

    @pytest.mark.parametrize("channel", [1, 3, 8])
    def test_a_chosen_channel_is_kept_bit_for_bit(self, channel: int) -> None:
        others = np.random.default_rng(4).standard_normal((8, 4800)).astype(np.float32)
        mix = LiveDownmix(8, RATE, channel)
        np.testing.assert_array_equal(mix.process(others.T), others[channel - 1])

    def test_the_loudest_channel_is_followed_without_clicks(self) -> None:
        tone = (0.3 * np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE)).astype(np.float32)
        channels = np.zeros((2 * RATE, 8), np.float32)
        channels[: RATE // 2, 4] = 0.2 * tone[: RATE // 2]
        channels[RATE // 2 :, 6] = tone[RATE // 2 :]
        mix = LiveDownmix(8, RATE, "loudest")
        made = np.concatenate(
            [mix.process(channels[at : at + 480]) for at in range(0, 2 * RATE, 480)]
        )
        np.testing.assert_allclose(made[960 : RATE // 2], 0.2 * tone[960 : RATE // 2], atol=1e-6)
        np.testing.assert_allclose(made[-RATE:], tone[-RATE:], atol=1e-6)
        assert np.abs(np.diff(made)).max() < 2 * np.abs(np.diff(tone)).max()

    def test_the_mix_is_that_of_the_first_two_channels(self) -> None:
        loopback = np.random.default_rng(5).standard_normal((6, 2 * RATE))
        np.testing.assert_array_equal(self.mixed(self.voice, self.voice, *loopback), self.voice)
