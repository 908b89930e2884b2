"""Feed the fake microphone and record the sinks, in a process that outlives every fault.

Started by `rig.Rig` with a folder, the file of the input and the names of sinks. It reads
commands from its standard input, one a line, and ends when that is closed:

    hold NAME    end the stream NAME: a sink, or "feed"
    go NAME      start it again

A stream that ends otherwise, because the sound server has died, is started again every 50 ms.
The file of a sink has raw samples; its index has one record per piece: arrival time on the
monotonic clock, and samples since the stream started. It runs in real time where that is
allowed, apart from the program under test.
"""

from __future__ import annotations

import os
import selectors
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

RATE = 48_000
RECORD = struct.Struct("<dq")
RAW = ["--raw", "--format=float32le", f"--rate={RATE}", "--channels=1"]
_RETRY_S = 0.05


class Stream:
    """One recorder or the feeder: a process that is kept running while `wanted`."""

    def __init__(self, name: str, folder: Path, command: list[str]) -> None:
        self.name, self.command, self.wanted = name, command, True
        self.process: subprocess.Popen[bytes] | None = None
        self.received = 0
        self.samples = (folder / f"{name}.f32").open("ab", buffering=0)
        self.index = (folder / f"{name}.index").open("ab", buffering=0)

    def start(self, selector: selectors.BaseSelector) -> None:
        """Start the process."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.received = 0
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        selector.register(self.process.stdout, selectors.EVENT_READ, self)

    def end(self, selector: selectors.BaseSelector) -> None:
        """Kill the process and what it started."""
        process, self.process = self.process, None
        if process is None:
            return
        selector.unregister(process.stdout)  # type: ignore[arg-type]
        with suppress(ProcessLookupError):  # it has ended, and so has its group
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]

    def read(self, selector: selectors.BaseSelector) -> None:
        """Store what has arrived; at its end, drop the process."""
        assert self.process is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
        if not data:
            self.end(selector)
            return
        self.samples.write(data)
        self.received += len(data) // 4
        self.index.write(RECORD.pack(time.monotonic(), self.received))


def commands(folder: Path, sound: Path, sinks: list[str]) -> dict[str, list[str]]:
    """Return the command of each stream; the feeder plays the sound again and again."""
    # A null sink moves in steps of the lowest latency that one of its streams asks for. A step of
    # 10 ms would make the latency of each new stream another one, by that much.
    latency = "--latency-msec=2"
    feed = f"while cat {sound}; do :; done | exec pacat --playback {' '.join(RAW)}"
    found = {sink: ["parec", *RAW, latency, f"--device={sink}.monitor"] for sink in sinks}
    found["feed"] = ["sh", "-c", f"{feed} --latency-msec=200 --device=fake_mic_feed"]
    return found


def obey(streams: dict[str, Stream], selector: selectors.BaseSelector) -> bool:
    """Carry out the commands on standard input; return False at its end."""
    lines = os.read(sys.stdin.fileno(), 4096).decode()
    for word, name in (line.split() for line in lines.splitlines()):
        streams[name].wanted = word == "go"
        if word == "hold":
            streams[name].end(selector)
    if lines:
        print("done", flush=True)
    return bool(lines)


def main() -> None:
    """Run until standard input is closed."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder, sound, sinks = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    # Only now: the start of the interpreter would keep another program's step from its processor.
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    streams = {n: Stream(n, folder, c) for n, c in commands(folder, sound, sinks).items()}
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ, None)
        print("ready", flush=True)
        tried, running = 0.0, True
        while running:
            if time.monotonic() - tried > _RETRY_S:
                tried = time.monotonic()
                for stream in streams.values():
                    if stream.process is not None and stream.process.poll() is not None:
                        stream.end(selector)
                    if stream.wanted and stream.process is None:
                        stream.start(selector)
            for key, _ in selector.select(_RETRY_S):
                if key.data is not None:
                    if key.data.process is not None:
                        key.data.read(selector)
                    continue
                running = obey(streams, selector)
        for stream in streams.values():
            stream.end(selector)


if __name__ == "__main__":
    main()
