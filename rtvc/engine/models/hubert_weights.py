"""The weights of a content encoder in the layout that the network computes with.

What is the same in every step is done here, once: products are joined or cut for the lanes,
biases move to where they cost nothing.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Weights
from rtvc.engine.models.ops.cpu_streams import partition
from rtvc.engine.models.ops.ops import OpWeights, pack_grouped, tap_major
from rtvc.engine.weights.content_encoder import ContentEncoderConfig

FIRST = "feature_extractor.conv_layers.0."


def conv_name(index: int) -> str:
    """Return the name of a convolution's weight."""
    return f"feature_extractor.conv_layers.{index}.conv.weight"


def sanitize(weights: Weights, config: ContentEncoderConfig, precision: mx.Dtype) -> OpWeights:
    """Bring every tensor into the layout that the network computes with.

    Parameters
    ----------
    weights, config, precision
        As of a `Hubert`.
    """
    # Linear maps and norms stay as they are.
    weights = dict(weights)
    # Convolutions: (out, in, kernel) -> (out, kernel, in).
    position = "encoder.pos_conv_embed.conv.weight"
    for index in range(len(config.conv_kernels)):
        name = conv_name(index)
        weights[name] = weights[name].transpose(0, 2, 1)
    weights[position] = weights[position].transpose(0, 2, 1)
    # Query, key and value are one product: three (out, in) -> (3 out, in).
    for layer in range(config.layers):
        name = f"encoder.layers.{layer}.attention"
        for kind in ("weight", "bias"):
            parts = [weights.pop(f"{name}.{part}_proj.{kind}") for part in "qkv"]
            weights[f"{name}.qkv_proj.{kind}"] = np.concatenate(parts)
    _defer_biases(weights, config)
    _split_by_stream(weights, config)
    # What is folded into the first convolution comes from sums over the whole signal.
    arrays = {
        name: mx.array(tensor).astype(mx.float32 if name.startswith(FIRST) else precision)
        for name, tensor in weights.items()
    }
    for index in range(1, len(config.conv_kernels)):
        name = conv_name(index)
        arrays[name] = tap_major(arrays[name])
    for part in partition(config.position_groups):
        name = f"encoder.pos_conv_embed.conv.{part.start}.weight"
        arrays[name] = pack_grouped(arrays[name], part.stop - part.start)
    mx.eval(arrays)
    return arrays


def _split_by_stream(weights: dict[str, Float32], config: ContentEncoderConfig) -> None:
    """Cut what lanes compute side by side; where a part begins is in its name."""

    def cut(name: str, units: int, *, axis: int = 0, stacked: int = 1) -> None:
        # Along the axis are `stacked` things, each of `units` equal units.
        whole = weights.pop(name)
        before, after = whole.shape[:axis], whole.shape[axis + 1 :]
        by_unit = np.moveaxis(whole.reshape(*before, stacked, units, -1, *after), axis + 1, 0)
        stem, _, kind = name.rpartition(".")
        for part in partition(units):
            taken = np.moveaxis(by_unit[part], 0, axis + 1)
            # MLX would multiply with a view, and copy it each time.
            own = np.ascontiguousarray(taken.reshape(*before, -1, *after))
            weights[f"{stem}.{part.start}.{kind}"] = own

    for kind in ("weight", "bias"):
        cut(f"encoder.pos_conv_embed.conv.{kind}", config.position_groups)
    for layer in range(config.layers):
        name = f"encoder.layers.{layer}"
        inner = config.feed_forward_width
        for kind in ("weight", "bias"):
            cut(f"{name}.attention.qkv_proj.{kind}", config.heads, stacked=3)
            cut(f"{name}.feed_forward.intermediate_dense.{kind}", inner)
        cut(f"{name}.attention.out_proj.weight", config.heads, axis=1)
        cut(f"{name}.feed_forward.output_dense.weight", inner, axis=1)


def _defer_biases(weights: dict[str, Float32], config: ContentEncoderConfig) -> None:
    """Move the bias of what is added to a residual path into the norm before.

    So the sum is one product with the path as its bias. Whatever else hears that norm takes
    the difference off again in its own bias. A norm that may be the last keeps its bias, and
    has the sum beside it, as ``onward``.
    """

    def move(bias: str, norm: str, heard: str) -> Float32:
        added = weights.pop(bias)
        weights[f"{heard}.bias"] = weights[f"{heard}.bias"] - weights[f"{heard}.weight"] @ added
        return weights[f"{norm}.bias"] + added

    before = "encoder.layer_norm"
    for layer in range(config.layers):
        name = f"encoder.layers.{layer}"
        weights[f"{before}.onward"] = move(
            f"{name}.attention.out_proj.bias", before, f"{name}.attention.qkv_proj"
        )
        weights[f"{name}.layer_norm.bias"] = move(
            f"{name}.feed_forward.output_dense.bias",
            f"{name}.layer_norm",
            f"{name}.feed_forward.intermediate_dense",
        )
        before = f"{name}.final_layer_norm"
