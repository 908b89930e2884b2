"""No voice at the start, and another one that does not load: your own voice stays hidden."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rtvc._types import Float32
from rtvc.audio.simulated import SimulatedDevice
from rtvc.engine import engine, worker
from rtvc.engine.voice import Voice
from rtvc.errors import RtvcError, UsageError
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import State, Stats
from tests.engine.speech_measures import NAMES, RATE, speech
from tests.support.voices import PlainVoice

OPEN = Settings(gate=-90.0, latency="constant")


def played(
    source: Float32,
    settings: Settings,
    find_voice: Callable[[str], Voice],
    at: dict[float, Callable[[Session], Any]],
    *,
    wait_for_voice: bool = False,
    fail_open: bool = False,
) -> tuple[Float32, list[tuple[float, Stats]]]:
    """The output, aligned with the clock of the device, and the statistics over time."""
    seen: list[tuple[float, Stats]] = []

    class Device(SimulatedDevice):
        def start(self, tick, delay):
            def watched():
                tick()
                for due in [time for time in at if time <= self.now()]:
                    at.pop(due)(session)
                seen.append((self.now(), session.stats()))

            super().start(watched, delay)

    device = Device(source)
    session = Session(
        device, settings, find_voice, wait_for_voice=wait_for_voice, fail_open=fail_open
    )
    with session:
        assert session.wait(60)
    out = device.played
    return out, seen


def between(seen: list[tuple[float, Stats]], begin: float, end: float) -> list[Stats]:
    found = [stats for time, stats in seen if begin < time < end]
    assert found, "nothing was seen"
    return found


def test_without_its_voice_a_session_does_not_start_unless_it_may_wait():
    def nothing(name: str) -> Voice:
        raise UsageError(f"There is no voice {name!r}.")

    with pytest.raises(UsageError, match="no voice 'world'"):
        Session(SimulatedDevice(np.zeros(100, np.float32)), OPEN, nothing).start()


def test_it_starts_muted_and_sounds_when_the_file_is_back():
    there = False

    def find(name: str) -> Voice:
        if not there:
            raise RtvcError("The file of Anna is missing.")
        return PlainVoice(name)

    def put_back(session: Session) -> None:
        nonlocal there
        there = True

    sound = np.resize(speech(NAMES[0]), 8 * RATE)
    settings = OPEN.replace(voice="Anna")
    out, seen = played(sound, settings, find, {3.0: put_back}, wait_for_voice=True)
    for stats in between(seen, 0.2, 3.0):
        assert stats.state is State.MUTED
        assert stats.reason.startswith("No voice: The file of Anna is missing. Choose another")
        assert (stats.restarts, stats.restart_causes) == (1, {"no voice": 1})
    assert not out[: 2 * RATE].any()
    last = seen[-1][1]
    assert (last.state, last.voice, last.reason) == (State.CONVERTED, "Anna", "")
    since = next(time for time, stats in seen if stats.state is State.CONVERTED)
    assert since < 3.0 + 2.2, "the third pause is 2 s"
    assert np.abs(out[5 * RATE :]).max() > 0.05


@pytest.mark.parametrize("waits", [False, True])
def test_a_voice_that_never_loads_does_not_keep_the_session_from_starting(monkeypatch, waits):
    for module in (engine, worker):
        monkeypatch.setattr(module, "LOAD_LIMIT_S", 0.3)
    answered = threading.Event()

    def find(name: str) -> Voice:
        if name == "Anna":
            answered.wait(60)
        return PlainVoice(name)

    settings = OPEN.replace(voice="Anna")
    choose = {4.1: lambda session: session.apply(voice="Bruno")}
    try:
        if not waits:
            device = SimulatedDevice(np.zeros(100, np.float32))
            with pytest.raises(RtvcError, match=r"did not load within 0 s\."):
                Session(device, settings, find).start()
            return
        _, seen = played(speech(NAMES[0], 6.0), settings, find, choose, wait_for_voice=True)
    finally:
        answered.set()
    assert seen[0][1].reason.startswith("No voice: The voice did not load within 0 s. Choose an")
    assert seen[-1][1].voice == "Bruno"


def test_another_voice_that_is_chosen_sounds_at_once():
    def find(name: str) -> Voice:
        if name == "Anna":
            raise RtvcError("The file of Anna is missing.")
        return PlainVoice(name)

    choose = {4.1: lambda session: session.apply(voice="Bruno")}
    settings = OPEN.replace(voice="Anna")
    _, seen = played(speech(NAMES[0], 6.0), settings, find, choose, wait_for_voice=True)
    since = next(time for time, stats in seen if stats.state is State.CONVERTED)
    assert since < 4.6
    assert seen[-1][1].voice == "Bruno"


class Noting(PlainVoice):
    """A voice that notes the pitch of each block."""

    def __init__(self) -> None:
        super().__init__()
        self.pitches: list[float] = []

    def leaves_unchanged(self, settings: Settings) -> bool:
        self.pitches.append(settings.pitch)
        return settings.pitch == 0


def test_a_preset_of_a_voice_that_does_not_load_does_not_reveal_you():
    """Its pitch 0 is for its own voice: with the one in use it would be your own voice."""
    voice = Noting()

    def find(name: str) -> Voice:
        if name != "world":
            raise RtvcError("The file of Anna is missing.")
        return voice

    deep = OPEN.replace(pitch=-5)
    changes = {
        1.0: lambda session: session.apply(OPEN.replace(voice="Anna")),
        2.0: lambda session: session.apply(OPEN.replace(pitch=2)),
    }
    _, seen = played(speech(NAMES[0], 3.0), deep, find, changes)
    assert set(voice.pitches) == {-5, 2}
    assert {stats.state for stats in between(seen, 0.5, 3.0)} == {State.CONVERTED}
    assert "The file of Anna is missing." in between(seen, 1.5, 2.0)[-1].reason


def test_gate_gains_and_mode_of_the_preset_apply_at_once():
    def find(name: str) -> Voice:
        if name != "world":
            raise RtvcError("The file of Anna is missing.")
        return PlainVoice()

    muted = OPEN.replace(voice="Anna", mode="muted")
    out, seen = played(speech(NAMES[0], 3.0), OPEN, find, {1.0: lambda s: s.apply(muted)})
    assert seen[-1][1].state is State.MUTED
    assert not out[-RATE:].any()


def test_with_fail_open_your_own_voice_is_output_until_there_is_one():
    def find(name: str) -> Voice:
        raise RtvcError("The file of Anna is missing.")

    sound = speech(NAMES[0], 3.0)
    out, seen = played(sound, OPEN, find, {}, wait_for_voice=True, fail_open=True)
    stats = between(seen, 1.0, 2.5)[-1]
    assert (stats.state, stats.fail_open) == (State.DRY, True)
    assert stats.late_blocks == 0
    likeness = np.correlate(out[RATE : 2 * RATE : 8], sound[RATE // 2 : 2 * RATE : 8], "full").max()
    power = np.sqrt(np.sum(out[RATE : 2 * RATE : 8] ** 2) * np.sum(out[RATE : 2 * RATE : 8] ** 2))
    assert likeness > 0.99 * power
