"""``python -m benchmarks.switches``: changes between two RVC voices that are ready."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import switches
from benchmarks.faults.rig import dense_speech
from benchmarks.switches import BRIGHT, DULL, FADE_S, SETTINGS, Switches, figures, install, problems
from rtvc._types import Float32
from rtvc.library.open_voice import find_voice
from rtvc.session import Session
from tests.engine.test_voice_bank import Device
from tests.support.patience import measured
from tests.support.sound_server import RATE, RecordedSound, SoundServer

BLOCK_S, LATENCY_S = 0.1, 0.25
WAY_S = 0.2
"""Time from a command to the first sound of the new voice in the made recordings."""


@pytest.fixture
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_HOME", str(tmp_path))
    install()


def made(way_s: float = WAY_S) -> Switches:
    """Return a run without faults, of noise up to 16 and to 24 kHz instead of voices."""
    samples = 5 * RATE
    said, bright, other = np.random.default_rng(0).standard_normal((3, samples)) * 0.05
    spectrum = np.fft.rfft(other)
    spectrum[np.fft.rfftfreq(samples, 1 / RATE) > 16_000] = 0
    dull = np.fft.irfft(spectrum)
    commands = [(1.0 + 1.1 * n, (BRIGHT, DULL)[n % 2], LATENCY_S) for n in range(3)]
    angle = np.zeros(samples)
    for at, name, _ in commands:
        begin = round((at + way_s) * RATE)
        fade = np.linspace(0, np.pi / 2, round(FADE_S * RATE))
        angle[begin:] = np.pi / 2 if name == BRIGHT else 0.0
        angle[begin : begin + len(fade)] = fade if name == BRIGHT else fade[::-1]
    heard = np.cos(angle) * dull + np.sin(angle) * bright
    return Switches(
        RecordedSound(said.astype(np.float32), 0.0),
        RecordedSound(heard.astype(np.float32), 0.0),
        commands,
        BLOCK_S,
    )


def change(run: Switches, number: int) -> tuple[Float32, int]:
    """Return the output, and the sample at which a change begins."""
    return run.heard.samples, round((run.commands[number][0] + WAY_S) * RATE)


def test_the_moments_of_the_changes_are_found():
    run = made()
    found = figures(run)
    # The new voice is heard between the begin and the end of the fade.
    assert 200 <= found["heard after the command, median"] <= 220
    assert found["heard after the command, most"] - 200 <= 20
    assert problems(run, found) == ([], [])


def test_a_change_that_comes_late_is_found():
    late = made(LATENCY_S + BLOCK_S + FADE_S + 0.01)
    assert problems(late, figures(late)) == (["a change was heard late"], [])


def test_a_click_a_gap_and_the_microphone_are_found():
    run = made()
    output, at = change(run, 2)
    output[at + 500] += 2.0
    assert problems(run, figures(run))[1] == ["a change clicks"]
    run = made()
    output, at = change(run, 1)
    output[at : at + RATE // 40] = 0
    assert problems(run, figures(run))[1] == ["a change has a gap"]
    run = made()
    output, at = change(run, 2)
    output[at : at + RATE // 10] = run.said.samples[at - 4800 :][: RATE // 10]
    assert "the microphone itself was heard" in problems(run, figures(run))[1]


def test_a_change_that_is_not_heard_is_found():
    run = made()
    output, at = change(run, 2)
    output[at:] = output[at - RATE : at - RATE + len(output) - at]
    with pytest.raises(RuntimeError, match="The change to Bright was not heard"):
        figures(run)


@pytest.mark.thorough
def test_changes_on_a_simulated_device(voices: None):
    """With the real small voices, on a clock that waits for them."""
    rng = np.random.default_rng(0)
    times = 4.0 + np.cumsum(rng.uniform(0.8, 1.3, 5))
    sound = np.resize(dense_speech(), round((times[-1] + 1.5) * RATE)).astype(np.float32)
    device = Device(sound)
    settings = SETTINGS.replace(block=100.0, ready_memory=1000.0)
    session = Session(device, settings, find_voice)
    session.keep_ready([BRIGHT])
    names = [(float(at), (BRIGHT, DULL)[number % 2]) for number, at in enumerate(times)]
    due = list(names)

    def tick(now: float) -> None:
        if due and now >= due[0][0]:
            session.apply(voice=due.pop(0)[1])

    device.on_tick = tick
    with session:
        assert session.wait(400)
    latency = session.stats().latency
    commands = [(at, name, latency.total) for at, name in names]
    said, heard = RecordedSound(sound, 0.0), RecordedSound(device.played, 0.0)
    run = Switches(said, heard, commands, latency.block)
    assert problems(run, figures(run)) == ([], [])


@pytest.mark.thorough
@measured
def test_changes_through_a_sound_server(
    voices: None, sound_server: SoundServer, monkeypatch: pytest.MonkeyPatch
):
    for name, value in sound_server.environment.items():
        monkeypatch.setitem(os.environ, name, value)
    try:
        # At 100 ms two chains take all of a block where two hyperthreads share a core.
        run = switches.run(sound_server, 5, 250.0, 0)
        found = figures(run)
    except RuntimeError as error:
        raise AssertionError(str(error)) from error  # a machine that is held up is no fault
    assert run.stated_mb > 1.0
    assert problems(run, found) == ([], [])
