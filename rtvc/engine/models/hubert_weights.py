"""Conversion of a content encoder's weights to the layout that the network uses.

Work that would be the same in every step is done once here: products are merged or split
over the streams, and biases are folded into layer norms.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Weights
from rtvc.engine.models.ops.cpu_streams import partition
from rtvc.engine.models.ops.ops import OpWeights, tap_major
from rtvc.engine.weights.content_encoder import ContentEncoderConfig

FIRST = "feature_extractor.conv_layers.0."
POSITION = "encoder.pos_conv_embed.conv"


def conv_name(index: int) -> str:
    """Return the name of the weight of convolution `index`."""
    return f"feature_extractor.conv_layers.{index}.conv.weight"


def sanitize(weights: Weights, config: ContentEncoderConfig, precision: mx.Dtype) -> OpWeights:
    """Convert every tensor to the layout that `Hubert` uses.

    Parameters
    ----------
    weights, config, precision
        As in `Hubert`.

    Returns
    -------
    dict of mx.array
        A tensor that is split over the streams is stored as ``name.N.weight``, with N the
        start of its slice.
    """
    # Linear maps and norms keep their layout.
    weights = dict(weights)
    # Convolutions: (out, in, kernel) -> (out, kernel, in).
    for index in range(len(config.conv_kernels)):
        name = conv_name(index)
        weights[name] = weights[name].transpose(0, 2, 1)
    weights[f"{POSITION}.weight"] = weights[f"{POSITION}.weight"].transpose(0, 2, 1)
    # Query, key and value are one product: three (out, in) -> (3 out, in).
    for layer in range(config.layers):
        name = f"encoder.layers.{layer}.attention"
        for kind in ("weight", "bias"):
            parts = [weights.pop(f"{name}.{part}_proj.{kind}") for part in "qkv"]
            weights[f"{name}.qkv_proj.{kind}"] = np.concatenate(parts)
    _defer_biases(weights, config)
    _split_by_stream(weights, config)
    # The norm folded into the first convolution needs sums over the whole signal in float32.
    arrays = {
        name: mx.array(tensor).astype(mx.float32 if name.startswith(FIRST) else precision)
        for name, tensor in weights.items()
    }
    for index in range(1, len(config.conv_kernels)):
        name = conv_name(index)
        arrays[name] = tap_major(arrays[name])
    mx.eval(arrays)
    return arrays


def _split_by_stream(weights: dict[str, Float32], config: ContentEncoderConfig) -> None:
    """Split the tensors that the streams compute in parallel; add the start to each name."""

    def split(name: str, units: int, *, axis: int = 0, stacked: int = 1) -> None:
        # The axis consists of `stacked` matrices with `units` equal units each.
        whole = weights.pop(name)
        before, after = whole.shape[:axis], whole.shape[axis + 1 :]
        by_unit = np.moveaxis(whole.reshape(*before, stacked, units, -1, *after), axis + 1, 0)
        stem, _, kind = name.rpartition(".")
        for part in partition(units):
            selected = np.moveaxis(by_unit[part], 0, axis + 1)
            # Contiguous, because MLX would copy a view in every product.
            contiguous = np.ascontiguousarray(selected.reshape(*before, -1, *after))
            weights[f"{stem}.{part.start}.{kind}"] = contiguous

    for kind in ("weight", "bias"):
        split(f"{POSITION}.{kind}", config.position_groups)
    for layer in range(config.layers):
        name = f"encoder.layers.{layer}"
        inner = config.feed_forward_width
        for kind in ("weight", "bias"):
            split(f"{name}.attention.qkv_proj.{kind}", config.heads, stacked=3)
            split(f"{name}.feed_forward.intermediate_dense.{kind}", inner)
        split(f"{name}.attention.out_proj.weight", config.heads, axis=1)
        split(f"{name}.feed_forward.output_dense.weight", inner, axis=1)


def _defer_biases(weights: dict[str, Float32], config: ContentEncoderConfig) -> None:
    """Move the bias of each projection onto a residual path into the norm before it.

    The residual sum is then one product with the residual path as its bias. The other layer
    that reads the norm subtracts the moved bias in its own bias. A norm that may be the last
    one keeps its bias; the sum is stored separately, as ``shifted_bias``.
    """

    def move(bias: str, norm: str, reader: str) -> Float32:
        moved = weights.pop(bias)
        weights[f"{reader}.bias"] = weights[f"{reader}.bias"] - weights[f"{reader}.weight"] @ moved
        return weights[f"{norm}.bias"] + moved

    before = "encoder.layer_norm"
    for layer in range(config.layers):
        name = f"encoder.layers.{layer}"
        weights[f"{before}.shifted_bias"] = move(
            f"{name}.attention.out_proj.bias", before, f"{name}.attention.qkv_proj"
        )
        weights[f"{name}.layer_norm.bias"] = move(
            f"{name}.feed_forward.output_dense.bias",
            f"{name}.layer_norm",
            f"{name}.feed_forward.intermediate_dense",
        )
        before = f"{name}.final_layer_norm"
