"""RefineGAN vocoder, in the version that Applio trains since August 2025.

Xu et al. 2021 (https://arxiv.org/abs/2111.00962);
``rvc/lib/algorithm/generators/refinegan.py``. A U-Net: the excitation is decimated to the
frame rate, then upsampled again together with the latent.
"""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx

from rtvc.engine.models.hifigan import residual_block
from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.decimate import Decimator
from rtvc.engine.models.ops.interpolate import interpolate_linear
from rtvc.engine.models.parameters import Parameters
from rtvc.engine.models.source import LinearF0, SineSource
from rtvc.engine.weights.voice_config import VoiceConfig
from rtvc.errors import RtvcError

# Applio's generator uses these defaults and ignores the values in a config.
SLOPE = 0.2
FIRST_WIDTH, TOP_WIDTH = 16, 512
KERNELS, DILATIONS = (3, 7, 11), (1, 3, 5)
END_KERNEL = 7
ZERO_CROSSINGS, ROLLOFF, KAISER_BETA = 64, 0.9475937167399596, 14.769656459379492


class RefineGan:
    """The generator; see `rtvc.engine.models.vocoder.Vocoder`."""

    name = "RefineGAN"
    margin_frames = None  # at the lowest rate, the anti-aliasing filters span 68 frames

    def __init__(self, params: Parameters, config: VoiceConfig) -> None:
        rates = config.upsample_rates
        half = TOP_WIDTH // 2
        if FIRST_WIDTH << len(rates) != half:
            raise RtvcError(
                f"The voice's RefineGAN has {len(rates)} upsampling rates, but the network takes "
                "exactly 4. The file is damaged, or is not an RVC voice."
            )
        merge = params.at("m_source").at("merge").at(0).as_float32().linear(1, 1, bias=False)
        self.source = SineSource(LinearF0(config.hop), merge, 1, config.sr)
        self._pre = params.at("pre_conv").conv(1, FIRST_WIDTH, END_KERNEL)
        self._downs = [
            _DownsamplingStage(params.at("downsample_blocks").at(n), FIRST_WIDTH << n, rate)
            for n, rate in enumerate(reversed(rates))
        ]
        self._latent = params.at("mel_conv").conv(config.inter_channels, half, END_KERNEL)
        self._condition = params.at("cond").condition(half)
        self._ups = [
            _UpsamplingStage(params.at("upsample_conv_blocks").at(n), TOP_WIDTH >> n, rate)
            for n, rate in enumerate(rates)
        ]
        last = TOP_WIDTH >> len(rates)
        self._compiled = ops.compiled(self._decode)
        self._post = params.at("conv_post").as_float32().conv(last, 1, END_KERNEL, bias=False)

    def __call__(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        noise_key: mx.array | None = None,
    ) -> mx.array:
        """See `rtvc.engine.models.vocoder.Vocoder`."""
        return self._compiled(z, excitation, speaker, noise_key)

    def _decode(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        noise_key: mx.array | None,
    ) -> mx.array:
        assert excitation is not None  # this vocoder has a source
        x = self._pre(excitation)
        skips = []
        for down in self._downs:
            x = ops.leaky_relu(x, SLOPE)
            skips.append(x)
            x = down(x)
        x = mx.concatenate([self._latent(z) + self._condition(speaker), x], axis=-1)
        keys = _keys(noise_key)
        for up, skip in zip(self._ups, reversed(skips), strict=True):
            x = up(x, skip, keys)
        return ops.tanh(self._post(ops.leaky_relu(x, SLOPE)))[:, :, 0]


class _DownsamplingStage:
    """Decimation, then a convolution to twice the channels."""

    def __init__(self, params: Parameters, width: int, rate: int) -> None:
        self._decimate = Decimator(
            rate, zero_crossings=ZERO_CROSSINGS, rolloff=ROLLOFF, beta=KAISER_BETA
        )
        self._conv = params.conv(width, 2 * width, END_KERNEL)

    def __call__(self, x: mx.array) -> mx.array:
        return self._conv(self._decimate(x))


class _UpsamplingStage:
    """Upsampling, concatenation with the skip connection, then half the channels."""

    def __init__(self, params: Parameters, width: int, rate: int) -> None:
        self._rate = rate
        half = width // 2
        self._merge = params.at("input_conv").conv(width + width // 4, half, END_KERNEL)
        self._branches = [
            _ResidualBranch(params.at("blocks").at(n), half, kernel)
            for n, kernel in enumerate(KERNELS)
        ]

    def __call__(self, x: mx.array, skip: mx.array, keys: Iterator[mx.array | None]) -> mx.array:
        x = interpolate_linear(ops.leaky_relu(x, SLOPE), x.shape[1] * self._rate)
        x = self._merge(mx.concatenate([x, skip], axis=-1))
        total = self._branches[0](x, keys)
        for branch in self._branches[1:]:
            total = total + branch(x, keys)
        return total * (1.0 / len(self._branches))


class _ResidualBranch:
    """Residual block with additive noise before and after."""

    def __init__(self, params: Parameters, width: int, kernel: int) -> None:
        self._before = params.at(0).tensor("weight", width)
        self._block = residual_block(params.at(1), width, kernel, DILATIONS, SLOPE)
        self._after = params.at(2).tensor("weight", width)

    def __call__(self, x: mx.array, keys: Iterator[mx.array | None]) -> mx.array:
        x = self._block(_add_noise(x, self._before, next(keys)))
        return _add_noise(x, self._after, next(keys))


def _add_noise(x: mx.array, amplitude: mx.array, key: mx.array | None) -> mx.array:
    """Add noise of a trained amplitude per channel (Applio's ``AdaIN``), then apply leaky ReLU."""
    if key is not None:
        x = x + mx.random.normal(x.shape, key=key) * amplitude
    return ops.leaky_relu(x, SLOPE)


def _keys(key: mx.array | None) -> Iterator[mx.array | None]:
    """Yield one random key per noise layer, without end; None each time without a `key`."""
    while True:
        if key is None:
            yield None
        else:
            key, drawn = mx.random.split(key)
            yield drawn
