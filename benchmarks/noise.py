"""Rates the noise suppression with DNSMOS: ``python -m benchmarks.noise [--speech FOLDER]``.

Each utterance of a folder is mixed with pink noise, with babble made of the other utterances, and
with key presses, at three ratios. What is rated is the microphone's sound as the voice gets it:
after high-pass and noise suppression.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.dnsmos import RATE, Score, score
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.dsp.conditioning import HighPass
from rtvc.engine.dsp.noise_suppression import suppress_noise
from rtvc.settings import SETTINGS
from tests.support.room_sounds import typing

SPEECH = Path(__file__).parents[1] / "tests" / "data" / "speech"
SNRS_DB = (15, 10, 5)
KINDS = SETTINGS["noise"].choices


def read(path: Path) -> np.ndarray:
    """Return a sound at the engine's rate."""
    samples, rate = soundfile.read(path, dtype="float32")
    return soxr.resample(samples, rate, ENGINE_RATE, "VHQ").astype(np.float32)


def pink(samples: int, random: np.random.Generator) -> np.ndarray:
    """Return noise whose power falls by 3 dB per octave above 40 Hz."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / ENGINE_RATE)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 40)), samples)


def babble(samples: int, others: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """Return all other utterances at once, each from a random place on."""
    turned = [np.roll(np.resize(one, samples), int(random.integers(samples))) for one in others]
    return np.sum([one / np.std(one) for one in turned], axis=0)


def mixed(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Return speech with noise at a ratio of their mean powers, at most at full scale."""
    gain = np.std(speech) / np.std(noise) * 10 ** (-snr_db / 20)
    sound = speech + gain * noise
    return (sound / max(1.0, float(np.abs(sound).max()))).astype(np.float32)


def noises(speech: list[np.ndarray], number: int) -> dict[str, np.ndarray]:
    """Return the noises for an utterance, as long as it, by name."""
    random = np.random.default_rng(number)
    samples = len(speech[number])
    others = [one for n, one in enumerate(speech) if n != number]
    return {
        "pink": pink(samples, random),
        "babble": babble(samples, others, random),
        "keys": typing(samples / ENGINE_RATE, number)[:samples],
    }


def rate(sound: np.ndarray, kind: str) -> tuple[Score, float]:
    """Return the score of a sound after the suppression, and the CPU time of that in seconds."""
    filtered = HighPass(ENGINE_RATE).process(sound)
    began = time.thread_time()
    clean = suppress_noise(filtered, kind)
    seconds = time.thread_time() - began
    return score(soxr.resample(clean, ENGINE_RATE, RATE, "VHQ")), seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, default=SPEECH, metavar="FOLDER")
    parser.add_argument("--snr", type=float, nargs="*", default=SNRS_DB, metavar="DB")
    args = parser.parse_args()
    speech = [read(path) for path in sorted(args.speech.glob("*.wav"))]
    made = [noises(speech, number) for number in range(len(speech))]
    cases = [("clean", speech)]
    for snr in sorted(args.snr):
        for name in made[0]:
            pairs = zip(speech, made, strict=True)
            cases.append(
                (f"{name}, {snr:g} dB", [mixed(one, own[name], snr) for one, own in pairs])
            )
    cpu, heard = dict.fromkeys(KINDS, 0.0), 0.0
    print(f"| overall (speech, background) | {' | '.join(KINDS)} |\n|---|{'---|' * len(KINDS)}")
    for name, sounds in cases:
        cells = []
        heard += sum(map(len, sounds)) / ENGINE_RATE
        for kind in KINDS:
            rated = [rate(sound, kind) for sound in sounds]
            cpu[kind] += sum(seconds for _, seconds in rated)
            signal, background, overall = np.mean([scores for scores, _ in rated], axis=0)
            cells.append(f"{overall:.2f} ({signal:.2f}, {background:.2f})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    times = ", ".join(f"{kind} {10 * cpu[kind] / heard:.2f} ms" for kind in KINDS[1:])
    print(f"\nCPU per 10 ms: {times}")


if __name__ == "__main__":
    main()
