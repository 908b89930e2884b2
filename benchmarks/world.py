"""Measure the steps of the built-in voice: python benchmarks/world.py [BLOCK_MS].

Prints the distribution over blocks of real speech, alone and with a thread that keeps the
interpreter busy, for three switch intervals of the interpreter.
"""

from __future__ import annotations

import platform
import sys
import threading
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

from rtvc.engine.plan import make_plan
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings

SPEECH = Path(__file__).parents[1] / "tests" / "data" / "speech" / "2086-149214-0000.wav"


def measure(block_ms: int) -> np.ndarray:
    voice = WorldVoice()
    settings = Settings(
        pitch=4.0, formant=2.0, breathiness=0.2, block=float(block_ms), voice="world"
    )
    plan = make_plan(settings, voice_lookahead=voice.lookahead_frames(settings), continuous=True)
    signal, rate = soundfile.read(SPEECH, dtype="float32")
    signal = soxr.resample(signal, rate, voice.input_rate).astype(np.float32)
    size = block_ms * voice.input_rate // 1000
    stream = voice.open(plan, settings)
    times = []
    for block in signal[: len(signal) // size * size].reshape(-1, size):
        start = time.perf_counter()
        stream.render(block, settings)
        times.append(time.perf_counter() - start)
    return 1000 * np.array(times)


def report(label: str, block_ms: int) -> None:
    p50, p95, p99, most = np.percentile(measure(block_ms), [50, 95, 99, 100])
    print(f"{label:32s} p50 {p50:5.1f}  p95 {p95:5.1f}  p99 {p99:5.1f}  max {most:5.1f} ms")


def main() -> None:
    block_ms = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, blocks of {block_ms} ms"
    )
    report("alone", block_ms)
    busy = True

    def spin() -> None:
        count = 0
        while busy:
            count += 1

    thread = threading.Thread(target=spin)
    thread.start()
    for interval in (0.005, 0.0005, 0.0001):
        sys.setswitchinterval(interval)
        report(f"busy, switch interval {1000 * interval:g} ms", block_ms)
    busy = False
    thread.join()


if __name__ == "__main__":
    main()
