from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rtvc.audio.device_backlog import BacklogWatch
from rtvc.audio.loopback import align
from tests.audio.signals import noise_below
from tests.support.processes import end, start
from tests.support.sound_server import (
    MICROPHONE_SINK,
    RATE,
    SPEAKER_SINK,
    SoundServer,
    in_real_time,
)

PROBE_S = 0.1


class Device:
    """A device whose latency a test changes; it is measured, and restarted when that is due."""

    def __init__(self, latency: float, *, stated: float = 0.0) -> None:
        self.watch = BacklogWatch(stated)
        self.latency = self.after_restart = latency
        self.now = 0.0
        self.restarts: list[float] = []

    def run(self, seconds: float, *, quiet: bool = False) -> list[float]:
        """Let time pass; return the times of the restarts in it."""
        before = len(self.restarts)
        for _ in range(round(seconds / PROBE_S)):
            self.now += PROBE_S
            self.watch.observe(self.latency)
            if self.watch.due(self.now, quiet=quiet):
                self.watch.restarted(self.now)
                self.restarts.append(self.now)
                self.latency = self.after_restart
        return self.restarts[before:]


@pytest.mark.parametrize("found", [0.02, 0.026, 0.034, 0.04])
def test_a_latency_to_hold_is_restored_though_the_first_measurements_differ(found: float) -> None:
    device = Device(found)
    device.watch.hold(0.03)
    device.after_restart = 0.031
    assert len(device.run(3.0)) == 1
    assert not device.run(10.0)


@pytest.mark.parametrize("backlog", [0.02, 0.1, 5.0])
def test_a_backlog_is_thrown_away_at_once(backlog: float) -> None:
    device = Device(0.03)
    assert not device.run(2.0)
    device.latency += backlog
    assert device.watch.excess == pytest.approx(0.0)
    [restart] = device.run(2.0)
    assert restart - 2.0 < 0.5
    assert device.watch.excess == pytest.approx(0.0)


def test_a_small_excess_waits_until_the_output_is_quiet() -> None:
    device = Device(0.03)
    device.run(1.0)
    device.latency += 0.008
    assert not device.run(5.0)
    assert device.watch.excess == pytest.approx(0.008)
    assert len(device.run(1.0, quiet=True)) == 1


def test_jitter_and_single_wrong_times_are_not_a_backlog() -> None:
    device = Device(0.03)
    random = np.random.default_rng(0)
    for i in range(1000):
        device.latency = 0.03 + random.uniform(0, 0.004) + (0.5 if i % 10 < 2 else 0.0)
        assert not device.run(PROBE_S, quiet=True)


def test_a_latency_that_restarts_do_not_change_is_accepted() -> None:
    device = Device(0.03)
    device.run(1.0)
    device.latency = device.after_restart = 0.2
    assert len(device.run(30.0)) == 5
    device.after_restart = 0.2
    device.latency += 0.05
    assert len(device.run(2.0)) == 1


def test_a_restart_that_leaves_too_little_is_repeated() -> None:
    device = Device(0.03)
    device.run(1.0)
    device.latency, device.after_restart = 0.06, 0.021
    device.run(0.5)
    assert device.latency == 0.021
    device.after_restart = 0.03
    device.run(2.0)
    assert device.latency == 0.03
    assert len(device.restarts) == 2


def test_a_start_with_a_backlog_is_compared_with_the_stated_latency() -> None:
    device = Device(1.5, stated=0.03)
    device.after_restart = 0.031
    assert len(device.run(2.0)) == 1
    lower = Device(0.05, stated=0.2)
    assert not lower.run(10.0)


def test_a_device_that_reports_nonsense_is_left_alone() -> None:
    device = Device(0.03)
    device.run(1.0)
    for _ in range(60):
        device.latency = 0.2
        device.run(2.0)
    assert len(device.restarts) <= 45


_PROGRAM = """
import json, sys
from rtvc.audio.live import LiveEndpoint
from tests.support.pass_through import PassThrough
endpoint = LiveEndpoint()
with PassThrough(endpoint):
    print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps(endpoint.health().latency_resets))
"""


def test_a_pause_of_the_program_does_not_stay_in_the_latency(sound_server: SoundServer) -> None:
    sound = noise_below(7000, RATE, 12 * RATE)
    with (
        sound_server.speaking(sound),
        sound_server.recording(MICROPHONE_SINK, SPEAKER_SINK) as finish,
    ):
        with in_real_time():
            program = start(
                [sys.executable, "-c", _PROGRAM],
                env=os.environ | sound_server.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        try:
            assert program.stdout.readline() == b"ready\n"
            began = time.monotonic()
            time.sleep(1.5)
            os.kill(program.pid, signal.SIGSTOP)
            time.sleep(0.8)
            os.kill(program.pid, signal.SIGCONT)
            time.sleep(2.0)
            ended = time.monotonic()
            program.stdin.close()
            resets = json.loads(program.stdout.readline())
        finally:
            end(program)
        microphone, speaker = finish()
    assert resets >= 1

    def offset(since: float) -> float:
        at = round((since - microphone.began) * RATE)
        piece = microphone.samples[at : at + RATE // 2]
        result = align(piece, speaker.samples[at:])
        return float(np.median(result.offsets)) / RATE

    assert offset(ended - 1.2) == pytest.approx(offset(began + 0.3), abs=0.012)
