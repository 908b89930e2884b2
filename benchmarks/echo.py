"""Compares echo cancellers in a simulated room: ``python -m benchmarks.echo [--speech FOLDER]``.

The speaker plays what rtvc plays: your own speech, changed by the built-in voice, `VOICE_DELAY_S`
later. It comes back to the microphone through the impulse response of a room and adds to your own
speech. A canceller gets the microphone and the played signal, delayed by the latency of the
devices as rtvc knows it less `MARGIN_S`, in frames of 10 ms: what comes back earlier than its
reference cannot be cancelled.

Printed for each case: the echo return loss enhancement (ERLE) in dB from 5 s on, where you are
silent; DNSMOS of your own speech after the canceller, with the echo, in double talk; and the CPU
time per 10 ms.

    python -m pip install livekit==1.2.1 pyaec==1.0.1 && python -m pip install --group ratings
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from scipy.signal import fftconvolve

from benchmarks.dnsmos import RATE, score
from benchmarks.noise import SPEECH, read
from rtvc.audio.echo_canceller import make_canceller
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.conversion import convert

VOICE_DELAY_S, DEVICES_S = 0.30, 0.06
"""Delay of the changed voice, and of the loop through the devices, which is stated or measured."""
MARGIN_S = 0.020
_FRAME = ENGINE_RATE // 100
_SETTLED = 5 * ENGINE_RATE

Samples = np.ndarray
Canceller = Callable[[Samples, Samples], Samples]
"""Maps microphone and played signal, both (samples,), to the microphone without echo."""


@dataclass(frozen=True)
class Case:
    """What the room and the devices do.

    Attributes
    ----------
    level_db
        Power of the echo relative to your own speech at the microphone.
    off_s
        Error of the latency that rtvc knows; positive if the echo comes later than it.
    drift_ppm
        Clock of the microphone relative to that of the speaker.
    decay_s
        Time in which the reverberation falls by 60 dB.
    """

    name: str
    level_db: float = 0.0
    off_s: float = 0.0
    drift_ppm: float = 0.0
    decay_s: float = 0.2


CASES = (
    Case("echo 0 dB"),
    Case("echo -15 dB", -15.0),
    Case("echo +10 dB", 10.0),
    Case("15 ms earlier", off_s=-0.015),
    Case("30 ms earlier", off_s=-0.030),
    Case("20 ms later", off_s=0.020),
    Case("100 ms later", off_s=0.100),
    Case("drift 50 ppm", drift_ppm=50.0),
    Case("decay 500 ms", decay_s=0.5),
)


def room(decay_s: float) -> Samples:
    """Return an impulse response: a direct path, and noise that decays exponentially after it."""
    random = np.random.default_rng(3)
    at = np.arange(round(1.2 * decay_s * ENGINE_RATE)) / ENGINE_RATE
    tail = random.standard_normal(at.size) * 10 ** (-3 * at / decay_s)
    tail *= 0.5 / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(tail)


def delayed(samples: Samples, seconds: float) -> Samples:
    """Return the samples later by `seconds`, 0 or more, as long as before."""
    count = round(seconds * ENGINE_RATE)
    return np.concatenate([np.zeros(count), samples])[: samples.size]


def drifted(samples: Samples, ppm: float) -> Samples:
    """Return the samples as a clock that runs faster by `ppm` records them."""
    if not ppm:
        return samples
    at = np.arange(samples.size) * (1 - ppm * 1e-6)
    return np.interp(at, np.arange(samples.size), samples)


def webrtc(microphone: Samples, played: Samples) -> Samples:
    """Cancel as rtvc does: with AEC3 of WebRTC's audio processing module, at 48 kHz."""
    whole = microphone.size // _FRAME * _FRAME
    near, far = (one[:whole].astype(np.float32) for one in (microphone, played))
    return make_canceller("cancel").process(near, far)


def speex(
    microphone: Samples, played: Samples, *, rate: int = RATE, preprocess: bool = True
) -> Samples:
    """Cancel with the echo canceller of Speex with a filter of 250 ms, by default at 16 kHz."""
    import ctypes

    import pyaec

    size, width = rate // 100, rate // 4
    handle = pyaec.lib.AecNew(size, width, rate, preprocess)

    def pointer(samples: Samples) -> Any:
        return samples.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))

    def step(near: Samples, far: Samples) -> Samples:
        out = np.empty(size, np.int16)
        pyaec.lib.AecCancelEcho(handle, pointer(near), pointer(far), pointer(out), size)
        return out

    low = [soxr.resample(one, ENGINE_RATE, rate, "VHQ") for one in (microphone, played)]
    made = in_frames(step, *low, size)
    pyaec.lib.AecDestroy(handle)
    return np.asarray(soxr.resample(made, rate, ENGINE_RATE, "VHQ"))


def in_frames(
    step: Callable[[Samples, Samples], Samples], near: Samples, far: Samples, size: int
) -> Samples:
    """Return what `step` makes of frames of `size` samples of 16 bit."""
    near, far = (np.round(32767 * np.clip(one, -1, 1)).astype(np.int16) for one in (near, far))
    whole = range(0, near.size - size + 1, size)
    made = [step(near[at : at + size].copy(), far[at : at + size].copy()) for at in whole]
    return np.concatenate(made) / 32768


def speex_only(microphone: Samples, played: Samples) -> Samples:
    """Cancel with the adaptive filter of Speex alone, without its suppressor."""
    return speex(microphone, played, preprocess=False)


def speex_only_48k(microphone: Samples, played: Samples) -> Samples:
    """Cancel with the adaptive filter of Speex alone, at 48 kHz."""
    return speex(microphone, played, rate=ENGINE_RATE, preprocess=False)


CANCELLERS: dict[str, Canceller] = {
    "webrtc": webrtc,
    "speex": speex,
    "speex, filter only": speex_only,
    "the same at 48 kHz": speex_only_48k,
}


def power_db(samples: Samples) -> float:
    """Return the mean power in dB."""
    return float(10 * np.log10(np.mean(np.square(samples)) + 1e-12))


def dnsmos(samples: Samples) -> float:
    """Return the overall rating from 5 s on."""
    return score(soxr.resample(samples[_SETTLED:], ENGINE_RATE, RATE, "VHQ")).overall


def echo_of(speech: Samples, played: Samples, case: Case) -> Samples:
    """Return the echo at the microphone."""
    echo = fftconvolve(played, room(case.decay_s))[: played.size]
    echo *= 10 ** ((power_db(speech) + case.level_db - power_db(echo)) / 20)
    return drifted(delayed(echo, DEVICES_S + case.off_s), case.drift_ppm)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, default=SPEECH, metavar="FOLDER")
    parser.add_argument("--utterances", type=int, default=1, metavar="N")
    args = parser.parse_args()
    paths = sorted(args.speech.glob("*.wav"))[: args.utterances]
    talks = [0.3 * np.resize(read(path), round(14.1 * ENGINE_RATE)) for path in paths]
    played = [
        delayed(convert(talk.astype(np.float32), sample_rate=ENGINE_RATE, pitch=4), VOICE_DELAY_S)
        for talk in talks
    ]
    floor = 1e-4 * np.random.default_rng(1).standard_normal(talks[0].size)
    spent = dict.fromkeys(CANCELLERS, 0.0)
    runs = 0.0
    clean = np.mean([dnsmos(talk + floor) for talk in talks])
    print(f"Your own speech without echo: DNSMOS {clean:.2f}.\n")
    names = " | ".join(("no canceller", *CANCELLERS))
    print(f"| ERLE in dB; DNSMOS of double talk | {names} |")
    print(f"|---|---|{'---|' * len(CANCELLERS)}")
    for case in (Case("no echo", -200.0), *CASES):
        cells: dict[str, list[tuple[float, float]]] = {name: [] for name in ("", *CANCELLERS)}
        for talk, out in zip(talks, played, strict=True):
            echo = echo_of(talk, out, case)
            reference = delayed(out, DEVICES_S - MARGIN_S)
            alone, both = echo + floor, talk + echo + floor
            cells[""].append((0.0, dnsmos(both)))
            for name, cancel in CANCELLERS.items():
                began = time.thread_time()
                left, double = cancel(alone, reference), cancel(both, reference)
                spent[name] += time.thread_time() - began
                loss = power_db(alone[_SETTLED:]) - power_db(left[_SETTLED:])
                cells[name].append((loss, dnsmos(double)))
            runs += 2 * talk.size / _FRAME
        means = [np.mean(cells[name], axis=0) for name in cells]
        print(
            f"| {case.name} |", " | ".join(f"{a:.1f}; {b:.2f}" for a, b in means), "|", flush=True
        )
    costs = ", ".join(f"{name} {1e3 * seconds / runs:.3f} ms" for name, seconds in spent.items())
    print(f"\nCPU per 10 ms: {costs}")


if __name__ == "__main__":
    main()
