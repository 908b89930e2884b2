"""Rate the sound of the built-in voice with each preset.

    make quality
    python -m benchmarks.quality [FOLDER] [--presets NAME ...] [--seconds 8] [--json FILE]

Converts each speech file in FOLDER, by default the speech of the tests, with each bundled preset
and with all settings at their defaults ("neutral"), and prints the means over the files:

* DNSMOS (P.835): predicted opinion, 1 to 5, of speech, background and overall.
* Speaker distance: 1 minus the cosine of the Resemblyzer embeddings of output and input.
* f0 correlation: of the logarithms of f0 of input and output, where SwiftF0 calls both voiced.
* f0 shift: median of their difference in semitones, in the same frames.
* Loudness: integrated, ITU-R BS.1770-4, in LUFS.

Nothing here depends on the speed of the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

import rtvc
from rtvc.config.presets import bundled_folder, load_preset
from rtvc.engine.rvc.loading import load_pitch_estimator
from rtvc.settings import Settings
from rtvc.system.info import hardware, versions

SPEECH = Path(__file__).parents[1] / "tests" / "data" / "speech"
RATE = 16_000
"""Sample rate of DNSMOS, Resemblyzer and SwiftF0."""
FIGURES = ("overall", "speech", "background", "distance", "f0_correlation", "f0_shift", "lufs")
_PACKAGES = ("speechmos", "onnxruntime", "Resemblyzer", "torch", "librosa", "scipy")
_SILENCE_DB = -70.0
_STEADY = 1 / 60
"""Standard deviation of log2 f0 (20 cents) up to which f0 has no correlation worth the name."""
# Stages of the K-weighting of ITU-R BS.1770-4 at 48 kHz: b and a of a second-order filter.
_WEIGHTING = np.array(
    (
        *(1.53512485958697, -2.69169618940638, 1.19839281085285),
        *(1.0, -1.69065929318241, 0.73248077421585),
        *(1.0, -2.0, 1.0),
        *(1.0, -1.99004745483398, 0.99007225036621),
    )
).reshape(2, 6)


class Judge:
    """Computes the figures of one sound; loads the networks once."""

    def __init__(self) -> None:
        # Resemblyzer imports from a module of SciPy that is deprecated.
        warnings.filterwarnings("ignore")
        try:
            from resemblyzer import VoiceEncoder, preprocess_wav
            from speechmos import dnsmos
        except ImportError as error:
            raise SystemExit(f"{error.name} is missing. Run 'make quality' once.") from error
        self._encoder = VoiceEncoder("cpu", verbose=False)
        self._preprocess = preprocess_wav
        self._dnsmos = dnsmos
        self._swift = load_pitch_estimator(kind="swift")

    def embedding(self, sound: np.ndarray) -> np.ndarray:
        """Return the speaker's embedding, (256,), of length 1."""
        return self._encoder.embed_utterance(self._preprocess(sound, RATE))

    def f0(self, sound: np.ndarray) -> np.ndarray:
        """Return f0 in Hz each 10 ms, 0 = unvoiced; from 47 Hz, as presets go below the floor."""
        return self._swift(sound, f0_min=47.0, f0_max=1100.0)

    def opinion(self, sound: np.ndarray) -> dict[str, float]:
        """Return the three ratings by DNSMOS."""
        found = self._dnsmos.run(np.clip(sound, -1, 1), sr=RATE)
        names = {"overall": "ovrl_mos", "speech": "sig_mos", "background": "bak_mos"}
        return {name: float(found[key]) for name, key in names.items()}

    def figures(self, sound: np.ndarray, source: Source) -> dict[str, float]:
        """Return all of `FIGURES` of an output."""
        f0 = self.f0(sound)
        count = min(len(f0), len(source.f0))
        voiced = (f0[:count] > 0) & (source.f0[:count] > 0)
        before, after = (np.log2(hz[:count][voiced]) for hz in (source.f0, f0))
        moves = len(before) > 2 and min(before.std(), after.std()) > _STEADY
        return {
            **self.opinion(sound),
            "distance": 1 - float(self.embedding(sound) @ source.embedding),
            "f0_correlation": float(np.corrcoef(before, after)[0, 1]) if moves else float("nan"),
            "f0_shift": 12 * float(np.median(after - before)) if len(before) else float("nan"),
            "lufs": loudness(sound),
        }


class Source:
    """A speech file with what the outputs are compared with."""

    def __init__(self, path: Path, seconds: float, judge: Judge) -> None:
        sound, rate = soundfile.read(path, dtype="float32")
        if sound.ndim > 1:
            sound = sound.mean(axis=1)
        self.name = path.stem
        self.rate = rate
        self.sound = sound[: round(seconds * rate)] if seconds else sound
        at_16_khz = _to_16_khz(self.sound, rate)
        self.f0 = judge.f0(at_16_khz)
        self.embedding = judge.embedding(at_16_khz)
        self.figures = judge.figures(at_16_khz, self)


def loudness(sound: np.ndarray) -> float:
    """Return the integrated loudness in LUFS of a mono sound at `RATE`; -70 for silence."""
    from scipy.signal import sosfilt

    weighted = sosfilt(_WEIGHTING, soxr.resample(sound.astype(np.float64), RATE, 48_000, "VHQ"))
    block, hop = 19_200, 4_800  # 400 ms, overlapping by 75 %
    weighted = np.pad(weighted, (0, max(0, block - len(weighted))))
    blocks = np.lib.stride_tricks.sliding_window_view(weighted, block)[::hop]
    power = np.mean(blocks**2, axis=1)
    audible = power[_in_db(power) > _SILENCE_DB]
    if not len(audible):
        return _SILENCE_DB
    loud = audible[_in_db(audible) > _in_db(audible.mean()) - 10.0]
    return float(_in_db(loud.mean()))


def _in_db(power: Any) -> Any:
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-12))


def _to_16_khz(sound: np.ndarray, rate: int) -> np.ndarray:
    made = sound if rate == RATE else soxr.resample(sound, rate, RATE, "VHQ")
    return np.asarray(made, np.float32)


def bundled_presets() -> dict[str, Settings]:
    """Return the settings of all bundled presets, and the defaults as "neutral"."""
    paths = sorted(bundled_folder().glob("*.yaml"))
    return {"neutral": Settings()} | {path.stem: load_preset(path).settings for path in paths}


def row(name: str, mean: dict[str, float]) -> str:
    form = ("4.2f", "4.2f", "4.2f", "5.3f", "5.2f", "+5.1f", "5.1f")
    cells = (
        "–" if np.isnan(mean[figure]) else format(mean[figure], spec).strip()  # noqa: RUF001
        for figure, spec in zip(FIGURES, form, strict=True)
    )
    return f"| {name} | " + " | ".join(cells) + " |"


def mean_of(results: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([result[name] for result in results])) for name in FIGURES}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.quality", description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=SPEECH, help="speech to convert")
    parser.add_argument("--presets", nargs="+", metavar="NAME", help="only these presets")
    parser.add_argument("--seconds", type=float, default=0.0, help="length used of each file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    return parser.parse_args()


def main() -> int:
    given = options()
    presets = bundled_presets()
    if unknown := set(given.presets or ()) - set(presets):
        raise SystemExit(f"There is no preset {', '.join(sorted(unknown))}.")
    paths = sorted(given.folder.glob("*.wav"))
    if not paths:
        raise SystemExit(f"There is no .wav file in {given.folder}.")
    used = versions() | {name: version(name) for name in _PACKAGES}
    machine = hardware()
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}")
    print(", ".join(f"{name} {number}" for name, number in used.items() if number))
    judge = Judge()
    sources = [Source(path, given.seconds, judge) for path in paths]
    length = sum(len(source.sound) / source.rate for source in sources)
    print(f"{len(sources)} files, {length:.1f} s\n")
    print("| preset | overall | speech | background | distance | f0 corr. | f0 shift | LUFS |")
    print("|---" * (1 + len(FIGURES)) + "|")
    found = {"input": {source.name: source.figures for source in sources}}
    print(row("input", mean_of(list(found["input"].values()))), flush=True)
    for name in given.presets or presets:
        found[name] = {}
        for source in sources:
            sound = rtvc.convert(source.sound, sample_rate=source.rate, settings=presets[name])
            found[name][source.name] = judge.figures(_to_16_khz(sound, source.rate), source)
        print(row(name, mean_of(list(found[name].values()))), flush=True)
    if given.json:
        document = {
            "hardware": machine,
            "versions": used,
            "seconds": length,
            "settings": {name: presets[name].changed() for name in given.presets or presets},
            "figures": found,
        }
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
