"""HiFi-GAN vocoder, with a neural source filter (NSF) for voices that use pitch.

Kong et al. 2020 (https://arxiv.org/abs/2010.05646); ``GeneratorNSF`` and ``Generator`` in
RVC's ``infer/module/models.py``, and Applio's variants, which also accept odd upsampling
rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import NamedTuple, TypeVar

import mlx.core as mx

from rtvc.engine.models.karatsuba import TILE, BlockResult, KaratsubaBlock, Tiles
from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.backend import traces_steps
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
KARATSUBA_FLOP, KARATSUBA_RATE = 20e6, 120
"""Operations and samples per latent frame from which a GPU convolves by Karatsuba's scheme.

That saves more than a third of the operations, costs one kernel more, and reads more than twice
as many weights, which pays where each weight is used for many samples."""
END_KERNEL = 7


@dataclass(frozen=True)
class ResidualPath:
    """A sum of signals and biases, which a GPU computes as part of what reads it.

    On a GPU the sum costs a kernel launch by itself, and none within the activation after it.
    On the CPU it is computed once.

    Attributes
    ----------
    terms
        Signals (1, L, C), each at most as long as the one before it, with their biases.
    centred
        Whether shorter signals are in the middle of longer ones, not at their start.
    """

    terms: tuple[tuple[mx.array, mx.array | None], ...]
    centred: bool

    def add(self, y: mx.array, bias: mx.array | None) -> ResidualPath:
        """Return the sum with one more term."""
        longer = replace(self, terms=(*self.terms, (y, bias)))
        return longer if traces_steps() else replace(self, terms=((longer.sum(), None),))

    def sum(self, shaped: Tiles | None = None) -> mx.array:
        """Return the sum over the length of the last term, or over that of `shaped` in its shape.

        A GPU adds no signals of another shape in one kernel.
        """
        length = self.terms[-1][0].shape[1]
        signals = [(self._cut(y, length), bias) for y, bias in self.terms]
        if shaped is not None:
            signals = [(shaped.view(y), bias) for y, bias in signals]
        (total, _), *rest = signals
        for y, bias in rest:
            total = ops.residual(total, y, bias)
        return total

    def _cut(self, x: mx.array, length: int) -> mx.array:
        first = (x.shape[1] - length) // 2 if self.centred else 0
        return x[:, first : first + length]


@dataclass(frozen=True)
class ResidualBlock:
    """Residual units in series, each a chain of leaky ReLUs and convolutions.

    Attributes
    ----------
    units
        Convolutions of each unit.
    slope
        Negative slope of the leaky ReLUs.
    """

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

    def stream(
        self, x: mx.array, y: mx.array, cache: ContextCache, chunk: Chunk, *, overlap: bool
    ) -> ResidualPath:
        """Process the next chunk.

        Parameters
        ----------
        x
            (1, L, C); with `overlap` `margin` samples of left context before it.
        y
            The leaky ReLU of `x` with the left context of the first unit, or as long as `x`.
        cache
            Left contexts of the layers.
        chunk
            Lengths of the chunk.
        overlap
            Whether to compute the left context of the later units again instead of keeping it.

        Returns
        -------
        ResidualPath
            L - `margin` samples.
        """
        path = ResidualPath(((x, None),), centred=overlap)
        before = self.margin if overlap else self.context
        for n, unit in enumerate(self.units):
            context = sum(conv.padding for conv in unit)
            if n:
                y = ops.leaky_relu(path.sum(), self.slope)
                if overlap:
                    y = cache.zero_padding(y, before)
                else:
                    y, before = cache.prepend(y, context, chunk), context
            *inner, last = unit
            for conv in inner:
                before -= conv.padding
                y = ops.leaky_relu(conv.without_bias(y), self.slope, conv.bias)
                y = cache.zero_padding(y, before)
            before -= last.padding
            path = path.add(last.without_bias(y), last.bias)
        return path

    @property
    def context(self) -> int:
        """Input samples that the first unit needs on each side of an output sample."""
        return sum(conv.padding for conv in self.units[0])

    @property
    def margin(self) -> int:
        """Receptive field radius: input samples needed on each side of an output sample."""
        return sum(conv.padding for unit in self.units for conv in unit)


class Excitation(NamedTuple):
    """A chunk of the excitation at the output rate of the vocoder, (1, `context` + L, 1)."""

    signal: mx.array
    context: int


@dataclass(frozen=True)
class UpsamplingStage:
    """One upsampling stage: upsample, add the excitation, average the residual blocks.

    Attributes
    ----------
    up
        Transposed convolution to the next sample rate.
    excite
        Convolution of the excitation down to that rate; None without excitation.
    blocks
        Residual blocks, in parallel.
    rate
        Samples per latent frame at that rate.
    """

    up: ConvTranspose1d
    excite: Conv1d | None
    blocks: Sequence[ResidualBlock]
    rate: int

    def __call__(self, x: mx.array, excitation: mx.array | None) -> mx.array:
        """(1, L, C) to (1, L * rate, C / 2); the excitation is at the vocoder's output rate."""
        x = self.up(ops.leaky_relu(x, SLOPE))
        if self.excite is not None and excitation is not None:
            x = (x + self.excite(excitation)).astype(x.dtype)
        return ops.mean(_map_blocks(self.blocks, lambda block: block(x)))

    def stream(
        self,
        x: mx.array,
        excitation: Excitation | None,
        cache: ContextCache,
        chunk: Chunk,
        lookahead: int,
        *,
        slope: float,
    ) -> mx.array:
        """Process the next chunk.

        Parameters
        ----------
        x
            (1, L, C) from the start of the chunk, after the leaky ReLU;
            L >= chunk.size + input_lookahead(lookahead).
        excitation
            Excitation at the output rate of the vocoder, with its left context.
        cache
            Left contexts of the layers.
        chunk
            Lengths of the chunk at the input rate.
        lookahead
            Output samples after the chunk that the following layers need.
        slope
            Negative slope of the leaky ReLU after the stage, which is applied here because it is
            part of the kernel of the mean.

        Returns
        -------
        mx.array
            (1, chunk.size * rate + lookahead, C / 2).
        """
        up, output = self.up, chunk.upsampled(self.up.stride)
        x = x[:, : chunk.size + self.input_lookahead(lookahead)]
        # Input sample i contributes to output samples from i * stride - padding on, for the
        # length of the kernel: `left` earlier inputs contribute to this chunk.
        left = (up.weight.shape[1] - 1 - up.padding) // up.stride
        first = up.padding + left * up.stride
        size = output.size + lookahead
        length = size + self.margin
        x = up.untrimmed(cache.prepend(x, left, chunk))[:, first : first + length]
        if up.bias is not None:
            x = x + up.bias
        if self.excite is not None and excitation is not None:
            down = self.excite
            last = (length - 1) * down.stride + down.weight.shape[1] - down.padding
            begin = excitation.context - down.padding
            signal = excitation.signal[:, begin : excitation.context + last]
            x = (x + down.valid(signal)).astype(x.dtype)
        if self._winograd_blocks is not None:
            y = self._stream_winograd(self._winograd_blocks, x, cache, output, size)
            return ops.leaky_relu(y, slope)
        # One context for the first units of all blocks. On a GPU one for all units, where it is no
        # longer than a frame: it costs a few hundredths of the work, and a copy per unit less.
        if traces_steps() and self.rate >= max(block.margin for block in self.blocks):
            return self._stream_overlapping(x, cache, output, size, slope)
        left = max(block.context for block in self.blocks)
        y = cache.prepend(ops.leaky_relu(x, SLOPE), left, output)

        def stream(block: ResidualBlock) -> mx.array:
            activated = y[:, left - block.context : left + size + block.margin]
            own = x[:, : size + block.margin]
            return block.stream(own, activated, cache, output, overlap=False).sum()

        return ops.leaky_relu(ops.mean(_map_blocks(self.blocks, stream)), slope)

    def _stream_overlapping(
        self, x: mx.array, cache: ContextCache, output: Chunk, size: int, slope: float
    ) -> mx.array:
        """Apply the blocks, and compute the contexts of their later units again."""
        left, tiled = max(block.margin for block in self.blocks), self._karatsuba_blocks
        wanted = math.ceil(size / TILE) * TILE if tiled else size
        # Complete tiles may need samples that no output depends on.
        needed = [
            *(block.inputs(wanted) - block.margin for block in tiled.values()),
            *(wanted + block.margin for block in self.blocks),
        ]
        x = cache.prepend(x, left, output, zeros_after=max(*needed, x.shape[1]) - x.shape[1])
        y = ops.leaky_relu(x, SLOPE)

        def stream(number: int) -> ResidualPath | BlockResult:
            block = self.blocks[number]
            first = left - block.margin
            if number in tiled:
                return tiled[number](x[:, first:], cache, wanted)
            end = left + wanted + block.margin
            return block.stream(x[:, first:end], y[:, first:end], cache, output, overlap=True)

        results = _map_blocks(range(len(self.blocks)), stream)
        shaped = next((result.tiles for result in results if isinstance(result, BlockResult)), None)
        mean = ops.leaky_relu(ops.mean([result.sum(shaped) for result in results]), slope)
        if shaped is None:
            return mean
        return shaped.flat(mean, x.dtype)[:, :size]

    @cached_property
    def _karatsuba_blocks(self) -> dict[int, KaratsubaBlock]:
        """Blocks whose convolutions use Karatsuba's scheme, by their index."""
        return {
            number: KaratsubaBlock(block.units, block.slope)
            for number, block in enumerate(self.blocks)
            if self.rate >= KARATSUBA_RATE
            and all(
                2 * self.rate * math.prod(conv.weight.shape) >= KARATSUBA_FLOP
                and unit[-1].dilation == 1
                for unit in block.units
                for conv in unit
            )
        }

    @cached_property
    def _winograd_blocks(self) -> Sequence[WinogradBlock] | None:
        if not (
            ops.uses_winograd()
            and self.rate % 2 == 0
            and all(can_use_winograd(block.units) for block in self.blocks)
        ):
            return None
        return [WinogradBlock(block.units, block.slope) for block in self.blocks]

    def _stream_winograd(
        self,
        blocks: Sequence[WinogradBlock],
        x: mx.array,
        cache: ContextCache,
        output: Chunk,
        size: int,
    ) -> mx.array:
        output_pairs = (size + 1) // 2
        chunk = Chunk(output.advance // 2, output.size // 2)
        phases = split_phases(x[:, : x.shape[1] // 2 * 2])

        def stream(block: WinogradBlock) -> Polyphase:
            pairs = output_pairs + block.margin // 2
            return block.stream(Polyphase(*(phase[:, :pairs] for phase in phases)), cache, chunk)

        return interleave_phases(mean_phases(_map_blocks(blocks, stream)))[:, :size]

    @property
    def margin(self) -> int:
        """Samples after the last output sample that the residual blocks need as input."""
        if self._winograd_blocks is not None:
            return max(block.margin for block in self._winograd_blocks) + 1  # a complete pair
        return max(block.margin for block in self.blocks)

    def input_lookahead(self, lookahead: int) -> int:
        """Return the input samples after a chunk that `lookahead` output samples need."""
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
        """See `rtvc.engine.models.vocoder.Vocoder`; `noise_key` has no effect."""
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
        chunk = Chunk(advance, z.shape[1] - self.lookahead_frames)
        x = _stream(self.pre, z, cache, chunk) + self.condition(speaker)
        extended = None
        if excitation is not None:
            # One context for all stages.
            left = max(stage.excite.padding for stage in self.stages if stage.excite is not None)
            hop = math.prod(stage.up.stride for stage in self.stages)
            signal = cache.prepend(excitation, left, chunk.upsampled(hop))
            extended = Excitation(signal, left)
        x = ops.leaky_relu(x, SLOPE)
        slopes = [SLOPE] * (len(self.stages) - 1) + [LAST_SLOPE]
        for stage, lookahead, slope in zip(self.stages, lookaheads[1:], slopes, strict=True):
            x = stage.stream(x, extended, cache, chunk, lookahead, slope=slope)
            chunk = chunk.upsampled(stage.up.stride)
        x = _stream(self.post, x.astype(self.post.weight.dtype), cache, chunk)
        return ops.tanh(x)[:, :, 0], cache.state

    def _lookaheads(self) -> list[int]:
        """Return the lookahead before each stage and after the last one, in samples."""
        lookaheads = [self.post.padding]
        for stage in reversed(self.stages):
            lookaheads.insert(0, stage.input_lookahead(lookaheads[0]))
        return lookaheads

    @property
    def margin_frames(self) -> int:
        """See `rtvc.engine.models.vocoder.Vocoder`; the excitation needs a smaller margin."""
        left = right = self.post.padding
        samples = math.prod(stage.up.stride for stage in self.stages)
        for stage in reversed(self.stages):
            up = stage.up
            block_margin = max(block.margin for block in stage.blocks)
            # As in `UpsamplingStage.stream`, for one kernel.
            left = (left + block_margin + up.weight.shape[1] - 1 - up.padding) // up.stride
            last = (samples - 1 + right + block_margin + up.padding) // up.stride
            samples //= up.stride
            right = last - (samples - 1)
        return max(left, right) + self.pre.padding


def _stream(conv: Conv1d, x: mx.array, cache: ContextCache, chunk: Chunk) -> mx.array:
    """Convolve the next chunk without a change of rate; the output is `padding` samples shorter."""
    return conv.valid(cache.prepend(x, conv.padding, chunk))


def _map_blocks(blocks: Sequence[Block], function: Callable[[Block], Result]) -> list[Result]:
    """Apply `function` to each block; the last one, about half of the work, on a second stream."""
    parts = (blocks[:-1], blocks[-1:])
    return [*chain.from_iterable(map_streams(lambda part: [*map(function, part)], parts))]


def build(params: Parameters, config: VoiceConfig, uses_pitch: bool) -> HiFiGan:
    """Build RVC's HiFi-GAN from the weights under ``dec.``."""
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
            rate=samples_per_frame(config, i),
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


def samples_per_frame(config: VoiceConfig, stage: int) -> int:
    """Return the samples per latent frame after a stage."""
    return math.prod(config.upsample_rates[: stage + 1])


def stage_width(config: VoiceConfig, stage: int) -> int:
    """Return the channels after a stage; each stage halves them."""
    return config.upsample_initial_channel >> (stage + 1)


def residual_block(
    params: Parameters,
    width: int,
    kernel: int,
    dilations: Sequence[int],
    slope: float = SLOPE,
) -> ResidualBlock:
    """Build a residual block; the first convolution of each unit is dilated."""
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
    """Build a stage's transposed convolution; it multiplies the length by the rate exactly."""
    rate, kernel = config.upsample_rates[stage], config.upsample_kernel_sizes[stage]
    excess = kernel - rate
    # An odd excess (Applio's odd rates) cannot be trimmed evenly: half, rounded up, is trimmed
    # from each end, and one sample is added at the end.
    return params.conv_transpose(
        2 * stage_width(config, stage),
        stage_width(config, stage),
        kernel,
        stride=rate,
        padding=(excess + excess % 2) // 2,
        output_padding=excess % 2,
    )


def excitation_conv(params: Parameters, config: VoiceConfig, stage: int) -> Conv1d:
    """Build the strided convolution of the excitation down to a stage's rate.

    It is float32, as the excitation, because a conversion of that is a kernel on a GPU.
    """
    stride = math.prod(config.upsample_rates[stage + 1 :])
    kernel = 1 if stride == 1 else 2 * stride - stride % 2
    return params.as_float32().conv(
        1,
        stage_width(config, stage),
        kernel,
        stride=stride,
        padding=(kernel - stride) // 2,
    )
