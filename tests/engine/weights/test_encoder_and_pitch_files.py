import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtvc.engine.weights.content_encoder import read_content_encoder
from rtvc.engine.weights.fcpe import read_fcpe
from rtvc.engine.weights.rmvpe import RmvpeConfig, read_rmvpe, rmvpe_shapes
from rtvc.engine.weights.safetensors import read_safetensors, write_safetensors
from rtvc.engine.weights.torch_file import read_torch_file
from rtvc.errors import RtvcError
from tests.engine.weights import torch_writer as tw

GOLDEN = Path(__file__).parents[2] / "golden"
HUGGING_FACE = GOLDEN / "hubert_small"
FAIRSEQ = GOLDEN / "hubert_small_fairseq.pt"


# -- content encoder ---------------------------------------------------------------------------


def test_hugging_face_and_fairseq_layouts_give_the_same_network():
    encoder = read_content_encoder(HUGGING_FACE)
    fairseq = read_content_encoder(FAIRSEQ)
    config = encoder.config
    assert fairseq.config == config
    assert (config.width, config.layers, config.heads, config.projection) == (96, 12, 12, 256)
    assert (config.position_kernel, config.position_groups) == (128, 16)
    assert fairseq.weights.keys() == encoder.weights.keys()
    for name, array in encoder.weights.items():
        # half precision: 11 bits, with weight norm applied twice
        np.testing.assert_allclose(fairseq.weights[name], array, rtol=2e-3, atol=1e-4)


def test_fairseq_settings_set_the_number_of_heads(tmp_path):
    checkpoint = read_torch_file(FAIRSEQ)
    checkpoint["cfg"]["model"]["encoder_attention_heads"] = 8
    assert read_content_encoder(tw.save(tmp_path / "hubert.pt", checkpoint)).config.heads == 8


def test_positional_weight_norm_is_folded_along_the_kernel():
    weights, _ = read_safetensors(HUGGING_FACE / "model.safetensors")
    prefix = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
    gain, direction = (weights[prefix + end].astype(np.float64) for end in "01")
    exact = gain * direction / np.sqrt((direction**2).sum((0, 1), keepdims=True))
    folded = read_content_encoder(HUGGING_FACE).weights["encoder.pos_conv_embed.conv.weight"]
    np.testing.assert_allclose(folded, exact, rtol=1e-5, atol=1e-9)


def test_file_names_prefixes_and_a_missing_projection(tmp_path):
    expected = read_content_encoder(HUGGING_FACE).weights
    binary = tmp_path / "binary"
    binary.mkdir()
    shutil.copy(HUGGING_FACE / "pytorch_model.bin", binary)
    shutil.copy(HUGGING_FACE / "config.json", binary)
    assert read_content_encoder(binary).weights.keys() == expected.keys()

    weights, _ = read_safetensors(HUGGING_FACE / "model.safetensors")
    prefixed = {f"hubert.{n}": a for n, a in weights.items() if not n.startswith("final_proj")}
    write_safetensors(tmp_path / "alone.safetensors", prefixed)
    alone = read_content_encoder(tmp_path / "alone.safetensors")
    assert alone.config.projection is None
    assert alone.config.heads == 12
    assert expected.keys() - alone.weights.keys() == {"final_proj.weight", "final_proj.bias"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feat_extract_norm": "layer"}, "'feat_extract_norm' is layer"),
        ({"do_stable_layer_norm": True}, "do_stable_layer_norm"),
        ({"num_attention_heads": 7}, "7 attention heads"),
        ({"num_attention_heads": "\x1b[2J"}, "attention heads"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, "convolutions"),
    ],
)
def test_settings_of_other_networks(tmp_path, change, message):
    shutil.copy(HUGGING_FACE / "model.safetensors", tmp_path)
    settings = json.loads((HUGGING_FACE / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | change))
    with pytest.raises(RtvcError, match=message) as caught:
        read_content_encoder(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", ["[]", "{", "[" * 50_000])
def test_damaged_settings(tmp_path, content):
    shutil.copy(HUGGING_FACE / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RtvcError, match=r"config\.json cannot be read"):
        read_content_encoder(tmp_path)


def test_weights_of_other_networks(tmp_path):
    with pytest.raises(RtvcError, match="has no model"):
        read_content_encoder(tmp_path)
    with pytest.raises(RtvcError, match="does not contain the weights of one network"):
        read_content_encoder(GOLDEN / "voice_v2_f0_48k.pth")
    with pytest.raises(RtvcError, match="weights of another network"):
        read_content_encoder(GOLDEN / "rmvpe_small.pt")
    model = dict(read_torch_file(FAIRSEQ)["model"])
    del model["encoder.layers.3.fc1.bias"]
    model["encoder.layers.3.fc3.bias"] = np.zeros(3, np.float16)
    path = tw.save(tmp_path / "hubert.pt", {"model": model})
    with pytest.raises(RtvcError, match=r"1 missing \(encoder.layers.3.*1 unexpected"):
        read_content_encoder(path)


# -- RMVPE -------------------------------------------------------------------------------------


def test_rmvpe():
    rmvpe = read_rmvpe(GOLDEN / "rmvpe_small.pt")
    assert rmvpe.config == RmvpeConfig(
        base_channels=4, levels=5, blocks=1, intermediate_layers=1,
        output_channels=3, mels=128, hidden=256, bins=360,
    )  # fmt: skip
    raw = read_torch_file(GOLDEN / "rmvpe_small.pt")
    counters = {n for n in raw if n.endswith("num_batches_tracked")}
    assert rmvpe.weights.keys() == raw.keys() - counters
    for name, array in rmvpe.weights.items():
        np.testing.assert_array_equal(array, raw[name])


def test_expected_weights_of_the_released_rmvpe():
    shapes = rmvpe_shapes(RmvpeConfig(16, 5, 4, 4, 3, 128, 256, 360))
    counters = 118  # num_batches_tracked tensors, which the network does not use
    assert len(shapes) + counters == 741
    assert sum(map(math.prod, shapes.values())) + counters == 90_472_917


def test_rmvpe_in_half_precision_and_safetensors(tmp_path):
    expected = read_rmvpe(GOLDEN / "rmvpe_small.pt")
    half = {n: a.astype(np.float16) for n, a in expected.weights.items()}
    half["unet.encoder.bn.num_batches_tracked"] = np.zeros((), np.float16)
    read = read_rmvpe(tw.save(tmp_path / "rmvpe.pt", half))
    assert read.weights["fc.1.weight"].dtype == np.float32
    write_safetensors(tmp_path / "rmvpe.safetensors", expected.weights)
    again = read_rmvpe(tmp_path / "rmvpe.safetensors")
    assert again.config == read.config == expected.config


def test_files_that_are_not_rmvpe(tmp_path):
    for name in ("voice_v2_f0_48k.pth", "hubert_small_fairseq.pt"):
        with pytest.raises(RtvcError, match="cannot be read as the pitch estimator RMVPE"):
            read_rmvpe(GOLDEN / name)
    weights = dict(read_rmvpe(GOLDEN / "rmvpe_small.pt").weights)
    weights["unet.decoder.layers.0.conv1.0.weight"] = np.zeros((64, 128, 3, 3), np.float32)
    with pytest.raises(RtvcError, match="64x128x3x3 instead of 128x64x3x3"):
        read_rmvpe(tw.save(tmp_path / "rmvpe.pt", weights))


# -- FCPE --------------------------------------------------------------------------------------

WIDTH = 8
# Names as in torchfcpe's bundled file, widths reduced.
LAYER = {
    "conformer.net.0.weight": (WIDTH,),
    "conformer.net.0.bias": (WIDTH,),
    "conformer.net.2.weight": (4 * WIDTH, WIDTH, 1),
    "conformer.net.2.bias": (4 * WIDTH,),
    "conformer.net.4.conv.weight": (2 * WIDTH, 1, 31),
    "conformer.net.4.conv.bias": (2 * WIDTH,),
    "conformer.net.6.weight": (WIDTH, 2 * WIDTH, 1),
    "conformer.net.6.bias": (WIDTH,),
    "norm.weight": (WIDTH,),
    "norm.bias": (WIDTH,),
}
OUTER = {
    "cent_table": (360,),
    "gaussian_blurred_cent_mask": (),
    "input_stack.0.weight": (WIDTH, 128, 3),
    "input_stack.0.bias": (WIDTH,),
    "input_stack.1.weight": (WIDTH,),
    "input_stack.1.bias": (WIDTH,),
    "input_stack.3.weight": (WIDTH, WIDTH, 3),
    "input_stack.3.bias": (WIDTH,),
    "norm.weight": (WIDTH,),
    "norm.bias": (WIDTH,),
    "output_proj.bias": (360,),
    "output_proj.weight_g": (360, 1),
    "output_proj.weight_v": (360, WIDTH),
}


def fcpe_tree() -> dict[str, Any]:
    shapes = OUTER | {f"net.encoder_layers.{i}.{n}": s for i in range(2) for n, s in LAYER.items()}
    rng = np.random.default_rng(3)
    return {
        "global_step": 1,
        "model": {n: np.asarray(rng.standard_normal(s), "<f4") for n, s in shapes.items()},
        "config_dict": {
            "mel": {"sr": 16000, "num_mels": 128, "n_fft": 1024, "win_size": 1024,
                    "hop_size": 160, "fmin": 0, "fmax": 8000},
            "model": {"type": "CFNaiveMelPE", "f0_min": 32.7, "f0_max": 1975.5},
        },
    }  # fmt: skip


def test_fcpe(tmp_path):
    tree = fcpe_tree()
    fcpe = read_fcpe(tw.save(tmp_path / "fcpe.pt", tree))
    config = fcpe.config
    assert (config.mels, config.width, config.layers, config.kernel) == (128, WIDTH, 2, 31)
    assert (config.bins, config.f0_min_hz, config.f0_max_hz) == (360, 32.7, 1975.5)
    assert not config.uses_harmonic_embedding
    np.testing.assert_array_equal(fcpe.weights["cent_table"], tree["model"]["cent_table"])
    assert "gaussian_blurred_cent_mask" not in fcpe.weights
    norms = np.linalg.norm(fcpe.weights["output_proj.weight"], axis=1)
    gains = tree["model"]["output_proj.weight_g"].ravel()
    np.testing.assert_allclose(norms, np.abs(gains), rtol=1e-5)


def test_fcpe_with_a_harmonic_embedding(tmp_path):
    tree = fcpe_tree()
    tree["model"]["harmonic_emb.weight"] = np.zeros((9, WIDTH), "<f4")
    assert read_fcpe(tw.save(tmp_path / "fcpe.pt", tree)).config.uses_harmonic_embedding


def test_fcpe_that_is_another_network(tmp_path):
    def refusal(tree: object) -> str:
        with pytest.raises(RtvcError) as caught:
            read_fcpe(tw.save(tmp_path / "fcpe.pt", tree))
        return str(caught.value)

    tree = fcpe_tree()
    tree["model"]["net.encoder_layers.0.attn.to_q.weight"] = np.zeros((2, 2), "<f4")
    assert "older network with attention" in refusal(tree)
    tree = fcpe_tree()
    tree["config_dict"]["mel"]["hop_size"] = 256
    assert "hop_size = 256; only 160" in refusal(tree)
    tree = fcpe_tree()
    tree["model"]["input_stack.0.weight"] = np.zeros((WIDTH, 512, 3), "<f4")
    assert "512 mel bands" in refusal(tree)
    tree = fcpe_tree()
    tree["config_dict"]["model"]["f0_min"] = None
    assert "pitch range is missing" in refusal(tree)
    tree["config_dict"]["model"]["f0_min"] = 3000
    assert "pitch range is invalid" in refusal(tree)
    del tree["config_dict"]
    assert "no settings" in refusal(tree)
    tree = fcpe_tree()
    del tree["model"]["norm.bias"]
    assert "1 missing (norm.bias)" in refusal(tree)
    assert "one network" in refusal({"config_dict": {}})
