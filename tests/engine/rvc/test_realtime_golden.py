"""The reference's live loop, put together from the public API, gives the reference's output."""

import numpy as np
import pytest
import soxr

from rtvc.engine.dsp.pitch import coarse_pitch
from tests.engine.rvc.rvc_stack import GOLDEN, encoder, estimator, index, network


def reference_loop(g, voice):
    """Yield (audio, coarse pitch, pitch) of every window, by the recipe of RVC's live program."""
    key, formant = int(g["key"]), float(g["formant"])
    block, skip, returned = (int(g[k]) for k in ("block_16k", "skip_head", "return_length"))
    factor = 2 ** (formant / 12)
    stretched = int(np.ceil(returned * factor))
    pitch_window = 5120 * -(-(block + 800) // 5120) - 160
    cache = np.zeros(1024)
    for window in g["windows_16k"]:
        rows = encoder()(window, layer=9, project=True)
        rows = np.concatenate([rows, rows[-1:]])
        rows[skip // 2 :] = index().blend(rows[skip // 2 :], float(g["index_rate"]))
        frames = len(window) // 160
        hz = estimator("rmvpe")(window[-pitch_window:]).astype(np.float64)
        voiced = np.flatnonzero(hz)
        if len(voiced):
            hz = np.interp(np.arange(len(hz)), voiced, hz[voiced])
        hz *= 2 ** ((key - formant) / 12)
        cache = np.roll(cache, -block // 160)
        cache[-len(hz) + 4 :] = hz[3:-1]
        f0 = cache[-frames:].copy()
        # Frames that were never estimated are 0 in the reference's other cache.
        coarse = np.where(f0 > 0, coarse_pitch(f0), 0)
        audio = voice.synthesize(
            np.repeat(rows, 2, axis=0)[:frames],
            coarse,
            f0 * stretched / returned,
            skip_head=skip,
            return_length=returned,
            formant_frames=stretched,
        )
        if formant:
            speed = int(factor * voice.sample_rate) // 100
            hop = voice.sample_rate // 100
            audio = soxr.resample(audio[: returned * speed], speed, hop, "VHQ")
        yield audio, coarse, f0


@pytest.mark.parametrize(
    ("name", "voice"),
    [("v1_40k_key0", "voice_v1_f0_40k"), ("v1_40k_key5_index", "voice_v1_f0_40k")],
)
def test_eight_blocks(name, voice):
    g = np.load(GOLDEN / f"realtime_{name}.npz")
    for number, (audio, coarse, hz) in enumerate(reference_loop(g, network(voice))):
        np.testing.assert_array_equal(coarse, g["pitch_cache"][number])
        np.testing.assert_allclose(hz, g["f0_cache"][number], atol=0.01)
        np.testing.assert_allclose(audio, g["audio"][number], atol=1e-3)


def test_eight_blocks_with_formant_shift():
    g = np.load(GOLDEN / "realtime_v1_48k_formant2.npz")
    for number, (audio, coarse, hz) in enumerate(reference_loop(g, network("voice_v1_f0_48k"))):
        np.testing.assert_array_equal(coarse, g["pitch_cache"][number])
        np.testing.assert_allclose(hz, g["f0_cache"][number], atol=0.01)
        assert log_spectral_distance(audio, g["audio"][number]) < 1.0


def log_spectral_distance(a, b, below_hz=20_000, rate=48_000):
    """RMS difference of log spectra in dB, mean over frames; resamplers differ above 20 kHz."""
    size = 1024
    spectra = []
    for x in (a, b):
        frames = np.lib.stride_tricks.sliding_window_view(x, size)[::256] * np.hanning(size)
        bins = np.abs(np.fft.rfft(frames))[:, : size * below_hz // rate]
        spectra.append(20 * np.log10(bins + 1e-4))
    return float(np.sqrt(((spectra[0] - spectra[1]) ** 2).mean(axis=1)).mean())
