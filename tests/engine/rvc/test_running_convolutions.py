"""Convolutions of new input only, against a direct computation with the same statistics."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import soxr

from rtvc._types import Float32, Float64
from rtvc.engine.chain import Chain
from rtvc.engine.chain_state import read_state, write_state
from rtvc.engine.dsp.input_statistics import InputStatistics
from rtvc.engine.rvc.running_convolutions import RunningConvolutions
from rtvc.engine.rvc.window import FRAME
from rtvc.live.flight_state import pack_state, unpack_state
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import LocalPitch, encoder, speech, voice

KERNEL, STRIDE = 10, 5


def direct(audio: Float32) -> tuple[Float64, Float64]:
    windows = np.lib.stride_tricks.sliding_window_view(audio.astype(np.float64), KERNEL)[::STRIDE]
    return windows.mean(axis=0), np.cov(windows.T, bias=True)


def noise(seconds: float, level: float = 0.1) -> Float32:
    random = np.random.default_rng(3)
    return (level * random.standard_normal(round(seconds * 16_000)) + 0.02).astype(np.float32)


def close(one: tuple[Float64, Float64], other: tuple[Float64, Float64]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)


class TestStatistics:
    @pytest.mark.parametrize("block", [160, 800, 4000])
    def test_they_are_those_of_all_windows(self, block):
        audio, statistics = noise(1.0), InputStatistics(KERNEL, STRIDE)
        for start in range(0, len(audio), block):
            statistics.push(audio[start : start + block])
        close(statistics.values(), direct(audio))

    def test_they_forget_what_is_older(self):
        statistics = InputStatistics(KERNEL, STRIDE, seconds=0.5)
        audio = np.concatenate([noise(1.0, 0.2), noise(0.5)])
        for block in audio.reshape(-1, 800):
            statistics.push(block)
        close(statistics.values(), direct(audio[-8000 - STRIDE :]))

    @pytest.mark.parametrize("quiet", [np.zeros(16_000, np.float32), noise(1.0) * 3e-3])
    def test_silence_that_was_skipped_is_not_counted(self, quiet):
        statistics = InputStatistics(KERNEL, STRIDE, seconds=0.5)
        audio = noise(0.5)
        statistics.push(quiet, skipped=True)
        statistics.push(audio)
        statistics.push(quiet, skipped=True)
        mean, covariance = direct(audio)
        assert np.abs(statistics.values()[1] - covariance).max() < 0.01 * covariance.max()
        assert np.abs(statistics.values()[0] - mean).max() < 1e-3

    @pytest.mark.parametrize("block", [160, 800])
    def test_input_that_the_statistics_before_had_is_counted_once(self, block):
        before, after = (InputStatistics(KERNEL, STRIDE, seconds=2.0) for _ in range(2))
        audio = np.concatenate([noise(1.0, 0.3), noise(1.0)])
        before.push(audio[:24_000])
        after.follow(before, known=8000)
        for start in range(16_000, len(audio), block):  # from half a second before on
            after.push(audio[start : start + block], skipped=start < 24_000)
        close(after.values(), direct(audio))
        close(before.values(), direct(audio[:24_000]))

    @pytest.mark.parametrize(("level", "skipped"), [(3e-3, False), (0.5, True)])
    def test_pauses_and_skipped_speech_are_counted(self, level, skipped):
        statistics = InputStatistics(KERNEL, STRIDE)
        audio = noise(0.5)
        statistics.push(audio)
        statistics.push(level * audio, skipped=skipped)
        close(statistics.values(), direct(np.concatenate([audio, level * audio]).astype("f4")))


def windows_of(audio: Float32, frames: int, block: int, skipped: range = range(0)):
    """Yield end, start and output of each window of a stream, with the statistics used."""
    stream = RunningConvolutions(encoder(), frames, block)
    padded = np.pad(audio, ((frames + 1) * FRAME, 0))
    for number in range(len(audio) // (block * FRAME)):
        end = (number + 1) * block
        stream.push(audio[number * block * FRAME : end * FRAME])
        if number in skipped:
            continue
        start = end - frames
        start -= start % 2
        window = padded[(start + frames + 1) * FRAME : (end + frames + 1) * FRAME]
        statistics = stream.statistics.values()
        parts = stream.begin(window, start)
        yield number, start, window, mx.concatenate(parts, axis=1), statistics


def directly(window: Float32, statistics: tuple[Float64, Float64]) -> Float32:
    mean, covariance = (mx.array(part.astype(np.float32)) for part in statistics)
    parts = encoder().convolve_by(mx.array(window), mean, covariance)
    return np.array(mx.concatenate(parts, axis=1))


@pytest.mark.parametrize(("frames", "block"), [(60, 10), (45, 5), (62, 25), (31, 2)])
def test_new_rows_are_those_of_the_whole_window_and_old_ones_stay(frames, block):
    known: dict[int, Float32] = {}
    for number, start, window, rows, statistics in windows_of(speech()[:24_000], frames, block):
        assert rows.shape[1] == encoder().frames(len(window))
        expected = directly(window, statistics)[0]
        for index, row in enumerate(np.array(rows)[0]):
            absolute = start // 2 + index
            if absolute in known:
                np.testing.assert_array_equal(row, known[absolute])
            else:
                error = np.abs(row - expected[index]).max()
                assert error < 2e-5 * np.abs(expected).max(), (number, index)
                known[absolute] = row


def test_after_a_gap_all_rows_are_computed():
    for number, _, window, rows, statistics in windows_of(speech()[:24_000], 60, 10, range(5, 9)):
        if number in (0, 9):
            expected = directly(window, statistics)
            np.testing.assert_allclose(rows, expected, atol=2e-5 * np.abs(expected).max())


def test_they_come_closer_to_those_of_a_file():
    audio = speech()[: 16_000 * 4]
    whole = np.array(mx.concatenate(encoder().convolve(mx.array(audio)), axis=1))[0]
    errors: list[tuple[float, float]] = []
    for number, start, window, rows, _ in windows_of(audio, 62, 10):
        if number < 10:
            continue
        alone = np.array(mx.concatenate(encoder().convolve(mx.array(window)), axis=1))[0]
        newest = slice(rows.shape[1] - 5, None)
        expected = whole[start // 2 : start // 2 + rows.shape[1]][newest]
        errors.append(
            (
                float(np.sum((np.array(rows)[0][newest] - expected) ** 2)),
                float(np.sum((alone[newest] - expected) ** 2)),
            )
        )
    running, window_alone = np.sum(errors, axis=0)
    assert running < 0.5 * window_alone


def test_a_chain_with_a_saved_state_continues_bit_for_bit():
    settings = Settings(content="running", block=100.0, context=300.0, gate=-90.0)
    made = voice(pitch=LocalPitch())
    first, second = Chain(made, settings), Chain(made, settings)
    blocks = soxr.resample(speech(), 16_000, 48_000)[: 12 * first.block].reshape(12, -1)
    for block in blocks[:10]:
        first.step(block, settings)
    arrays: dict[str, np.ndarray] = {}
    write_state(second, unpack_state(pack_state(read_state(first), arrays), arrays))
    for block in blocks[10:]:
        expected = first.step(block, settings).output
        np.testing.assert_array_equal(second.step(block, settings).output, expected)


@pytest.mark.parametrize("after", [{"block": 50.0}, {"context": 500.0}, {"noise": "strong"}])
def test_a_chain_that_takes_over_continues_with_the_statistics(after):
    """They are of the speaker; of input that another noise suppression has passed they are not."""
    settings = Settings(content="running", block=100.0, context=300.0, gate=-90.0)
    made = voice(pitch=LocalPitch())
    first, second = Chain(made, settings), Chain(made, settings.replace(**after))
    audio = soxr.resample(speech(), 16_000, 48_000)[: 40 * first.block].copy()
    audio[28 * first.block :] *= 0.1  # the newest input is not like what was before
    for block in audio[: 38 * first.block].reshape(-1, first.block):
        first.step(block, settings)
    recent = audio[28 * first.block : 38 * first.block]
    second.continue_with(first.learned, len(recent))
    second.skip(recent, settings)
    for block in audio[38 * first.block :].reshape(-1, second.block):
        second.step(block, settings)
    for block in audio[38 * first.block :].reshape(-1, first.block):
        first.step(block, settings)
    statistics = first.learned.input_statistics, second.learned.input_statistics
    theirs, own = (one.values()[1] for one in statistics if one is not None)
    if "noise" in after:
        assert own.max() < 0.1 * theirs.max()
    else:
        np.testing.assert_allclose(own, theirs, rtol=1e-6)
