"""The small voices of tests/golden with their content encoder, ready to stream."""

from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from rtvc.engine.models.pitch_estimator import PitchEstimator
from rtvc.engine.plan import make_plan
from rtvc.engine.rvc.loading import (
    load_content_encoder,
    load_index,
    load_pitch_estimator,
    load_voice,
)
from rtvc.engine.rvc.voice import LOOKAHEAD, RvcVoice
from rtvc.engine.rvc.window import FRAME
from tests.support.speech import FOLDER

GOLDEN = Path(__file__).parents[2] / "golden"
INDEX = GOLDEN / "added_IVF16_Flat_nprobe_1_golden_v1.index"


class LocalPitch(PitchEstimator):
    """Pitch by autocorrelation: a frame depends on 20 ms to either side, and on nothing else."""

    name = "local"
    min_samples = 160

    def __init__(self, threshold=0.5):
        self.threshold = threshold
        self.calls = []

    def __call__(self, audio_16k, *, threshold=None, f0_min=None, f0_max=None):
        self.calls.append(len(audio_16k))
        half, size = 320, 2048
        around = np.lib.stride_tricks.sliding_window_view(np.pad(audio_16k, half), 2 * half)
        window = np.hanning(2 * half)
        spectra = np.fft.rfft(around[::FRAME] * window, size)
        correlation = np.fft.irfft(np.abs(spectra) ** 2)
        fall = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)
        lags = np.arange(32, 229)  # 500 to 70 Hz
        strength = correlation[:, lags] / (correlation[:, :1] + 1e-3) / (fall[lags] / fall[0])
        best = strength.argmax(axis=1)
        sure = strength.max(axis=1) > (threshold or self.threshold)
        return np.where(sure, 16_000 / lags[best], 0.0).astype(np.float32)


@cache
def encoder():
    return load_content_encoder(GOLDEN / "hubert_small")


@cache
def estimator(kind):
    return load_pitch_estimator(GOLDEN / "rmvpe_small.pt" if kind == "rmvpe" else None, kind)


@cache
def network(name="voice_v1_f0_40k"):
    return load_voice(GOLDEN / f"{name}.pth")


@cache
def index():
    return load_index(INDEX)


def voice(name="voice_v1_f0_40k", pitch=None, with_index=True, continuous=True):
    """Return a voice; `pitch` stands in for the estimator that the settings name.

    Without `continuous` its vocoder works as one that cannot stream: RefineGAN.
    """
    find = estimator if pitch is None else lambda kind: pitch
    made = RvcVoice(name, network(name), encoder(), find, index() if with_index else None)
    made.continuous = continuous
    return made


def plan_for(settings, continuous=True):
    lookahead = LOOKAHEAD if continuous else 0
    return make_plan(settings, voice_lookahead=lookahead, continuous=continuous)


@cache
def speech(name="2086-149214-0000", rate=16_000):
    audio, at = soundfile.read(FOLDER / f"{name}.wav", dtype="float32")
    assert at == rate
    return audio


def stream_all(stream, audio, settings, block):
    """Feed whole blocks; return the renders in a list."""
    size = block * FRAME
    return [
        stream.render(audio[at : at + size], settings)
        for at in range(0, len(audio) - size + 1, size)
    ]
