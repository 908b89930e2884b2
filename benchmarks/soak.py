"""Run rtvc for hours through a real sound server: nothing may be late, grow or drift.

    python -m benchmarks.soak [--seconds 7200] [--voice world|small-rvc] [--two-streams]
                             [--block MS] [--headroom MS]

Starts a private PulseAudio server, plays real speech into its microphone in a loop, records
microphone and speaker, and runs `rtvc run` between them. The latency is measured in the
recordings once a minute, as in benchmarks/faults. Prints the figures, the hardware and the
versions. Exits with 1 unless there were no underruns and no late blocks, the memory grew by less
than 10 MB, and the latency stayed within 5 ms of its start.

On a virtual machine the host may give the processors to others. A control (benchmarks/control.py)
shows when: what is late within two seconds of it is counted apart. Where the machine is slow or
busy all the time, nothing is said about time: that is printed, and the exit code is 75.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from typing import Any

from benchmarks.calibrated import install
from benchmarks.control import Control, Delay, lateness
from benchmarks.faults import judge
from benchmarks.faults.rig import DUPLEX, PRESET, TWO_STREAMS, Rig
from rtvc.system.info import hardware, versions
from tests.support.machine import processor_times, what_holds_it_up
from tests.support.sound_server import MICROPHONE_SINK, SPEAKER_SINK

_NOT_MEASURED = os.EX_TEMPFAIL
MAX_GROWTH_MB = 10.0
MAX_CHANGE_MS = 5.0
_WARM_S = 65.0
"""Seconds until the figures of the start are taken: the last minute fills its memory by then."""
_WINDOW_S = 2.0
_MINUTE_S = 60.0
"""The least memory of the first minute is compared with that of the last one: some of it is in use
at times only."""
_SMALL = "Small"
_RVC = "--voice", _SMALL, "--loudness", "1"
"""A voice with random weights has neither the pitch nor the bands of speech, but its loudness can
be that of the input. The latency measured then contains the 20 to 30 ms of following it."""
_COUNTED = ("late blocks", "late"), ("underruns", "underruns")


def while_held_up(log: list[dict[str, Any]], name: str, delays: list[Delay]) -> int:
    """Return how much of a count of the log grew while no thread could run, or just after it.

    Parameters
    ----------
    log
        Lines of the program with their time, in order.
    name
        The count in them.
    delays
        When no thread could run on a processor.
    """
    return sum(
        after[name] - before[name]
        for before, after in itertools.pairwise(log)
        if any(delay.explains(before["t"], after["t"]) for delay in delays)
    )


def times_of(log: list[dict[str, Any]], name: str) -> list[float]:
    """Return when a count of the log grew, in seconds after its first line."""
    return [
        round(after["t"] - log[0]["t"], 1)
        for before, after in itertools.pairwise(log)
        if after[name] > before[name]
    ]


def least_memory(log: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the least memory of the program in the first and in the last minute of its log, MB."""
    first, last = log[0]["t"], log[-1]["t"]
    start = min(line["rss"] for line in log if line["t"] <= first + _MINUTE_S)
    end = min(line["rss"] for line in log if line["t"] >= last - _MINUTE_S)
    return round(start / 1e6, 2), round(end / 1e6, 2)


def measure(seconds: float, voice: str, words: tuple[str, ...]) -> dict[str, Any]:
    """Run for `seconds` after the warm-up; return the figures."""
    with Control() as control, Rig() as rig:
        rig.start_program(*words, preset=PRESET if voice == "world" else _RVC)
        time.sleep(_WARM_S)
        began = time.monotonic()
        before = processor_times()
        while time.monotonic() < began + seconds:
            time.sleep(min(1.0, max(0.0, began + seconds - time.monotonic())))
            if rig.program.poll() is not None:
                raise RuntimeError(f"rtvc has ended: {rig.output()[-2000:]}")
        ended, stolen = time.monotonic(), processor_times().stolen_since(before)
        time.sleep(0.5)
        delays = [one for one in control.delays() if began <= one.began <= ended]
        log = [line for line in rig.log() if began <= line["t"] <= ended]
        rig.end_program()
        tapes = rig.finish()
        source, output = tapes[MICROPHONE_SINK], tapes[SPEAKER_SINK]
        every = min(60.0, seconds / 12)
        found = []
        at = began
        # With windows of the whole loop, their content makes no difference.
        loop = rig.sound_s
        window, features = (_WINDOW_S, judge.onsets) if voice == "world" else (loop, judge.loudness)
        while at < ended - window:
            latency = judge.latency(source, output, at, window, features=features)
            # A long pause of the speaker gives no latency.
            found += [1000 * float(latency.seconds)] if latency is not None else []
            at += every
        silence = judge.lost_s(source, output, began, ended, 0.0)
    first, last, memory = log[0], log[-1], least_memory(log)
    start, end = statistics.median(found[:3]), statistics.median(found[-3:])
    return {
        "voice": voice,
        "seconds": round(ended - began, 1),
        "blocks": last["blocks"] - first["blocks"],
        "late blocks": last["late"] - first["late"],
        "underruns": last["underruns"] - first["underruns"],
        "while the control was late": {
            word: while_held_up(log, name, delays) for word, name in _COUNTED
        },
        "late blocks at s": times_of(log, "late"),
        "underruns at s": times_of(log, "underruns"),
        "control": {
            "allowed": control.allowed,
            "times late": len(delays),
        }
        | lateness(delays, began),
        "processor time of other machines": round(stolen, 4),
        "overflows": last["overflows"] - first["overflows"],
        "failed steps": last["failed"] - first["failed"],
        "concealed s": round(last["concealed_s"] - first["concealed_s"], 3),
        "dropped s": round(last["dropped_s"] - first["dropped_s"], 3),
        "silence in the output beyond that of the input, s": round(silence, 2),
        "states": sorted({line["state"] for line in log}),
        "reasons": sorted({line["reason"] for line in log} - {""}),
        "memory growth MB": round(memory[1] - memory[0], 2),
        "least memory at the start and at the end, MB": memory,
        "threads": [first["threads"], last["threads"]],
        "open files": [first["fds"], last["fds"]],
        "processor": round((last["cpu_s"] - first["cpu_s"]) / (last["t"] - first["t"]), 3),
        "stated latency ms": round(1000 * last["stated_s"], 1),
        "latency ms": [round(start, 1), round(end, 1)],
        "latency, least and most, ms": [round(min(found), 1), round(max(found), 1)],
        "drift ppm": round(last["drift_ppm"], 1),
        "longest step ms": round(1000 * last["step_max"], 1),
    }


def problems(figures: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return what is not as it should be in the sound's times, and in the rest."""
    excused = figures["while the control was late"]
    late = [f"{figures[n]} {n}" for n, _ in _COUNTED if figures[n] > excused[n]]
    start, end = figures["latency ms"]
    if abs(end - start) > MAX_CHANGE_MS and not any(excused.values()):
        late.append(f"the latency went from {start} to {end} ms")
    rest = []
    if figures["memory growth MB"] >= MAX_GROWTH_MB:
        rest.append(f"the memory grew by {figures['memory growth MB']} MB")
    if figures["failed steps"]:
        rest.append(f"{figures['failed steps']} failed steps")
    return late, rest


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=7200.0)
    parser.add_argument("--voice", choices=("world", "small-rvc"), default="world")
    parser.add_argument("--two-streams", action="store_true", help="open two devices, not one")
    parser.add_argument("--block", type=int, default=100, metavar="MS", help="block of rtvc")
    parser.add_argument("--headroom", type=int, default=80, metavar="MS", help="its headroom")
    args = parser.parse_args()
    if not sys.platform.startswith("linux"):
        print("The private sound server is PulseAudio, on Linux.")
        return 0
    with tempfile.TemporaryDirectory(prefix="rtvc-soak-") as home:
        os.environ["RTVC_HOME"] = home
        if args.voice == "small-rvc":
            install(_SMALL)
        before = processor_times()
        words: tuple[str, ...] = TWO_STREAMS if args.two_streams else DUPLEX
        words += ("--block", str(args.block), "--headroom", str(args.headroom))
        figures = measure(args.seconds, args.voice, words)
        held_up = what_holds_it_up(before)
    late, rest = problems(figures)
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    print("\n".join([*late, *rest]) or "As it should be.")
    if late and held_up:
        print(f"NOT MEASURED: the machine was held up: {held_up}.")
    return 1 if rest else _NOT_MEASURED if late and held_up else int(bool(late))


if __name__ == "__main__":
    sys.exit(main())
