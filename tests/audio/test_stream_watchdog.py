from __future__ import annotations

import pytest

from rtvc.audio.stream_watchdog import StreamWatchdog
from tests.support.simulated_stream import SimulatedSpeaker

TIMEOUT_S = 0.4


class Clocks:
    """The clock of the machine and the clock that the device's callbacks follow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.device = 0.0
        monkeypatch.setattr("rtvc.audio.stream_watchdog.wake_clock", lambda: self.now)
        speaker = SimulatedSpeaker(clock=lambda: self.device)
        speaker.start()
        self.watchdog = StreamWatchdog(speaker, "speaker")

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.01)):
            self.now += 0.01
            self.device += 0.01
            assert self.watchdog.lost(TIMEOUT_S) == ""
            assert self.watchdog.interrupted_s == 0.0


def test_a_pause_of_the_program_or_the_machine_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocks = Clocks(monkeypatch)
    clocks.run(1.0)
    clocks.now += 3.0
    assert clocks.watchdog.lost(TIMEOUT_S) == ""
    assert clocks.watchdog.interrupted_s == pytest.approx(3.0, abs=0.02)
    clocks.run(1.0)


def test_a_held_interpreter_is_not_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    clocks.run(1.0)
    clocks.now += 0.5
    clocks.device += 0.5
    clocks.run(1.0)


def test_a_device_that_stands_still_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    clocks.run(1.0)
    lost = ""
    for _ in range(45):
        clocks.now += 0.01
        lost = lost or clocks.watchdog.lost(TIMEOUT_S)
    assert lost == "'speaker' was lost: its stream has stalled for 0.4 s."
