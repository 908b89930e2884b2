import functools
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvc.engine.weights.checkpoint import parse_voice, read_voice_checkpoint
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.safetensors import write_safetensors
from rtvc.engine.weights.torch_file import read_torch_file
from rtvc.engine.weights.voice_config import parse_voice_config
from rtvc.engine.weights.voice_keys import voice_shapes
from rtvc.errors import RtvcError
from tests.engine.weights import torch_writer as tw

GOLDEN = Path(__file__).parents[2] / "golden"
F0_32K, F0_48K = "voice_v1_f0_32k.pth", "voice_v1_f0_48k.pth"
V2_48K, NO_F0, MRF = "voice_v2_f0_48k.pth", "voice_v1_nof0_40k.pth", "applio_mrf_40k.pth"


_read = functools.cache(read_torch_file)


def raw_voice(name: str = V2_48K) -> dict[str, Any]:
    """Return the contents of a voice file, in new containers that a test may change."""
    voice: dict[str, Any] = _read(GOLDEN / name)
    return voice | {"weight": dict(voice["weight"]), "config": list(voice["config"])}


def refusal(tmp_path: Path, tree: object) -> str:
    with pytest.raises(RtvcError) as caught:
        read_voice_checkpoint(tw.save(tmp_path / "voice.pth", tree))
    message = str(caught.value)
    assert message.startswith("voice.pth cannot be read as a voice: ")
    assert len(message) < 600
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("name", "version", "uses_pitch", "rate", "hop", "vocoder"),
    [
        (F0_32K, "v1", True, 32000, 320, "HiFi-GAN"),
        (F0_48K, "v1", True, 48000, 480, "HiFi-GAN"),
        (V2_48K, "v2", True, 48000, 480, "HiFi-GAN"),
        (NO_F0, "v1", False, 40000, 400, "HiFi-GAN"),
        (MRF, "v2", True, 40000, 400, "MRF HiFi-GAN"),
    ],
)
def test_voices_written_by_the_training_programs(  # noqa: PLR0917
    name, version, uses_pitch, rate, hop, vocoder
):
    voice = read_voice_checkpoint(GOLDEN / name)
    assert (voice.version, voice.uses_pitch, voice.sample_rate) == (version, uses_pitch, rate)
    assert (voice.vocoder, voice.speakers, voice.embedder) == (vocoder, 3, "contentvec")
    assert voice.config.hop == hop
    assert voice.config.spk_embed_dim == 3
    assert voice.source_sha256 == hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest()
    assert {a.dtype for a in voice.weights.values()} == {np.dtype(np.float32)}
    assert not [n for n in voice.weights if re.search(r"weight_[gv]$|original|enc_q", n)]
    assert ("dec.noise_convs.0.weight" in voice.weights) is uses_pitch


def test_weight_norm_of_a_transposed_convolution_keeps_input_channels():
    raw = raw_voice()["weight"]
    folded = read_voice_checkpoint(GOLDEN / V2_48K).weights["dec.ups.0.weight"]
    gain = raw["dec.ups.0.weight_g"].astype(np.float64)
    direction = raw["dec.ups.0.weight_v"].astype(np.float64)
    assert gain.shape == (64, 1, 1)
    assert direction.shape == (64, 32, 24)
    exact = gain * direction / np.sqrt((direction**2).sum((1, 2), keepdims=True))
    np.testing.assert_allclose(folded, exact, rtol=1e-5, atol=1e-8)


# Numbers of values and tensors after folding, from the reference implementation.
@pytest.mark.parametrize(
    ("phone", "uses_pitch", "rates", "kernels", "rate", "values", "tensors"),
    [
        (256, True, [10, 4, 2, 2, 2], [16, 16, 4, 4, 4], 32000, 27_448_194, 393),
        (256, True, [10, 10, 2, 2], [16, 16, 4, 4], 40000, 27_416_386, 353),
        (256, True, [10, 6, 2, 2, 2], [16, 16, 4, 4, 4], 48000, 27_456_386, 393),
        (768, True, [10, 8, 2, 2], [20, 16, 4, 4], 32000, 28_034_882, 353),
        (768, True, [10, 10, 2, 2], [16, 16, 4, 4], 40000, 27_514_690, 353),
        (768, True, [12, 10, 2, 2], [24, 20, 4, 4], 48000, 28_694_338, 353),
        (768, True, [10, 6, 2, 2], [20, 12, 4, 4], 24000, 27_899_714, 353),
    ],
)
def test_expected_weights_of_voices_of_full_size(  # noqa: PLR0917
    phone, uses_pitch, rates, kernels, rate, values, tensors
):
    config = parse_voice_config(real_config(rates, kernels, rate), 109)
    shapes = voice_shapes(config, phone_channels=phone, uses_pitch=uses_pitch, vocoder="HiFi-GAN")
    assert len(shapes) == tensors
    assert sum(map(math.prod, shapes.values())) == values


def real_config(rates: list[int], kernels: list[int], rate: object) -> list[object]:
    return [
        *(1025, 32, 192, 192, 768, 2, 6, 3, 0, "1", [3, 7, 11], [[1, 3, 5]] * 3),
        *(rates, 512, kernels, 109, 256, rate),
    ]  # fmt: skip


def test_expected_weights_of_refinegan():
    golden = json.loads((GOLDEN / "applio_refinegan_32k.json").read_text())
    folded = {
        name.replace("weight_v", "weight"): tuple(shape)
        for name, shape in golden["shapes"].items()
        if not name.endswith("weight_g")
    }
    config = parse_voice_config(golden["config"], golden["shapes"]["emb_g.weight"][0])
    expected = voice_shapes(config, phone_channels=768, uses_pitch=True, vocoder="RefineGAN")
    assert expected == folded


# -- layouts -----------------------------------------------------------------------------------


def assert_same(voice, name=V2_48K, **tolerance):
    expected = read_voice_checkpoint(GOLDEN / name)
    assert voice.config == expected.config
    assert voice.weights.keys() == expected.weights.keys()
    for key, array in expected.weights.items():
        np.testing.assert_allclose(voice.weights[key], array, **(tolerance or {"rtol": 0}))


def test_parametrization_names(tmp_path):
    raw = raw_voice()
    raw["weight"] = {
        n.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): a
        for n, a in raw["weight"].items()
    }
    assert_same(read_voice_checkpoint(tw.save(tmp_path / "voice.pth", raw)))


def test_already_folded_weights(tmp_path):
    raw = raw_voice()
    raw["weight"] = read_voice_checkpoint(GOLDEN / V2_48K).weights
    assert_same(read_voice_checkpoint(tw.save(tmp_path / "voice.pth", raw)))


def test_safetensors_of_w_okadas_voice_changer(tmp_path):
    raw = raw_voice()
    metadata = {"config": json.dumps(raw["config"]), "f0": "1", "sr": "48k", "version": "v2"}
    path = tmp_path / "voice.safetensors"
    write_safetensors(path, raw["weight"], metadata | {"info": "200epoch"})
    voice = read_voice_checkpoint(path)
    assert_same(voice)
    assert voice.info == {"info": "200epoch"}
    write_safetensors(path, raw["weight"], metadata | {"config": "[1, 2"})
    with pytest.raises(RtvcError, match="'config' is damaged"):
        read_voice_checkpoint(path)


@pytest.mark.parametrize("name", [F0_32K, F0_48K, V2_48K, NO_F0, MRF])
def test_settings_of_a_training_checkpoint_are_inferred(tmp_path, name):
    raw = raw_voice(name)
    posterior = {"enc_q.pre.weight": np.zeros((24, raw["config"][0], 1), np.float16)}
    tree = {
        "model": raw["weight"] | posterior,
        "iteration": 2333,
        "optimizer": {"state": {0: {"step": 1.0}}, "param_groups": [{"lr": 1e-4}]},
        "learning_rate": 1e-4,
    }
    voice = read_voice_checkpoint(tw.save(tmp_path / "G_2333.pth", tree))
    assert_same(voice, name)


def test_a_training_checkpoint_with_an_ambiguous_rate(tmp_path):
    weights = {
        n: a for n, a in raw_voice(F0_32K)["weight"].items()
        if not re.match(r"dec\.(noise_convs|m_source)|enc_p\.emb_pitch", n)
    }  # fmt: skip
    message = refusal(tmp_path, {"model": weights, "iteration": 1})
    assert "sample rate" in message
    assert "small .pth" in message
    posterior = {"enc_q.pre.weight": np.zeros((24, 513, 1), np.float16)}
    path = tw.save(tmp_path / "G.pth", {"model": weights | posterior})
    assert read_voice_checkpoint(path).sample_rate == 32000


def test_the_posterior_encoder_is_dropped(tmp_path):
    raw = raw_voice()
    raw["weight"]["enc_q.enc.in_layers.0.weight_g"] = np.zeros((1, 1, 1), np.float16)
    assert_same(read_voice_checkpoint(tw.save(tmp_path / "voice.pth", raw)))


def test_wrong_fields_are_ignored(tmp_path):
    raw = raw_voice() | {"sr": "32k", "version": "v1", "f0": 0, "vocoder": "RefineGAN"}
    raw["config"][15], raw["config"][17] = 109, "48k"
    assert_same(read_voice_checkpoint(tw.save(tmp_path / "voice.pth", raw)))


def test_text_fields_are_sanitised_and_truncated(tmp_path):
    raw = raw_voice() | {
        "info": "\x1b[2J200\nepoch",
        "author": "x" * 5000,
        "model_name": {"a": 1},
        "epoch": 200,
        "embedder_model": "spin\x07-v2",
    }
    voice = read_voice_checkpoint(tw.save(tmp_path / "voice.pth", raw))
    assert voice.info == {"info": "[2J200 epoch", "author": "x" * 79 + "…", "epoch": "200"}
    assert voice.embedder == "spin-v2"


# -- refusals ----------------------------------------------------------------------------------


def test_other_networks_are_named(tmp_path):
    raw = raw_voice()
    zero = np.zeros(1, np.float16)
    discriminator = {"model": {"discriminators.0.convs.0.weight_v": zero}, "iteration": 1}
    assert "discriminator" in refusal(tmp_path, discriminator)
    assert "VoRAS" in refusal(tmp_path, raw | {"version": "voras_beta"})
    fork = raw | {"config": [*raw["config"][:17], 768, 40000], "embedder_name": "hubert_base"}
    assert "fork" in refusal(tmp_path, fork)
    assert "19 values instead of 18" in refusal(tmp_path, raw | {"config": fork["config"]})
    assert "content encoder" in refusal(tmp_path, {"model": {"feature_extractor.a": zero}})
    assert "RMVPE" in refusal(tmp_path, {"unet.encoder.bn.weight": zero})
    assert "FCPE" in refusal(tmp_path, {"model": {"input_stack.0.weight": zero}})
    assert "holds no voice" in refusal(tmp_path, {"a": zero})
    assert "holds no voice" in refusal(tmp_path, {"weight": 3})
    assert "named weights" in refusal(tmp_path, [1])
    assert "named weights" in refusal(tmp_path, {1: zero})
    assert "one network" in refusal(tmp_path, raw | {"weight": raw["weight"] | {"a": "b"}})


@pytest.mark.parametrize(
    "weight", ["dec.source_conv.weight", "dec.filters.0.weight", "dec.pre_conv.weight"]
)
def test_older_refinegan_is_refused(tmp_path, weight):
    raw = raw_voice()
    weights = {n: a for n, a in raw["weight"].items() if not n.startswith("dec.")}
    raw["weight"] = weights | {weight: np.zeros((1, 1, 1), np.float16)}
    assert "before August 2025" in refusal(tmp_path, raw)


def test_invalid_vocoders(tmp_path):
    raw = raw_voice(MRF)
    del raw["weight"]["enc_p.emb_pitch.weight"]
    assert "without pitch" in refusal(tmp_path, raw)
    raw = raw_voice()
    raw["weight"] = {n: a for n, a in raw["weight"].items() if not n.startswith("dec.")}
    assert "vocoder is unknown" in refusal(tmp_path, raw)


def test_names_and_shapes_must_match_exactly(tmp_path):
    raw = raw_voice()
    raw["weight"]["dec.extra.weight"] = raw["weight"].pop("dec.conv_post.weight")
    message = refusal(tmp_path, raw)
    assert "1 missing (dec.conv_post.weight)" in message
    assert "1 unexpected (dec.extra.weight)" in message
    raw = raw_voice()
    del raw["weight"]["dec.m_source.l_linear.weight"]
    assert "1 missing (dec.m_source.l_linear.weight)" in refusal(tmp_path, raw)
    raw = raw_voice()
    raw["config"][12:15:2] = [10, 12, 2, 2], [20, 24, 4, 4]
    assert "3 mis-shaped (dec.ups.0.weight 64x32x24 instead of 64x32x20" in refusal(tmp_path, raw)
    raw = raw_voice()
    raw["weight"]["emb_g.weight"] = np.full((3, 16), np.nan, np.float16)
    assert "'emb_g.weight' contains values that are not finite" in refusal(tmp_path, raw)
    raw = raw_voice()
    raw["weight"]["enc_p.emb_phone.weight"] = np.zeros((24, 512), np.float16)
    assert "512 content features" in refusal(tmp_path, raw)
    del raw["weight"]["enc_p.emb_phone.weight"]
    assert "'enc_p.emb_phone.weight' is missing" in refusal(tmp_path, raw)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (2, "192", "inter_channels"),
        (2, 191, "divide"),
        (3, True, "hidden_channels"),
        (5, 0, "n_heads"),
        (5, 5, "divide"),
        (6, 10**9, "n_layers"),
        (7, 4, "even kernel"),
        (9, "2", "residual blocks"),
        (9, {}, "residual blocks"),
        (10, [3, 7], "unequal length"),
        (10, [3, 8, 11], "even kernel"),
        (10, 3, "not a list"),
        (11, [[1, 3, 5], 3, [1]], "not a list"),
        (11, [[1, 3, 5], [], [1]], "one to eight"),
        (12, [12, 10, 2], "unequal length"),
        (12, [12, 10, 2, 0], "upsample_rates"),
        (12, [12, 10, 2, 2.0], "upsample_rates"),
        (12, [12, 10, 2, 4], "multiply to 960, but 48000 Hz needs 480"),
        (12, [10, 10, 2, 2], "multiply to 400"),
        (13, 56, "halve"),
        (14, [10, 20, 4, 4], "upsampling by 12 with a kernel of 10"),
        (14, [25, 20, 4, 4], "upsampling by 12 with a kernel of 25"),
        (16, -1, "gin_channels"),
        (17, 48000.0, "sr"),
        (17, 7, "sr"),
        (17, "fast", "sr"),
        (17, "9" * 5000, "sr"),
        (17, 44100, "multiply to 480, but 44100 Hz needs 441"),
        (17, 48050, "multiply"),
    ],
)
def test_config_values_out_of_range(position, value, message):
    values = real_config([12, 10, 2, 2], [24, 20, 4, 4], 48000)
    values[position] = value
    with pytest.raises(ContentError, match=re.escape(message)) as caught:
        parse_voice_config(values, 1)
    assert len(str(caught.value)) < 200


def test_config_that_is_not_a_list():
    wrong: tuple[Any, ...] = (None, "config", {}, 18)
    for values in wrong:
        with pytest.raises(ContentError, match="no list"):
            parse_voice_config(values, 1)


@pytest.mark.parametrize("rate", [40000, "40k", "40K", "40000"])
def test_spellings_of_the_sample_rate(rate):
    values = real_config([10, 10, 2, 2], [16, 16, 4, 4], rate)
    assert parse_voice_config(values, 1).sr == 40000


# -- property tests ------------------------------------------------------------------------

FIELDS = ["weight", "config", "info", "sr", "f0", "version", "embedder_model", "speaker_info"]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@pytest.mark.thorough
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_value_in_any_field_gives_a_voice_or_a_message(data):
    fields = raw_voice()
    named = fields.pop("weight")
    if data.draw(st.booleans()):
        fields[data.draw(st.sampled_from(FIELDS[1:]))] = data.draw(PLAIN)
    else:
        fields["config"][data.draw(st.integers(0, 17))] = data.draw(PLAIN)
    if data.draw(st.booleans()):
        shape = data.draw(st.lists(st.integers(0, 6), max_size=4))
        named[data.draw(st.sampled_from(sorted(named)))] = np.ones(shape, np.float16)
    refused = None
    try:
        parse_voice(fields, named, "")
    except ContentError as error:
        refused = str(error)
    assert refused is None or (len(refused) < 500 and refused.isprintable())
