"""No graph is built, and so nothing compiled, once a stream is open: on a GPU each is a pause.

Nor for the phrases of a recording, whose lengths differ: MLX would keep the trace of each.
"""

from collections import Counter

import numpy as np
import pytest

from rtvc.engine.models.hifigan import HiFiGan
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops import backend
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.models.source import SineSource
from rtvc.engine.models.synthesizer import Synthesizer
from rtvc.engine.rvc.loading import load_content_encoder, load_pitch_estimator, load_voice
from rtvc.engine.rvc.offline import convert
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.engine.rvc.window import FRAME
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import GOLDEN, plan_for, speech

pytestmark = pytest.mark.skipif(
    backend.OPERATORS != "gpu", reason="the CPU's graphs are built in every step"
)

TRACED = [
    (Hubert, "_convolve"),
    (Hubert, "_transform"),
    (RmvpeEstimator, "_network"),
    (RmvpeEstimator, "_pitch"),
    (Synthesizer, "_make_latent"),
    (SineSource, "_excite"),
    (HiFiGan, "_decode_chunk"),
]


@pytest.fixture
def traces(monkeypatch):
    """Count how often each part of the networks is traced."""
    counts: Counter[str] = Counter()

    def counting(name, function):
        def call(*arguments):
            counts[name] += 1
            return function(*arguments)

        return call

    for owner, method in (*TRACED, (HiFiGan, "_decode")):
        name = f"{owner.__name__}.{method}"
        monkeypatch.setattr(owner, method, counting(name, getattr(owner, method)))
    return counts


@pytest.fixture
def made():
    rmvpe = load_pitch_estimator(GOLDEN / "rmvpe_small.pt")
    return RvcVoice(
        "golden",
        load_voice(GOLDEN / "voice_v1_f0_40k.pth"),
        load_content_encoder(GOLDEN / "hubert_small"),
        lambda kind: rmvpe,
    )


def test_only_slices_of_one_length_are_traced_in_a_recording(traces, made):
    # One phrase, decoded as a slice of two seconds and one of a second.
    sound = np.tile(speech(), 3)[: 300 * FRAME]
    first = convert(made, sound, Settings(index_rate=0.0))
    once = Counter(traces)
    assert once["HiFiGan._decode"] == 2
    again = convert(made, sound, Settings(index_rate=0.0))
    np.testing.assert_array_equal(first.audio, again.audio)
    assert traces["HiFiGan._decode"] == 3
    others = set(once) - {"HiFiGan._decode", "SineSource._excite"}
    assert len(others) == 5
    assert all(traces[name] == 2 * once[name] for name in others)


def test_nothing_is_traced_once_a_stream_is_open(traces, made):
    settings = Settings(block=50.0, context=200.0, index_rate=0.0)
    stream = made.open(plan_for(settings), settings)
    assert set(traces) == {f"{owner.__name__}.{method}" for owner, method in TRACED}
    opened = Counter(traces)
    blocks = speech()[: 8 * 5 * FRAME].reshape(8, -1)
    for block in blocks[:4]:
        stream.render(block, settings)
    # Nor by what changes no shape, nor after a pause.
    other = settings.replace(speaker=1, pitch=3.0, pitch_floor=80.0, pitch_threshold=0.1, seed=5)
    stream.skip(np.zeros(40 * 5 * FRAME, np.float32))
    for block in blocks[4:]:
        stream.render(block, other)
    # Nor by a stream that another one leaves what it computes with.
    renewed = stream.renewed(plan_for(settings), other)
    for block in blocks[4:]:
        renewed.render(block, other)
    assert traces == opened
