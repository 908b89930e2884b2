"""Run live through a real sound server, with a thread that keeps the interpreter busy.

Starts a private PulseAudio server with a fake microphone and a fake speaker, plays real speech
into the microphone, records the speaker, and runs the built-in voice between them:

    python -m benchmarks.live --seconds 600 --block 100

Prints the measurements, the hardware and the versions. Exits with 1 if a block was late or the
device had an underrun or overflow. ``--dry`` passes the microphone through and compares the
output with it block by block, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time

import numpy as np
import soundfile

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.live import LiveEndpoint
from rtvc.audio.loopback import align
from rtvc.audio.resample import BlockResampler
from rtvc.calibration.sizing import Sizing
from rtvc.config.presets import find_preset
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.system.info import hardware, versions
from tests.support.sound_server import MICROPHONE_SINK, SPEAKER_SINK, SoundServer
from tests.support.speech import UTTERANCES


def keep_busy(stop: threading.Event) -> None:
    """Compute in Python without pause: the worst load on the interpreter by a user interface."""
    value = 1
    while not stop.is_set():
        for _ in range(1000):
            value = (value * 1103515245 + 12345) % 2147483648


def speech(seconds: float) -> Float32:
    """Return real speech of five speakers at `ENGINE_RATE`, repeated, with pauses."""
    parts = []
    for path in UTTERANCES:
        samples, rate = soundfile.read(path, dtype="float32")
        whole = samples[: len(samples) // 160 * 160]
        parts += [BlockResampler(rate, ENGINE_RATE).process(whole), np.zeros(24_000, np.float32)]
    return np.resize(np.concatenate(parts), round(seconds * ENGINE_RATE)).astype(np.float32)


def noise(seconds: float) -> Float32:
    """Return white noise at -26 dBFS."""
    samples = np.random.default_rng(0).standard_normal(round(seconds * ENGINE_RATE))
    return (0.05 * samples).astype(np.float32)


def run(
    settings: Settings,
    sound: Float32,
    seconds: float,
    *,
    busy: bool,
    sizing: Sizing | None = None,
) -> dict[str, object]:
    """Run live once; return the measurements."""
    server = SoundServer()
    server.start()
    os.environ.update(server.environment)
    stop = threading.Event()
    worst = 0.0
    try:
        with server.recording(SPEAKER_SINK, MICROPHONE_SINK) as finish, server.speaking(sound):
            time.sleep(0.5)
            session = Session(LiveEndpoint(), settings, sizing=sizing)
            with session:
                if busy:
                    threading.Thread(target=keep_busy, args=(stop,), daemon=True).start()
                end = time.monotonic() + seconds
                while time.monotonic() < end and not session.wait(1.0):
                    worst = max(worst, session.stats().step.p99)
                stats = session.stats()
            stop.set()
            received, sent = finish()
    finally:
        stop.set()
        server.stop()
    figures: dict[str, object] = {
        "seconds": seconds,
        "block ms": round(stats.latency.block * 1000),
        "headroom ms": round(stats.latency.headroom * 1000),
        "degraded": stats.degraded,
        "interpreter kept busy": busy,
        "server scheduled in real time": server.realtime,
        "state": str(stats.state),
        "blocks": stats.blocks,
        "late blocks": stats.late_blocks,
        "device underruns": stats.device.underruns,
        "device overflows": stats.device.overflows,
        "step p50 ms": round(stats.step.p50 * 1000, 2),
        "step p99 ms": round(stats.step.p99 * 1000, 2),
        "worst p99 over 60 s, ms": round(worst * 1000, 2),
        "step max ms": round(stats.step.max * 1000, 2),
        "reported latency ms": round(stats.latency.total * 1000, 1),
    }
    if settings.mode == "dry":
        margin = 2 * ENGINE_RATE
        alignment = align(sent.samples[margin:-margin], received.samples)
        latency = received.began - sent.began + (alignment.delay - margin) / ENGINE_RATE
        figures |= {
            "bit-exact 100 ms blocks": f"{alignment.exact} of {len(alignment.offsets)}",
            "slips": alignment.slips(),
            "measured latency ms": round(latency * 1000, 1),
        }
    return figures


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--block", type=float, default=100.0)
    parser.add_argument("--preset", help="preset to use; by default 4 semitones up")
    parser.add_argument("--dry", action="store_true", help="pass the microphone through")
    parser.add_argument("--idle", action="store_true", help="run without the busy thread")
    args = parser.parse_args()
    settings = Settings(mode="dry")
    if not args.dry:
        settings = find_preset(args.preset).settings if args.preset else Settings(pitch=4.0)
    settings = settings.replace(block=args.block, latency="constant")
    # The comparison needs a signal that does not repeat itself.
    sound = noise(args.seconds + 5) if args.dry else speech(args.seconds + 5)
    figures = run(settings, sound, args.seconds, busy=not args.idle)
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    return int(any(figures[n] for n in ("late blocks", "device underruns", "device overflows")))


if __name__ == "__main__":
    sys.exit(main())
