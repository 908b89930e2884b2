"""SwiftF0 compared with the published ONNX file, and its frames in a stream."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import soundfile

from rtvc._types import AnyArray, Float32, Float64
from rtvc.engine.models.ops import backend
from rtvc.engine.models.pitch_estimator import HOP
from rtvc.engine.models.swift_f0 import SwiftF0Estimator
from rtvc.engine.models.swift_f0_cpu import CpuNetwork
from rtvc.engine.models.swift_f0_mlx import MlxNetwork
from rtvc.engine.models.swift_f0_sizes import GRID, LONGEST, LOOKAHEAD
from rtvc.engine.profiling.stage_times import stage_methods, time_stages
from rtvc.engine.weights import swift_f0 as weights_file
from rtvc.engine.weights.swift_f0 import SHAPES, read_swift_f0
from rtvc.errors import RtvcError, UsageError
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import voice
from tests.support.speech import FOLDER

GOLDEN = Path(__file__).parents[2] / "golden" / "swift_f0.npz"
UTTERANCES = ["2902-9006-0000", "777-126732-0000"]


@cache
def swift() -> SwiftF0Estimator:
    return SwiftF0Estimator(read_swift_f0())


@cache
def speech(name: str) -> Float32:
    audio: Float32 = soundfile.read(FOLDER / f"{name}.wav", dtype="float32")[0]
    return audio


def tone(hz: float, samples: int) -> Float32:
    phase = 2 * np.pi * hz * np.arange(samples) / 16_000
    sound = sum(np.sin(k * phase) / k for k in range(1, min(12, int(8000 / hz))))
    return (0.1 * np.asarray(sound)).astype(np.float32)


def cents(hz: AnyArray, reference: AnyArray | float) -> Float64:
    difference: Float64 = np.abs(1200 * np.log2(np.asarray(hz, np.float64) / reference))
    return difference


@pytest.mark.parametrize("name", UTTERANCES)
def test_every_frame_is_that_of_the_onnx_file(name: str) -> None:
    with np.load(GOLDEN) as golden:
        expected_hz, expected = golden[f"{name}.hz"], golden[f"{name}.confidence"]
    hz, confidence = swift().frames(speech(name))
    assert hz.shape == expected_hz.shape == (len(speech(name)) // GRID,)
    np.testing.assert_allclose(hz, expected_hz, rtol=1e-4)
    # The package itself, after the ONNX file, takes frames whose hop is silent for unvoiced.
    hops = speech(name)[: len(hz) * GRID].reshape(-1, GRID)
    silent = np.abs(hops).max(axis=1) < 1e-3
    np.testing.assert_allclose(confidence[~silent], expected[~silent], atol=1e-4)
    assert (confidence[silent] == 0).all()


@pytest.mark.parametrize("samples", [256, 640, 4959, 4960, 5120])
def test_frame_count(samples: int) -> None:
    assert swift()(tone(200.0, samples)).shape == (samples // HOP + 1,)


@pytest.mark.parametrize("hz", [60.0, 110.0, 440.0, 700.0])
def test_a_tone_has_its_pitch_on_every_frame(hz: float) -> None:
    found = swift()(tone(hz, 16_000))[5:-5]
    assert (found > 0).all()
    assert cents(found, hz).max() < 10


def test_a_glide_is_interpolated_between_the_frames_of_the_network() -> None:
    time = np.arange(32_000) / 16_000
    hz = 110.0 * 2.0**time
    phase = 2 * np.pi * np.cumsum(hz) / 16_000
    sound = 0.1 * sum(np.sin(k * phase) / k for k in range(1, 12))
    found = swift()(np.asarray(sound, np.float32))[:-1]
    kept = slice(8, -8)
    assert cents(found[kept], hz[::HOP][kept]).max() < 15


def test_silence_and_noise_are_unvoiced() -> None:
    assert not swift()(np.zeros(8000, np.float32)).any()
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    assert np.mean(swift()(noise) > 0) < 0.05


def test_only_pitches_in_the_range_are_voiced() -> None:
    sound = np.concatenate([tone(100.0, 8000), tone(300.0, 8000)])
    found = swift()(sound, f0_min=200.0, f0_max=400.0)
    assert not found[5:45].any()
    assert cents(found[55:95], 300.0).max() < 10
    with pytest.raises(UsageError, match="No pitch lies between 3000 and 4000 Hz for swift"):
        swift()(sound, f0_min=3000.0, f0_max=4000.0)


def test_the_threshold_decides_what_is_voiced() -> None:
    sure, usual, any_frame = (
        swift()(speech(UTTERANCES[0]), threshold=t) > 0 for t in (0.9, None, 0.05)
    )
    assert sure.sum() < usual.sum() < any_frame.sum()
    np.testing.assert_array_equal(usual, swift()(speech(UTTERANCES[0]), threshold=0.3) > 0)


def test_short_signals_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 256 samples"):
        swift()(np.zeros(255, np.float32))


@pytest.mark.parametrize("frames", [45, 48, 61])
def test_every_window_of_a_stream_has_the_frames_of_the_whole_signal(frames: int) -> None:
    """Up to the lookahead, whatever the size of a window and where it starts."""
    audio = speech("2086-149214-0000")[:80_000]
    whole = swift()(audio)
    reach = -(-(LOOKAHEAD + GRID) // HOP)  # frames of rtvc, to the next frame of the network
    compared = 0
    for first in range(0, len(audio) // HOP - frames, 13):
        part = audio[first * HOP : (first + frames) * HOP]
        found = swift().begin(part, position=first * HOP)()
        assert len(found) == frames + 1
        kept = slice(reach, frames - reach)
        expected = whole[first:][kept]
        np.testing.assert_array_equal(found[kept] > 0, expected > 0)
        voiced = expected > 0
        assert cents(found[kept][voiced], expected[voiced]).max(initial=0.0) < 0.01
        compared += int(voiced.sum())
    assert compared > 10


def test_all_windows_of_a_stream_have_one_shape() -> None:
    """Another number of frames would be traced, and so compiled, in the middle of a stream."""
    shapes = set()
    for position in range(0, 20_000, HOP):
        shapes.add(swift()._start(tone(200.0, 35 * HOP), position)[1].shape)
    assert shapes == {(17, 96)}


def signal(frames: int, first: int = 0) -> Float32:
    """Speech for a number of frames of the network, from frame `first` on."""
    return speech("2086-149214-0000")[GRID * first :][: GRID * (frames - 1) + LONGEST]


# More than 142 frames are computed in parts.
@pytest.mark.parametrize("frames", [1, 5, 17, 143, 290])
def test_the_network_of_a_cpu_has_the_scores_of_the_one_in_mlx(frames: int) -> None:
    in_mlx = MlxNetwork(read_swift_f0(), mx.float32)
    for first in (0, 40):
        expected = np.array(in_mlx(mx.array(signal(frames, first))))
        scores = CpuNetwork(read_swift_f0())(signal(frames, first))
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_cpu_computes_in_numpy_and_a_gpu_in_mlx() -> None:
    assert swift().in_mlx is (backend.OPERATORS == "gpu")


@pytest.mark.parametrize("order", [[0, 0, 1, 8, 14, 31], [31, 8, 0, 40], [3, 20, 3]])
def test_spectra_of_the_window_before_are_used_again_only_where_they_are_the_same(
    order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, computed = CpuNetwork(read_swift_f0()), []
    rfft = np.fft.rfft
    caller = threading.get_ident()  # other threads of the process transform too

    def counted(part: Float32, **options: Any) -> AnyArray:
        if threading.get_ident() == caller:
            computed.append(len(part))
        return rfft(part, **options)

    for at, before in zip(order, [1000, *order], strict=False):
        monkeypatch.setattr(np.fft, "rfft", counted)
        computed.clear()
        scores = network(signal(17, at))
        monkeypatch.undo()
        new = at - before if 0 <= at - before < 17 else 17
        assert computed == ([new] * 3 if new else [])
        np.testing.assert_allclose(scores, CpuNetwork(read_swift_f0())(signal(17, at)), atol=2e-5)


def test_one_changed_sample_is_noticed() -> None:
    network = CpuNetwork(read_swift_f0())
    network(signal(17))
    changed = signal(17, 6).copy()
    changed[1000] += 0.1
    expected = CpuNetwork(read_swift_f0())(changed)
    np.testing.assert_allclose(network(changed), expected, atol=2e-5)


@pytest.mark.filterwarnings("error")
def test_values_that_are_not_finite_stay_in_their_window() -> None:
    network, broken = CpuNetwork(read_swift_f0()), signal(17).copy()
    broken[1000:1100] = [np.nan, np.inf] * 50
    assert not np.isfinite(network(broken)).all()
    expected = CpuNetwork(read_swift_f0())(signal(17, 1))
    np.testing.assert_array_equal(network(signal(17, 1)), expected)


def test_threads_that_compute_at_once_do_not_disturb_each_other() -> None:
    network = CpuNetwork(read_swift_f0())
    signals = [signal(17, first) for first in range(0, 96, 6)]
    expected = [network(one) for one in signals]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            for scores, right in zip(threads.map(network, signals), expected, strict=True):
                np.testing.assert_allclose(scores, right, atol=2e-5)


def test_the_time_of_the_network_is_that_of_the_stage_of_the_pitch() -> None:
    made = voice(pitch=swift())
    now = iter(range(100))
    with time_stages(stage_methods(made, Settings()), clock=lambda: float(next(now))) as seconds:
        swift().begin(tone(200.0, 5600), position=0)()
    assert seconds["pitch"] > 0
    assert set(seconds) == {"pitch", "rest"}


def test_arrays_of_few_lengths_are_kept() -> None:
    network = CpuNetwork(read_swift_f0())
    for frames in range(1, 9):
        network(signal(frames))
        assert frames in network._spare
        assert len(network._spare) <= 3


def test_weights_that_do_not_fit_are_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "swift_f0.npz"
    monkeypatch.setattr(weights_file, "BUNDLED", path)
    with pytest.raises(RtvcError, match="Cannot open swift_f0"):
        read_swift_f0()
    arrays: dict[str, Any] = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    del arrays["voicing.2.bias"]
    np.savez(path, **arrays)
    with pytest.raises(RtvcError, match=r"1 missing \(voicing\.2\.bias"):
        read_swift_f0()
