"""Run rtvc for hours through a real sound server: nothing may be late, grow or drift.

    python -m benchmarks.soak [--seconds 7200] [--voice world|small-rvc] [--two-streams]

Starts a private PulseAudio server, plays real speech into its microphone in a loop, records
microphone and speaker, and runs `rtvc run` between them. The latency is measured in the
recordings once a minute, as in benchmarks/faults. Prints the figures, the hardware and the
versions. Exits with 1 unless there were no underruns and no late blocks, the memory grew by less
than 10 MB, and the latency stayed within 5 ms of its start.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from typing import Any

from benchmarks.calibrated import install
from benchmarks.faults import judge
from benchmarks.faults.rig import DUPLEX, PRESET, TWO_STREAMS, Rig
from rtvc.system.info import hardware, versions
from tests.support.sound_server import MICROPHONE_SINK, SPEAKER_SINK

MAX_GROWTH_MB = 10.0
MAX_CHANGE_MS = 5.0
_WARM_S = 65.0
"""Seconds until the figures of the start are taken: the last minute fills its memory by then."""
_WINDOW_S = 2.0
_SMALL = "Small"


def measure(seconds: float, voice: str, words: tuple[str, ...]) -> dict[str, Any]:
    """Run for `seconds` after the warm-up; return the figures."""
    with Rig() as rig:
        rig.start_program(*words, preset=PRESET if voice == "world" else ("--voice", _SMALL))
        time.sleep(_WARM_S)
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            time.sleep(min(1.0, max(0.0, began + seconds - time.monotonic())))
            if rig.program.poll() is not None:
                raise RuntimeError(f"rtvc has ended: {rig.output()[-2000:]}")
        ended = time.monotonic()
        time.sleep(0.5)
        log = [line for line in rig.log() if began <= line["t"] <= ended]
        rig.end_program()
        tapes = rig.finish()
        source, output = tapes[MICROPHONE_SINK], tapes[SPEAKER_SINK]
        every = min(60.0, seconds / 12)
        found = []
        at = began
        while at < ended - _WINDOW_S:
            latency = judge.latency(source, output, at, _WINDOW_S)
            # A long pause of the speaker gives no latency.
            found += [1000 * float(latency.seconds)] if latency is not None else []
            at += every
        silence = judge.lost_s(source, output, began, ended, 0.0)
    first, last = log[0], log[-1]
    start, end = statistics.median(found[:3]), statistics.median(found[-3:])
    return {
        "voice": voice,
        "seconds": round(ended - began, 1),
        "blocks": last["blocks"] - first["blocks"],
        "late blocks": last["late"] - first["late"],
        "underruns": last["underruns"] - first["underruns"],
        "overflows": last["overflows"] - first["overflows"],
        "failed steps": last["failed"] - first["failed"],
        "concealed s": round(last["concealed_s"] - first["concealed_s"], 3),
        "dropped s": round(last["dropped_s"] - first["dropped_s"], 3),
        "silence in the output beyond that of the input, s": round(silence, 2),
        "states": sorted({line["state"] for line in log}),
        "reasons": sorted({line["reason"] for line in log} - {""}),
        "memory growth MB": round((last["rss"] - first["rss"]) / 1e6, 2),
        "threads": [first["threads"], last["threads"]],
        "open files": [first["fds"], last["fds"]],
        "processor": round((last["cpu_s"] - first["cpu_s"]) / (last["t"] - first["t"]), 3),
        "stated latency ms": round(1000 * last["stated_s"], 1),
        "latency ms": [round(start, 1), round(end, 1)],
        "latency, least and most, ms": [round(min(found), 1), round(max(found), 1)],
        "drift ppm": round(last["drift_ppm"], 1),
        "longest step ms": round(1000 * last["step_max"], 1),
    }


def problems(figures: dict[str, Any]) -> list[str]:
    """Return what is not as it should be."""
    found = [f"{figures[n]} {n}" for n in ("late blocks", "underruns") if figures[n]]
    if figures["memory growth MB"] >= MAX_GROWTH_MB:
        found.append(f"the memory grew by {figures['memory growth MB']} MB")
    start, end = figures["latency ms"]
    if abs(end - start) > MAX_CHANGE_MS:
        found.append(f"the latency went from {start} to {end} ms")
    return found


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=7200.0)
    parser.add_argument("--voice", choices=("world", "small-rvc"), default="world")
    parser.add_argument("--two-streams", action="store_true", help="open two devices, not one")
    args = parser.parse_args()
    if not sys.platform.startswith("linux"):
        print("The private sound server is PulseAudio, on Linux.")
        return 0
    with tempfile.TemporaryDirectory(prefix="rtvc-soak-") as home:
        os.environ["RTVC_HOME"] = home
        if args.voice == "small-rvc":
            install(_SMALL)
        figures = measure(args.seconds, args.voice, TWO_STREAMS if args.two_streams else DUPLEX)
    bad = problems(figures)
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    print("\n".join(bad) or "As it should be.")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
