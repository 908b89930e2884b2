"""Two streams that are opened again have the latency that they had before."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from rtvc.audio import stream_times
from rtvc.audio.devices import Device
from rtvc.audio.duplex import Duplex
from rtvc.audio.stream_times import LONGER_S, SHORTER_S, FrameTimes, LatencyOfTwo, TimedFrame
from rtvc.audio.streams import Counters, DeviceStream, Port, StreamSpec

RATE, PERIOD, BLOCK = 48_000, 480, 4800


class Opened:
    """Two streams of simulated devices.

    Parameters
    ----------
    input_s, output_s
        Latency of the devices: from the record of the last frame of a callback until the
        callback, and from the callback until its first frame is played.
    phase_s
        Time from a callback of the input to the next one of the output.
    """

    def __init__(self, input_s: float, output_s: float, phase_s: float) -> None:
        self.input_s, self.output_s, self.phase_s = input_s, output_s, phase_s
        self.recorded, self.played = FrameTimes(RATE), FrameTimes(RATE)

    def time(self, callbacks: int, jitter: float = 0.0) -> None:
        """Time the first frames of a callback of each stream."""
        frame, began = callbacks * PERIOD, callbacks * PERIOD / RATE
        recorded = began - self.input_s - PERIOD / RATE + jitter
        self.recorded.add(TimedFrame(frame, recorded))
        self.played.add(TimedFrame(frame, began + self.phase_s + self.output_s - jitter))

    def latency(self, held: LatencyOfTwo, after_s: float, headroom_s: float) -> float:
        """Return the latency with which the engine outputs a block that it reads.

        Parameters
        ----------
        held
            The latency to hold.
        after_s
            Time from the callback of the input until the engine wakes up.
        headroom_s
            What the engine keeps queued, the excess included.
        """
        callback = 100
        read = (callback + 1) * PERIOD
        began = callback * PERIOD / RATE
        now = began + after_s
        taken = callback + int(after_s >= self.phase_s)
        excess = held.excess(read, taken * PERIOD)
        newest_at = began - self.input_s
        next_at = taken * PERIOD / RATE + self.phase_s + self.output_s
        assert newest_at <= now <= next_at
        return next_at + headroom_s - excess - newest_at


def first(opened: Opened) -> LatencyOfTwo:
    held = LatencyOfTwo(opened.recorded, opened.played)
    assert held.excess(0, 0) == 0.0  # no frame has been timed
    start(opened, held, blocks=1)
    assert held.held_s is not None
    return held


def start(
    opened: Opened,
    held: LatencyOfTwo,
    blocks: int,
    jitter: Callable[[float], float] = lambda seconds: 0.0,
) -> float:
    """Run streams until their latency is held; return the seconds that it took.

    Parameters
    ----------
    opened, held
        The streams.
    blocks
        Blocks of the engine for each timed frame, which come every 0.1 s.
    jitter
        Error of both times at a time since the start, in seconds.
    """
    for number in range(200):
        opened.time(number, jitter(0.1 * number))
        for _ in range(blocks):
            opened.latency(held, 0.002, 0.08)
        if held.held_s is not None:
            return 0.1 * number
    raise AssertionError("the latency is not held")


@pytest.mark.parametrize("after_s", [0.0, 0.003, 0.009])
@pytest.mark.parametrize(
    "again",
    [(0.01, 0.02, 0.0045), (0.01, 0.02, 0.0), (0.002, 0.02, 0.009), (0.01, 0.03, 0.001)],
)
def test_the_latency_is_the_one_before(again: tuple[float, float, float], after_s: float) -> None:
    opened = Opened(0.01, 0.02, 0.0045)
    held = first(opened)
    before = opened.latency(held, 0.002, 0.08)
    reopened = Opened(*again)
    for callbacks in range(3):
        reopened.time(callbacks)
    after = LatencyOfTwo(reopened.recorded, reopened.played, held.held_s)
    assert reopened.latency(after, after_s, 0.08) == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("blocks", [1, 5])
def test_the_latency_to_hold_is_the_one_of_a_device_that_has_settled(blocks: int) -> None:
    settled = first(Opened(0.01, 0.02, 0.0045)).held_s
    opened = Opened(0.01, 0.02, 0.0045)
    held = LatencyOfTwo(opened.recorded, opened.played)
    after = start(opened, held, blocks, jitter=lambda seconds: -0.01 * np.exp(-seconds / 0.4))
    assert held.held_s == pytest.approx(settled, abs=0.001)
    assert after < 4.0


@pytest.mark.parametrize("blocks", [1, 5])
def test_wrong_times_at_the_start_do_not_change_the_latency_to_hold(blocks: int) -> None:
    settled = first(Opened(0.01, 0.02, 0.0045)).held_s
    opened = Opened(0.01, 0.02, 0.0045)
    held = LatencyOfTwo(opened.recorded, opened.played)
    start(opened, held, blocks, jitter=lambda seconds: 0.02 if seconds < 0.35 else 0.0)
    assert held.held_s == pytest.approx(settled, abs=1e-9)


def test_a_latency_that_changes_all_the_time_is_held_after_ten_seconds() -> None:
    opened = Opened(0.01, 0.02, 0.0045)
    held = LatencyOfTwo(opened.recorded, opened.played)
    assert start(opened, held, 1, jitter=lambda seconds: 0.005 * seconds) == pytest.approx(
        9.0, abs=1.0
    )


def test_jitter_of_the_times_is_averaged() -> None:
    opened = Opened(0.01, 0.02, 0.0045)
    held = first(opened)
    before = opened.latency(held, 0.002, 0.08)
    rng = np.random.default_rng(0)
    for callbacks in range(20, 29):
        opened.time(callbacks, float(rng.uniform(-0.002, 0.002)))
    opened.time(29, 0.05)  # one wrong time
    assert opened.latency(held, 0.002, 0.08) == pytest.approx(before, abs=0.002)


@pytest.mark.parametrize("longer_s", [LONGER_S + 0.001, 0.15, -SHORTER_S - 0.001])
def test_what_the_queue_cannot_make_up_for_stays(longer_s: float) -> None:
    opened = Opened(0.01, 0.2, 0.0045)
    held = first(opened)
    before = opened.latency(held, 0.002, 0.08)
    opened.output_s += longer_s
    for callbacks in range(20, 29):
        opened.time(callbacks)
    for _ in range(5):
        moved = opened.latency(held, 0.002, 0.08)
    assert moved == pytest.approx(before + longer_s, abs=1e-9)
    assert opened.latency(held, 0.009, 0.08) == pytest.approx(moved, abs=1e-9)
    # Back on the first device it is what it was.
    opened.output_s -= longer_s
    for callbacks in range(30, 39):
        opened.time(callbacks)
    for _ in range(5):
        back = opened.latency(held, 0.002, 0.08)
    assert back == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("limit_s", [LONGER_S, -SHORTER_S])
def test_an_excess_that_drifts_around_the_limit_moves_the_latency_once(limit_s: float) -> None:
    opened = Opened(0.01, 0.2, 0.0045)
    held = first(opened)
    latencies = []
    for turn in range(10):
        opened.output_s = 0.2 + limit_s + (0.003 if turn % 2 else -0.003)
        for callbacks in range(9):
            opened.time(20 + 9 * turn + callbacks)
        for _ in range(5):
            latencies.append(opened.latency(held, 0.002, 0.08))
    moves = np.abs(np.diff(latencies)) > 0.01
    assert moves.sum() <= 1


@pytest.mark.parametrize("set_by_s", [-3600.0, -0.5, 0.1, 5.0])
def test_a_clock_that_is_set_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    now, ahead = 0.0, 1.8e9
    clock = SimpleNamespace(time=lambda: now + ahead, monotonic=lambda: now)
    monkeypatch.setattr(stream_times, "time", clock)
    recorded, played = FrameTimes(RATE), FrameTimes(RATE)
    held = LatencyOfTwo(recorded, played)

    def excess() -> float:
        recorded.add(TimedFrame(round(now * RATE), now + ahead - 0.02))
        between = held.excess(round(now * RATE), round(now * RATE))
        played.add(TimedFrame(round(now * RATE), now + ahead + 0.03))
        return between

    for step in range(30):
        now = 100.0 + 0.1 * step
        ahead += set_by_s if step == 15 else 0.0
        assert excess() == pytest.approx(0.0, abs=1e-6)
    assert held.held_s == pytest.approx(0.05, abs=1e-6)


class Counted(DeviceStream):
    """A stream whose callback comes after the count was read, and before the ring was."""

    def __init__(self, spec: StreamSpec) -> None:
        super().__init__(spec)
        self.frames = self.waiting = 0
        self.interrupts = False

    @property
    def latency(self) -> tuple[float, float]:
        return 0.01, 0.02

    @property
    def readable(self) -> int:
        if self.interrupts:
            self.interrupts = False
            self.frames += PERIOD
            self.waiting += PERIOD
        return self.waiting

    def service(self) -> None:
        pass

    def counters(self) -> Counters:
        return Counters(self.frames, 0, 0)


def test_a_callback_meanwhile_does_not_shift_the_count_after_a_loss() -> None:
    capture = Counted(StreamSpec(RATE, PERIOD, input=Port(0, 1)))
    playback = Counted(StreamSpec(RATE, PERIOD, output=Port(1, 1)))
    device = Device(0, "card", "ALSA", 1, 1, RATE, False, False, False)
    duplex = Duplex(capture, playback, (device, device))
    capture.frames, capture.waiting = 1000 * PERIOD, 100 * PERIOD
    capture.interrupts = True
    duplex.excess_latency()
    assert duplex._read_frames == 900 * PERIOD
