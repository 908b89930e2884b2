"""Run live with ``--latency auto`` through a real sound server; report how it settles.

Starts a private PulseAudio server, plays real speech into its microphone and records both ends:

    python -m benchmarks.settling --minutes 10
    python -m benchmarks.settling --minutes 8 --hog 60:90 --hog 180:210 --hog 300:330

Prints each change with its reason and its time, the late blocks by their time, and the latency
from mouth to ear over time: the delay between the syllables of the two recordings, devices
included. With ``--hog FROM:TO`` a process for each core computes between these seconds. Exits with
1 if a block was late after 20 s of speech while nothing else computed, if more than two were late
when a hog arrived, or if the device had an underrun or overflow. What is late within two seconds
of a delay of the control (benchmarks/control.py) is counted apart: the host of a virtual machine
had the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from benchmarks.control import Control, Delay, lateness
from benchmarks.live import speech
from rtvc.audio.delay_estimate import estimate_delay
from rtvc.audio.delay_monitor import WINDOW_S
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.live import LiveEndpoint
from rtvc.calibration.profiles import DEFAULT_PROFILE, PROFILES
from rtvc.calibration.sizing import Sizing
from rtvc.config.presets import find_preset
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.system.info import hardware, versions
from tests.support.processes import end, start
from tests.support.sound_server import MICROPHONE_SINK, SPEAKER_SINK, RecordedSound, SoundServer

SETTLED_S = 26.0
"""Seconds with 20 s of speech in them."""
RECOVERY_S = 60.0
ARRIVAL_S = 5.0
_OBSERVED_S = 0.1
"""Time between two looks at the counts of late blocks and underruns."""


@dataclass
class Course:
    """What happened at which second of a run."""

    changes: list[tuple[float, str]] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    underruns: list[float] = field(default_factory=list)
    overflows: list[float] = field(default_factory=list)
    latency_ms: list[tuple[float, float]] = field(default_factory=list)


def run(settings: Settings, seconds: float, profile: str, hogs: list[tuple[float, float]]) -> int:
    """Run once, and print what happened; return the exit code."""
    server = SoundServer()
    server.start()
    os.environ.update(server.environment)
    course, processes = Course(), []
    try:
        with (
            Control() as control,
            server.recording(SPEAKER_SINK, MICROPHONE_SINK) as finish,
            server.speaking(speech(seconds + 10)),
        ):
            time.sleep(0.5)
            session = Session(LiveEndpoint(), settings, sizing=Sizing(profile=PROFILES[profile]))
            with session:
                began = time.monotonic()
                while (now := time.monotonic() - began) < seconds and not session.wait(_OBSERVED_S):
                    _observe(session, course, now)
                    computing = any(begin <= now < until for begin, until in hogs)
                    if computing and not processes:
                        command = [sys.executable, "-c", "while True: pass"]
                        processes = [start(command) for _ in range(os.cpu_count() or 1)]
                    elif processes and not computing:
                        for process in processes:
                            end(process)
                        processes = []
                _observe(session, course, time.monotonic() - began)
                stats = session.stats()
            received, sent = finish()
            delays = control.delays()
    finally:
        for process in processes:
            end(process)
        server.stop()
    measured = mouth_to_ear(sent, received, began)
    held_up = [at for at in course.late if _held_up(at + began, delays)]
    late = [at for at in course.late if at not in held_up]
    quiet = [at for at in late if at > SETTLED_S and not _disturbed(at, hogs)]
    arrivals = [sum(begin <= at < until + ARRIVAL_S for at in late) for begin, until in hogs]
    print("seconds  changes")
    for at, reason in course.changes:
        print(f"{at:7.1f}  {reason}")
    print("late blocks at", ", ".join(f"{at:.1f} s" for at in course.late) or "no time")
    print("seconds  stated, ms  mouth to ear, ms")
    for at, value in measured:
        stated = [ms for t, ms in course.latency_ms if t <= at]
        print(f"{at:7.1f}  {stated[-1] if stated else 0:10.1f}  {value:16.1f}")
    settled = [value for at, value in measured if at > SETTLED_S and not _disturbed(at, hogs)]
    faults = course.underruns + course.overflows
    own_faults = [at for at in faults if not _held_up(at + began, delays)]
    figures = {
        "seconds": seconds,
        "profile": profile,
        "changes": len(course.changes),
        "late blocks": len(course.late),
        "late blocks while the control was late": len(held_up),
        "late blocks after 20 s of speech, without a hog": len(quiet),
        "late blocks at each hog": arrivals,
        "block ms": round(1000 * stats.latency.block),
        "headroom ms": round(1000 * stats.latency.headroom),
        "stated latency ms": round(1000 * stats.latency.total, 1),
        "mouth to ear after 20 s of speech, median ms": (
            round(float(np.median(settled)), 1) if settled else None
        ),
        "device underruns at s": course.underruns,
        "device overflows at s": course.overflows,
        "device faults while the control was late": len(faults) - len(own_faults),
        "control": {"allowed": control.allowed} | lateness(delays, began),
        "step p50 ms": round(1000 * stats.step.p50, 2),
        "step p99 ms": round(1000 * stats.step.p99, 2),
        "server scheduled in real time": server.realtime,
    }
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    bad = bool(quiet) or any(count > 2 for count in arrivals)
    return int(bad or bool(own_faults))


def mouth_to_ear(
    sent: RecordedSound, received: RecordedSound, began: float
) -> list[tuple[float, float]]:
    """Return the delay of the output in ms by the time of the run, where it can be estimated."""
    size = round(WINDOW_S * ENGINE_RATE)
    ahead = round((sent.began - received.began) * ENGINE_RATE)
    found = []
    mono = received.samples if received.samples.ndim == 1 else received.samples[:, 0]
    for begin in range(0, len(sent.samples) - size, 5 * ENGINE_RATE):
        # Look around 120 ms later, where the delay is nearly 0.
        at = begin + ahead + round(0.12 * ENGINE_RATE)
        if at < 0 or at + size > len(mono):
            continue
        estimate = estimate_delay(sent.samples[begin : begin + size], mono[at : at + size])
        if estimate.reliable:
            time_s = sent.began + (begin + size) / ENGINE_RATE - began
            found.append((time_s, 1000 * (0.12 + estimate.seconds)))
    return found


def _observe(session: Session, course: Course, now: float) -> None:
    stats = session.stats()
    if reason := session.take_message():
        course.changes.append((now, reason))
    course.late += [now] * (stats.late_blocks - len(course.late))
    for times, count in (
        (course.underruns, stats.device.underruns),
        (course.overflows, stats.device.overflows),
    ):
        times.extend([round(now, 1)] * (count - len(times)))
    course.latency_ms.append((now, 1000 * stats.latency.total))


def _held_up(at: float, delays: list[Delay]) -> bool:
    """Return whether a delay explains what was seen at this time, and not at the look before."""
    return any(delay.explains(at - _OBSERVED_S, at) for delay in delays)


def _disturbed(at: float, hogs: list[tuple[float, float]]) -> bool:
    return any(begin <= at < until + RECOVERY_S for begin, until in hogs)


def _span(text: str) -> tuple[float, float]:
    begin, until = text.split(":")
    return float(begin), float(until)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--profile", choices=PROFILES, default=DEFAULT_PROFILE)
    parser.add_argument("--preset", help="preset to use; by default 4 semitones up")
    parser.add_argument("--hog", type=_span, action="append", default=[], metavar="FROM:TO")
    args = parser.parse_args()
    settings = find_preset(args.preset).settings if args.preset else Settings(pitch=4.0)
    return run(settings.replace(latency="auto"), 60 * args.minutes, args.profile, args.hog)


if __name__ == "__main__":
    sys.exit(main())
