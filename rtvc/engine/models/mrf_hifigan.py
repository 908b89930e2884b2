"""MRF HiFi-GAN: Applio's HiFi-GAN whose source has nine harmonics.

The graph equals that of HiFi-GAN; tensor names differ, and the last convolution has a bias
(``rvc/lib/algorithm/generators/hifigan_mrf.py``).
"""

from __future__ import annotations

from rtvc.engine.models.hifigan import (
    END_KERNEL,
    HiFiGan,
    ResidualBlock,
    UpsamplingStage,
    excitation_conv,
    samples_per_frame,
    stage_width,
    upsampling,
)
from rtvc.engine.models.parameters import Parameters
from rtvc.engine.models.source import HeldF0, SineSource
from rtvc.engine.weights.voice_config import VoiceConfig

HARMONICS = 9


def build(params: Parameters, config: VoiceConfig) -> HiFiGan:
    """Build Applio's MRF HiFi-GAN from the weights under ``dec.``."""
    merge = params.at("m_source").at("l_linear").as_float32().linear(HARMONICS, 1)
    stages = [
        UpsamplingStage(
            up=upsampling(params.at("upsamples").at(i), config, i),
            excite=excitation_conv(params.at("noise_convs").at(i), config, i),
            rate=samples_per_frame(config, i),
            blocks=[
                _block(params.at("mrfs").at(i).at(j).at("layers"), stage_width(config, i), k, d)
                for j, (k, d) in enumerate(
                    zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
                )
            ],
        )
        for i in range(len(config.upsample_rates))
    ]
    width = stage_width(config, len(stages) - 1)
    first = config.upsample_initial_channel
    return HiFiGan(
        name="MRF HiFi-GAN",
        source=SineSource(HeldF0(config.hop), merge, HARMONICS, config.sr),
        pre=params.at("conv_pre").conv(config.inter_channels, first, END_KERNEL),
        condition=params.at("cond").condition(first),
        stages=stages,
        post=params.at("conv_post").as_float32().conv(width, 1, END_KERNEL),
    )


def _block(
    params: Parameters, width: int, kernel: int, dilations: tuple[int, ...]
) -> ResidualBlock:
    return ResidualBlock(
        [
            [
                params.at(n).at("conv1").conv(width, width, kernel, dilation=d),
                params.at(n).at("conv2").conv(width, width, kernel),
            ]
            for n, d in enumerate(dilations)
        ]
    )
