from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from rtvc.audio.endpoint import DeviceLostError
from rtvc.audio.live import LiveEndpoint
from rtvc.audio.pulse_monitor import PulseMonitor, ServerState, ServerStream
from rtvc.audio.route_watch import LOOP, RouteWatch
from tests.support.sound_server import (
    HEADPHONES_SINK,
    MICROPHONE_SINK,
    SPEAKER_SINK,
    SoundServer,
    in_real_time,
)

NOTICED_S = 1.0
MICROPHONE = ServerStream(1, "microphone")
LOOPED = ServerStream(1, "speaker.monitor", "speaker")
SPEAKER = ServerStream(2, "speaker")


class Server(PulseMonitor):
    """A server whose state a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def show(
        self,
        inputs: tuple[ServerStream, ...],
        outputs: tuple[ServerStream, ...],
        sinks: tuple[str, ...] = (),
    ) -> None:
        self.now += 1.0
        state = ServerState(True, self.now, inputs=inputs, outputs=outputs)
        self._state = replace(state, sinks=frozenset(sinks))


def test_only_moves_are_reported() -> None:
    server = Server()
    watch = RouteWatch(server, loop_allowed=False)
    watch.started(0.0)
    assert watch.check() is None
    server.show((MICROPHONE,), (SPEAKER,))
    assert watch.check() is None
    headphones = ServerStream(3, "headphones")
    for outputs in ((SPEAKER, headphones), (SPEAKER,), (ServerStream(4, "speaker"),)):
        server.show((MICROPHONE,), outputs)
        assert watch.check() is None
    server.show((MICROPHONE,), (headphones,))
    change = watch.check()
    assert change is not None
    assert change.message == "The sound server moved the output to 'headphones'."
    assert not change.lost
    assert watch.check() is None
    assert watch.moves == 1
    assert watch.moved_to == {"output": "headphones"}
    server.show((MICROPHONE,), (SPEAKER,))
    watch.check()
    assert watch.moved_to == {"output": "speaker"}
    server.show((ServerStream(1, "camera"),), (headphones,))
    watch.check()
    assert watch.moved_to == {"input": "camera", "output": "headphones"}
    watch.started(server.now)
    assert watch.moved_to == {}


def test_a_loop_is_refused_unless_it_was_chosen() -> None:
    for allowed in (False, True):
        server = Server()
        watch = RouteWatch(server, loop_allowed=allowed)
        watch.started(0.0)
        server.show((LOOPED,), (SPEAKER,))
        change = watch.check()
        assert (change is None) == allowed
        watch.started(server.now)
        server.show((MICROPHONE,), (SPEAKER,))
        assert watch.check() is None
        server.show((LOOPED,), (SPEAKER,))
        change = watch.check()
        assert change is not None
        assert change.lost
        watch.started(server.now)
        server.show((LOOPED,), (SPEAKER,))
        change = watch.check()
        assert change is not None
        assert change.lost


def test_an_output_that_is_moved_into_the_loop_is_refused() -> None:
    server = Server()
    watch = RouteWatch(server, loop_allowed=True)
    watch.started(0.0)
    server.show((LOOPED,), (ServerStream(2, "headphones"),))
    assert watch.check() is None
    server.show((LOOPED,), (SPEAKER,))
    change = watch.check()
    assert change is not None
    assert change.message == LOOP
    assert change.lost


def test_a_move_to_the_device_of_the_monitor_is_reported() -> None:
    server = Server()
    watch = RouteWatch(server, loop_allowed=False)
    watch.started(0.0)
    monitor = ServerStream(3, "headphones")
    server.show((MICROPHONE,), (SPEAKER, monitor))
    assert watch.check() is None
    server.show((MICROPHONE,), (ServerStream(2, "headphones"), monitor))
    change = watch.check()
    assert change is not None
    assert change.message == "The sound server moved the output to 'headphones'."
    assert watch.moves == 1


def test_a_monitor_next_to_a_virtual_cable_is_not_the_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PULSE_SINK", "cable")
    server = Server()
    watch = RouteWatch(server, loop_allowed=False)
    watch.started(0.0)
    sinks = ("cable", "speaker", "headphones")
    cable, headphones = ServerStream(1, "cable"), ServerStream(2, "headphones")
    for outputs in ((cable, SPEAKER), (cable, headphones)):
        server.show((MICROPHONE,), outputs, sinks)
        assert watch.check() is None
    assert watch.moved_to == {}
    server.show((MICROPHONE,), (SPEAKER, headphones), sinks)
    assert watch.check() is not None
    assert watch.moved_to == {"output": "speaker"}
    server.show((MICROPHONE,), (cable, headphones), sinks)
    assert watch.check() is not None
    assert watch.moved_to == {"output": "cable"}


def test_a_virtual_cable_that_vanishes_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SINK", "cable")
    server = Server()
    watch = RouteWatch(server, loop_allowed=False)
    watch.started(0.0)
    server.show((MICROPHONE,), (SPEAKER,), sinks=("speaker", "cable"))
    assert watch.check() is None
    server.show((MICROPHONE,), (SPEAKER,), sinks=("speaker",))
    assert watch.check() is None, "the output does not play into it"
    server.show((MICROPHONE,), (ServerStream(2, "cable"),), sinks=("speaker", "cable"))
    change = watch.check()
    assert change is not None
    assert not change.lost
    server.show((MICROPHONE,), (SPEAKER,), sinks=("speaker",))
    change = watch.check()
    assert change is not None
    assert change.lost
    assert "mute yourself in the call" in change.message
    assert watch.cable_is_gone()
    server.show((MICROPHONE,), (SPEAKER,), sinks=("speaker", "cable"))
    assert not watch.cable_is_gone()


@pytest.fixture
def endpoint(sound_server: SoundServer) -> Iterator[LiveEndpoint]:
    endpoint = LiveEndpoint()
    with in_real_time():
        endpoint.start(lambda: None)
    endpoint.write(np.zeros(9600, np.float32))
    wait_for(lambda: endpoint.server.state().inputs and endpoint.server.state().outputs)
    time.sleep(0.4)
    yield endpoint
    endpoint.stop()


def wait_for(reached: Callable[[], object]) -> float:
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < NOTICED_S
        time.sleep(0.005)
    return time.monotonic() - began


def move_output(endpoint: LiveEndpoint, sound_server: SoundServer, sink: str) -> None:
    """Move the output; a stream that starts again, to restore its latency, is another one."""

    def moved() -> bool:
        with suppress(RuntimeError, IndexError):
            index = endpoint.server.state().outputs[0].index
            sound_server.pactl("move-sink-input", str(index), sink)
            return True
        return False

    wait_for(moved)


def test_a_moved_output_is_reported(endpoint: LiveEndpoint, sound_server: SoundServer) -> None:
    opened = endpoint.names
    move_output(endpoint, sound_server, HEADPHONES_SINK)
    wait_for(lambda: endpoint.health().moves == 1)
    assert HEADPHONES_SINK in endpoint.hint
    assert opened is not None
    assert opened[1] != "FakeHeadphones"
    assert endpoint.names == (opened[0], "FakeHeadphones")
    assert endpoint.wait(480, 1.0) >= 480


def test_a_microphone_that_becomes_our_own_output_is_refused(
    endpoint: LiveEndpoint, sound_server: SoundServer
) -> None:
    move_output(endpoint, sound_server, HEADPHONES_SINK)
    wait_for(lambda: HEADPHONES_SINK in endpoint.hint)
    move_output(endpoint, sound_server, SPEAKER_SINK)
    wait_for(lambda: SPEAKER_SINK in endpoint.hint)
    stream = endpoint.server.state().inputs[0]
    sound_server.pactl("set-default-source", f"{SPEAKER_SINK}.monitor")
    try:
        with suppress(RuntimeError):  # the endpoint may have closed the stream already
            sound_server.pactl("move-source-output", str(stream.index), f"{SPEAKER_SINK}.monitor")
        with pytest.raises(DeviceLostError, match="own output"):
            endpoint.wait(48_000, NOTICED_S)
        time.sleep(0.3)
        assert not endpoint.reconnect(0.5)
    finally:
        sound_server.pactl("set-default-source", f"{MICROPHONE_SINK}.monitor")
    assert endpoint.reconnect(3.0)
    assert endpoint.wait(480, 1.0) >= 480
    time.sleep(0.5)
    assert endpoint.hint not in (LOOP, "The sound server moved the output to 'fake_speaker'.")
    endpoint.wait(480, 0.1)
