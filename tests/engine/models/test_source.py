"""The excitation against its formula in float64, and its continuity over blocks."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from rtvc.engine.dsp.pitch import sine_phase
from rtvc.engine.models.parameters import Linear
from rtvc.engine.models.source import HeldF0, LinearF0, SineSource

RATE, HOP = 48000, 480


def _source(upsampler: HeldF0 | LinearF0, harmonics: int = 1) -> SineSource:
    weight = np.linspace(1.0, 0.2, harmonics, dtype=np.float32)[None]
    return SineSource(upsampler, Linear(mx.array(weight), mx.array([0.02])), harmonics, RATE)


def _run(source: SineSource, hz: np.ndarray, phase: float = 0.0, noise=None) -> np.ndarray:
    f0 = mx.array(hz.astype(np.float32))[None]
    return np.array(source(f0, mx.array(phase), noise))[0, :, 0]


def _expected(samples_hz: np.ndarray, harmonics: int = 1) -> np.ndarray:
    cycles = np.cumsum(samples_hz / RATE)[:, None] * np.arange(1, harmonics + 1)
    sines = 0.1 * np.sin(2 * np.pi * cycles) * (samples_hz > 0)[:, None]
    return np.tanh(sines @ np.linspace(1.0, 0.2, harmonics) + 0.02)


def _melody(frames: int) -> np.ndarray:
    hz = 180 + 60 * np.sin(np.arange(frames) / 5)
    hz[frames // 2 : frames // 2 + 4] = 0
    return hz.astype(np.float32)


@pytest.mark.parametrize("harmonics", [1, 9])
def test_held_f0(harmonics: int) -> None:
    hz = _melody(40)
    audio = _run(_source(HeldF0(HOP), harmonics), hz)
    assert_allclose(audio, _expected(np.repeat(hz.astype(float), HOP), harmonics), atol=5e-5)


def test_linear_f0() -> None:
    hz = _melody(40)
    middles = (np.arange(40) + 0.5) * HOP - 0.5
    samples = np.interp(np.arange(40 * HOP), middles, hz.astype(float))
    audio = _run(_source(LinearF0(HOP)), hz)
    # Where f0 reaches zero, rounding decides the voicing of single samples.
    differs = np.abs(audio - _expected(samples)) > 1e-5
    assert differs.sum() <= 2


def test_phase_is_precise_in_a_long_window() -> None:
    hz = np.full(1000, 220.0)
    audio = _run(_source(HeldF0(HOP)), hz)
    # After ten seconds the only error is a relative f0 error of 1e-7; a running sum over samples
    # would be off by whole cycles.
    assert_allclose(audio[-HOP:], _expected(np.repeat(hz, HOP))[-HOP:], atol=1e-4)


@pytest.mark.parametrize("harmonics", [1, 9])
def test_blocks_are_continuous(harmonics: int) -> None:
    hz, source = _melody(40), _source(HeldF0(HOP), harmonics)
    phases = sine_phase(hz)
    blocks = [_run(source, hz[n : n + 10], phases[n]) for n in range(0, 40, 10)]
    assert_allclose(np.concatenate(blocks), _run(source, hz), atol=5e-5)


def test_noise_amplitude_depends_on_voicing() -> None:
    hz = np.array([0.0, 200.0])
    noise = np.random.default_rng(0).standard_normal((1, 2 * HOP, 1)).astype(np.float32)
    source = _source(HeldF0(HOP))
    added = np.arctanh(_run(source, hz, noise=mx.array(noise))) - np.arctanh(_run(source, hz))
    assert_allclose(added[:HOP], noise[0, :HOP, 0] * 0.1 / 3, atol=1e-6)
    assert_allclose(added[HOP:], noise[0, HOP:, 0] * 0.003, atol=1e-6)
