"""HiFi-GAN, with a neural source filter where there is pitch.

Kong et al. 2020 (https://arxiv.org/abs/2010.05646); ``GeneratorNSF`` and
``Generator`` in RVC's ``infer/module/models.py``, and Applio's variants, which
also take odd rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TypeVar

import mlx.core as mx

from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.cpu_streams import map_streams
from rtvc.engine.models.parameters import Condition, Conv1d, ConvTranspose1d, Parameters
from rtvc.engine.models.source import HeldF0, SineSource
from rtvc.engine.models.stream_state import Chunk, ContextCache, StreamState
from rtvc.engine.models.winograd import (
    Polyphase,
    WinogradBlock,
    can_use_winograd,
    interleave_phases,
    mean_phases,
    split_phases,
)
from rtvc.engine.weights.voice_config import VoiceConfig

Block = TypeVar("Block")
Result = TypeVar("Result")

SLOPE = 0.1
LAST_SLOPE = 0.01
END_KERNEL = 7


@dataclass(frozen=True)
class ResidualBlock:
    """Residual units one after another; each is a chain of activations and convolutions."""

    units: Sequence[Sequence[Conv1d]]
    slope: float = SLOPE

    def __call__(self, x: mx.array) -> mx.array:
        """(1, L, C) to the same shape."""
        for unit in self.units:
            y, bias = x, None
            for conv in unit:
                y = ops.leaky_relu(y, self.slope, bias)
                y, bias = conv.without_bias(y, conv.padding), conv.bias
            x = ops.residual(x, y, bias)
        return x

    def stream(self, x: mx.array, cache: ContextCache, chunk: Chunk) -> mx.array:
        """Do the same to the next piece: of (1, L, C) the last `margin` samples are lost."""
        for unit in self.units:
            # What all of a unit hears is remembered once, and the little between made again.
            before = sum(conv.padding for conv in unit)
            y, bias = cache.prepend(x, before, chunk), None
            for conv in unit:
                before -= conv.padding
                y = conv.without_bias(ops.leaky_relu(y, self.slope, bias))
                y, bias = cache.zero_padding(y, before, conv.bias), conv.bias
            x = ops.residual(x[:, : y.shape[1]], y, bias)
        return x

    @property
    def margin(self) -> int:
        """How many samples to either side a sample of the result depends on."""
        return sum(conv.padding for unit in self.units for conv in unit)


@dataclass(frozen=True)
class UpsamplingStage:
    """One step up in rate: stretch, add the excitation, mean of the residual blocks.

    Attributes
    ----------
    up, excite, blocks
        Its parts.
    even
        Whether a frame of the latent is an even number of samples here.
    """

    up: ConvTranspose1d
    excite: Conv1d | None
    blocks: Sequence[ResidualBlock]
    even: bool

    def __call__(self, x: mx.array, excitation: mx.array | None) -> mx.array:
        """(1, L, C) and the whole excitation to (1, L * rate, C / 2)."""
        x = self.up(ops.leaky_relu(x, SLOPE))
        if self.excite is not None and excitation is not None:
            x = x + self.excite(excitation)
        return ops.mean(_map_blocks(self.blocks, lambda block: block(x)))

    def stream(
        self,
        x: mx.array,
        excitation: mx.array | None,
        cache: ContextCache,
        chunk: Chunk,
        lookahead: int,
    ) -> mx.array:
        """Do the same to the next piece.

        Parameters
        ----------
        x
            (1, piece.wanted + `input_lookahead(halo)`, C), or longer.
        excitation
            The whole of it, from the beginning of the piece.
        cache
            What the layers remember.
        chunk
            Where the piece ends in `x`.
        lookahead
            Samples that are to come out after those that are wanted.

        Returns
        -------
        mx.array
            (1, piece.wanted * rate + halo, C / 2).
        """
        up, ends = self.up, chunk.upsampled(self.up.stride)
        x = ops.leaky_relu(x[:, : chunk.size + self.input_lookahead(lookahead)], SLOPE)
        # The kernels begin with the remembered inputs, `padding` before their first sample.
        before = (up.weight.shape[1] - 1 - up.padding) // up.stride
        first = up.padding + before * up.stride
        size = ends.size + lookahead
        length = size + self.margin
        x = up.untrimmed(cache.prepend(x, before, chunk))[:, first : first + length]
        if self.excite is not None and excitation is not None:
            x = x + self._excite(self.excite, excitation, cache, ends, length)
        if self._winograd_blocks is not None:
            return self._stream_winograd(self._winograd_blocks, x, cache, ends, size)
        made = _map_blocks(
            self.blocks, lambda block: block.stream(x[:, : size + block.margin], cache, ends)
        )
        return ops.mean(made)

    @cached_property
    def _winograd_blocks(self) -> Sequence[WinogradBlock] | None:
        if not (
            ops.USE_WINOGRAD
            and self.even
            and all(can_use_winograd(block.units) for block in self.blocks)
        ):
            return None
        return [WinogradBlock(block.units, block.slope) for block in self.blocks]

    def _stream_winograd(
        self,
        blocks: Sequence[WinogradBlock],
        x: mx.array,
        cache: ContextCache,
        ends: Chunk,
        size: int,
    ) -> mx.array:
        wanted_pairs = (size + 1) // 2
        ends = Chunk(ends.advance // 2, ends.size // 2)
        phases = split_phases(x[:, : x.shape[1] // 2 * 2])

        def made(block: WinogradBlock) -> Polyphase:
            pairs = wanted_pairs + block.margin // 2
            return block.stream(Polyphase(*(phase[:, :pairs] for phase in phases)), cache, ends)

        return interleave_phases(mean_phases(_map_blocks(blocks, made)))[:, :size]

    def _excite(
        self, down: Conv1d, excitation: mx.array, cache: ContextCache, ends: Chunk, length: int
    ) -> mx.array:
        """Bring the excitation down to (1, length, C / 2)."""
        last = (length - 1) * down.stride + down.weight.shape[1] - down.padding
        heard = cache.prepend(excitation[:, :last], down.padding, ends.upsampled(down.stride))
        return down.valid(heard)

    @property
    def margin(self) -> int:
        """How many samples after those that are wanted the residual blocks are given."""
        if self._winograd_blocks is not None:
            return max(block.margin for block in self._winograd_blocks) + 1  # for a whole pair
        return max(block.margin for block in self.blocks)

    def input_lookahead(self, lookahead: int) -> int:
        """How many samples after a moment must come in for `lookahead` to come out."""
        return (lookahead + self.margin - 1 + self.up.padding) // self.up.stride + 1


@dataclass(frozen=True)
class HiFiGan:
    """The generator; see `rtvc.engine.models.vocoder.Vocoder`."""

    name: str
    source: SineSource | None
    pre: Conv1d
    condition: Condition
    stages: Sequence[UpsamplingStage]
    post: Conv1d

    def __call__(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        noise_key: mx.array | None = None,
    ) -> mx.array:
        """See `rtvc.engine.models.vocoder.Vocoder`; there is no noise between the layers."""
        return self._compiled(z, excitation, speaker)

    @cached_property
    def _compiled(self) -> Callable[..., mx.array]:
        return ops.compiled(self._decode)

    def _decode(self, z: mx.array, excitation: mx.array | None, speaker: mx.array) -> mx.array:
        x = self.pre(z) + self.condition(speaker)
        for stage in self.stages:
            x = stage(x, excitation)
        return ops.tanh(self.post(ops.leaky_relu(x, LAST_SLOPE)))[:, :, 0]

    @property
    def lookahead_frames(self) -> int:
        """See `rtvc.engine.models.vocoder.StreamingVocoder`."""
        return self._lookaheads()[0] + self.pre.padding

    def stream(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        state: StreamState,
        advance: int,
    ) -> tuple[mx.array, StreamState]:
        """See `rtvc.engine.models.vocoder.StreamingVocoder`."""
        return self._compiled_stream(z, excitation, speaker, state, advance)

    @cached_property
    def _compiled_stream(self) -> Callable[..., tuple[mx.array, StreamState]]:
        return ops.compiled(self._decode_chunk)

    def _decode_chunk(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        state: StreamState,
        advance: int,
    ) -> tuple[mx.array, StreamState]:
        cache, lookaheads = ContextCache(state), self._lookaheads()
        if excitation is not None:
            excitation = excitation.astype(self.pre.weight.dtype)
        chunk = Chunk(advance, z.shape[1] - self.lookahead_frames)
        x = _stream(self.pre, z, cache, chunk) + self.condition(speaker)
        for stage, lookahead in zip(self.stages, lookaheads[1:], strict=True):
            x = stage.stream(x, excitation, cache, chunk, lookahead)
            chunk = chunk.upsampled(stage.up.stride)
        x = _stream(self.post, ops.leaky_relu(x, LAST_SLOPE), cache, chunk)
        return ops.tanh(x)[:, :, 0], cache.state

    def _lookaheads(self) -> list[int]:
        """Count samples needed after the wanted ones: before each stage, and after the last."""
        lookaheads = [self.post.padding]
        for stage in reversed(self.stages):
            lookaheads.insert(0, stage.input_lookahead(lookaheads[0]))
        return lookaheads

    @property
    def margin_frames(self) -> int:
        """See `rtvc.engine.models.vocoder.Vocoder`; the excitation reaches less than the latent."""
        left = right = self.post.padding
        samples = math.prod(stage.up.stride for stage in self.stages)
        for stage in reversed(self.stages):
            up = stage.up
            block_margin = max(block.margin for block in stage.blocks)
            # Sample i of the lower rate is heard from i * stride - padding on, for one kernel.
            left = (left + block_margin + up.weight.shape[1] - 1 - up.padding) // up.stride
            last = (samples - 1 + right + block_margin + up.padding) // up.stride
            samples //= up.stride
            right = last - (samples - 1)
        return max(left, right) + self.pre.padding


def _stream(conv: Conv1d, x: mx.array, cache: ContextCache, chunk: Chunk) -> mx.array:
    """Convolve the next piece, at one rate; the last `padding` samples are lost."""
    return conv.valid(cache.prepend(x, conv.padding, chunk))


def _map_blocks(blocks: Sequence[Block], make: Callable[[Block], Result]) -> list[Result]:
    """Build what each block makes, on two lanes: the last block is about half of the work."""
    made = map_streams(lambda part: [*map(make, part)], (blocks[:-1], blocks[-1:]))
    return [*chain.from_iterable(made)]


def build(params: Parameters, config: VoiceConfig, uses_pitch: bool) -> HiFiGan:
    """Build RVC's HiFi-GAN from the weights below ``dec.``."""
    source = None
    if uses_pitch:
        merge = params.at("m_source").at("l_linear").as_float32().linear(1, 1)
        source = SineSource(HeldF0(config.hop), merge, 1, config.sr)
    blocks = params.at("resblocks")
    per_stage = len(config.resblock_kernel_sizes)
    stages = [
        UpsamplingStage(
            up=upsampling(params.at("ups").at(i), config, i),
            excite=excitation_conv(params.at("noise_convs").at(i), config, i)
            if uses_pitch
            else None,
            even=frame_is_even(config, i),
            blocks=[
                residual_block(blocks.at(i * per_stage + j), stage_width(config, i), k, d)
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
        name="HiFi-GAN NSF" if uses_pitch else "HiFi-GAN",
        source=source,
        pre=params.at("conv_pre").conv(config.inter_channels, first, END_KERNEL),
        condition=params.at("cond").condition(first),
        stages=stages,
        post=params.at("conv_post").as_float32().conv(width, 1, END_KERNEL, bias=False),
    )


def frame_is_even(config: VoiceConfig, stage: int) -> bool:
    """Whether a frame of the latent is an even number of samples after a stage."""
    return math.prod(config.upsample_rates[: stage + 1]) % 2 == 0


def stage_width(config: VoiceConfig, stage: int) -> int:
    """Channels after a stage: each halves them."""
    return config.upsample_initial_channel >> (stage + 1)


def residual_block(
    params: Parameters,
    width: int,
    kernel: int,
    dilations: Sequence[int],
    slope: float = SLOPE,
) -> ResidualBlock:
    """Build a residual block: of every two convolutions the first is dilated."""
    return ResidualBlock(
        [
            [
                params.at("convs1").at(n).conv(width, width, kernel, dilation=d),
                params.at("convs2").at(n).conv(width, width, kernel),
            ]
            for n, d in enumerate(dilations)
        ],
        slope,
    )


def upsampling(params: Parameters, config: VoiceConfig, stage: int) -> ConvTranspose1d:
    """Build a stage's transposed convolution, cut so that it multiplies the length exactly."""
    rate, kernel = config.upsample_rates[stage], config.upsample_kernel_sizes[stage]
    excess = kernel - rate
    # An odd excess (Applio's odd rates) cannot be cut evenly: one sample more than half goes from
    # both sides, and one is added at the end.
    return params.conv_transpose(
        2 * stage_width(config, stage),
        stage_width(config, stage),
        kernel,
        stride=rate,
        padding=(excess + excess % 2) // 2,
        output_padding=excess % 2,
    )


def excitation_conv(params: Parameters, config: VoiceConfig, stage: int) -> Conv1d:
    """Build the convolution that brings the excitation down to a stage's rate."""
    stride = math.prod(config.upsample_rates[stage + 1 :])
    kernel = 1 if stride == 1 else 2 * stride - stride % 2
    return params.conv(
        1,
        stage_width(config, stage),
        kernel,
        stride=stride,
        padding=(kernel - stride) // 2,
    )
