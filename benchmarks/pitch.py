"""Compares the pitch estimators: ``python -m benchmarks.pitch [--speech FOLDER]``.

Speech is compared with FCPE on the same speech without noise, sung scales with the f0 that they
are made of; both clean and in pink noise. "live" feeds blocks of 100 ms as an RVC voice does, with
its lookahead of 50 ms, and takes each frame as it is when it becomes final.

RMVPE and FCPE need their files. Without FCPE's, the f0 in NAME.f0.npy next to each NAME.wav is the
reference, which is FCPE's too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from rtvc.engine.models.pitch_estimator import PitchEstimator
from rtvc.engine.plan import Plan, make_plan
from rtvc.engine.rvc.loading import load_pitch_estimator
from rtvc.engine.rvc.pitch_track import PitchTrack
from rtvc.engine.rvc.voice import LOOKAHEAD
from rtvc.engine.rvc.window import FRAME, PITCH_HEAD, PITCH_TAIL, make_window
from rtvc.engine.world.analysis import HOP, OFFSET, RATE, Analyzer
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings

UTTERANCE = Path(__file__).parents[1] / "tests" / "data" / "speech" / "2086-149214-0000.wav"
"""The demonstration utterance, with its f0 next to it."""
SNRS_DB = (None, 20.0, 10.0, 5.0)
SETTINGS = Settings(block=100.0)
_RATE = 16_000
_NEAR_CENTS, _OCTAVE_CENTS = 50.0, 100.0
_MAJOR = (0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2, 0)
_ROOTS_HZ = (82.4, 146.8, 220.0, 440.0)
_VOWELS = ((700, 1220, 2600), (300, 870, 2240), (390, 1990, 2550), (570, 840, 2410))
"""First formants of a, u, e and o in Hz."""

Estimate = Callable[[np.ndarray], np.ndarray]
Material = list[tuple[np.ndarray, np.ndarray]]
"""Sounds at 16 kHz, and their f0 per 10 ms frame: 0 = unvoiced, nan = not counted."""


def scale(root_hz: float, formants_hz: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a sung major scale, up and down with vibrato, and its f0."""
    note, gap = 40, 8  # frames
    semitones = np.concatenate([[s] * note + [np.nan] * gap for s in _MAJOR])
    frames = np.arange(len(semitones))
    vibrato = (
        0.5 * np.sin(2 * np.pi * 5.5 * frames / 100) * np.clip(frames % (note + gap) / 30, 0, 1)
    )
    hz = root_hz * 2 ** ((np.nan_to_num(semitones) + vibrato) / 12)
    samples = np.arange(len(frames) * FRAME)
    per_sample = np.interp(samples, frames * FRAME, hz)
    level = np.interp(samples, frames * FRAME, np.isfinite(semitones).astype(float))
    level = np.convolve(level, np.hanning(480) / np.hanning(480).sum(), "same")
    phase = 2 * np.pi * np.cumsum(per_sample) / _RATE
    sound = np.zeros(len(samples))
    for k in range(1, int(7500 / hz.max()) + 1):
        gain = sum(
            (60 + 0.06 * f) ** 2 / ((k * per_sample - f) ** 2 + (60 + 0.06 * f) ** 2)
            for f in formants_hz
        )
        sound += (gain + 0.02) / k * np.sin(k * phase)
    sound = 0.3 * sound * level / np.abs(sound).max()
    f0 = np.where(np.isfinite(semitones), hz, 0.0)
    # Onsets and ends are neither voiced nor unvoiced.
    edge = np.convolve(np.isfinite(semitones), np.ones(9), "same") % 9 > 0
    return sound.astype(np.float32), np.where(edge, np.nan, f0)


def add_noise(sound: np.ndarray, snr_db: float | None, seed: int) -> np.ndarray:
    """Return the sound with pink noise at a signal-to-noise ratio of the whole sound."""
    if snr_db is None:
        return sound
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(len(sound)))
    hz = np.fft.rfftfreq(len(sound), 1 / _RATE)
    noise = np.fft.irfft(white / np.sqrt(np.maximum(hz, 20.0)), len(sound))
    noise *= np.sqrt(np.mean(sound**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (sound + noise).astype(np.float32)


def whole(estimator: PitchEstimator) -> Estimate:
    """Return an estimate from the whole signal, as in ``rtvc convert --quality offline``."""
    return lambda sound: estimator(
        sound, f0_min=SETTINGS.pitch_floor, f0_max=SETTINGS.pitch_ceiling
    )


def live(estimator: PitchEstimator) -> Estimate:
    """Return an estimate block by block, as in a live run of an RVC voice."""
    plan: Plan = make_plan(SETTINGS, voice_lookahead=LOOKAHEAD, continuous=True)
    window = make_window(plan, reach=12, pitch_method=estimator.name)

    def estimate(sound: np.ndarray) -> np.ndarray:
        track = PitchTrack(window.kept, SETTINGS)
        padded = np.pad(sound, (window.pitch * FRAME, (plan.block + LOOKAHEAD) * FRAME))
        found = []
        for end in range(plan.block, len(sound) // FRAME + plan.block + LOOKAHEAD, plan.block):
            track.advance(plan.block)
            audio = padded[end * FRAME :][: window.pitch * FRAME].astype(np.float32)
            hz = estimator.begin(
                audio,
                position=(end - window.pitch) * FRAME,
                f0_min=SETTINGS.pitch_floor,
                f0_max=SETTINGS.pitch_ceiling,
            )()
            first = end - window.pitch + PITCH_HEAD
            track.write(first, hz[PITCH_HEAD : len(hz) - PITCH_TAIL])
            before = track.final_end
            track.finalize(end - LOOKAHEAD)
            found.append(track.frames(before, track.final_end).input_f0)
        return np.concatenate(found)

    return estimate


def built_in(sound: np.ndarray) -> np.ndarray:
    """Return the estimate of the built-in voice, which is live only."""
    frame = RATE // 100
    lookahead = WorldVoice().lookahead_frames(SETTINGS) * frame
    analyzer = Analyzer(
        SETTINGS.pitch_floor, SETTINGS.pitch_ceiling, lookahead - OFFSET, 10 * frame
    )
    resampled = soxr.resample(sound, _RATE, RATE).astype(np.float32)
    count = len(resampled) // (10 * frame)
    resampled = np.pad(resampled, (0, 10 * frame + lookahead))
    found = []
    for block in range(count + 1):
        analyzer.push(resampled[block * 10 * frame :][: 10 * frame])
        last = ((block + 1) * 10 * frame - lookahead) // HOP
        found.append(analyzer.frames(last - 20 + 1, 20).hz)
    hz = np.concatenate(found)
    first = (10 * frame - lookahead) // HOP - 19
    return np.concatenate([np.zeros(max(first, 0)), hz[max(-first, 0) :]])[::2]


def judged(estimate: Estimate, material: Material, snr_db: float | None) -> list[float]:
    """Return the figures of a cell in percent.

    Frames within 50 cents and octave errors, of those that both call voiced; voiced frames of the
    reference that are found, of those; its unvoiced frames that are called voiced, of those.
    """
    near = octave = both = voiced = unvoiced = false = 0
    for seed, (sound, reference) in enumerate(material):
        hz = estimate(add_noise(sound, snr_db, seed))
        count = min(len(hz), len(reference))
        hz, known = hz[:count], reference[:count]
        common = (hz > 0) & (known > 0)
        cents = 1200 * np.log2(hz[common] / known[common])
        near += int((np.abs(cents) <= _NEAR_CENTS).sum())
        slips = [np.abs(np.abs(cents) - 1200 * np.log2(n)) <= _OCTAVE_CENTS for n in (2, 3, 4)]
        octave += int(np.any(slips, axis=0).sum())
        both += int(common.sum())
        voiced += int((known > 0).sum())
        unvoiced += int((known == 0).sum())
        false += int(((known == 0) & (hz > 0)).sum())
    return [
        100 * near / max(both, 1),
        100 * octave / max(both, 1),
        100 * both / max(voiced, 1),
        100 * false / max(unvoiced, 1),
    ]


def speech(folder: Path | None, fcpe: PitchEstimator | None) -> Material:
    paths = [UTTERANCE] if folder is None else sorted(folder.glob("*.wav"))
    found = []
    for path in paths:
        sound, rate = soundfile.read(path, dtype="float32")
        sound = sound if rate == _RATE else soxr.resample(sound, rate, _RATE)
        stored = path.with_suffix(".f0.npy")
        if fcpe is None and not stored.exists():
            raise SystemExit(f"No reference for {path}: give --fcpe, or {stored.name} next to it.")
        reference = np.load(stored) if fcpe is None else whole(fcpe)(sound)
        found.append((sound, reference.astype(np.float64)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--speech", type=Path, metavar="FOLDER", help="folder with wav files")
    parser.add_argument("--fcpe", type=Path, metavar="FILE", help="fcpe_c_v001.pt")
    parser.add_argument("--rmvpe", type=Path, metavar="FILE", help="rmvpe.pt")
    parser.add_argument("--only", nargs="*", metavar="METHOD", help="methods to measure")
    options = parser.parse_args()
    estimators = {kind: load_pitch_estimator(kind=kind) for kind in ("swift", "dio", "harvest")}
    for kind in ("fcpe", "rmvpe"):
        if path := getattr(options, kind):
            estimators[kind] = load_pitch_estimator(path, kind)
    estimates: dict[str, Estimate] = {}
    for kind, estimator in estimators.items():
        estimates[kind] = whole(estimator)
        if kind != "harvest":  # for files only
            estimates[f"{kind}, live"] = live(estimator)
    estimates["built-in voice, live"] = built_in
    materials = {
        "speech": speech(options.speech, estimators.get("fcpe")),
        "sung": [scale(*pair) for pair in zip(_ROOTS_HZ, _VOWELS, strict=True)],
    }
    for title, material in materials.items():
        print(f"\n| {title} | {' | '.join(map(_noise, SNRS_DB))} |")
        print("|---" * (1 + len(SNRS_DB)) + "|")
        for name, estimate in estimates.items():
            if options.only and name.partition(",")[0] not in options.only:
                continue
            cells = [
                " / ".join(f"{figure:.1f}" for figure in judged(estimate, material, snr_db))
                for snr_db in SNRS_DB
            ]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _noise(snr_db: float | None) -> str:
    return "clean" if snr_db is None else f"{snr_db:g} dB"


if __name__ == "__main__":
    main()
