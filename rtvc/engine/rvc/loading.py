"""Open the files of a voice and of the base models."""

from __future__ import annotations

from pathlib import Path

from rtvc.engine.models.fcpe import FcpeEstimator
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.pitch_estimator import PitchEstimator
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.rvc import retrieval
from rtvc.engine.rvc.dio_harvest import dio, harvest
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.weights import cache
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.engine.weights.content_encoder import read_content_encoder
from rtvc.engine.weights.fcpe import read_fcpe
from rtvc.engine.weights.rmvpe import read_rmvpe
from rtvc.errors import RtvcError, UsageError

VOICE_SUFFIXES = (".pth", ".safetensors")
INDEX_SUFFIXES = (".index",)


def load_voice(path: str | Path) -> SynthesizerNetwork:
    """Open a voice.

    Parameters
    ----------
    path
        A ``.pth`` or ``.safetensors`` file, or a folder that holds exactly one.

    Returns
    -------
    RvcVoice
        Its network, with the weights in place.

    Raises
    ------
    RtvcError
        There is no such file, or it is not a voice that can be used; the sentence says why.
    """
    checkpoint = read_voice_checkpoint(voice_file(path))
    return SynthesizerNetwork(checkpoint.weights, checkpoint.config, embedder=checkpoint.embedder)


def voice_file(path: str | Path) -> Path:
    """Return the file of a voice that is given as a file, or as a folder that holds exactly one.

    Raises
    ------
    RtvcError
        The folder holds none, or several.
    """
    return _only(Path(path), VOICE_SUFFIXES, "voice")


def load_content_encoder(path: str | Path, *, keep: bool = False) -> Hubert:
    """Open a content encoder.

    Parameters
    ----------
    path
        ContentVec or another HuBERT of the base layout: a Hugging Face folder or the
        ``.safetensors`` or ``.bin`` file in it, or a fairseq ``.pt`` file.
    keep
        Whether to keep the converted weights beside the file, for a faster start next time.

    Returns
    -------
    Hubert
        Audio at 16 kHz to features at 50 Hz, with the weights in place.

    Raises
    ------
    RtvcError
        There is no such file, or it is not such a network; the sentence says why.
    """
    encoder = cache.load_content_encoder(Path(path)) if keep else read_content_encoder(Path(path))
    return Hubert(encoder.weights, encoder.config)


def load_pitch_estimator(
    path: str | Path | None = None, kind: str = "rmvpe", *, keep: bool = False
) -> PitchEstimator:
    """Open a pitch estimator.

    Parameters
    ----------
    path
        ``rmvpe.pt`` or ``fcpe_c_v001.pt``; None for a kind that has no weights.
    kind
        ``"rmvpe"``, ``"fcpe"``, ``"dio"`` or ``"harvest"``.
    keep
        Whether to keep converted weights beside the file, for a faster start next time.

    Returns
    -------
    PitchEstimator
        Audio at 16 kHz to pitch at 100 Hz; RMVPE and FCPE also have ``salience``.

    Raises
    ------
    UsageError
        There is no such kind, or it needs a file and none is given.
    RtvcError
        There is no such file, or it is another network; the sentence says why.
    """
    if kind in ("dio", "harvest"):
        return dio() if kind == "dio" else harvest()
    if kind not in ("rmvpe", "fcpe"):
        raise UsageError(
            f"There is no pitch estimator {kind!r}; there are rmvpe, fcpe, dio and harvest."
        )
    if path is None:
        raise UsageError(f"The pitch estimator {kind} needs the file with its weights.")
    if kind == "rmvpe":
        rmvpe = cache.load_rmvpe(Path(path)) if keep else read_rmvpe(Path(path))
        return RmvpeEstimator(rmvpe.weights, rmvpe.config)
    fcpe = read_fcpe(Path(path))
    return FcpeEstimator(fcpe.weights, fcpe.config)


def load_index(path: str | Path) -> retrieval.FeatureIndex:
    """Open the index of a voice.

    Parameters
    ----------
    path
        An ``.index`` file, or a folder that holds exactly one; beside it the empty
        ``trained_`` file may lie.

    Returns
    -------
    FeatureIndex
        Ready to search.

    Raises
    ------
    RtvcError
        There is no such file, or it cannot be searched; the sentence says why.
    """
    return retrieval.load_index(_only(Path(path), INDEX_SUFFIXES, "index", besides="trained_"))


def _only(path: Path, suffixes: tuple[str, ...], wanted: str, *, besides: str = ".") -> Path:
    """Return the one file that is meant: not a hidden one, nor one that begins with `besides`."""
    if not path.is_dir():
        return path
    files = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in suffixes and not file.name.startswith((".", besides))
    )
    if not files:
        raise RtvcError(f"The folder {path} holds no {wanted} ({' or '.join(suffixes)}).")
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:4])
        raise RtvcError(f"The folder {path} holds more than one {wanted} ({names}); name one.")
    return files[0]
