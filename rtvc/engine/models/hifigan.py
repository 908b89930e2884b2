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
from rtvc.engine.models.ops.cpu_streams import side_by_side
from rtvc.engine.models.parameters import Condition, Conv1d, ConvTranspose1d, Parameters
from rtvc.engine.models.source import HeldPitch, SineSource
from rtvc.engine.models.stream_state import LayerStates, Piece, StreamState
from rtvc.engine.models.winograd import PhasedBlock, Phases, interleave, mean, split, suits
from rtvc.engine.weights.voice_config import VoiceConfig

Block = TypeVar("Block")
Made = TypeVar("Made")

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
                y, bias = conv.unbiased(y, conv.padding), conv.bias
            x = ops.residual(x, y, bias)
        return x

    def stream(self, x: mx.array, carry: LayerStates, piece: Piece) -> mx.array:
        """Do the same to the next piece: of (1, L, C) the last `reach` samples are lost."""
        for unit in self.units:
            # What all of a unit hears is remembered once, and the little between made again.
            before = sum(conv.padding for conv in unit)
            y, bias = carry.extend(x, before, piece), None
            for conv in unit:
                before -= conv.padding
                y = conv.unbiased(ops.leaky_relu(y, self.slope, bias))
                y, bias = carry.begin(y, before, conv.bias), conv.bias
            x = ops.residual(x[:, : y.shape[1]], y, bias)
        return x

    @property
    def reach(self) -> int:
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
        return ops.mean_of(_of_each(self.blocks, lambda block: block(x)))

    def stream(
        self, x: mx.array, excitation: mx.array | None, carry: LayerStates, piece: Piece, halo: int
    ) -> mx.array:
        """Do the same to the next piece.

        Parameters
        ----------
        x
            (1, piece.wanted + `halo_before(halo)`, C), or longer.
        excitation
            The whole of it, from the beginning of the piece.
        carry
            What the layers remember.
        piece
            Where the piece ends in `x`.
        halo
            Samples that are to come out after those that are wanted.

        Returns
        -------
        mx.array
            (1, piece.wanted * rate + halo, C / 2).
        """
        up, ends = self.up, piece.times(self.up.stride)
        x = ops.leaky_relu(x[:, : piece.wanted + self.halo_before(halo)], SLOPE)
        # The kernels begin with the remembered inputs, `padding` before their first sample.
        before = (up.weight.shape[1] - 1 - up.padding) // up.stride
        first = up.padding + before * up.stride
        wanted = ends.wanted + halo
        length = wanted + self.reach
        x = up.whole(carry.extend(x, before, piece))[:, first : first + length]
        if self.excite is not None and excitation is not None:
            x = x + self._excite(self.excite, excitation, carry, ends, length)
        if self._phased is not None:
            return self._stream_phased(self._phased, x, carry, ends, wanted)
        made = _of_each(
            self.blocks, lambda block: block.stream(x[:, : wanted + block.reach], carry, ends)
        )
        return ops.mean_of(made)

    @cached_property
    def _phased(self) -> Sequence[PhasedBlock] | None:
        if not (ops.PHASED and self.even and all(suits(block.units) for block in self.blocks)):
            return None
        return [PhasedBlock(block.units, block.slope) for block in self.blocks]

    def _stream_phased(
        self,
        blocks: Sequence[PhasedBlock],
        x: mx.array,
        carry: LayerStates,
        ends: Piece,
        wanted: int,
    ) -> mx.array:
        wanted_pairs = (wanted + 1) // 2
        ends = Piece(ends.final // 2, ends.wanted // 2)
        phases = split(x[:, : x.shape[1] // 2 * 2])

        def made(block: PhasedBlock) -> Phases:
            pairs = wanted_pairs + block.reach // 2
            return block.stream(Phases(*(phase[:, :pairs] for phase in phases)), carry, ends)

        return interleave(mean(_of_each(blocks, made)))[:, :wanted]

    def _excite(
        self, down: Conv1d, excitation: mx.array, carry: LayerStates, ends: Piece, length: int
    ) -> mx.array:
        """Bring the excitation down to (1, length, C / 2)."""
        last = (length - 1) * down.stride + down.weight.shape[1] - down.padding
        heard = carry.extend(excitation[:, :last], down.padding, ends.times(down.stride))
        return down.valid(heard)

    @property
    def reach(self) -> int:
        """How many samples after those that are wanted the residual blocks are given."""
        if self._phased is not None:
            return max(block.reach for block in self._phased) + 1  # for a whole pair
        return max(block.reach for block in self.blocks)

    def halo_before(self, halo: int) -> int:
        """How many samples after a moment must come in for `halo` to come out."""
        return (halo + self.reach - 1 + self.up.padding) // self.up.stride + 1


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
    def halo_frames(self) -> int:
        """See `rtvc.engine.models.vocoder.StreamingVocoder`."""
        return self._halos()[0] + self.pre.padding

    def stream(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        state: StreamState,
        final: int,
    ) -> tuple[mx.array, StreamState]:
        """See `rtvc.engine.models.vocoder.StreamingVocoder`."""
        return self._compiled_stream(z, excitation, speaker, state, final)

    @cached_property
    def _compiled_stream(self) -> Callable[..., tuple[mx.array, StreamState]]:
        return ops.compiled(self._decode_piece)

    def _decode_piece(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        state: StreamState,
        final: int,
    ) -> tuple[mx.array, StreamState]:
        carry, halos = LayerStates(state), self._halos()
        if excitation is not None:
            excitation = excitation.astype(self.pre.weight.dtype)
        piece = Piece(final, z.shape[1] - self.halo_frames)
        x = _stream(self.pre, z, carry, piece) + self.condition(speaker)
        for stage, halo in zip(self.stages, halos[1:], strict=True):
            x = stage.stream(x, excitation, carry, piece, halo)
            piece = piece.times(stage.up.stride)
        x = _stream(self.post, ops.leaky_relu(x, LAST_SLOPE), carry, piece)
        return ops.tanh(x)[:, :, 0], carry.state

    def _halos(self) -> list[int]:
        """Count samples needed after the wanted ones: before each stage, and after the last."""
        halos = [self.post.padding]
        for stage in reversed(self.stages):
            halos.insert(0, stage.halo_before(halos[0]))
        return halos

    @property
    def reach_frames(self) -> int:
        """See `rtvc.engine.models.vocoder.Vocoder`; the excitation reaches less than the latent."""
        left = right = self.post.padding
        samples = math.prod(stage.up.stride for stage in self.stages)
        for stage in reversed(self.stages):
            up = stage.up
            widest = max(block.reach for block in stage.blocks)
            # Sample i of the lower rate is heard from i * stride - padding on, for one kernel.
            left = (left + widest + up.weight.shape[1] - 1 - up.padding) // up.stride
            last = (samples - 1 + right + widest + up.padding) // up.stride
            samples //= up.stride
            right = last - (samples - 1)
        return max(left, right) + self.pre.padding


def _stream(conv: Conv1d, x: mx.array, carry: LayerStates, piece: Piece) -> mx.array:
    """Convolve the next piece, at one rate; the last `padding` samples are lost."""
    return conv.valid(carry.extend(x, conv.padding, piece))


def _of_each(blocks: Sequence[Block], make: Callable[[Block], Made]) -> list[Made]:
    """Build what each block makes, on two lanes: the last block is about half of the work."""
    made = side_by_side(lambda part: [*map(make, part)], (blocks[:-1], blocks[-1:]))
    return [*chain.from_iterable(made)]


def build(params: Parameters, config: VoiceConfig, uses_pitch: bool) -> HiFiGan:
    """Build RVC's HiFi-GAN from the weights below ``dec.``."""
    source = None
    if uses_pitch:
        merge = params.at("m_source").at("l_linear").exact().linear(1, 1)
        source = SineSource(HeldPitch(config.hop), merge, 1, config.sr)
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
        post=params.at("conv_post").exact().conv(width, 1, END_KERNEL, bias=False),
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
