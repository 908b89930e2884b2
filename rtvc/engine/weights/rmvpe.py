"""Reads the weights of the pitch estimator RMVPE."""

from dataclasses import dataclass
from pathlib import Path

from rtvc._types import Weights
from rtvc.engine.weights.errors import ContentError, reading
from rtvc.engine.weights.source import as_state_dict, read_weights_file
from rtvc.engine.weights.strict import Shape, as_float32, check_keys, count_consecutive, shape_of

_DESCRIPTION = "the pitch estimator RMVPE"
_MAX_LEVELS = 8
_MAX_BLOCKS = 32
_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class RmvpeConfig:
    """Sizes of an RMVPE network, from its weights.

    Attributes
    ----------
    base_channels
        Channels of the first level; each level has twice as many.
    levels
        Number of encoder levels and of decoder levels.
    blocks
        Number of residual blocks per level.
    intermediate_layers
        Number of layers between encoder and decoder.
    output_channels
        Output channels of the last convolution.
    mels
        Mel bands of the input.
    hidden
        Width of the recurrent layer per direction.
    bins
        Number of pitch bins, 20 cents wide.
    """

    base_channels: int
    levels: int
    blocks: int
    intermediate_layers: int
    output_channels: int
    mels: int
    hidden: int
    bins: int


@dataclass(frozen=True)
class Rmvpe:
    """RMVPE from a file: float32 weights with torch names and layout."""

    weights: Weights
    config: RmvpeConfig


def read_rmvpe(path: Path) -> Rmvpe:
    """Read ``rmvpe.pt``, a flat state dict.

    Raises
    ------
    RtvcError
        The file is damaged or contains another network.
    """
    content = read_weights_file(path, _DESCRIPTION)
    with reading(path, _DESCRIPTION):
        named = as_state_dict(content.tree.get("model", content.tree))
        counters = ".num_batches_tracked"
        weights = as_float32({n: a for n, a in named.items() if not n.endswith(counters)})
        config = _rmvpe_config(weights)
        check_keys(rmvpe_shapes(config), weights)
        return Rmvpe(weights, config)


def rmvpe_shapes(config: RmvpeConfig) -> dict[str, Shape]:
    """Return name and torch shape of every weight of RMVPE."""
    shapes: dict[str, Shape] = {}

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{part}": (channels,) for part in _NORM})

    def blocks(name: str, inputs: int, outputs: int) -> None:
        for i in range(config.blocks):
            block = f"{name}.{i}"
            shapes[f"{block}.conv.0.weight"] = (outputs, inputs, 3, 3)
            norm(f"{block}.conv.1", outputs)
            shapes[f"{block}.conv.3.weight"] = (outputs, outputs, 3, 3)
            norm(f"{block}.conv.4", outputs)
            if inputs != outputs:
                shapes[f"{block}.shortcut.weight"] = (outputs, inputs, 1, 1)
                shapes[f"{block}.shortcut.bias"] = (outputs,)
            inputs = outputs

    norm("unet.encoder.bn", 1)
    channels = 1
    for i in range(config.levels):
        outputs = config.base_channels * 2**i
        blocks(f"unet.encoder.layers.{i}.conv", channels, outputs)
        channels = outputs
    for i in range(config.intermediate_layers):
        blocks(f"unet.intermediate.layers.{i}.conv", channels, 2 * outputs)
        channels = 2 * outputs
    for i in range(config.levels):
        layer, half = f"unet.decoder.layers.{i}", channels // 2
        # A transposed convolution: (inputs, outputs, height, width).
        shapes[f"{layer}.conv1.0.weight"] = (channels, half, 3, 3)
        norm(f"{layer}.conv1.1", half)
        blocks(f"{layer}.conv2", channels, half)  # upsampled input and skip connection
        channels = half
    shapes["cnn.weight"] = (config.output_channels, channels, 3, 3)
    shapes["cnn.bias"] = (config.output_channels,)
    inputs, gates = config.output_channels * config.mels, 3 * config.hidden
    for direction in ("", "_reverse"):
        shapes[f"fc.0.gru.weight_ih_l0{direction}"] = (gates, inputs)
        shapes[f"fc.0.gru.weight_hh_l0{direction}"] = (gates, config.hidden)
        shapes[f"fc.0.gru.bias_ih_l0{direction}"] = (gates,)
        shapes[f"fc.0.gru.bias_hh_l0{direction}"] = (gates,)
    shapes["fc.1.weight"] = (config.bins, 2 * config.hidden)
    shapes["fc.1.bias"] = (config.bins,)
    return shapes


def _rmvpe_config(weights: Weights) -> RmvpeConfig:
    first = "unet.encoder.layers.{}.conv.0.conv.0.weight"
    base_channels = shape_of(weights, first.format(0), 4)[0]
    outputs = shape_of(weights, "cnn.weight", 4)[0]
    inputs = shape_of(weights, "fc.0.gru.weight_ih_l0", 2)[1]
    levels = count_consecutive(weights, first)
    blocks = count_consecutive(weights, "unet.encoder.layers.0.conv.{}.conv.0.weight")
    intermediate = count_consecutive(weights, "unet.intermediate.layers.{}.conv.0.conv.0.weight")
    # Limits the number of expected shapes, which is a product of these, and their size.
    if levels > _MAX_LEVELS or max(blocks, intermediate) > _MAX_BLOCKS:
        raise ContentError("it has more layers than any RMVPE network")
    return RmvpeConfig(
        base_channels=base_channels,
        levels=levels,
        blocks=blocks,
        intermediate_layers=intermediate,
        output_channels=outputs,
        mels=inputs // max(outputs, 1),
        hidden=shape_of(weights, "fc.0.gru.weight_hh_l0", 2)[1],
        bins=shape_of(weights, "fc.1.weight", 2)[0],
    )
