"""Reads voices of RVC, Applio and w-okada's voice changer, and checks them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtvc._types import AnyArray, Float32
from rtvc.engine.weights.errors import ContentError, reading
from rtvc.engine.weights.source import WeightsFile, as_state_dict, read_weights_file, sha256_of
from rtvc.engine.weights.strict import as_float32, check_keys, shape_of
from rtvc.engine.weights.text import printable
from rtvc.engine.weights.voice_config import VoiceConfig, parse_voice_config
from rtvc.engine.weights.voice_inference import infer_voice_config
from rtvc.engine.weights.voice_keys import (
    HIFIGAN,
    MRF_HIFIGAN,
    REFINEGAN,
    REFINEGAN_FIRST_CHANNELS,
    voice_shapes,
)
from rtvc.engine.weights.weight_norm import fold_weight_norm

#: Content encoder of a voice whose file names none.
DEFAULT_EMBEDDER = "contentvec"

_VERSIONS = {256: "v1", 768: "v2"}
_INFO = (
    "info", "model_name", "author", "creation_date", "epoch", "step", "dataset_length",
    "model_hash", "f0_median",
)  # fmt: skip


@dataclass(frozen=True)
class VoiceCheckpoint:
    """A voice from a file, checked and converted for the network.

    Attributes
    ----------
    weights
        Exactly the weights in `voice_keys.voice_shapes`: float32, torch layout, weight norm folded.
    config
        Network settings.
    version
        ``"v1"`` (256 content features, layer 9) or ``"v2"`` (768, layer 12), from the shapes.
    uses_pitch
        Whether the voice was trained with pitch, from the weights.
    sample_rate
        Sample rate in Hz.
    vocoder
        ``"HiFi-GAN"``, ``"MRF HiFi-GAN"`` or ``"RefineGAN"``, from the weights.
    speakers
        Number of speakers: rows of the speaker embedding.
    embedder
        Name of the content encoder that the voice was trained with, from the file.
    info
        Descriptive fields of the file as short printable text, for display only.
    source_sha256
        SHA-256 of the file, hexadecimal.
    """

    weights: dict[str, Float32]
    config: VoiceConfig
    version: str
    uses_pitch: bool
    sample_rate: int
    vocoder: str
    speakers: int
    embedder: str
    info: dict[str, str]
    source_sha256: str


def read_voice_checkpoint(path: Path) -> VoiceCheckpoint:
    """Read a voice.

    Parameters
    ----------
    path
        A ``.pth`` of RVC or Applio, a ``.safetensors`` of w-okada's voice changer, or a
        training checkpoint of the generator (``G_*.pth``).

    Raises
    ------
    RtvcError
        The file is not a voice, is damaged, or contains an unsupported network. The message
        contains the reason and a remedy.
    """
    content = read_weights_file(path, "a voice")
    with reading(path, "a voice"):
        fields, named = _split_fields(content)
        return parse_voice(fields, named, sha256_of(path))


def parse_voice(
    fields: Mapping[str, Any], named: Mapping[str, AnyArray], source_sha256: str
) -> VoiceCheckpoint:
    """Check and convert the contents of a voice file.

    Parameters
    ----------
    fields
        Everything in the file except the weights.
    named
        Weights by name, with any spelling of weight norm, with or without the posterior
        encoder.
    source_sha256
        SHA-256 of the file.

    Raises
    ------
    ContentError
        The contents are not a supported voice.
    """
    posterior = named.get("enc_q.pre.weight")
    # Only training uses the posterior encoder; files from older tools still contain it.
    kept = {name: array for name, array in named.items() if not name.startswith("enc_q.")}
    weights = as_float32(fold_weight_norm(kept))

    phone_channels = shape_of(weights, "enc_p.emb_phone.weight", 2)[1]
    if phone_channels not in _VERSIONS:
        raise ContentError(
            f"it takes {phone_channels} content features; only voices with 256 (v1) or 768 (v2) "
            "are supported"
        )
    uses_pitch = "enc_p.emb_pitch.weight" in weights
    vocoder = _detect_vocoder(weights)
    if vocoder != HIFIGAN and not uses_pitch:
        raise ContentError(f"a {vocoder} voice without pitch has no vocoder and cannot work")
    if "config" in fields:
        config = parse_voice_config(fields["config"], shape_of(weights, "emb_g.weight", 2)[0])
    else:
        spec_channels = (
            posterior.shape[1] if posterior is not None and posterior.ndim == 3 else None
        )
        config = infer_voice_config(weights, spec_channels=spec_channels)
    check_keys(
        voice_shapes(config, phone_channels=phone_channels, uses_pitch=uses_pitch, vocoder=vocoder),
        weights,
    )
    return VoiceCheckpoint(
        weights=weights,
        config=config,
        version=_VERSIONS[phone_channels],
        uses_pitch=uses_pitch,
        sample_rate=config.sr,
        vocoder=vocoder,
        speakers=config.spk_embed_dim,
        embedder=_text(fields.get("embedder_model")) or DEFAULT_EMBEDDER,
        info={key: text for key in _INFO if (text := _text(fields.get(key)))},
        source_sha256=source_sha256,
    )


def _split_fields(content: WeightsFile) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Separate the weights from the other fields, for the layouts of all supported programs."""
    tree = content.tree
    if content.metadata or any(name.startswith("enc_p.") for name in tree):
        fields: dict[str, Any] = dict(content.metadata)
        if "config" in fields:
            fields["config"] = _json(fields["config"])
        named: object = tree
    else:
        key = "weight" if "weight" in tree else "model"
        fields = {name: value for name, value in tree.items() if name != key}
        named = tree.get(key, tree)
    _reject_other_networks(fields, named)
    return fields, as_state_dict(named)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ContentError("its 'config' is damaged") from None


def _reject_other_networks(fields: Mapping[str, Any], named: object) -> None:
    names = [str(name) for name in named] if isinstance(named, dict) else []
    version = fields.get("version")
    if isinstance(version, str) and version == "voras_beta":
        raise ContentError("it is a VoRAS voice, a different network that is not supported")
    config = fields.get("config")
    # DDPN's fork adds the width of the embedding to the list, and these fields.
    fork = {"embedder_name", "embedder_output_layer", "speaker_info"} & fields.keys()
    if fork and isinstance(config, list) and len(config) != 18:
        raise ContentError(
            "it comes from a fork of the training program with a different network, which is not "
            "supported; get a version of the voice that was trained with RVC or Applio"
        )
    for prefix, network in (
        ("discriminators.", "a discriminator, which only training uses; use the generator, "
         "whose name begins with G_ or f0G, or the finished voice"),
        ("feature_extractor.", "a content encoder, not a voice"),
        ("hubert.feature_extractor.", "a content encoder, not a voice"),
        ("unet.", "the pitch estimator RMVPE, not a voice"),
        ("input_stack.", "the pitch estimator FCPE, not a voice"),
    ):  # fmt: skip
        if any(name.startswith(prefix) for name in names):
            raise ContentError(f"it is {network}")
    if not any(name.startswith("enc_p.") for name in names):
        raise ContentError("it holds no voice")


def _detect_vocoder(weights: Mapping[str, AnyArray]) -> str:
    """Return the vocoder from the names of the weights; the field ``vocoder`` can be wrong."""
    if any(n.startswith("dec.resblocks.") for n in weights):
        return HIFIGAN
    if any(n.startswith("dec.mrfs.") for n in weights):
        return MRF_HIFIGAN
    older = _outdated_refinegan(weights)
    if older is not None:
        raise ContentError(
            f"its vocoder is the RefineGAN of {older}, from before August 2025: a different "
            "network under the same name; it has to be trained again with a newer Applio"
        )
    if any(n.startswith("dec.downsample_blocks.") for n in weights):
        return REFINEGAN
    raise ContentError("its vocoder is unknown")


def _outdated_refinegan(weights: Mapping[str, AnyArray]) -> str | None:
    """Return when Applio introduced this RefineGAN, if it is one that Applio has replaced.

    Four networks have had this name; the layer that merges the sine is in the last three.
    """
    if any(n.startswith("dec.source_conv.") for n in weights):
        return "December 2024"
    if any(n.startswith("dec.filters.") for n in weights):
        return "January 2025"
    first = weights.get("dec.pre_conv.weight")
    if first is not None and first.shape[:1] != (REFINEGAN_FIRST_CHANNELS,):
        return "March 2025"
    return None


def _text(value: object) -> str:
    return printable(str(value)) if isinstance(value, str | int | float) else ""
