"""A live endpoint that is stopped at the moment at which its devices are open again."""

import time
from typing import Any, cast

import pytest

from rtvc.audio.device_opening import OpenedDevices
from rtvc.audio.devices import Device
from rtvc.audio.duplex import Duplex
from rtvc.audio.live import LiveEndpoint
from rtvc.audio.portaudio_thread import PORTAUDIO
from rtvc.audio.sound_system import DeviceMarks
from rtvc.device_choice import DeviceIdentity
from rtvc.stats import DeviceHealth


class Streams:
    """Streams that run until they are closed."""

    queued = 0

    def __init__(self) -> None:
        self.serviced = 0
        self.closed = False

    def service(self) -> None:
        assert not self.closed
        self.serviced += 1

    def lost(self, timeout: float) -> str:
        return ""

    def take_event(self) -> str:
        return ""

    def health(self) -> DeviceHealth:
        return DeviceHealth()

    def abandon_restart(self) -> None:
        pass

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


def test_devices_that_are_open_again_when_it_stops_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint, streams = LiveEndpoint(), Streams()
    device = Device(0, "card", "ALSA", 1, 1, 48_000.0, False, False, False)
    identity = DeviceIdentity("card", "ALSA")
    opened = OpenedDevices(
        (device, device), (identity, identity), cast(Duplex, streams), DeviceMarks()
    )
    begin = endpoint._events.begin

    def stop_first(*arguments: Any) -> None:
        endpoint.stop()  # as another thread does
        begin(*arguments)

    monkeypatch.setattr(endpoint._opening, "reopen", lambda: opened)
    monkeypatch.setattr(endpoint._events, "begin", stop_first)
    endpoint._tick = lambda: None
    assert not endpoint.reconnect(2.0)
    assert PORTAUDIO.settled(5.0)
    assert streams.closed
    assert endpoint._service._thread is None
    serviced = streams.serviced
    time.sleep(0.05)
    assert streams.serviced == serviced
