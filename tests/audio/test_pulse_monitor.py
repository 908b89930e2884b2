from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from rtvc.audio.live import LiveEndpoint
from rtvc.audio.pulse_monitor import PulseMonitor, ServerState, ServerStream
from tests.support.sound_server import MICROPHONE_SINK, SPEAKER_SINK, SoundServer

NOTICED_S = 1.0


@pytest.fixture
def monitor(sound_server: SoundServer) -> Iterator[PulseMonitor]:
    monitor = PulseMonitor()
    monitor.start()
    yield monitor
    monitor.stop()


@pytest.fixture
def endpoint(sound_server: SoundServer) -> Iterator[LiveEndpoint]:
    endpoint = LiveEndpoint()
    endpoint.start(lambda: None)
    yield endpoint
    endpoint.stop()


def wait_for(monitor: PulseMonitor, reached: Callable[[ServerState], object]) -> ServerState:
    end = time.monotonic() + NOTICED_S
    while not reached(monitor.state()):
        assert time.monotonic() < end, monitor.state()
        time.sleep(0.005)
    return monitor.state()


def test_streams_and_devices_are_known(monitor: PulseMonitor, endpoint: LiveEndpoint) -> None:
    state = wait_for(monitor, lambda state: state.outputs and state.inputs)
    assert state.answering
    assert state.default_sink == SPEAKER_SINK
    assert state.default_source == f"{MICROPHONE_SINK}.monitor"
    assert {SPEAKER_SINK, MICROPHONE_SINK} <= state.sinks
    assert f"{SPEAKER_SINK}.monitor" in state.sources
    assert [stream.device for stream in state.outputs] == [SPEAKER_SINK]
    assert [stream.device for stream in state.inputs] == [f"{MICROPHONE_SINK}.monitor"]
    assert not state.loops
    endpoint.stop()
    wait_for(monitor, lambda state: not state.outputs and not state.inputs)


def test_a_microphone_that_is_moved_to_our_own_output_is_a_loop(
    monitor: PulseMonitor, endpoint: LiveEndpoint, sound_server: SoundServer
) -> None:
    [stream] = wait_for(monitor, lambda state: state.outputs and state.inputs).inputs
    sound_server.pactl("move-source-output", str(stream.index), f"{SPEAKER_SINK}.monitor")
    state = wait_for(monitor, lambda state: state.loops)
    assert state.loops == (ServerStream(stream.index, f"{SPEAKER_SINK}.monitor", SPEAKER_SINK),)


def test_streams_of_other_programs_are_not_ours(
    monitor: PulseMonitor, sound_server: SoundServer
) -> None:
    wait_for(monitor, lambda state: state.answering)
    command = ["parec", "--raw", f"--device={SPEAKER_SINK}.monitor"]
    other = subprocess.Popen(
        command, env=os.environ | sound_server.environment, stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(0.3)
        assert not monitor.state().inputs
    finally:
        other.kill()
        other.wait()


def test_a_server_that_hangs_or_ends_is_noticed_and_found_again(
    monitor: PulseMonitor, sound_server: SoundServer
) -> None:
    wait_for(monitor, lambda state: state.answering)
    os.kill(sound_server.pid, signal.SIGSTOP)
    try:
        wait_for(monitor, lambda state: not state.answering)
    finally:
        os.kill(sound_server.pid, signal.SIGCONT)
    wait_for(monitor, lambda state: state.answering)
    sound_server.kill()
    wait_for(monitor, lambda state: not state.answering)
    sound_server.start()
    wait_for(monitor, lambda state: state.answering)


def test_elsewhere_it_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monitor = PulseMonitor()
    monitor.start()
    assert not monitor.available
    assert monitor.state() == ServerState()
    monitor.stop()
