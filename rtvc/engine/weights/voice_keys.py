"""Names and torch shapes of the weights of each type of voice, weight norm folded."""

import math

from rtvc.engine.weights.strict import Shape
from rtvc.engine.weights.voice_config import VoiceConfig

HIFIGAN = "HiFi-GAN"
MRF_HIFIGAN = "MRF HiFi-GAN"
REFINEGAN = "RefineGAN"

_WINDOW = 10  # frames of relative attention on each side
_PITCH_BINS = 256
_FLOW_LAYERS = 3
_FLOW_KERNEL = 5
_REFINEGAN_TOP_CHANNELS = 512
REFINEGAN_FIRST_CHANNELS = 16


def voice_shapes(
    config: VoiceConfig, *, phone_channels: int, uses_pitch: bool, vocoder: str
) -> dict[str, Shape]:
    """Return the name and shape of every weight that conversion needs.

    Parameters
    ----------
    config
        Network settings.
    phone_channels
        Width of the content features: 256 (v1) or 768 (v2).
    uses_pitch
        Whether the voice was trained with pitch.
    vocoder
        ``"HiFi-GAN"``, ``"MRF HiFi-GAN"`` or ``"RefineGAN"``.
    """
    decoder = {
        HIFIGAN: _hifigan,
        MRF_HIFIGAN: _mrf_hifigan,
        REFINEGAN: _refinegan,
    }[vocoder](config, uses_pitch)
    return {
        **_text_encoder(config, phone_channels, uses_pitch),
        **{f"dec.{name}": shape for name, shape in decoder.items()},
        **_flow(config),
        "emb_g.weight": (config.spk_embed_dim, config.gin_channels),
    }


def _with_bias(name: str, shape: Shape, outputs: int | None = None) -> dict[str, Shape]:
    return {f"{name}.weight": shape, f"{name}.bias": (outputs or shape[0],)}


def _text_encoder(config: VoiceConfig, phone_channels: int, uses_pitch: bool) -> dict[str, Shape]:
    width, wide, kernel = config.hidden_channels, config.filter_channels, config.kernel_size
    head = width // config.n_heads
    shapes = _with_bias("enc_p.emb_phone", (width, phone_channels))
    if uses_pitch:
        shapes["enc_p.emb_pitch.weight"] = (_PITCH_BINS, width)
    for i in range(config.n_layers):
        attention = f"enc_p.encoder.attn_layers.{i}"
        for name in ("emb_rel_k", "emb_rel_v"):
            shapes[f"{attention}.{name}"] = (1, 2 * _WINDOW + 1, head)
        for name in "qkvo":
            shapes |= _with_bias(f"{attention}.conv_{name}", (width, width, 1))
        for n in (1, 2):
            for name in ("gamma", "beta"):
                shapes[f"enc_p.encoder.norm_layers_{n}.{i}.{name}"] = (width,)
        ffn = f"enc_p.encoder.ffn_layers.{i}"
        shapes |= _with_bias(f"{ffn}.conv_1", (wide, width, kernel))
        shapes |= _with_bias(f"{ffn}.conv_2", (width, wide, kernel))
    return shapes | _with_bias("enc_p.proj", (2 * config.inter_channels, width, 1))


def _flow(config: VoiceConfig) -> dict[str, Shape]:
    width, half = config.hidden_channels, config.inter_channels // 2
    shapes: dict[str, Shape] = {}
    for i in (0, 2, 4, 6):  # the odd ones are flips, without weights
        flow = f"flow.flows.{i}"
        shapes |= _with_bias(f"{flow}.pre", (width, half, 1))
        for n in range(_FLOW_LAYERS):
            last = n == _FLOW_LAYERS - 1
            shapes |= _with_bias(f"{flow}.enc.in_layers.{n}", (2 * width, width, _FLOW_KERNEL))
            shapes |= _with_bias(
                f"{flow}.enc.res_skip_layers.{n}", (width if last else 2 * width, width, 1)
            )
        shapes |= _with_bias(
            f"{flow}.enc.cond_layer", (2 * width * _FLOW_LAYERS, config.gin_channels, 1)
        )
        shapes |= _with_bias(f"{flow}.post", (half, width, 1))
    return shapes


def _stage_widths(config: VoiceConfig) -> list[int]:
    return [
        config.upsample_initial_channel // 2**i for i in range(1, len(config.upsample_rates) + 1)
    ]


def _noise_convolutions(config: VoiceConfig) -> dict[str, Shape]:
    """Return the shapes of the layers that downsample the excitation to the rate of each stage."""
    shapes: dict[str, Shape] = {}
    for i, width in enumerate(_stage_widths(config)):
        stride = math.prod(config.upsample_rates[i + 1 :])
        kernel = 1 if stride == 1 else 2 * stride - stride % 2
        shapes |= _with_bias(f"noise_convs.{i}", (width, 1, kernel))
    return shapes


def _upsampling(config: VoiceConfig, name: str) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    inputs = config.upsample_initial_channel
    for i, width in enumerate(_stage_widths(config)):
        # A transposed convolution: (inputs, outputs, kernel).
        shape = (inputs, width, config.upsample_kernel_sizes[i])
        shapes |= _with_bias(f"{name}.{i}", shape, width)
        inputs = width
    return shapes


def _hifigan(config: VoiceConfig, uses_pitch: bool) -> dict[str, Shape]:
    first = config.upsample_initial_channel
    shapes = _with_bias("conv_pre", (first, config.inter_channels, 7))
    shapes |= _with_bias("cond", (first, config.gin_channels, 1))
    shapes |= _upsampling(config, "ups")
    if uses_pitch:
        shapes |= _with_bias("m_source.l_linear", (1, 1)) | _noise_convolutions(config)
    kernels = config.resblock_kernel_sizes
    for i, width in enumerate(_stage_widths(config)):
        for j, kernel in enumerate(kernels):
            for n in range(len(config.resblock_dilation_sizes[j])):
                for name in ("convs1", "convs2"):
                    block = f"resblocks.{i * len(kernels) + j}.{name}.{n}"
                    shapes |= _with_bias(block, (width, width, kernel))
    return shapes | {"conv_post.weight": (1, _stage_widths(config)[-1], 7)}


def _mrf_hifigan(config: VoiceConfig, _uses_pitch: bool) -> dict[str, Shape]:
    first = config.upsample_initial_channel
    shapes = _with_bias("m_source.l_linear", (1, 9))  # the fundamental and eight harmonics
    shapes |= _with_bias("conv_pre", (first, config.inter_channels, 7))
    shapes |= _with_bias("cond", (first, config.gin_channels, 1))
    shapes |= _upsampling(config, "upsamples") | _noise_convolutions(config)
    for i, width in enumerate(_stage_widths(config)):
        for j, kernel in enumerate(config.resblock_kernel_sizes):
            for n in range(len(config.resblock_dilation_sizes[j])):
                for name in ("conv1", "conv2"):
                    shapes |= _with_bias(f"mrfs.{i}.{j}.layers.{n}.{name}", (width, width, kernel))
    return shapes | _with_bias("conv_post", (1, _stage_widths(config)[-1], 7))


def _refinegan(config: VoiceConfig, _uses_pitch: bool) -> dict[str, Shape]:
    half = _REFINEGAN_TOP_CHANNELS // 2
    stages = len(config.upsample_rates)
    shapes: dict[str, Shape] = {"m_source.merge.0.weight": (1, 1)}
    shapes |= _with_bias("pre_conv", (REFINEGAN_FIRST_CHANNELS, 1, 7))
    shapes |= _with_bias("mel_conv", (half, config.inter_channels, 7))
    shapes |= _with_bias("cond", (half, config.gin_channels, 1))
    for i in range(stages):
        down = REFINEGAN_FIRST_CHANNELS * 2**i
        shapes |= _with_bias(f"downsample_blocks.{i}", (2 * down, down, 7))
        width = _REFINEGAN_TOP_CHANNELS // 2**i
        skip = REFINEGAN_FIRST_CHANNELS * 2 ** (stages - 1 - i)
        block = f"upsample_conv_blocks.{i}"
        shapes |= _with_bias(f"{block}.input_conv", (width // 2, width + skip, 7))
        for j, kernel in enumerate((3, 7, 11)):
            for n in (0, 2):  # noise gains before and after
                shapes[f"{block}.blocks.{j}.{n}.weight"] = (width // 2,)
            for n in range(3):
                for name in ("convs1", "convs2"):
                    shapes |= _with_bias(
                        f"{block}.blocks.{j}.1.{name}.{n}", (width // 2, width // 2, kernel)
                    )
    return shapes | {"conv_post.weight": (1, _REFINEGAN_TOP_CHANNELS // 2**stages, 7)}
