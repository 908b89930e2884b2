"""The eighteen settings of a voice's network, by name and checked."""

import math
from dataclasses import dataclass, fields
from typing import Any

from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.text import printable


@dataclass(frozen=True)
class VoiceConfig:
    """Network settings of the synthesizer, in the order of a checkpoint.

    Attributes
    ----------
    spec_channels
        Bins of the training spectrogram; not used in conversion.
    segment_size
        Length of a training segment in frames; not used in conversion.
    inter_channels
        Width of the latent.
    hidden_channels, filter_channels, n_heads, n_layers, kernel_size
        Of the text encoder: width, feed-forward width, attention heads, layers, feed-forward
        kernel.
    p_dropout
        Dropout in training; not used in conversion.
    resblock
        Type of residual block; always ``"1"``.
    resblock_kernel_sizes, resblock_dilation_sizes
        Kernel and dilations of each parallel residual block.
    upsample_rates, upsample_kernel_sizes
        Rate and kernel of each upsampling stage of the vocoder; the product of the rates is
        the hop.
    upsample_initial_channel
        Channels of the vocoder before the first stage.
    spk_embed_dim
        Number of speakers, from the shape of the embedding, not from the file's field.
    gin_channels
        Width of the speaker embedding.
    sr
        Sample rate in Hz.
    """

    spec_channels: int
    segment_size: int
    inter_channels: int
    hidden_channels: int
    filter_channels: int
    n_heads: int
    n_layers: int
    kernel_size: int
    p_dropout: float
    resblock: str
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    upsample_rates: tuple[int, ...]
    upsample_initial_channel: int
    upsample_kernel_sizes: tuple[int, ...]
    spk_embed_dim: int
    gin_channels: int
    sr: int

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            _check_int(name, getattr(self, name), low, high)
        for name, high in (
            ("resblock_kernel_sizes", 64),
            ("upsample_rates", 64),
            ("upsample_kernel_sizes", 256),
        ):
            _check_ints(name, getattr(self, name), high)
        if type(self.resblock_dilation_sizes) is not tuple:
            raise ContentError("'resblock_dilation_sizes' is not a list of lists")
        for sizes in self.resblock_dilation_sizes:
            _check_ints("resblock_dilation_sizes", sizes, 64)
        if self.resblock != "1":
            raise ContentError("its residual blocks are not of type '1'")
        self._check_consistency()

    def _check_consistency(self) -> None:
        if self.hidden_channels % self.n_heads or self.inter_channels % 2:
            raise ContentError("its channels do not divide by the number of heads or by two")
        if len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes):
            raise ContentError("its residual blocks have lists of unequal length")
        if any(k % 2 == 0 for k in (*self.resblock_kernel_sizes, self.kernel_size)):
            raise ContentError("it has an even kernel where only an odd one works")
        if len(self.upsample_rates) != len(self.upsample_kernel_sizes):
            raise ContentError("its upsampling stages have lists of unequal length")
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True):
            if kernel < rate or ((kernel - rate) % 2 and kernel != 2 * rate):
                raise ContentError(f"upsampling by {rate} with a kernel of {kernel} cannot work")
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates):
            raise ContentError("its vocoder width does not halve at every stage")
        if self.sr % 100 or self.hop * 100 != self.sr:
            raise ContentError(
                f"its upsampling rates multiply to {self.hop}, but {self.sr} Hz needs "
                f"{self.sr / 100:g}"
            )

    @property
    def hop(self) -> int:
        """Samples per frame of 10 ms at the voice's sample rate."""
        return math.prod(self.upsample_rates)


_RANGES = (
    ("spec_channels", 1, 8193),
    ("segment_size", 1, 2**20),
    ("inter_channels", 2, 4096),
    ("hidden_channels", 1, 4096),
    ("filter_channels", 1, 16384),
    ("n_heads", 1, 64),
    ("n_layers", 1, 64),
    ("kernel_size", 1, 63),
    ("upsample_initial_channel", 1, 8192),
    ("spk_embed_dim", 1, 2**20),
    ("gin_channels", 1, 8192),
    ("sr", 8000, 96000),
)
_LISTS = ("resblock_kernel_sizes", "upsample_rates", "upsample_kernel_sizes")


def parse_voice_config(values: object, speakers: int) -> VoiceConfig:
    """Read the list of eighteen values in a checkpoint.

    Parameters
    ----------
    values
        The list of values.
    speakers
        Number of rows of the speaker embedding; it replaces the value in the list.

    Raises
    ------
    ContentError
        `values` is not such a list, or a value has the wrong type or is out of range.
    """
    names = [field.name for field in fields(VoiceConfig)]
    if not isinstance(values, list | tuple):
        raise ContentError("it has no list of network settings ('config')")
    if len(values) != len(names):
        raise ContentError(
            f"its 'config' has {len(values)} values instead of {len(names)}; it comes from a "
            "modified training program that is not supported"
        )
    named = dict(zip(names, values, strict=True))
    for name in _LISTS:
        named[name] = _tuple(name, named[name])
    dilations = _tuple("resblock_dilation_sizes", named["resblock_dilation_sizes"])
    named["resblock_dilation_sizes"] = tuple(
        _tuple("resblock_dilation_sizes", sizes) for sizes in dilations
    )
    resblock, dropout = named["resblock"], named["p_dropout"]
    known = isinstance(resblock, int | str) and str(resblock) == "1"
    named["resblock"] = "1" if known else "unknown"
    possible = type(dropout) in (int, float) and 0 <= dropout <= 1
    named["p_dropout"] = float(dropout) if possible else 0.0
    named["spk_embed_dim"] = speakers
    named["sr"] = _rate(named["sr"])
    return VoiceConfig(**named)


def _tuple(name: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ContentError(f"'{name}' in its 'config' is not a list")
    return tuple(value)


def _rate(value: object) -> object:
    """Return the sample rate as a number; some tools write ``"40k"`` or ``"40000"``."""
    if isinstance(value, str) and len(value) <= 8:
        digits = value.strip().lower()
        thousands = digits.endswith("k")
        if digits.removesuffix("k").isascii() and digits.removesuffix("k").isdigit():
            return int(digits.removesuffix("k")) * (1000 if thousands else 1)
    return value


def _check_int(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ContentError(
            f"'{name}' in its 'config' is {printable(repr(value), 24)}; it must be a whole number "
            f"from {low} to {high}"
        )


def _check_ints(name: str, values: object, high: int) -> None:
    if type(values) is not tuple or not 1 <= len(values) <= 8:
        raise ContentError(f"'{name}' in its 'config' must be a list of one to eight numbers")
    for value in values:
        _check_int(name, value, 1, high)
