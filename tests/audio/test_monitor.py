"""The monitor in step with the main output, on a virtual clock."""

import threading
import time

import numpy as np
import pytest

from rtvc.audio import default_watch
from rtvc.audio import monitor as monitor_module
from rtvc.audio.errors import AudioError
from rtvc.audio.monitor import EXTRA_QUEUE_S, TOLERANCE_S, Monitor, SyncedWriter
from rtvc.audio.sound_system import DeviceMarks
from tests.support.simulated_stream import SimulatedSpeaker

RATE = 48_000
BLOCK = 4800
HEADROOM = 2880


class MainOutput:
    """An engine that writes blocks a little late, and a main output that plays them on time."""

    def __init__(self, drift_ppm: float = 0.0, rate: int = RATE) -> None:
        self.now = 0.0
        self.speaker = SimulatedSpeaker(rate, lambda: self.now, drift_ppm)
        self.speaker.start()
        self.writer = SyncedWriter(self.speaker, lambda: (self.written, self.waiting))
        self.written = 0
        self.gain = 1.0
        self._random = np.random.default_rng(3)
        self._due = 0.0

    @property
    def waiting(self) -> int:
        return self.written - int(self.now * 100) * 480

    @property
    def distance(self) -> float:
        """Length of the monitor's queue minus that of the main output, in seconds."""
        return self.speaker.queued / self.speaker.spec.rate - self.waiting / RATE

    def write(self, samples: int) -> None:
        time = (self.written + np.arange(samples)) / RATE
        self.writer.push((0.5 * np.sin(2 * np.pi * 300 * time)).astype(np.float32))
        self.written += samples

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        if not self.written:
            self.write(HEADROOM)
        while self.now < end:
            if self.now >= self._due:
                self.write(BLOCK)
                blocks = round((self.written - HEADROOM) / BLOCK)
                self._due = 0.1 * blocks + self._random.uniform(0.0, 0.03)
            self.writer.process(self.now, self.gain)
            self.now += 0.0025


def clicks(sound: np.ndarray) -> float:
    """Return the largest second difference over the median, which is that of the tone."""
    curvature = np.abs(np.diff(sound, 2))
    return float(curvature.max() / np.median(curvature))


@pytest.mark.thorough
@pytest.mark.parametrize(("drift_ppm", "rate"), [(300, 48_000), (-300, 48_000), (150, 44_100)])
def test_a_monitor_with_another_clock_stays_at_its_distance(drift_ppm: float, rate: int):
    main = MainOutput(drift_ppm, rate)
    main.run(120)
    assert main.writer.corrections == 0
    assert main.distance == pytest.approx(EXTRA_QUEUE_S, abs=0.015)
    played = main.speaker.played
    assert np.abs(played).max() == pytest.approx(0.5, abs=0.01)
    first = int(np.argmax(np.abs(played) > 0.1))
    assert not (played[first:].reshape(-1)[:: rate // 100] == 0).all()
    steady = played[first + rate : -rate // 10]
    assert clicks(steady) < 2.0, "a gap or dropped samples"


def test_without_drift_compensation_the_queue_runs_empty_or_full():
    main = MainOutput(300)
    main.writer._clocks.observe = lambda *_: False  # type: ignore[method-assign]
    main.run(120)
    assert main.writer.corrections > 0


def test_after_a_stall_the_distance_comes_back():
    main = MainOutput()
    main.run(5)
    assert main.speaker._began is not None
    main.speaker._began += 0.3  # the device stalled for 0.3 s
    assert main.distance < EXTRA_QUEUE_S + 0.3
    main.run(3)
    # The first average may contain only a part of the stall.
    assert main.writer.corrections in (1, 2)
    assert abs(main.distance - EXTRA_QUEUE_S) < TOLERANCE_S
    played = main.speaker.played[4 * RATE :]
    assert clicks(played[: -RATE // 10]) < 40, "the cut has no crossfade"


def test_a_monitor_starts_again_after_an_underrun():
    main = MainOutput()
    main.run(3)
    main._due += 0.5
    main.run(3)
    assert main.writer.corrections >= 1
    assert abs(main.distance - EXTRA_QUEUE_S) < TOLERANCE_S
    dry = main.speaker.dry
    main.run(5)
    assert main.speaker.dry == dry


def test_a_gain_change_is_faded():
    main = MainOutput()
    main.run(2)
    main.gain = 0.0
    main.run(2)
    main.gain = 0.5
    main.run(2)
    played = main.speaker.played
    assert np.abs(played[round(3.0 * RATE) : round(3.8 * RATE)]).max() < 1e-9
    assert np.abs(played[-RATE // 2 : -RATE // 10]).max() == pytest.approx(0.25, abs=0.01)
    assert np.abs(np.diff(played)).max() < 0.03


def test_a_monitor_that_starts_again_while_it_opens_follows_the_default(monkeypatch):
    class Speaker(SimulatedSpeaker):
        """A speaker that takes its time to close, as real ones do."""

        def close(self) -> None:
            time.sleep(0.2)
            super().close()

    default = 1
    began, opens = threading.Event(), threading.Event()
    opened: list[SimulatedSpeaker] = []

    def marks() -> DeviceMarks:
        return DeviceMarks(default_output=default)

    def open_slowly() -> SimulatedSpeaker:
        began.set()
        opens.wait(10)
        opened.append(Speaker())
        return opened[-1]

    def until_opened(count: int) -> None:
        end = time.monotonic() + 10.0
        while len(opened) < count:
            assert time.monotonic() < end, "it was not opened"
            time.sleep(0.01)

    monkeypatch.setattr(default_watch, "LOOK_S", 0.05)
    monkeypatch.setattr(default_watch, "device_marks", marks)
    monkeypatch.setattr(monitor_module, "listed_marks", marks)
    monitor = Monitor("system default", open_slowly, follows_default=True)
    monitor.start(lambda: (0, 0))
    assert began.wait(5)
    monitor.stop(drain=False)
    monitor.start(lambda: (0, 0))
    opens.set()
    until_opened(2)
    time.sleep(0.5)  # the first one closes its device
    default = 2
    until_opened(3)
    monitor.stop(drain=False)


def test_a_monitor_that_cannot_be_opened_names_no_key_of_the_panel():
    def away() -> SimulatedSpeaker:
        raise AudioError("It is not connected.")

    monitor = Monitor("headphones", away)
    monitor.start(lambda: None)
    end = time.monotonic() + 10.0
    while not monitor.error and time.monotonic() < end:
        time.sleep(0.01)
    monitor.stop()
    assert monitor.error == (
        "The monitor is silent. It is not connected. The main output continues, and the monitor "
        "is tried again until you choose another one."
    )
