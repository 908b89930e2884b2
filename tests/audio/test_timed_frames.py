"""The times of a stream's frames, with rtmixer's callback and a device that the test simulates."""

from typing import Any

import pytest
import rtmixer

from rtvc.audio.mixer_stream import MixerStream
from rtvc.audio.streams import Port, StreamSpec

RATE, PERIOD = 48_000, 480
RECORDED_AT, PLAYED_AT = 1000.0, 2000.0
"""When the first frames are recorded and played, in seconds."""


class Device:
    """A device that calls rtmixer's callback, with the times that PortAudio passes.

    Parameters
    ----------
    stream
        The stream.
    together
        How many callbacks come one right after the other.
    """

    def __init__(self, stream: MixerStream, together: int) -> None:
        self._stream, self._together = stream._stream, together
        self._input = rtmixer._ffi.new(f"float[{PERIOD}]")
        self._output = rtmixer._ffi.new(f"float[{PERIOD}]")
        self._frames = 0

    def call(self) -> None:
        for _ in range(self._together):
            since = self._frames / RATE
            times = rtmixer._ffi.new("double[3]", [RECORDED_AT + since, 0.0, PLAYED_AT + since])
            info = rtmixer._ffi.cast("PaStreamCallbackTimeInfo*", times)
            rtmixer._lib.callback(self._input, self._output, PERIOD, info, 0, self._stream._state)
            self._frames += PERIOD


@pytest.fixture(params=["input", "output"])
def stream(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MixerStream:
    """A stream that PortAudio has not opened."""

    def open_nothing(base: Any, **_: Any) -> None:
        base._channels, base._samplesize, base._samplerate = 1, 4, float(RATE)

    monkeypatch.setattr(rtmixer._sd._StreamBase, "__init__", open_nothing)
    port = Port(0, 1)
    records = request.param == "input"
    return MixerStream(
        StreamSpec(RATE, PERIOD, input=port) if records else StreamSpec(RATE, PERIOD, output=port)
    )


def zeros(stream: MixerStream, device: Device, looks: int) -> list[float]:
    """Return the times of frame 0 according to each timed frame, after `looks` measurements."""
    began = RECORDED_AT if stream.spec.input else PLAYED_AT
    found = []
    for _ in range(looks):
        stream._next_probe = 0.0
        stream.service()
        device.call()
        stream.service()
        if (timed := stream.take_timed_frame()) is not None:
            found.append(timed.seconds - timed.index / RATE - began)
    return found


@pytest.mark.parametrize("together", [1, 2, 3])
def test_frames_are_timed_however_many_callbacks_come_at_once(
    stream: MixerStream, together: int
) -> None:
    assert zeros(stream, Device(stream, together), 20) == pytest.approx([0.0] * 20, abs=1e-9)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("together", [1, 2])
def test_a_callback_while_a_measurement_is_queued_gives_no_wrong_time(
    stream: MixerStream, together: int, before: bool
) -> None:
    device = Device(stream, together)
    name = "record_buffer" if stream.spec.input else "play_buffer"
    queue = getattr(stream._stream, name)

    def interrupted(*arguments: Any) -> Any:
        if before:
            device.call()
        action = queue(*arguments)
        if not before:
            device.call()
        return action

    setattr(stream._stream, name, interrupted)
    assert zeros(stream, device, 20) == []
    setattr(stream._stream, name, queue)
    assert zeros(stream, device, 20) == pytest.approx([0.0] * 20, abs=1e-9)
