"""After a loss, the latency of a duplex device is what it was before."""

import threading
import time
from collections.abc import Sequence

import pytest

from rtvc.audio.device_backlog import _HOLD_TRIES, BacklogKeeper
from rtvc.audio.devices import Device
from rtvc.audio.duplex import PRIMED_BLOCKS, Duplex
from rtvc.audio.portaudio_thread import PORTAUDIO
from rtvc.audio.streams import Counters, DeviceStream, Port, StreamSpec

SPEC = StreamSpec(48_000, 480, Port(0, 1), Port(0, 1))
DEVICE = Device(0, "card", "ALSA", 1, 1, 48_000.0, False, False, False)


class Stream(DeviceStream):
    """A stream whose starts leave these latencies, in seconds, each as two measurements."""

    def __init__(self, latencies: Sequence[tuple[float | None, float | None]]) -> None:
        super().__init__(SPEC)
        self._left = list(latencies)
        self._next: list[float | None] = []
        self._frames = 0
        self._asked = False
        self.starts = 0

    @property
    def latency(self) -> tuple[float, float]:
        return 0.01, 0.02

    def start(self) -> None:
        self.starts += 1
        self._next = list(self._left.pop(0))

    def restart(self) -> None:
        self.start()

    def service(self) -> None:
        pass

    def counters(self) -> Counters:
        self._frames += PRIMED_BLOCKS * SPEC.block
        return Counters(self._frames, 0, 0)

    def take_measured_latency(self) -> float | None:
        # As often as not there is no new measurement.
        self._asked = not self._asked
        return None if self._asked or not self._next else self._next.pop(0)


def start(*latencies: tuple[float | None, float | None], hold_s: float | None) -> int:
    """Start a stream; return how often it was started. The latency to hold stays the same."""
    stream = Stream(latencies)
    duplex = Duplex(stream, stream, (DEVICE, DEVICE))
    duplex.start(1.0, hold_s)
    assert duplex.held_latency == hold_s
    return stream.starts


def test_the_first_start_takes_what_it_gets():
    assert start((0.05, 0.05), hold_s=None) == 1


def test_the_same_latency_needs_no_other_start():
    assert start((0.032, 0.028), hold_s=0.03) == 1


@pytest.mark.parametrize("first", [(0.02, 0.02), (0.033, 0.033), (0.03, 0.04), (0.01, 0.03)])
def test_another_latency_is_started_again(first: tuple[float, float]):
    assert start(first, (0.03, 0.03), hold_s=0.03) == 2


def test_what_cannot_be_reached_is_left_to_the_service():
    assert start(*[(0.05, 0.05)] * _HOLD_TRIES, hold_s=0.03) == _HOLD_TRIES


def test_a_device_without_times_is_started_once():
    assert start((None, None), hold_s=0.03) == 1


def test_a_restart_is_told_before_it_is_known_to_help():
    keeper = BacklogKeeper(Stream([(0.05, 0.05)]), "card", 0.0)
    keeper.service(0.0, quiet=True, interrupted_s=1.0)
    assert keeper.take_event() == (
        "The program was paused for 1.0 s. The stream starts again to restore the latency."
    )
    assert keeper.take_event() == ""


def test_a_stream_that_is_closed_is_not_restarted_before():
    other_device = threading.Event()
    PORTAUDIO.begin(other_device.wait, 20.0)
    stream = Stream([(0.05, 0.05)])
    keeper = BacklogKeeper(stream, "card", 0.0)
    keeper.service(0.0, quiet=True, interrupted_s=1.0)
    keeper.abandon()
    other_device.set()
    assert PORTAUDIO.settled(5.0)
    assert stream.starts == 0


def test_a_restart_that_waits_for_another_device_is_no_loss():
    other_device = threading.Event()
    PORTAUDIO.begin(other_device.wait, 20.0)
    keeper = BacklogKeeper(Stream([(0.05, 0.05)]), "card", 0.0)
    now = time.monotonic()
    keeper.service(now, quiet=True, interrupted_s=1.0)
    assert not keeper.restarting
    assert keeper.service(now + 10.0, quiet=True, interrupted_s=0.0) == ""
    other_device.set()
    assert PORTAUDIO.settled(5.0)
    assert keeper.restarting
    assert keeper.service(now + 10.0, quiet=True, interrupted_s=0.0) == ""
    assert not keeper.restarting
