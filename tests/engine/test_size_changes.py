"""Changes of block and headroom in the middle of speech: no click at any of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import soxr

from rtvc._types import Float32
from rtvc.audio.simulated import SimulatedDevice
from rtvc.calibration.settling import Change, Settling, StepSeen
from rtvc.engine import auto_sizes
from rtvc.session import Session
from rtvc.settings import Settings
from tests.engine.test_auto_sizes import RATE
from tests.support.speech import UTTERANCES
from tests.support.voices import finder

pytestmark = pytest.mark.slow

EVERY_S = 0.37
"""Time between two changes: no multiple of a block."""
SIZES = [(60, 80), (60, 50), (100, 90), (40, 40), (40, 120), (20, 40), (50, 70), (50, 60)]
AROUND_S = 0.3
"""A change must not bend the signal more than speech does so shortly before or after it."""


def speech(number: int) -> Float32:
    sound, rate = soundfile.read(UTTERANCES[number], dtype="float32")
    spoken: Float32 = soxr.resample(sound[: round(9.0 * rate)], rate, RATE)
    return np.asarray(spoken * (0.5 / np.abs(spoken).max()), np.float32)


def bends(sound: Float32) -> Float32:
    """Return the largest second difference in each 10 ms: the click measure of the live tests."""
    bend = np.abs(np.diff(sound, 2, append=[0.0, 0.0]))
    return np.asarray(bend[: len(bend) // 480 * 480].reshape(-1, 480).max(axis=1), np.float32)


def around(values: Float32) -> Float32:
    """Return the largest of the values within `AROUND_S` of each."""
    width = round(100 * AROUND_S)
    padded = np.pad(values, width)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * width + 1)
    return np.asarray(windows.max(axis=1), np.float32)


def force(monkeypatch: pytest.MonkeyPatch, *, at_once: bool) -> list[float]:
    """Change to the next of `SIZES` every `EVERY_S`; return a list of the times."""
    times: list[float] = []

    def settle(state: Settling, step: StepSeen) -> tuple[Settling, Change | None]:
        if step.now < EVERY_S * (len(times) + 2):
            return state, None
        block, headroom = SIZES[len(times) % len(SIZES)]
        times.append(step.now)
        change = Change(float(block), float(headroom), "it was forced", at_once)
        return replace(state, block=change.block, headroom=change.headroom), change

    monkeypatch.setattr(auto_sizes, "settle", settle)
    return times


@pytest.mark.parametrize(("number", "patience"), [(1, 0.0), (3, 0.1)], ids=["at once", "later"])
def test_no_change_in_speech_clicks(monkeypatch, number: int, patience: float) -> None:
    source = speech(number)
    times = force(monkeypatch, at_once=not patience)
    monkeypatch.setattr(auto_sizes, "_PATIENCE_S", patience)
    device = SimulatedDevice(source)
    session = Session(device, Settings(latency="auto"), finder())
    with session:
        assert session.wait(600)
        stats = session.stats()
    assert len(times) >= 12
    assert stats.size_changes >= 0.6 * len(times)
    played, steady = bends(device.played), around(bends(source))
    size = min(len(played), len(steady))
    assert np.all(played[:size] < np.maximum(1.2 * steady[:size], 2e-3))
