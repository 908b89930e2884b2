"""The private sound server, the tape, and rtvc between them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.faults.judge import Tape, read_tape
from benchmarks.faults.tape import RATE
from rtvc._types import Float32
from rtvc.audio.resample import BlockResampler
from tests.support.processes import Process, end, start
from tests.support.sound_server import (
    HEADPHONES_SINK,
    MICROPHONE_SINK,
    SPEAKER_SINK,
    SoundServer,
)
from tests.support.speech import UTTERANCES

ROOT = Path(__file__).parents[2]
DUPLEX = ()
TWO_STREAMS = ("--input", "fake_mic", "--output", "fake_speaker")
PRESET = ("--preset", "deep")
_START_S = 15.0
_SETTLE_S = 3.5
"""Seconds of sound before the first fault: its latency is measured there."""
_MODULES = {
    MICROPHONE_SINK: "norewinds=1 rate={rate} format=float32le channels=1 channel_map=mono",
    SPEAKER_SINK: "norewinds=1 rate={rate} format=float32le channels=2",
    HEADPHONES_SINK: "norewinds=1 rate=44100 format=float32le channels=2",
}


def dense_speech() -> Float32:
    """Return the real speech of the tests at 48 kHz without its pauses."""
    parts = []
    for path in UTTERANCES:
        samples, rate = soundfile.read(path, dtype="float32")
        sound = BlockResampler(rate, RATE).process(samples[: len(samples) // 160 * 160])
        frames = sound[: len(sound) // 960 * 960].reshape(-1, 960)
        level = np.sqrt(np.mean(frames.astype("f8") ** 2, axis=1))
        loud = np.convolve(level > 0.03 * level.max(), np.ones(3), "same") > 0
        parts.append(frames[loud].ravel() * np.float32(0.35 / np.abs(frames).max()))
    return np.concatenate(parts)


class Rig:
    """A server, the tape and at most two running programs, in a folder of their own."""

    def __init__(self, *sinks: str, sound: Float32 | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rtvc-faults-"))
        self.server = SoundServer()
        self.rate = RATE
        self._sinks = sinks or (MICROPHONE_SINK, SPEAKER_SINK)
        self._programs: list[tuple[Process, Path]] = []
        self._tape: Process | None = None
        self._sound = dense_speech() if sound is None else sound
        self._away: set[str] = set()

    @property
    def sound_s(self) -> float:
        """Seconds of the sound that is played into the microphone in a loop."""
        return len(self._sound) / RATE

    def __enter__(self) -> Rig:
        # The first sink is the server's choice where the default one is gone: not the one that
        # feeds the microphone.
        file = self.server.directory / "default.pa"
        lines = file.read_text().splitlines(keepends=True)
        lines.sort(key=lambda line: HEADPHONES_SINK not in line and "fail" not in line)
        file.write_text("".join(lines))
        self.server.start()
        file = self.folder / "speech.f32"
        file.write_bytes(self._sound.astype(np.float32).tobytes())
        words = [sys.executable, "-IS", str(Path(__file__).parent / "tape.py")]
        self._tape = start(
            [*words, str(self.folder), str(file), *self._sinks],
            env=os.environ | self.server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._tape.stdout.readline()
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        for process, _folder in self._programs:
            end(process)
        self._end_tape()
        with suppress(ProcessLookupError, AssertionError):
            os.kill(self.server.pid, signal.SIGCONT)
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # The server.

    def pactl(self, *words: str) -> str:
        """Run pactl and return what it prints."""
        done = subprocess.run(
            ["pactl", *words],
            env=os.environ | self.server.environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout

    def tape(self, word: str, *names: str) -> None:
        """``hold`` or ``go`` for streams of the tape."""
        assert self._tape is not None
        if not names:
            return
        self._tape.stdin.write("".join(f"{word} {name}\n" for name in names).encode())
        self._tape.stdin.flush()
        self._tape.stdout.readline()

    def unload(self, sink: str) -> None:
        """Remove a sink; the tape's own streams end before, so that the server moves none."""
        self._away |= {sink, "feed"} if sink == MICROPHONE_SINK else {sink}
        self.tape("hold", *[n for n in self._away if n == "feed" or n in self._sinks])
        for line in self.pactl("list", "short", "modules").splitlines():
            if f"sink_name={sink} " in line + " ":
                self.pactl("unload-module", line.split()[0])

    def load(self, sink: str) -> None:
        """Add a sink again. The tape rests meanwhile: the server moves streams to a new device."""
        settings = _MODULES[sink].format(rate=self.rate)
        running = [s for s in ("feed", *self._sinks) if s not in self._away]
        self.tape("hold", *running)
        self.pactl("load-module", "module-null-sink", f"sink_name={sink}", *settings.split())
        self._away.discard(sink)
        if MICROPHONE_SINK not in self._away:
            self._away.discard("feed")
        self.tape("go", *[s for s in ("feed", *self._sinks) if s not in self._away])

    def restart_server(self, rate: int | None = None) -> None:
        """Start the killed server again, with the null sinks at another rate."""
        if rate is not None:
            file = self.server.directory / "default.pa"
            file.write_text(file.read_text().replace(f"rate={self.rate}\n", f"rate={rate}\n"))
            file.write_text(file.read_text().replace(f"rate={self.rate} ", f"rate={rate} "))
            self.rate = rate
        self.server.start()

    def kill_server(self) -> None:
        """Kill the sound server."""
        self.server.kill()

    def stop_server(self) -> None:
        """Stop the server's process, as one that hangs."""
        os.kill(self.server.pid, signal.SIGSTOP)

    def continue_server(self) -> None:
        """Let the server's process run again."""
        os.kill(self.server.pid, signal.SIGCONT)

    def streams(self, kind: str, pid: int) -> list[str]:
        """Return the numbers of the sink-inputs or source-outputs of a process."""
        own = f'application.process.id = "{pid}"'
        parts = self.pactl("list", kind).split("\n\n")
        return [p.split("#")[1].split()[0] for p in parts if own in p]

    # The program.

    def start_program(
        self,
        *words: str,
        preset: tuple[str, ...] = PRESET,
        environment: dict[str, str] | None = None,
        wait: bool = True,
        save: bool = False,
        command: str = "run",
    ) -> Process:
        """Start rtvc, and return once it has sounded for some seconds."""
        folder = self.folder / f"program-{len(self._programs)}"
        folder.mkdir()
        variables = os.environ | self.server.environment | {"PYTHONPATH": str(ROOT)}
        variables |= {"RTVC_CONFIG_DIR": str(folder / "config"), "PYTHONUNBUFFERED": "1"}
        variables |= environment or {}
        # Its latency is judged, so it must not settle.
        run = ["run", "--no-tui", "--latency", "constant", *([] if save else ["--no-save"])]
        words = (*run, *preset, *words) if command == "run" else words
        if command != "run":
            words = (command, *words)
        with (folder / "output").open("wb") as out:
            process = start(
                [sys.executable, "-m", "benchmarks.faults.program", str(folder), *words],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
        self._programs.append((process, folder))
        if wait:
            self.await_state("converted")
            time.sleep(_SETTLE_S)
        return process

    def await_state(self, *states: str, timeout: float = _START_S) -> float:
        """Wait for a state of the newest program; return when it was."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            lines = self.log()
            if lines and lines[-1]["state"] in states:
                return float(lines[-1]["t"])
            if self.program.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"rtvc did not get {states}: {self.log()[-1:]} {self.output()[-2000:]}")

    @property
    def program(self) -> Process:
        """The newest program."""
        return self._programs[-1][0]

    @property
    def pid(self) -> int:
        """The process of the newest program that plays: the child of its guard."""
        return int(self.log()[-1]["pid"])

    @property
    def program_folder(self) -> Path:
        """The folder of the newest program."""
        return self._programs[-1][1]

    def command(self, name: str, *arguments: object) -> float:
        """Send a command to the newest program; return the time."""
        control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with control:
            control.connect(str(self.program_folder / "control"))
            now = time.monotonic()
            control.send(json.dumps([name, *arguments]).encode())
        return now

    def log(self, number: int = -1) -> list[dict[str, Any]]:
        """Return what a program has logged so far."""
        file = self._programs[number][1] / "log"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]

    def output(self, number: int = -1) -> str:
        """Return what a program has printed so far."""
        return (self._programs[number][1] / "output").read_text(errors="replace")

    def end_program(self, number: int = signal.SIGTERM, timeout: float = 10.0) -> float | None:
        """Send a signal to the newest program; return the seconds until it ended, if it did."""
        began = time.monotonic()
        self.program.send_signal(number)
        try:
            self.program.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return time.monotonic() - began

    # The tape.

    def finish(self) -> dict[str, Tape]:
        """End the tape, and return the recording of each sink."""
        self._end_tape()
        return {sink: read_tape(self.folder, sink) for sink in self._sinks}

    def _end_tape(self) -> None:
        tape, self._tape = self._tape, None
        if tape is None:
            return
        with suppress(OSError):
            tape.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            tape.wait(5)
        end(tape)
