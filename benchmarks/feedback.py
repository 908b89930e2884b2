"""Acoustic feedback, simulated: loops that must be found, and sound that must be left alone.

The output of a chain of the engine comes back into its microphone through a small speaker and a
room, at loop gains of +1 to +12 dB and after 110 to 600 ms, with the built-in voice at several
settings and with a small RVC voice:

    python -m benchmarks.feedback

Prints for each loop after what time the output was reduced, and the level of the output 3 s
later. Then it runs 23 minutes of speech, shouts, sung notes, music and test signals without a
loop, and counts reductions. Exits with 1 if a loop was not found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count

import numpy as np
import scipy.signal

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE as RATE
from rtvc.engine.chain import Chain
from rtvc.engine.voice import Voice
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings
from tests.engine.dsp.test_feedback import room, sung, talk
from tests.engine.rvc.rvc_stack import LocalPitch, voice
from tests.engine.speech_measures import NAMES, speech

CLOSED_S = 1.0
RVC = "RVC"
SETTINGS = {
    "pitch 0": {},
    "deep": {"pitch": -5, "formant": -2},
    "high": {"pitch": 5, "formant": 2},
    "whisper": {"whisper": True},
    "robot": {"pitch_fixed": 110},
    "dry": {"mode": "dry"},
    RVC: {"pitch": 4},
}


def converted(
    chain: Chain, settings: Settings, sound: Float32, path: Float32 | None = None, lag: int = 0
) -> tuple[Float32, Float32, list[bool]]:
    """Input and output of a chain, with a loop through `path` from `CLOSED_S` on."""
    block = chain.block
    given = sound[: len(sound) // block * block].copy()
    out = np.zeros_like(given)
    reduced = []
    for begin in range(0, len(given), block):
        if path is not None and begin >= CLOSED_S * RATE:
            source = out[max(0, begin - lag - len(path) + 1) : begin - lag + block]
            heard = scipy.signal.oaconvolve(source, path)[len(path) - 1 :][:block]
            given[begin : begin + block] += heard.astype(np.float32)
        given[begin : begin + block] = np.clip(given[begin : begin + block], -1, 1)
        step = chain.step(given[begin : begin + block], settings)
        out[begin : begin + block] = step.output
        reduced.append(step.feedback)
    return given, out, reduced


def voice_of(name: str) -> Voice:
    return voice(pitch=LocalPitch(), with_index=False) if name == RVC else WorldVoice()


def level_db(sound: Float32) -> float:
    return float(10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-12))


def loops() -> Iterator[float]:
    """Print each loop, and yield the time after which it was found, NaN if it was not."""
    number = count()
    for gain_db in (1, 3, 6, 9, 12):
        for name, changes in SETTINGS.items():
            n = next(number)
            settings = Settings(block=(100, 40)[n % 2], context=500).replace(**changes)
            sound = talk(6.0, NAMES[n % len(NAMES)])
            chain = Chain(voice_of(name), settings)
            lag = max(chain.block, (110, 200, 300, 420, 600)[n * 2 % 5] * 48 - chain.delay)
            # The gain of the loop includes that of the voice.
            given, out, _ = converted(Chain(voice_of(name), settings), settings, sound[: 3 * RATE])
            path = room(n) * 10 ** ((gain_db - level_db(out) + level_db(given)) / 20)
            _, looped, reduced = converted(chain, settings, sound, path.astype(np.float32), lag)
            found = np.nan
            if any(reduced):
                found = (reduced.index(True) + 1) * chain.block / RATE - CLOSED_S
            print(
                f"{name:8} {gain_db:+3} dB, loop of {(lag + chain.delay) / 48:.0f} ms: "
                f"reduced after {found:.2f} s, output {level_db(out):.0f} dB, later "
                f"{level_db(looped[4 * RATE :]):.0f} dB",
                flush=True,
            )
            yield found


def harmless() -> dict[str, Float32]:
    """Sound that is no feedback."""
    time = np.arange(20 * RATE) / RATE
    utterances = np.concatenate([speech(name) for name in NAMES])
    notes = np.concatenate(
        [sung(hz, seconds) for hz in range(110, 520, 37) for seconds in (1.5, 3.0)]
    )
    chords = np.concatenate(
        [sum(sung(hz * r, 2.0) for r in (1, 1.26, 1.5)) / 3 for hz in (110, 147, 165, 196) * 3]
    )
    rng = np.random.default_rng(1)
    beat = rng.standard_normal(RATE // 2) * np.exp(-np.arange(RATE // 2) / 2400)
    return {
        "speech": utterances,
        "shouts": np.clip(12 * utterances, -1, 1),
        "sung notes": notes,
        "chords": chords.astype(np.float32),
        "drums": np.tile(0.4 * beat, 60).astype(np.float32),
        "tone": (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32),
        "noise": (0.1 * rng.standard_normal(len(time))).astype(np.float32),
    }


def main() -> int:
    """Run the loops and the harmless sound; return the exit code."""
    found = np.array(list(loops()))
    times = found[np.isfinite(found)]
    print(
        f"found {len(times)} of {len(found)}: median {np.median(times):.2f} s, "
        f"90 % {np.quantile(times, 0.9):.2f} s, longest {times.max():.2f} s"
    )
    total = 0.0
    for name, changes in SETTINGS.items():
        for what, sound in harmless().items():
            settings = Settings(gate=-90, context=500).replace(**changes)
            _, _, reduced = converted(Chain(voice_of(name), settings), settings, sound)
            total += len(sound) / RATE / 60
            starts = np.count_nonzero(np.diff(np.array([False, *reduced]).astype(int)) == 1)
            print(f"{name:8} {what:10}: {starts} reductions", flush=True)
    print(f"{total:.0f} minutes without a loop")
    return int(len(times) < len(found))


if __name__ == "__main__":
    sys.exit(main())
