"""Reads the weights of the pitch estimator FCPE, in its convolutional variant."""

from dataclasses import dataclass
from pathlib import Path

from rtvc._types import Weights
from rtvc.engine.weights.errors import ContentError, reading
from rtvc.engine.weights.source import as_state_dict, read_weights_file
from rtvc.engine.weights.strict import Shape, as_float32, check_keys, count_consecutive, shape_of
from rtvc.engine.weights.text import printable
from rtvc.engine.weights.weight_norm import fold_weight_norm

_DESCRIPTION = "the pitch estimator FCPE"
_MELS = 128
_FRONT_END = {
    "sr": 16000,
    "num_mels": _MELS,
    "n_fft": 1024,
    "win_size": 1024,
    "hop_size": 160,
    "fmin": 0,
    "fmax": 8000,
}


@dataclass(frozen=True)
class FcpeConfig:
    """Sizes and pitch range of a convolutional FCPE network.

    Attributes
    ----------
    mels
        Mel bands of the input (Slaney scale, 0 to 8000 Hz; windows of 1024 samples every 160
        samples at 16 kHz).
    width, layers, kernel
        Channels, number and kernel of the convolutional layers.
    bins
        Pitch bins, evenly spaced in cents from `f0_min_hz` to `f0_max_hz`.
    f0_min_hz, f0_max_hz
        Pitch range in Hz.
    uses_harmonic_embedding
        Whether row 0 of ``harmonic_emb.weight`` is added after the input stack.
    """

    mels: int
    width: int
    layers: int
    kernel: int
    bins: int
    f0_min_hz: float
    f0_max_hz: float
    uses_harmonic_embedding: bool


@dataclass(frozen=True)
class Fcpe:
    """FCPE from a file: float32 weights with torch names and layout.

    The weights include ``cent_table`` (bins,). Weight norm is folded. The norm in each layer
    that the network never applies is omitted.
    """

    weights: Weights
    config: FcpeConfig


def read_fcpe(path: Path) -> Fcpe:
    """Read torchfcpe's bundled weights (``fcpe_c_v001.pt``) or a file of the same layout.

    Raises
    ------
    RtvcError
        The file is damaged, contains another network, or the older variant with attention.
    """
    content = read_weights_file(path, _DESCRIPTION)
    with reading(path, _DESCRIPTION):
        named = as_state_dict(content.tree.get("model"))
        if any(".attn." in name for name in named):
            raise ContentError(
                "it is the older network with attention, which is not supported; use the weights "
                "in the package torchfcpe"
            )
        unused = {"gaussian_blurred_cent_mask"} | {
            f"net.encoder_layers.{i}.norm.{part}"
            for i in range(len(named))
            for part in ("weight", "bias")
        }
        weights = as_float32(fold_weight_norm({n: a for n, a in named.items() if n not in unused}))
        config = _fcpe_config(weights, content.tree.get("config_dict"))
        check_keys(fcpe_shapes(config), weights)
        return Fcpe(weights, config)


def fcpe_shapes(config: FcpeConfig) -> dict[str, Shape]:
    """Return name and torch shape of every weight of FCPE, weight norm folded."""
    width = config.width
    with_bias: dict[str, Shape] = {
        "input_stack.0": (width, config.mels, 3),
        "input_stack.1": (width,),
        "input_stack.3": (width, width, 3),
        "norm": (width,),
        "output_proj": (config.bins, width),
    }
    for i in range(config.layers):
        layer = f"net.encoder_layers.{i}.conformer.net"
        with_bias[f"{layer}.0"] = (width,)
        with_bias[f"{layer}.2"] = (4 * width, width, 1)
        with_bias[f"{layer}.4.conv"] = (2 * width, 1, config.kernel)
        with_bias[f"{layer}.6"] = (width, 2 * width, 1)
    shapes: dict[str, Shape] = {"cent_table": (config.bins,)}
    for name, shape in with_bias.items():
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = shape[:1]
    if config.uses_harmonic_embedding:
        shapes["harmonic_emb.weight"] = (9, width)
    return shapes


def _fcpe_config(weights: Weights, settings: object) -> FcpeConfig:
    groups = settings if isinstance(settings, dict) else {}
    mel, model = groups.get("mel"), groups.get("model")
    if not isinstance(mel, dict) or not isinstance(model, dict):
        raise ContentError("it has no settings ('config_dict')")
    mels = shape_of(weights, "input_stack.0.weight", 3)[1]
    if mels != _MELS:
        raise ContentError(f"it has {mels} mel bands; only {_MELS} are supported")
    for key, value in _FRONT_END.items():
        found = mel.get(key, value)
        if not isinstance(found, int | float) or found != value:
            raise ContentError(
                f"its front end has {key} = {printable(str(found), 20)}; only {value} is supported"
            )
    low, high = (model.get(key) for key in ("f0_min", "f0_max"))
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise ContentError("its pitch range is missing")
    if not 0 < low < high < 8000:
        raise ContentError("its pitch range is invalid")
    name = "net.encoder_layers.{}.conformer.net.2.weight"
    return FcpeConfig(
        mels=mels,
        width=shape_of(weights, "input_stack.0.weight", 3)[0],
        layers=count_consecutive(weights, name),
        kernel=shape_of(weights, "net.encoder_layers.0.conformer.net.4.conv.weight", 3)[2],
        bins=shape_of(weights, "output_proj.weight", 2)[0],
        f0_min_hz=float(low),
        f0_max_hz=float(high),
        uses_harmonic_embedding="harmonic_emb.weight" in weights,
    )
