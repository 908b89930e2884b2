"""Switch between two voices that are ready, live through a real sound server.

    python -m benchmarks.switches [--times 100] [--block 250] [--seed 0]

Starts a private PulseAudio server, plays real speech without pauses into its microphone in a
loop, records microphone and speaker, and switches with `Session.apply` between two small RVC
voices of tests/golden at random moments. One voice renders up to 16 kHz and the other one up to
24 kHz, so the level above 16 kHz tells in the recording which one is heard.

Prints how long after each command the change was heard, beyond the stated latency of all sound;
the largest second difference, the quietest 20 ms and the highest correlation of 100 ms with the
input, near a change and elsewhere; and the memory of the voice that waits. Exits with 1 if one of
them is not as it should be, and with 75 if a block was late or a change was heard late on a machine
that was held up.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np
from scipy.signal import fftconvolve, firwin

from benchmarks.faults import judge
from benchmarks.faults.judge import Tape
from benchmarks.faults.rig import dense_speech
from rtvc._types import Float32, Float64
from rtvc.audio.live import LiveEndpoint
from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from rtvc.library.setting_up import install_from_folder
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import State, Stats, Times
from rtvc.system.info import hardware, versions
from tests.engine.rvc.rvc_stack import GOLDEN
from tests.support.machine import processor_times, what_holds_it_up
from tests.support.sound_server import (
    MICROPHONE_SINK,
    RATE,
    SPEAKER_SINK,
    RecordedSound,
    SoundServer,
)
from tests.tui.listening import bend, cut

DULL, BRIGHT = "Dull", "Bright"
"""The voices that render up to 16 and 24 kHz."""
SETTINGS = Settings(voice=DULL, context=200.0, headroom=80.0, pitch=7.0, latency="constant")
"""With another pitch than that of the input, which would be alike by itself."""
FADE_S = 0.020
MAX_BEND = 1.5
"""Largest second difference near a change, in units of that of the sound elsewhere."""
MAX_LIKENESS = 0.4
"""Correlation of 100 ms with the input; 50 ms of the microphone itself in them give 0.5. Where
the voices by themselves come near it, a change is compared with the sound elsewhere."""
_MORE_ALIKE = 0.15
_PIECE_S = 0.1
MAX_MEMORY = 1.1
"""Memory of the voice that waits, in units of that stated, which is an upper bound."""
MAX_GROWTH_MB = 10.0
_NOT_MEASURED = os.EX_TEMPFAIL
_BAND_HZ = 16_800.0, 19_500.0
_HOP, _FRAME = 60, 240
_READY_S = 30.0
_SETTLE_S = 3.0
_BEFORE_S = 0.3
"""Time before a command in which the voice is heard that is in use then."""
_NEAR_S = 0.35
"""Time before and after the moment of a change that belongs to it."""


@dataclass
class Switches:
    """A run with its recordings.

    Attributes
    ----------
    commands
        Time of each command on the monotonic clock, the voice that was asked for, and the stated
        latency of all sound.
    waited_s
        Longest wait until the other voice was ready again.
    stated_mb, measured_mb
        Memory of the first voice that waited: as `Stats` has it, and by which that of MLX grew.
    growth_mb
        Growth of MLX's memory during the switches.
    steps
        Durations of the steps, in seconds.
    """

    said: RecordedSound
    heard: RecordedSound
    commands: list[tuple[float, str, float]] = field(default_factory=list)
    block_s: float = 0.0
    late: int = 0
    underruns: int = 0
    failed: int = 0
    steps: Times = field(default_factory=Times)
    waited_s: float = 0.0
    stated_mb: float = 0.0
    measured_mb: float = 0.0
    growth_mb: float = 0.0


def install() -> None:
    """Install the small voices."""
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
    for name, rate in ((DULL, 32), (BRIGHT, 48)):
        add_voice(FoundVoice(GOLDEN / f"voice_v1_f0_{rate}k.pth", None, name))


def run(server: SoundServer, times: int, block: float, seed: int) -> Switches:
    """Switch `times` times at random moments; the server runs, and is the one of the process."""
    rng = np.random.default_rng(seed)
    # The least that keeps a voice whose steps take nearly the whole block.
    settings = SETTINGS.replace(block=block, headroom=round(0.8 * block, -1))
    longest = 2.5 * times + _READY_S
    sound = np.resize(dense_speech(), round((longest + 30) * RATE)).astype(np.float32)
    found = Switches(*[RecordedSound(np.zeros(0, np.float32), 0.0)] * 2)
    with (
        server.recording(MICROPHONE_SINK, SPEAKER_SINK) as finish,
        server.speaking(sound),
        Session(LiveEndpoint(), settings) as session,
    ):
        time.sleep(_SETTLE_S)
        _require_converted(session)
        before = mx.get_active_memory()
        session.keep_ready([BRIGHT])
        session.apply(ready_memory=1000.0)
        _until_ready(session, BRIGHT)
        time.sleep(0.5)
        found.measured_mb = (mx.get_active_memory() - before) / 1e6
        found.stated_mb = session.stats().ready_voices[BRIGHT] / 1e6
        first = _counted(session.stats())
        for number in range(times):
            # Before each command the voice of the last one has been heard for a while.
            heard = session.stats().latency.total + block / 1000
            time.sleep(heard + _BEFORE_S + rng.uniform(0.1, 1.1))
            name = (BRIGHT, DULL)[number % 2]
            found.waited_s = max(found.waited_s, _until_ready(session, name))
            latency = session.stats().latency
            found.commands.append((time.monotonic(), name, latency.total))
            session.apply(voice=name)
            if number == 1:
                # Both voices have replaced each other once.
                _until_ready(session, BRIGHT)
                steady = mx.get_active_memory()
        time.sleep(1.5)
        _until_ready(session, (BRIGHT, DULL)[times % 2])
        if times > 1:
            found.growth_mb = (mx.get_active_memory() - steady) / 1e6
        _require_converted(session)
        last = session.stats()
        found.block_s = last.latency.block
        found.steps = last.step
        found.late, found.underruns, found.failed = (
            after - before for before, after in zip(first, _counted(last), strict=True)
        )
        found.said, found.heard = finish()
    return found


def _until_ready(session: Session, name: str) -> float:
    """Wait until a voice is ready; return the seconds that it took."""
    began = time.monotonic()
    while name not in session.stats().ready_voices:
        if time.monotonic() > began + _READY_S:
            raise RuntimeError(f"{name} did not get ready: {session.stats().reason}")
        time.sleep(0.005)
    return time.monotonic() - began


def _require_converted(session: Session) -> None:
    stats = session.stats()
    if stats.state is not State.CONVERTED:
        raise RuntimeError(f"The voice is {stats.state}: {stats.reason}")


def _counted(stats: Stats) -> tuple[int, int, int]:
    return stats.late_blocks, stats.device.underruns, stats.failed_steps


def brightness(sound: Float32) -> Float64:
    """Return the level from 16.8 to 19.5 kHz relative to the whole in dB, every 1.25 ms.

    The value n is of the 5 ms around sample 60 n.
    """
    taps = firwin(255, _BAND_HZ, pass_zero=False, fs=RATE)
    high = fftconvolve(sound, taps, "same")
    window = np.ones(_FRAME) / _FRAME
    power = [np.convolve(np.square(x, dtype=np.float64), window, "same") for x in (high, sound)]
    return np.asarray(10 * np.log10((power[0] + 1e-14) / (power[1] + 1e-12)))[::_HOP]


def moments(run: Switches) -> list[float]:
    """Return when each change was heard, in seconds after its command.

    That is when 20 ms begin in which the level of the high band is on the side of the new voice: 10
    dB below its median with the bright one.

    Raises
    ------
    RuntimeError
        The voices cannot be told apart in the recording, or a change was not heard.
    """
    steady: dict[str, list[Float64]] = {DULL: [], BRIGHT: []}
    for at, name, _ in run.commands:
        other = DULL if name == BRIGHT else BRIGHT
        steady[other].append(brightness(cut(run.heard, at - _BEFORE_S, _BEFORE_S)))
    bright, dull = np.median(np.concatenate(steady[BRIGHT])), np.concatenate(steady[DULL])
    limit = bright - 10.0
    if np.quantile(dull, 0.99) > limit:
        raise RuntimeError(f"The voices are too alike: {bright:.1f} and {np.max(dull):.1f} dB.")
    needed = round(FADE_S * RATE / _HOP)
    found = []
    for at, name, latency in run.commands:
        high = brightness(cut(run.heard, at, latency + 3 * run.block_s + 0.1)) > limit
        new = np.convolve(high == (name == BRIGHT), np.ones(needed), "valid") == needed
        if not new.any():
            raise RuntimeError(f"The change to {name} was not heard.")
        found.append(float(np.argmax(new)) * _HOP / RATE)
    return found


def figures(run: Switches) -> dict[str, float]:
    """Return what the recordings tell, times in ms."""
    after = moments(run)
    beyond = [heard - latency for heard, (_, _, latency) in zip(after, run.commands, strict=True)]
    changes = [at + heard for heard, (at, _, _) in zip(after, run.commands, strict=True)]
    pieces = [(at - _NEAR_S, 2 * _NEAR_S) for at in changes]
    begins = np.arange(run.commands[0][0] - 0.7, changes[-1] + 0.7, 0.35)
    apart = [t for t in begins if all(abs(t + 0.175 - at) > 0.175 + _NEAR_S for at in changes)]
    steady = max(bend(run.heard, at, 0.35) for at in apart)
    source, output = (Tape([(r.began, r.samples)]) for r in (run.said, run.heard))

    def likeness(begin: float, length: float) -> float:
        return judge.likeness(source, output, begin, begin + length, 1.0, piece_s=_PIECE_S)

    return {
        "heard after the command, median": _ms(np.median(after)),
        "heard after the command, most": _ms(np.max(after)),
        "beyond the stated latency, median": _ms(np.median(beyond)),
        "beyond the stated latency, most": _ms(np.max(beyond)),
        "allowed": _ms(run.block_s + FADE_S),
        "click": round(max(bend(run.heard, *piece) for piece in pieces) / steady, 2),
        "quietest 20 ms near a change, dB": round(
            min(_quietest(cut(run.heard, *piece)) for piece in pieces), 1
        ),
        "quietest 20 ms elsewhere, dB": round(
            min(_quietest(cut(run.heard, at, 0.35)) for at in apart), 1
        ),
        "correlation with the input, near a change": round(
            max(likeness(at, 2 * _NEAR_S) for at, _ in pieces), 2
        ),
        "correlation with the input, elsewhere": round(max(likeness(at, 0.35) for at in apart), 2),
    }


def problems(run: Switches, found: dict[str, float]) -> tuple[list[str], list[str]]:
    """Return what is not as it should be in the times, and in the rest."""
    times, rest = [], []
    if found["beyond the stated latency, most"] > found["allowed"]:
        times.append("a change was heard late")
    times += [f"{n} {word}" for n, word in ((run.late, "late blocks"),) if n]
    times += [f"{run.underruns} underruns"] if run.underruns else []
    if found["click"] > MAX_BEND:
        rest.append("a change clicks")
    if found["quietest 20 ms near a change, dB"] < found["quietest 20 ms elsewhere, dB"] - 3.0:
        rest.append("a change has a gap")
    elsewhere = found["correlation with the input, elsewhere"] + _MORE_ALIKE
    if found["correlation with the input, near a change"] > max(elsewhere, MAX_LIKENESS):
        rest.append("the microphone itself was heard")
    if run.failed:
        rest.append(f"{run.failed} failed steps")
    if run.measured_mb > MAX_MEMORY * run.stated_mb:
        rest.append("the voice that waits takes more memory than stated")
    if run.growth_mb > MAX_GROWTH_MB:
        rest.append(f"the memory grew by {run.growth_mb:.1f} MB")
    return times, rest


def _quietest(sound: Float32) -> float:
    power = np.convolve(np.square(sound, dtype=np.float64), np.ones(960) / 960, "valid")
    return float(10 * np.log10(power.min() + 1e-12))


def _ms(seconds: float | np.floating) -> float:
    return round(1000 * float(seconds), 1)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--block", type=float, default=250.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not sys.platform.startswith("linux"):
        print("The private sound server is PulseAudio, on Linux.")
        return 0
    server = SoundServer()
    with tempfile.TemporaryDirectory(prefix="rtvc-switches-") as home:
        os.environ["RTVC_HOME"] = home
        install()
        before = processor_times()
        server.start()
        os.environ.update(server.environment)
        try:
            done = run(server, args.times, args.block, args.seed)
        finally:
            server.stop()
        held_up = what_holds_it_up(before)
    found = figures(done)
    times, rest = problems(done, found)
    report = {
        "switches": len(done.commands),
        **found,
        "late blocks": done.late,
        "underruns": done.underruns,
        "step, median, p99 and longest, ms": [
            _ms(seconds) for seconds in (done.steps.p50, done.steps.p99, done.steps.max)
        ],
        "longest wait until the other voice was ready, ms": _ms(done.waited_s),
        "stated memory of the voice that waits, MB": round(done.stated_mb, 2),
        "memory of MLX with it, MB more": round(done.measured_mb, 2),
        "growth of it during the switches, MB": round(done.growth_mb, 2),
    }
    print(json.dumps({"hardware": hardware(), "versions": versions()} | report, indent=1))
    print("\n".join([*times, *rest]) or "As it should be.")
    if times and held_up:
        print(f"NOT MEASURED: the machine was held up: {held_up}.")
    return 1 if rest else _NOT_MEASURED if times and held_up else int(bool(times))


if __name__ == "__main__":
    sys.exit(main())
