"""Run rtvc with faults that are provoked inside it, and log what it says of itself.

    python -m benchmarks.faults.program FOLDER run --no-tui ...

The folder gets the file ``log``, with one JSON object per line, and the socket ``control``,
which takes commands as datagrams: a JSON list of a name below and its arguments. The faults
replace functions of the program in this process; rtvc itself has no hooks for them.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import json
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

from rtvc.cli.guarded import ENVIRONMENT

_LOOK_S = 0.025
_LOG_S = 0.25
_BENCHMARK = "RTVC_BENCHMARK_PID"
"""Variable with the process that started this one, which ends when that has ended."""
_SIZES = "block", "headroom"
_RANGES = {
    "pitch": (-12, 12),
    "formant": (-6, 6),
    "gate": (-80, -50),
    "input_gain": (-6, 6),
    "output_gain": (-12, 3),
    "block": (80, 150),
    "headroom": (80, 140),
}
_VALUES = [name for name in _RANGES if name not in _SIZES]
_sessions: list[Any] = []
_steps: list[tuple[str, float]] = []
"""Faults of the next steps: kind, and its argument."""
_builds: list[str] = []
_ticks: list[str] = []


class FaultError(Exception):
    """An error that stands for a defect of the program."""


class _Rubbish:
    """A voice's stream whose output is NaN or infinite."""

    def __init__(self, stream: Any, value: float) -> None:
        self._stream, self._value = stream, value

    def render(self, block: Any, settings: Any) -> Any:
        rendered = self._stream.render(block, settings)
        return dataclasses.replace(rendered, audio=rendered.audio * 0 + self._value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _spoil_step() -> str:
    kind, value = _steps.pop(0) if _steps else ("", 0.0)
    if kind == "raise":
        raise FaultError("provoked in a step")
    if kind == "memory":
        raise MemoryError("provoked in a step")
    if kind == "stall":
        time.sleep(value)
    if kind == "exit":
        raise SystemExit("provoked in a step")
    while kind == "hang":
        time.sleep(3600.0)
    while kind == "spin":
        pass
    return kind


def install() -> None:
    """Replace the functions at which faults begin."""
    from rtvc.engine.chain import Chain
    from rtvc.engine.delivery import Delivery
    from rtvc.session import Session

    step, build, tick, start = Chain.step, Chain.__init__, Delivery.tick, Session.start

    def spoilt_step(self: Any, block: Any, settings: Any) -> Any:
        kind = _spoil_step()
        if kind not in ("nan", "inf"):
            return step(self, block, settings)
        stream, self._stream = self._stream, _Rubbish(self._stream, float(kind))
        try:
            return step(self, block, settings)
        finally:
            self._stream = stream

    def spoilt_build(self: Any, *args: Any, **named: Any) -> None:
        if _builds:
            _builds.pop()
            raise FaultError("provoked while a chain was built")
        build(self, *args, **named)

    def spoilt_tick(self: Any) -> None:
        if _ticks:
            _ticks.pop()
            raise FaultError("provoked in the heartbeat")
        tick(self)

    def noted_start(self: Any) -> None:
        _sessions.append(self)
        start(self)

    Chain.step, Chain.__init__ = spoilt_step, spoilt_build  # type: ignore[method-assign]
    Delivery.tick, Session.start = spoilt_tick, noted_start  # type: ignore[method-assign]


# Commands.


def step(kind: str, count: int = 1, value: float = 0.0) -> None:
    """Let the next `count` steps raise, stall for `value` seconds, and so on."""
    _steps.extend([(kind, value)] * count)


def rebuild_fails(count: int = 1) -> None:
    """Let one step raise, and the next `count` attempts to build a chain."""
    _builds.extend(["raise"] * count)
    _steps.append(("raise", 0.0))


def heartbeat(count: int = 1) -> None:
    """Let the engine's watchdog raise."""
    _ticks.extend(["raise"] * count)


def hold(seconds: float) -> None:
    """Hold the interpreter lock in C."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def settings(**changes: Any) -> None:
    """Apply changes to the settings."""
    _sessions[-1].apply(**changes)


def random_settings(count: int, seconds: float, seed: int) -> None:
    """Apply random values of random settings at even intervals, then the first ones again."""
    threading.Thread(target=_change, args=(count, seconds, seed), daemon=True).start()


def _change(count: int, seconds: float, seed: int) -> None:
    chance, session = random.Random(seed), _sessions[-1]
    first, due = session.settings, time.monotonic()
    for _ in range(count):
        due += seconds / count
        time.sleep(max(0.0, due - time.monotonic()))
        # Sizes build another chain: one change in twenty.
        name = chance.choice(_SIZES if chance.random() < 0.05 else _VALUES)
        low, high = _RANGES[name]
        value = round(chance.uniform(low, high), -1 if name in _SIZES else 1)
        session.apply(session.settings.replace(**{name: value}))
    session.apply(first)


def full_disk(room: int) -> None:
    """Let no file of the program grow beyond `room` bytes more than the largest has now."""
    largest = max(file.stat().st_size for file in Path.cwd().glob("*.wav"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + room, resource.RLIM_INFINITY))


def voices(names: list[str], count: int, seconds: float) -> None:
    """Switch between voices at even intervals."""
    threading.Thread(target=_switch, args=(names, count, seconds), daemon=True).start()


def _switch(names: list[str], count: int, seconds: float) -> None:
    session, due = _sessions[-1], time.monotonic()
    for number in range(count):
        due += seconds / count
        time.sleep(max(0.0, due - time.monotonic()))
        session.apply(session.settings.replace(voice=names[number % len(names)]))


_COMMANDS = {
    f.__name__: f
    for f in (step, rebuild_fails, heartbeat, hold, settings, random_settings, full_disk, voices)
}


# The log.


def _figures() -> dict[str, Any]:
    if not _sessions:
        return {"state": "none", "reason": ""}
    s = _sessions[-1].stats()
    found = {
        "state": str(s.state),
        "reason": s.reason,
        "blocks": s.blocks,
        "late": s.late_blocks,
        "failed": s.failed_steps,
        "concealed_s": s.concealed_s,
        "dropped_s": s.dropped_s,
        "degraded": s.degraded,
        "stated_s": s.latency.total,
        "underruns": s.device.underruns,
        "overflows": s.device.overflows,
        "drift_ppm": s.device.drift_ppm,
        "step_max": s.step.max,
        "voice": s.voice,
    }
    # Counts of restarts by whatever name the program gives them.
    for name in type(s).__slots__:
        if name not in found and isinstance(getattr(s, name), int | str):
            found.setdefault(name, getattr(s, name))
    return found


def _watch(folder: Path) -> None:
    last: tuple[object, ...] = ()
    logged = 0.0
    with (folder / "log").open("a", buffering=1) as log:
        while True:
            now = time.monotonic()
            try:
                figures = _figures()
            except Exception as error:
                figures = {"state": "error", "reason": repr(error)}
            told = figures["state"], figures["reason"]
            if told != last or now - logged > _LOG_S:
                last, logged = told, now
                with open("/proc/self/statm") as file:
                    figures["rss"] = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                figures["threads"] = len(os.listdir("/proc/self/task"))
                figures["fds"] = len(os.listdir("/proc/self/fd"))
                times = os.times()
                figures["cpu_s"] = times.user + times.system
                log.write(json.dumps({"t": now, "pid": os.getpid()} | figures) + "\n")
            if not Path("/proc", os.environ[_BENCHMARK]).exists():
                os.kill(os.getppid(), signal.SIGKILL)  # the guard would start it again
                os._exit(1)
            time.sleep(_LOOK_S)


def _listen(control: socket.socket) -> None:
    while True:
        name, *arguments = json.loads(control.recv(65536))
        try:
            last = arguments[-1] if arguments and isinstance(arguments[-1], dict) else None
            if last is None:
                _COMMANDS[name](*arguments)
            else:
                _COMMANDS[name](*arguments[:-1], **last)
        except Exception as error:
            print(f"command {name}: {error!r}", file=sys.stderr, flush=True)


def main() -> int:
    """Run rtvc; return its exit code."""
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    sys.argv = ["rtvc", *words]
    # What the installed command calls, its measures for the end of the process included.
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["rtvc"].partition(":")
    command = getattr(importlib.import_module(module), name)
    if ENVIRONMENT not in os.environ:
        # The guard: it starts this module again as its child. Other commands are not spoilt.
        os.environ[_BENCHMARK] = str(os.getppid())
        return int(command() or 0)
    (folder / "control").unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.bind(str(folder / "control"))
    threading.Thread(target=_listen, args=(control,), name="proof control", daemon=True).start()
    install()
    threading.Thread(target=_watch, args=(folder,), name="proof log", daemon=True).start()
    return int(command() or 0)


if __name__ == "__main__":
    sys.exit(main())
