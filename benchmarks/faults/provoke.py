"""What provokes a fault once, from outside of the program or inside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.rig import Rig
from tests.support.sound_server import HEADPHONES_SINK

Provoke = Callable[[Rig], "tuple[float, float]"]
"""Provokes a fault; returns when it began and when its cause was gone."""


# Faults of the server and its devices.


def nothing(rig: Rig) -> tuple[float, float]:
    now = time.monotonic()
    return now, now


def unload(seconds: float, *sinks: str) -> Provoke:
    def provoke(rig: Rig) -> tuple[float, float]:
        began = time.monotonic()
        for sink in sinks:
            rig.unload(sink)
        time.sleep(seconds)
        for sink in sinks:
            rig.load(sink)
        return began, time.monotonic()

    return provoke


def suspend(seconds: float, kind: str, name: str) -> Provoke:
    def provoke(rig: Rig) -> tuple[float, float]:
        began = time.monotonic()
        rig.pactl(f"suspend-{kind}", name, "1")
        time.sleep(seconds)
        rig.pactl(f"suspend-{kind}", name, "0")
        return began, time.monotonic()

    return provoke


def move(seconds: float, kind: str, there: str, back: str) -> Provoke:
    """Move the program's stream to another device, and back unless it has gone back itself."""

    def provoke(rig: Rig) -> tuple[float, float]:
        command = f"move-{kind[:-1]}"
        began = time.monotonic()
        for number in rig.streams(kind, rig.pid):
            rig.pactl(command, number, there)
        time.sleep(seconds)
        for number in rig.streams(kind, rig.pid):
            rig.pactl(command, number, back)
        return began, time.monotonic()

    return provoke


def kill_server(seconds: float, *rates: int) -> Provoke:
    rounds = iter(rates * 1000)

    def provoke(rig: Rig) -> tuple[float, float]:
        began = time.monotonic()
        rig.kill_server()
        time.sleep(seconds)
        rig.restart_server(next(rounds, None))
        return began, time.monotonic()

    return provoke


def stop_server(seconds: float) -> Provoke:
    def provoke(rig: Rig) -> tuple[float, float]:
        began = time.monotonic()
        rig.stop_server()
        time.sleep(seconds)
        rig.continue_server()
        return began, time.monotonic()

    return provoke


def only_own_output(rig: Rig) -> None:
    """Remove the headphones: without its microphone, only the monitor of the speaker is left."""
    rig.unload(HEADPHONES_SINK)


# Faults inside the program.


def inside(seconds: float, name: str, *arguments: object) -> Provoke:
    """Send a command to the program; the cause is gone after `seconds`."""

    def provoke(rig: Rig) -> tuple[float, float]:
        began = rig.command(name, *arguments)
        time.sleep(seconds)
        return began, began + seconds

    return provoke


def stop_program(seconds: float) -> Provoke:
    def provoke(rig: Rig) -> tuple[float, float]:
        os.killpg(rig.program.pid, signal.SIGSTOP)
        began = time.monotonic()
        time.sleep(seconds)
        os.killpg(rig.program.pid, signal.SIGCONT)
        return began, time.monotonic()

    return provoke


def crash(rig: Rig) -> tuple[float, float]:
    """Crash the process that plays, as a library may."""
    os.kill(rig.pid, signal.SIGSEGV)
    now = time.monotonic()
    return now, now


def hogs(count: int, seconds: float) -> Provoke:
    def provoke(rig: Rig) -> tuple[float, float]:
        busy = [sys.executable, "-c", "while True: pass"]
        processes = [subprocess.Popen(busy, start_new_session=True) for _ in range(count)]
        began = time.monotonic()
        time.sleep(seconds)
        for process in processes:
            process.kill()
            process.wait()
        return began, time.monotonic()

    return provoke


def one_processor(seconds: float) -> Provoke:
    """Let rtvc have one processor, and another program take it in real time."""

    def provoke(rig: Rig) -> tuple[float, float]:
        everything = os.sched_getaffinity(0)
        for thread in Path(f"/proc/{rig.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {max(everything)})
        busy = (
            f"import time; end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
        )
        began = time.monotonic()
        command = ["taskset", "-c", str(max(everything)), "chrt", "-f", "18"]
        subprocess.run([*command, sys.executable, "-c", busy], check=True)
        return began, time.monotonic()

    return provoke


def muted(seconds: float) -> Provoke:
    """Mute the microphone, then speak."""

    def provoke(rig: Rig) -> tuple[float, float]:
        began = time.monotonic()
        rig.tape("hold", "feed")
        time.sleep(seconds)
        rig.tape("go", "feed")
        return began, time.monotonic()

    return provoke


def hung_server(rig: Rig) -> tuple[float, float]:
    """Let the server hang until rtvc has noticed."""
    rig.stop_server()
    began = time.monotonic()
    time.sleep(1.0)
    return began, time.monotonic()
