"""Reads content encoders (HuBERT, ContentVec) in the layouts of Hugging Face and fairseq."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtvc._types import AnyArray, Float32
from rtvc.engine.weights.errors import ContentError, reading
from rtvc.engine.weights.source import as_state_dict, read_weights_file
from rtvc.engine.weights.strict import Shape, as_float32, check_keys, count_consecutive, shape_of
from rtvc.engine.weights.text import printable
from rtvc.engine.weights.weight_norm import fold_weight_norm
from rtvc.errors import RtvcError

_DESCRIPTION = "a content encoder"
_MAX_CONFIG_BYTES = 2**20
_STRIDES = (5, 2, 2, 2, 2, 2, 2)
_KERNELS = (10, 3, 3, 3, 3, 2, 2)
_HEADS = 12

# Weights that only training uses.
_UNUSED = re.compile(r"(masked_spec_embed|mask_emb|label_embs_concat)$|lm_head\.|classifier\.")

_FROM_FAIRSEQ = (
    (r"feature_extractor\.conv_layers\.0\.2\.", "feature_extractor.conv_layers.0.layer_norm."),
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"layer_norm\.", "feature_projection.layer_norm."),
    (r"post_extract_proj\.", "feature_projection.projection."),
    (r"encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (r"encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
)


@dataclass(frozen=True)
class ContentEncoderConfig:
    """Sizes of a content encoder of the HuBERT-base family (post-norm, one GroupNorm).

    Attributes
    ----------
    width, feed_forward_width, layers, heads
        Widths, number of layers and of attention heads of the transformer.
    conv_width
        Channels of every convolution.
    conv_kernels, conv_strides
        Kernel and stride of each convolution.
    position_kernel, position_groups
        Kernel and groups of the positional convolution.
    projection
        Width of ``final_proj``; None if the file has none. v1 voices need it.
    norm_epsilon
        Epsilon of every normalisation layer.
    """

    width: int
    feed_forward_width: int
    layers: int
    heads: int
    conv_width: int
    conv_kernels: tuple[int, ...]
    conv_strides: tuple[int, ...]
    position_kernel: int
    position_groups: int
    projection: int | None
    norm_epsilon: float = 1e-5


@dataclass(frozen=True)
class ContentEncoder:
    """A content encoder from a file, checked and converted for the network.

    Attributes
    ----------
    weights
        Hugging Face names without prefix, torch layout, float32, weight norm folded, without
        the weights that only training uses.
    config
        Sizes of the network.
    """

    weights: dict[str, Float32]
    config: ContentEncoderConfig


def read_content_encoder(path: Path) -> ContentEncoder:
    """Read a content encoder.

    Parameters
    ----------
    path
        A folder in Hugging Face's layout, a weights file in it, a single ``.safetensors`` file,
        or fairseq's ``hubert_base.pt``. A ``config.json`` next to the weights is used if it
        exists; otherwise the defaults are twelve attention heads and the strides of
        HuBERT-base.

    Raises
    ------
    RtvcError
        There is no content encoder, or it is not of the HuBERT-base family.
    """
    file = content_encoder_file(path)
    content = read_weights_file(file, _DESCRIPTION)
    settings = _settings(file.parent / "config.json")
    with reading(file, _DESCRIPTION):
        tree = as_state_dict(content.tree.get("model", content.tree))
        if any(name.startswith("post_extract_proj.") for name in tree):
            settings = _fairseq_settings(content.tree)
        named = dict(_renamed(tree))
        if not any(name.startswith("feature_extractor.") for name in named):
            raise ContentError("it contains the weights of another network")
        weights = as_float32(fold_weight_norm(named))
        config = _config(weights, settings)
        check_keys(content_encoder_shapes(config), weights)
        return ContentEncoder(weights, config)


def content_encoder_file(path: Path) -> Path:
    """Return the weights file: `path` itself, or a file in the folder `path`.

    Raises
    ------
    RtvcError
        The folder has no weights file.
    """
    if not path.is_dir():
        return path
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (path / name).is_file():
            return path / name
    raise RtvcError(
        f"The folder {printable(path.name)} has no model.safetensors or pytorch_model.bin; give "
        "the folder or file of a content encoder."
    )


def content_encoder_shapes(config: ContentEncoderConfig) -> dict[str, Shape]:
    """Return name and torch shape of every weight of the network."""
    shapes: dict[str, Shape] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs)
        shapes[f"{name}.bias"] = (outputs,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    inputs = 1
    for i, kernel in enumerate(config.conv_kernels):
        name = f"feature_extractor.conv_layers.{i}.conv.weight"
        shapes[name] = (config.conv_width, inputs, kernel)
        inputs = config.conv_width
    norm("feature_extractor.conv_layers.0.layer_norm", config.conv_width)
    norm("feature_projection.layer_norm", config.conv_width)
    linear("feature_projection.projection", config.width, config.conv_width)
    position = (config.width, config.width // config.position_groups, config.position_kernel)
    shapes["encoder.pos_conv_embed.conv.weight"] = position
    shapes["encoder.pos_conv_embed.conv.bias"] = (config.width,)
    norm("encoder.layer_norm", config.width)
    for i in range(config.layers):
        layer = f"encoder.layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{layer}.attention.{name}", config.width, config.width)
        norm(f"{layer}.layer_norm", config.width)
        wide = config.feed_forward_width
        linear(f"{layer}.feed_forward.intermediate_dense", wide, config.width)
        linear(f"{layer}.feed_forward.output_dense", config.width, wide)
        norm(f"{layer}.final_layer_norm", config.width)
    if config.projection is not None:
        linear("final_proj", config.projection, config.width)
    return shapes


def _renamed(tree: Mapping[str, AnyArray]) -> Iterator[tuple[str, AnyArray]]:
    for key, array in tree.items():
        name = key.removeprefix("hubert.")
        if _UNUSED.match(name):
            continue
        for pattern, replacement in _FROM_FAIRSEQ:
            if re.match(pattern, name):
                name = re.sub("^" + pattern, replacement, name)
                break
        yield name, array


def _settings(path: Path) -> dict[str, Any]:
    """Return the settings in a Hugging Face config.json; empty if there is none."""
    if not path.is_file():
        return {}
    with reading(path, "the settings of a content encoder"):
        with path.open("rb") as file:
            raw = file.read(_MAX_CONFIG_BYTES + 1)
        try:
            settings = json.loads(raw[:_MAX_CONFIG_BYTES].decode())
        except (ValueError, RecursionError):
            raise ContentError("it is damaged") from None
        if not isinstance(settings, dict):
            raise ContentError("it is damaged")
        expected = {
            "feat_extract_norm": "group",
            "do_stable_layer_norm": False,
            "conv_bias": False,
            "hidden_act": "gelu",
            "feat_extract_activation": "gelu",
        }
        for key, value in expected.items():
            if settings.get(key, value) != value:
                raise ContentError(
                    f"'{key}' is {printable(str(settings[key]), 20)}, and only encoders of the "
                    f"HuBERT-base family ({value}) are supported"
                )
    return settings


def _fairseq_settings(tree: Mapping[str, Any]) -> dict[str, Any]:
    cfg = tree.get("cfg")
    model = cfg.get("model") if isinstance(cfg, dict) else None
    heads = model.get("encoder_attention_heads") if isinstance(model, dict) else None
    return {} if heads is None else {"num_attention_heads": heads}


def _config(weights: Mapping[str, Float32], settings: Mapping[str, Any]) -> ContentEncoderConfig:
    """Return the sizes: from the shapes where possible, otherwise from the settings."""
    width, conv_width = shape_of(weights, "feature_projection.projection.weight", 2)
    position = shape_of(weights, "encoder.pos_conv_embed.conv.weight", 3)
    name = "feature_extractor.conv_layers.{}.conv.weight"
    kernels = [
        shape_of(weights, name.format(i), 3)[2] for i in range(count_consecutive(weights, name))
    ]
    strides = settings.get("conv_stride", list(_STRIDES))
    heads = settings.get("num_attention_heads", _HEADS)
    epsilon = settings.get("layer_norm_eps", 1e-5)
    if tuple(kernels) != _KERNELS or strides != list(_STRIDES):
        raise ContentError("its convolutions differ from those of the HuBERT-base family")
    if type(heads) is not int or not 0 < heads <= width or width % heads:
        raise ContentError(f"{printable(str(heads), 20)} attention heads do not divide its width")
    if type(epsilon) is not float or not 0.0 < epsilon < 0.1:
        raise ContentError("its 'layer_norm_eps' is out of range")
    if position[1] == 0 or width % position[1]:
        raise ContentError("the groups of its positional convolution do not divide its width")
    projection = weights.get("final_proj.weight")
    return ContentEncoderConfig(
        width=width,
        feed_forward_width=shape_of(
            weights, "encoder.layers.0.feed_forward.intermediate_dense.weight", 2
        )[0],
        layers=count_consecutive(weights, "encoder.layers.{}.final_layer_norm.weight"),
        heads=heads,
        conv_width=conv_width,
        conv_kernels=tuple(kernels),
        conv_strides=_STRIDES,
        position_kernel=position[2],
        position_groups=width // position[1],
        projection=None if projection is None else projection.shape[0],
        norm_epsilon=epsilon,
    )
