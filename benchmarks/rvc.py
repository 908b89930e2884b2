"""Full-size RVC voices with random weights: python -m benchmarks.rvc [--seconds 4] [KIND...].

A KIND is a version and a rate, such as v2-40; without any, all six are run. Each voice
goes through the real chain on a simulated device whose clock waits for the engine, so
that slow machines finish too; what is printed is how long its steps took, and how much
memory the process has after each part was loaded. With --offline it converts the same
sound as a recording as well.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import resource
import sys
import time

import numpy as np
import soundfile
import soxr

import rtvc.engine  # loads the BLAS before anything imports MLX
from rtvc.audio.simulated import SimulatedDevice
from rtvc.engine.blas import load_blas
from rtvc.engine.memory import trim_memory
from rtvc.engine.rvc import RvcStreamVoice
from rtvc.session import Session
from rtvc.settings import Settings
from tests.random_models import UPSAMPLING, random_encoder, random_rmvpe, random_voice
from tests.speech import FOLDER

KINDS = {f"{version}-{rate // 1000}": (version, rate) for version, rate in UPSAMPLING}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--block", type=float, default=250.0)
    parser.add_argument("--context", type=float, default=1000.0)
    parser.add_argument("--offline", action="store_true")
    args = parser.parse_args()
    import mlx.core as mx

    print(f"{_processor()}, {os.cpu_count()} cores, {platform.platform()}")
    print(f"Python {platform.python_version()}, MLX {mx.__version__}, {mx.default_device()}")
    print(f"BLAS {load_blas()}")
    before = _memory("at the start")
    encoder, rmvpe = random_encoder(), random_rmvpe()
    base = _memory("with content encoder and RMVPE")
    print(f"base models: {base - before:.0f} MB")
    settings = Settings(voice="random", block=args.block, context=args.context, gate=-90.0)
    sound = _speech(args.seconds)
    for kind in args.kinds or KINDS:
        started = _memory()
        network = random_voice(*KINDS[kind])
        loaded = _memory()
        voice = RvcStreamVoice(kind, network, encoder, lambda name: rmvpe)
        _run(kind, voice, sound, settings)
        running = _memory()
        print(
            f"{'':8s}memory: the voice {loaded - started:.0f} MB, the process {running:.0f} MB, "
            f"its peak {_peak():.0f} MB"
        )
        if args.offline:
            _convert(voice, sound, settings)
        del network, voice
        gc.collect()
        mx.clear_cache()


def _run(kind: str, voice: RvcStreamVoice, sound: np.ndarray, settings: Settings) -> None:
    device = SimulatedDevice(sound, tail=0.0)
    began = time.perf_counter()
    session = Session(device, settings, lambda name: voice)
    with session:
        ready = time.perf_counter() - began
        session.wait()
        stats = session.stats()
    step = stats.step
    print(
        f"{kind:8s}ready after {ready:.1f} s, {stats.blocks} steps of {settings.block:g} ms: "
        f"p50 {1000 * step.p50:.0f}, p95 {1000 * step.p95:.0f}, max {1000 * step.max:.0f} ms; "
        f"latency {1000 * stats.latency.total:.0f} ms; {stats.failures} failures, "
        f"{stats.late_blocks} late, finite {bool(np.isfinite(device.played).all())}, "
        f"rms {float(np.sqrt(np.mean(device.played**2))):.3f}"
    )


def _convert(voice: RvcStreamVoice, sound: np.ndarray, settings: Settings) -> None:
    from rtvc.engine.offline import convert

    began = time.perf_counter()
    made = convert(voice, soxr.resample(sound, 48_000, 16_000), settings)
    took = time.perf_counter() - began
    print(
        f"{'':8s}offline: {len(sound) / 48_000:.1f} s in {took:.1f} s, "
        f"finite {bool(np.isfinite(made.audio).all())}, peak {_peak():.0f} MB"
    )


def _speech(seconds: float) -> np.ndarray:
    sound, rate = soundfile.read(FOLDER / "2086-149214-0000.wav", dtype="float32")
    return soxr.resample(np.resize(sound, round(seconds * rate)), rate, 48_000)


def _memory(label: str = "") -> float:
    """Return resident megabytes, and print them."""
    gc.collect()
    trim_memory()
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * resource.getpagesize() / 1e6
    else:
        resident = _peak()
    if label:
        print(f"memory {label}: {resident:.0f} MB")
    return resident


def _peak() -> float:
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.machine()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    assert rtvc.engine
    main()
