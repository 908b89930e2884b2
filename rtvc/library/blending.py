"""The weighted mean of two voices with one network."""

from __future__ import annotations

import dataclasses

from rtvc.engine.weights.checkpoint import VoiceCheckpoint
from rtvc.errors import UsageError

_TRAINING_ONLY = {"spec_channels", "segment_size", "p_dropout", "spk_embed_dim"}


def blend_checkpoints(
    first: VoiceCheckpoint, second: VoiceCheckpoint, ratio: float
) -> VoiceCheckpoint:
    """Return a voice whose every weight is ``(1 - ratio) * first + ratio * second``.

    It has as many speakers as the voice with fewer. Both must have the same network.
    """
    speakers = min(first.speakers, second.speakers)
    weights = {}
    for key, array in first.weights.items():
        other = second.weights[key]
        if key == "emb_g.weight":
            array, other = array[:speakers], other[:speakers]  # noqa: PLW2901
        weights[key] = (1 - ratio) * array + ratio * other
    return dataclasses.replace(
        first,
        weights=weights,
        config=dataclasses.replace(first.config, spk_embed_dim=speakers),
        speakers=speakers,
        info={},
        source_sha256="",
    )


def check_same_network(
    names: tuple[str, str], first: VoiceCheckpoint, second: VoiceCheckpoint, cannot: str
) -> None:
    """Raise an error unless two voices have the same network.

    Parameters
    ----------
    names
        Their names, for the message.
    first, second
        The voices.
    cannot
        What they cannot do otherwise, as in ``be blended``.

    Raises
    ------
    UsageError
        If they differ; the message says in what.
    """
    differences = [
        f"{what} ({getattr(first, field)} and {getattr(second, field)})"
        for field, what in (
            ("version", "version"),
            ("sample_rate", "sample rate"),
            ("uses_pitch", "use of pitch"),
            ("vocoder", "vocoder"),
            ("embedder", "content encoder"),
        )
        if getattr(first, field) != getattr(second, field)
    ]
    if not differences:
        ours, theirs = dataclasses.asdict(first.config), dataclasses.asdict(second.config)
        differences = [
            key.replace("_", " ")
            for key in ours
            if key not in _TRAINING_ONLY and ours[key] != theirs[key]
        ]
    if differences:
        raise UsageError(
            f"{names[0]!r} and {names[1]!r} cannot {cannot}: they differ in "
            f"{', '.join(differences)}."
        )
