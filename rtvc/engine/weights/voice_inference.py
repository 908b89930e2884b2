"""Infers the network settings of a training checkpoint, which does not store them.

The shapes of the weights determine almost all settings. The upsampling rates and the sample rate
come from the configurations of the training programs, which differ in their kernels and
spectrogram bins.
"""

from typing import NamedTuple

from rtvc._types import Tensors
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.strict import count_consecutive, shape_of
from rtvc.engine.weights.voice_config import VoiceConfig, parse_voice_config


class _TrainingConfig(NamedTuple):
    sr: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]
    spec_channels: int


_TRAINING_CONFIGS = (
    _TrainingConfig(32000, (10, 4, 2, 2, 2), (16, 16, 4, 4, 4), 513),
    _TrainingConfig(40000, (10, 10, 2, 2), (16, 16, 4, 4), 1025),
    _TrainingConfig(48000, (10, 6, 2, 2, 2), (16, 16, 4, 4, 4), 1025),
    _TrainingConfig(32000, (10, 8, 2, 2), (20, 16, 4, 4), 513),
    _TrainingConfig(48000, (12, 10, 2, 2), (24, 20, 4, 4), 1025),
    _TrainingConfig(24000, (10, 6, 2, 2), (20, 12, 4, 4), 513),
)


def infer_voice_config(weights: Tensors, *, spec_channels: int | None) -> VoiceConfig:
    """Return the settings that the shapes of the weights imply.

    Parameters
    ----------
    weights
        Weights by name, weight norm folded.
    spec_channels
        Input channels of the posterior encoder, when the file has one.

    Raises
    ------
    ContentError
        A weight is missing, or the sample rate is ambiguous.
    """
    width, _ = shape_of(weights, "enc_p.emb_phone.weight", 2)
    head = shape_of(weights, "enc_p.encoder.attn_layers.0.emb_rel_k", 3)[2]
    wide, _, kernel = shape_of(weights, "enc_p.encoder.ffn_layers.0.conv_1.weight", 3)
    speakers, gin = shape_of(weights, "emb_g.weight", 2)
    stages = "upsamples" if "dec.upsamples.0.weight" in weights else "ups"
    kernels = tuple(
        shape_of(weights, f"dec.{stages}.{i}.weight", 3)[2]
        for i in range(count_consecutive(weights, f"dec.{stages}.{{}}.weight"))
    )
    block = "dec.mrfs.0.{}.layers.0.conv1.weight"
    if stages == "ups":
        block = "dec.resblocks.{}.convs1.0.weight"
    blocks = count_consecutive(weights, block) // (
        len(kernels) if stages == "ups" and kernels else 1
    )
    block_kernels = [shape_of(weights, block.format(j), 3)[2] for j in range(blocks)]
    known = _match_training_config(weights, kernels, spec_channels)
    return parse_voice_config(
        [
            spec_channels or known.spec_channels,
            32,
            shape_of(weights, "enc_p.proj.weight", 3)[0] // 2,
            width,
            wide,
            width // max(head, 1),
            count_consecutive(weights, "enc_p.encoder.attn_layers.{}.emb_rel_k"),
            kernel,
            0,
            "1",
            block_kernels,
            [[1, 3, 5]] * blocks,
            known.rates,
            shape_of(weights, "dec.conv_pre.weight", 3)[0],
            kernels,
            speakers,
            gin,
            known.sr,
        ],
        speakers,
    )


def _match_training_config(
    weights: Tensors, kernels: tuple[int, ...], spec_channels: int | None
) -> _TrainingConfig:
    found = [known for known in _TRAINING_CONFIGS if known.kernels == kernels]
    # The stride of the first source layer is the product of all later rates, and its kernel is
    # twice that stride.
    source = weights.get("dec.noise_convs.0.weight")
    if source is not None and source.ndim == 3:
        found = [k for k in found if source.shape[2] == 2 * (k.sr // 100) // k.rates[0]]
    if len(found) > 1 and spec_channels is not None:
        found = [k for k in found if k.spec_channels == spec_channels]
    if len(found) != 1:
        raise ContentError(
            "it is a training checkpoint without settings, and its shapes do not determine its "
            "sample rate and upsampling rates; use the small .pth that the training program "
            "saves under weights, or export one there"
        )
    return found[0]
