"""Prove what rtvc says about latency, 20 times each.

    python -m benchmarks.latency agreement     rtvc latency against an independent figure
    python -m benchmarks.latency planted       gaps, clicks and second paths in recordings
    python -m benchmarks.latency planted-live  the same on a private sound server
    python -m benchmarks.latency estimate      the estimate from speech against the truth
    python -m benchmarks.latency watch         30 minutes without a fault, then planted faults

`agreement` uses a private sound server with a loop from speaker to microphone. Before the chirps
of a measurement, through the same streams, a burst of noise goes round: what comes in goes out
again. parec records the speaker, and the autocorrelation of its recording has the time of one
round, by another signal, another recorder and another method. rtvc's own queues are a part of
it; what was counted during the chirps is subtracted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.live import speech
from rtvc._types import Float32
from rtvc.audio.delay_estimate import estimate_delay
from rtvc.audio.delay_monitor import WINDOW_S
from rtvc.audio.endpoint import ENGINE_RATE, Endpoint
from rtvc.audio.live import LiveEndpoint
from rtvc.audio.loop_latency import QUEUE_S, LoopLatency, measure_loop_latency
from rtvc.audio.loop_signal import analyse, loop_chirps
from rtvc.audio.simulated import SimulatedDevice
from rtvc.audio.tee import TeeEndpoint
from rtvc.config.presets import find_preset
from rtvc.engine.chain import Chain, Step
from rtvc.engine.voice import Voice
from rtvc.library.open_voice import find_voice
from rtvc.session import Session
from rtvc.settings import Settings
from tests.support.sound_server import SPEAKER_SINK, SoundServer, in_real_time

TRIES = 20
_STEP = ENGINE_RATE // 100
_ROUNDS_S = 2.0
_CASES = (
    ("fake_cable", "fake_cable", 48_000),
    ("cable_end", "fake_speaker", 48_000),
    ("fake_cable", "fake_cable", 44_100),
    ("cable_end", "fake_speaker", 44_100),
    ("fake_cable", "fake_cable", 16_000),
)
"""Input, output and rate of the streams; the first is one stream, the second has two clocks."""
PRESETS = ("deep", "robot", "whisper", "feminine", "giant")


class Wrapped:
    """Forwards to an endpoint; a subclass changes what it needs."""

    def __init__(self, inner: Endpoint) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


class Round(Wrapped):
    """Lets a burst of noise go round after its start."""

    def start(self, tick: Callable[[], None], delay: int) -> None:
        """Start, and let the noise go round."""
        self.inner.start(tick, delay)
        burst = np.random.default_rng(0).standard_normal(2 * _STEP)
        burst *= 0.3 / np.abs(burst).max()
        self.inner.wait(_STEP, 2.0)
        self.inner.write(np.zeros(round(QUEUE_S * ENGINE_RATE), np.float32))
        before = self.inner.health().underruns
        for number in range(round(_ROUNDS_S * 100)):
            self.inner.wait(_STEP, 1.0)
            heard = 0.8 * self.inner.read(_STEP)
            if number in (50, 51):
                heard = burst[(number - 50) * _STEP :][:_STEP]
            self.inner.write(heard.astype(np.float32))
        self.underruns = self.inner.health().underruns - before


class Planted(Wrapped):
    """Plants a fault into the input, `at` seconds after the chirps began to be played."""

    def __init__(self, inner: Endpoint, kind: str, at: float) -> None:
        super().__init__(inner)
        self._kind, self._at = kind, round((at + 0.3) * ENGINE_RATE)
        self._past = np.zeros(ENGINE_RATE, np.float32)
        self._read = 0

    def read(self, samples: int) -> Float32:
        """Return the next input samples, with the fault."""
        block = self.inner.read(samples)
        heard = plant(np.concatenate([self._past, block]), self._kind, self._at - self._read)
        self._past = np.concatenate([self._past, block])[-ENGINE_RATE:]
        self._read += samples
        return heard[-samples:]


def plant(past_and_block: Float32, kind: str, at: int) -> Float32:
    """Return one second of past and a block with a fault at a sample of the block."""
    heard, begin = past_and_block.copy(), at + ENGINE_RATE
    if kind == "second path":
        heard[1440:] += np.float32(10 ** (-12 / 20)) * past_and_block[:-1440]
    elif kind == "gap" and begin > -240:
        heard[max(begin, 0) : max(begin + 240, 0)] = 0.0
    elif kind == "click" and 0 <= begin < heard.size:
        heard[begin] += 0.05
    return heard


def round_time(recording: Float32) -> float:
    """Return the time of one round in seconds, from the autocorrelation of the first sound."""
    begin = int(np.flatnonzero(np.abs(recording) > 0.05)[0]) - _STEP
    rounds = recording[begin : begin + round((_ROUNDS_S - 0.6) * ENGINE_RATE)].astype(np.float64)
    size = 1 << (2 * rounds.size).bit_length()
    correlation = np.fft.irfft(np.abs(np.fft.rfft(rounds, size)) ** 2, size)
    first, last = round(0.05 * ENGINE_RATE), round(0.6 * ENGINE_RATE)
    at = first + int(np.argmax(correlation[first:last]))
    left, middle, right = correlation[at - 1 : at + 2]
    return float((at + (left - right) / (2 * (left - 2 * middle + right))) / ENGINE_RATE)


def agreement(tries: int) -> list[str]:
    """Measure real loops; compare with the time of a round trip in a recording of parec."""
    rows, agreed = [], 0
    server = SoundServer()
    server.start()
    os.environ.update(server.environment)
    try:
        for number in range(tries):
            case = _CASES[number % len(_CASES)]
            loop, independent = _one_agreement(server, case)
            difference = 1000 * (loop.measured - independent)
            agreed += abs(difference) <= 2.0
            rows.append(
                f"| {case[1]} to {case[0]}, {case[2]} Hz | {1000 * loop.measured:.2f} | "
                f"{1000 * independent:.2f} | {difference:+.2f} | {1000 * loop.reported:.1f} | "
                f"{1000 * loop.jitter:.1f} |"
            )
            print(rows[-1], flush=True)
    finally:
        server.stop()
    head = [
        "| devices | rtvc, ms | recording, ms | difference | reported, ms | jitter, ms |",
        "|---|---|---|---|---|---|",
    ]
    return [*head, *rows, f"\nwithin 2 ms: {agreed} of {tries}"]


def _one_agreement(server: SoundServer, case: tuple[str, str, int]) -> tuple[LoopLatency, float]:
    """Return the first measurement in which the sound server kept pace, of up to five."""
    for _ in range(5):
        endpoint = Round(LiveEndpoint(*case[:2], rate=case[2]))
        with server.recording(SPEAKER_SINK) as finish:
            with in_real_time():
                loop = measure_loop_latency(endpoint)  # type: ignore[arg-type]
            time.sleep(0.3)
            recording = finish()[0].samples
        if loop.reliable and not endpoint.underruns:
            break
        print("not reliable, again:", " ".join(loop.warnings), flush=True)
    # The measurement queues as much again.
    return loop, round_time(recording) + QUEUE_S - loop.queued


def planted(tries: int) -> list[str]:
    """Plant faults into recordings of loops with any lag, level and little noise."""
    random = np.random.default_rng(0)
    found = {"gap": 0, "click": 0, "second path": 0}
    false = 0
    for _ in range(tries):
        lag = int(random.integers(500, 9000))
        clean = np.zeros(loop_chirps().size + ENGINE_RATE, np.float32)
        clean[lag : lag + loop_chirps().size] = float(random.uniform(0.05, 1.0)) * loop_chirps()
        clean += (1e-5 * random.standard_normal(clean.size)).astype(np.float32)
        false += bool(analyse(clean).events or len(analyse(clean).paths) > 1)
        for kind in found:
            at = random.uniform(0.05, 2.9)
            padded = np.concatenate([np.zeros(ENGINE_RATE, np.float32), clean])
            heard = plant(padded, kind, lag + round(at * ENGINE_RATE))[ENGINE_RATE:]
            found[kind] += _is_found(analyse(heard), kind, at)
    rows = [f"| {kind} | {count} of {tries} |" for kind, count in found.items()]
    rows.append(f"| nothing planted, something found | {false} of {tries} |")
    return ["| planted into a recording | found |", "|---|---|", *rows]


def planted_live(tries: int) -> list[str]:
    """Plant faults into what a device of the sound server captures."""
    random = np.random.default_rng(1)
    rows = []
    server = SoundServer()
    server.start()
    os.environ.update(server.environment)
    try:
        for kind in ("gap", "click", "second path"):
            found = sum(_real_plant(kind, random.uniform(0.2, 2.8)) for _ in range(tries))
            rows.append(f"| {kind} | {found} of {tries} |")
            print(rows[-1], flush=True)
    finally:
        server.stop()
    return ["| planted on the sound server | found |", "|---|---|", *rows]


def _real_plant(kind: str, at: float) -> bool:
    for _ in range(5):
        endpoint = Planted(LiveEndpoint(*_CASES[0][:2]), kind, at)
        with in_real_time():
            loop = measure_loop_latency(endpoint)  # type: ignore[arg-type]
        if loop.reliable:
            break
    return _is_found(loop.analysis, kind, at - loop.analysis.paths[0].lag_s)


def _is_found(analysis: object, kind: str, at: float) -> bool:
    """Return whether a fault is the only one that was found, at its place."""
    events, paths = analysis.events, analysis.paths  # type: ignore[attr-defined]
    if kind == "second path":
        (lag, level) = (paths[-1].lag_s - paths[0].lag_s, paths[-1].level_db)
        return len(paths) == 2 and abs(lag - 0.030) < 1e-3 and abs(level + 12) < 1 and not events
    if [event.kind for event in events] != [kind]:
        return False
    right_length = kind != "gap" or abs(events[0].seconds - 0.005) < 1e-3
    return right_length and abs(events[0].at_s - at) < 0.05


def _voices() -> dict[str, tuple[Voice, Settings]]:
    from tests.engine.rvc.rvc_stack import LocalPitch, voice

    cases = {}
    for name in PRESETS:
        settings = find_preset(name).settings
        cases[name] = find_voice(settings.voice), settings
    golden = voice(pitch=LocalPitch())
    cases["RVC of random weights"] = golden, Settings(voice="golden", block=150.0, headroom=100.0)
    return cases


def estimate(_tries: int) -> list[str]:
    """Estimate the delay of converted speech in every window, with and without noise."""
    rows = []
    sound = speech(30.0)
    random = np.random.default_rng(0)
    size = round(WINDOW_S * ENGINE_RATE)
    for name, (voice, settings) in _voices().items():
        for noise in (0.0, 0.003):
            noisy = sound + (noise * random.standard_normal(sound.size)).astype(np.float32)
            chain = Chain(voice, settings)
            blocks = noisy[: noisy.size // chain.block * chain.block].reshape(-1, chain.block)
            output = np.concatenate([chain.step(block, settings).output for block in blocks])
            errors, count = [], 0
            for late in (0.0, 0.040, -0.040):
                shift = chain.delay - round(late * ENGINE_RATE)
                for begin in range(4800, output.size - size - 9600, ENGINE_RATE // 2):
                    found = estimate_delay(
                        noisy[begin : begin + size], output[begin + shift :][:size]
                    )
                    count += 1
                    if found.reliable:
                        errors.append(1000 * (found.seconds - late))
            within = sum(abs(error) <= 5.0 for error in errors)
            figures = (
                f"{np.median(errors):+.2f} | {np.percentile(np.abs(errors), 95):.2f} | "
                f"{np.abs(errors).max():.2f}"
                if errors
                else "| | "
            )
            rows.append(
                f"| {name}{', noise' if noise else ''} | {len(errors)} of {count} | {figures} | "
                f"{within} of {len(errors)} |"
            )
            print(rows[-1], flush=True)
    return [
        "| voice | reliable | bias, ms | 95 % below, ms | worst, ms | within 5 ms |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def watch(tries: int) -> list[str]:
    """Run 30 minutes on a virtual clock; then `tries` runs with 40 ms planted."""
    rows, faults, worst = [], 0, 0.0
    for name in PRESETS[:3]:
        session, device = _session(name, 600.0)
        estimates = _run(session)
        stated = session.stats().latency.total
        deviation = max((abs(value - stated) for value in estimates), default=0.0)
        faults += session.stats().latency_faults
        worst = max(worst, deviation)
        rows.append(
            f"| {name}, 10 minutes | {session.stats().latency_faults} faults, "
            f"{len(estimates)} estimates within {1000 * deviation:.2f} ms |"
        )
        print(rows[-1], flush=True)
    times = []
    for number in range(tries):
        began = 12.0 + number
        session, device = _session(PRESETS[number % 3], began + 80.0)
        found: list[float] = []
        with LateFrom(device, began):
            _run(session, lambda found=found, device=device: found.append(device.now()))
        stats = session.stats()
        if (
            stats.latency_faults == 1
            and abs((stats.estimated_latency or 0) - stats.latency.total) < 5e-3
        ):
            times.append(found[0] - began)
    rows.append(
        f"| 40 ms planted | found and corrected in {len(times)} of {tries}, after "
        f"{min(times):.0f} to {max(times):.0f} s |"
    )
    return ["| run | result |", "|---|---|", *rows]


def _session(preset: str, seconds: float) -> tuple[Session, SimulatedDevice]:
    device = SimulatedDevice(speech(seconds))
    return Session(
        TeeEndpoint(device), find_preset(preset).settings.replace(latency="constant")
    ), device


def _run(session: Session, on_fault: Callable[[], object] = lambda: None) -> list[float]:
    """Run to the end; return the latencies that were estimated."""
    tee = session.endpoint
    assert isinstance(tee, TeeEndpoint)
    estimates: list[float] = []
    seen: dict[str, object] = {"faults": 0, "estimate": None}
    with session:
        check = tee.on_block

        def observed() -> None:
            check()
            watched = session._watch
            assert watched is not None
            if watched.estimate is not None and watched.estimate != seen["estimate"]:
                seen["estimate"] = watched.estimate
                estimates.append(watched.estimate)
            if watched.faults != seen["faults"]:
                seen["faults"] = watched.faults
                on_fault()

        tee.on_block = observed
        session.wait()
    return estimates


class LateFrom:
    """From a time on, the chain in use is 40 ms late; a new chain is not."""

    def __init__(self, device: SimulatedDevice, began: float) -> None:
        self._device, self._began = device, began

    def __enter__(self) -> None:
        self._real = step = Chain.step
        device, began = self._device, self._began
        held: dict[Chain, Float32] = {}

        def late(chain: Chain, block: Float32, settings: Settings) -> Step:
            result = step(chain, block, settings)
            if device.now() >= began and not held:
                held[chain] = np.zeros(round(0.040 * ENGINE_RATE), np.float32)
            if chain not in held:
                return result
            joined = np.concatenate([held[chain], result.output])
            held[chain] = joined[len(block) :]
            return dataclasses.replace(result, output=joined[: len(block)])

        Chain.step = late  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        Chain.step = self._real  # type: ignore[method-assign]


PARTS = {
    "agreement": agreement,
    "planted": planted,
    "planted-live": planted_live,
    "estimate": estimate,
    "watch": watch,
}


def main() -> int:
    """Run one part, and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--table", type=Path, help="write the table to this file too")
    args = parser.parse_args()
    table = "\n".join(PARTS[args.part](args.tries)) + "\n"
    print(table)
    if args.table:
        args.table.write_text(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
