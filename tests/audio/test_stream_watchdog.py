from __future__ import annotations

from dataclasses import replace

import pytest

from rtvc.audio.stream_watchdog import StreamWatchdog
from tests.support.simulated_stream import SimulatedSpeaker

TIMEOUT_S = 0.4


class Clocks:
    """The clock of the machine and the clock that the device's callbacks follow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fixed_rate: bool = False) -> None:
        self.now = self.device = 0.0
        monkeypatch.setattr("rtvc.audio.stream_watchdog.wake_clock", lambda: self.now)
        speaker = SimulatedSpeaker(clock=lambda: self.device)
        speaker.spec = replace(speaker.spec, fixed_rate=fixed_rate)
        speaker.start()
        self.watchdog = StreamWatchdog(speaker, "speaker")

    def run(self, seconds: float) -> None:
        assert self.lost_within(seconds) is None
        assert self.watchdog.interrupted_s == 0.0

    def lost_within(self, seconds: float, speed: float = 1.0) -> float | None:
        """Run the device at a multiple of its rate; return when it was lost, None if it was not."""
        for look in range(round(seconds / 0.01)):
            self.now += 0.01
            self.device += 0.01 * speed
            if self.watchdog.lost(TIMEOUT_S):
                return 0.01 * look
        return None


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


@pytest.mark.parametrize("speed", [0.5, 44_100 / 48_000, 0.97, 1.03, 2.0])
def test_a_device_at_a_wrong_rate_is_lost_after_two_seconds(
    monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    clocks = Clocks(monkeypatch)
    clocks.run(3.3)
    lost = clocks.lost_within(4.0, speed)
    assert lost is not None
    assert 1.5 < lost < 3.0


@pytest.mark.parametrize("speed", [0.99, 1.01])
def test_a_device_at_nearly_its_rate_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    assert Clocks(monkeypatch).lost_within(30.0, speed) is None


def test_short_stalls_are_no_wrong_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    for _ in range(10):
        clocks.run(1.3)
        assert clocks.lost_within(0.3, 0.0) is None
        assert clocks.lost_within(0.2, 2.0) is None


def test_a_rate_that_cannot_change_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Clocks(monkeypatch, fixed_rate=True).lost_within(5.0, 0.9) is None
