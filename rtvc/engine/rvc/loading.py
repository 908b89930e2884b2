"""Loaders for the files of a voice and of the base models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rtvc.engine.models.fcpe import FcpeEstimator
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.pitch_estimator import PitchEstimator
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.models.swift_f0 import SwiftF0Estimator
from rtvc.engine.rvc import retrieval
from rtvc.engine.rvc.dio_harvest import dio, harvest
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.weights import cache
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.engine.weights.content_encoder import read_content_encoder
from rtvc.engine.weights.errors import not_opened
from rtvc.engine.weights.fcpe import read_fcpe
from rtvc.engine.weights.rmvpe import read_rmvpe
from rtvc.engine.weights.swift_f0 import read_swift_f0
from rtvc.errors import RtvcError, UsageError

VOICE_SUFFIXES = (".pth", ".safetensors")
INDEX_SUFFIXES = (".index",)


def load_voice(path: str | Path) -> SynthesizerNetwork:
    """Load the network of a voice.

    Parameters
    ----------
    path
        A ``.pth`` or ``.safetensors`` file, or a folder that holds exactly one.

    Returns
    -------
    RvcVoice
        The network with its weights.

    Raises
    ------
    RtvcError
        If the file does not exist or is not a supported voice.
    """
    checkpoint = read_voice_checkpoint(voice_file(path))
    return SynthesizerNetwork(checkpoint.weights, checkpoint.config, embedder=checkpoint.embedder)


def voice_file(path: str | Path) -> Path:
    """Return the file of a voice given as a file, or as a folder that holds exactly one.

    Raises
    ------
    RtvcError
        If the folder holds no voice file, or more than one.
    """
    return _only(Path(path), VOICE_SUFFIXES, "voice")


def load_content_encoder(path: str | Path, *, keep: bool = False) -> Hubert:
    """Load a content encoder.

    Parameters
    ----------
    path
        ContentVec or another HuBERT of the base layout: a Hugging Face folder or the
        ``.safetensors`` or ``.bin`` file in it, or a fairseq ``.pt`` file.
    keep
        Whether to save the converted weights next to the file, which makes the next load
        faster.

    Returns
    -------
    Hubert
        The encoder with its weights: audio at 16 kHz to features at 50 Hz.

    Raises
    ------
    RtvcError
        If the file does not exist or is not such a network.
    """
    encoder = cache.load_content_encoder(Path(path)) if keep else read_content_encoder(Path(path))
    return Hubert(encoder.weights, encoder.config)


def load_pitch_estimator(
    path: str | Path | None = None, kind: str = "rmvpe", *, keep: bool = False
) -> PitchEstimator:
    """Load a pitch estimator.

    Parameters
    ----------
    path
        ``rmvpe.pt`` or ``fcpe_c_v001.pt``; None for an estimator that needs no file.
    kind
        ``"rmvpe"``, ``"fcpe"``, ``"swift"``, ``"dio"`` or ``"harvest"``.
    keep
        Whether to save the converted weights next to the file, which makes the next load
        faster.

    Returns
    -------
    PitchEstimator
        Audio at 16 kHz to f0 at 100 Hz. RMVPE and FCPE also have ``salience``.

    Raises
    ------
    UsageError
        If `kind` is not known, or needs a file and `path` is None.
    RtvcError
        If the file does not exist or is another network.
    """
    if kind in _COMPLETE:
        return _COMPLETE[kind]()
    if kind not in ("rmvpe", "fcpe"):
        raise UsageError(
            f"There is no pitch estimator {kind!r}; there are rmvpe, fcpe, swift, dio and harvest."
        )
    if path is None:
        raise UsageError(f"The pitch estimator {kind} needs the file with its weights.")
    if kind == "rmvpe":
        rmvpe = cache.load_rmvpe(Path(path)) if keep else read_rmvpe(Path(path))
        return RmvpeEstimator(rmvpe.weights, rmvpe.config)
    fcpe = read_fcpe(Path(path))
    return FcpeEstimator(fcpe.weights, fcpe.config)


def load_index(path: str | Path) -> retrieval.FeatureIndex:
    """Load the index of a voice.

    Parameters
    ----------
    path
        An ``.index`` file, or a folder that holds exactly one, not counting the empty
        ``trained_`` file of the training.

    Returns
    -------
    FeatureIndex
        The index, ready to search.

    Raises
    ------
    RtvcError
        If the file does not exist or cannot be searched.
    """
    return retrieval.load_index(_only(Path(path), INDEX_SUFFIXES, "index", besides="trained_"))


def _swift() -> SwiftF0Estimator:
    return SwiftF0Estimator(read_swift_f0())


_COMPLETE: dict[str, Callable[[], PitchEstimator]] = {
    "swift": _swift,
    "dio": dio,
    "harvest": harvest,
}
"""Pitch estimators that need no file."""


def _only(path: Path, suffixes: tuple[str, ...], wanted: str, *, besides: str = ".") -> Path:
    """Return the only file of a folder, without hidden files and names starting with `besides`."""
    if not path.is_dir():
        return path
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise RtvcError(not_opened(path, error)) from None
    files = [
        file
        for file in entries
        if file.suffix.lower() in suffixes and not file.name.startswith((".", besides))
    ]
    if not files:
        raise RtvcError(f"The folder {path} holds no {wanted} ({' or '.join(suffixes)}).")
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:4])
        raise RtvcError(f"The folder {path} holds more than one {wanted} ({names}); name one.")
    return files[0]
