"""Installs base models: from their place on the web, a mirror, or a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtvc.engine.weights.content_encoder import read_content_encoder
from rtvc.engine.weights.fcpe import read_fcpe
from rtvc.engine.weights.rmvpe import read_rmvpe
from rtvc.engine.weights.text import printable
from rtvc.errors import RtvcError, UsageError
from rtvc.library import names
from rtvc.library.addresses import without_secrets
from rtvc.library.base_models import (
    BASE_MODELS,
    BaseModel,
    InstalledModel,
    kind_of,
    title_of,
    write_manifest,
)
from rtvc.library.download import PAUSES_S, ReportProgress, discard, download
from rtvc.library.home import copy_file, models_folder, publish, require_space, staging

_WEIGHTS = (".pt", ".pth", ".bin", ".safetensors")
_SETTINGS_FILE = "config.json"
_FILES_OF_A_FOLDER = ("pytorch_model.bin", "model.safetensors")
_MAX_FILES = 50_000
_MAX_TRIED = 8
# Files and folders that hold ContentVec where RVC, Applio and others put them.
_CONTENTVEC_STEMS = frozenset(
    {"hubert_base", "contentvec", "contentvec_base", "content-vec-best", "content_vec_500"}
)
_CONTENTVEC_FOLDERS = frozenset(
    {"hubert_base", "contentvec", "content-vec-best", "contentvec-500", "hubert"}
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A file that may hold a base model; `config` lies beside it where there is one."""

    path: Path
    config: Path | None


def install_from_web(
    model: BaseModel,
    progress: ReportProgress,
    *,
    mirror: str = "",
    unverified: bool = False,
    pauses_s: Sequence[float] = PAUSES_S,
) -> InstalledModel:
    """Download a base model and install it, in place of the one that is there.

    Parameters
    ----------
    model
        Which.
    progress
        Is told how far the download is.
    mirror
        Address under which the file lies by its name, instead of its own place.
    unverified
        Take a file of any SHA-256 whose weights are those of the network.
    pauses_s
        Seconds to wait before each try after the first.

    Raises
    ------
    RtvcError
        If it cannot be downloaded, is another file, or cannot be written.
    """
    url = f"{mirror.rstrip('/')}/{model.file}" if mirror else model.url
    if not unverified:
        require_space(model.size, f"the {model.title}")
    expected = {} if unverified else {"size": model.size, "sha256": model.sha256}
    fetched = download(url, progress, pauses_s=pauses_s, **expected)  # type: ignore[arg-type]
    with staging() as stage:
        named = stage / model.file
        named.symlink_to(fetched.path)
        try:
            if unverified:
                _read(model.kind, named)
        except RtvcError:
            discard(url)
            raise
        # A rename: what was downloaded is not written a second time.
        folder = stage / "model"
        folder.mkdir()
        shutil.move(fetched.path, folder / model.file)
        discard(url)
        return _install(model.kind, folder, stage, model.file, without_secrets(url))


def install_from_folder(kind: str, place: Path) -> InstalledModel:
    """Install a base model from a folder or file, in place of the one that is there.

    A file with a known SHA-256 is taken first; of others the weights are compared with what the
    network needs.

    Parameters
    ----------
    kind
        A known one, or the name of another content encoder.
    place
        A file, or a folder that is searched with all that is below it for the usual names.

    Raises
    ------
    UsageError
        If there is nothing of a usual name.
    RtvcError
        If nothing there is this network, or it cannot be written.
    """
    candidates = _candidates(kind, place)
    if not candidates:
        raise UsageError(f"{place} holds no {title_of(kind)}{_looked_for(kind)}.")
    reasons = []
    for candidate in candidates[:_MAX_TRIED]:
        try:
            return _install_copy(kind, candidate)
        except _UnfitError as error:
            reasons.append(str(error))
    raise RtvcError(f"No file in {place} is the {title_of(kind)}. {' '.join(reasons[:3])}")


class _UnfitError(RtvcError):
    """A candidate is not the network that it was taken for."""


def _install_copy(kind: str, candidate: _Candidate) -> InstalledModel:
    path = candidate.path
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _UnfitError(f"Cannot open {path.name}: {error.strerror}.") from None
    require_space(size, f"the {title_of(kind)}")
    with staging() as stage:
        folder = stage / "model"
        folder.mkdir()
        name = names.safe(path.name)
        copy_file(path, folder / name)
        if candidate.config is not None:
            copy_file(candidate.config, folder / _SETTINGS_FILE)
        # Of the copy, so that what is installed is what was looked at.
        model = BASE_MODELS.get(kind)
        if model is None or not model.knows(size, _digest(folder / name)):
            try:
                _read(kind, folder / name)
            except RtvcError as error:
                raise _UnfitError(str(error)) from None
        return _install(kind, folder, stage, name, printable(str(path), 400))


def _read(kind: str, path: Path) -> None:
    """Compare the weights in a file with what the network needs."""
    if kind == "rmvpe":
        read_rmvpe(path)
    elif kind == "fcpe":
        read_fcpe(path)
    else:
        read_content_encoder(path)


def _install(kind: str, folder: Path, stage: Path, name: str, source: str) -> InstalledModel:
    size, sha256 = (folder / name).stat().st_size, _digest(folder / name)
    model = BASE_MODELS.get(kind)
    known = model is not None and model.knows(size, sha256)
    installed = InstalledModel(kind, name, source, size, sha256, known)
    write_manifest(folder, installed)
    target = models_folder() / kind
    replaced = stage / "replaced"
    if target.exists():
        target.rename(replaced)
    try:
        publish(folder, target)
    except BaseException:
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        raise
    return installed


def _candidates(kind: str, place: Path) -> list[_Candidate]:
    """Return the files that may hold a base model, the likeliest first."""
    if place.is_file():
        return [_candidate(place)]
    if not place.is_dir():
        raise UsageError(f"There is no folder {str(place)!r}.")
    model = BASE_MODELS.get(kind)
    sizes = {model.size, *(size for size, _ in model.others)} if model else set()
    found: list[tuple[bool, int, Path]] = []
    count = 0
    for folder, folders, file_names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        count += len(file_names)
        if count > _MAX_FILES:
            raise UsageError(f"{place} holds more than {_MAX_FILES} files; name a smaller folder.")
        for name in sorted(file_names):
            path = Path(folder, name)
            if _fits(kind, path, place) and path.is_file():
                found.append((path.stat().st_size not in sizes, len(path.parts), path))
    return [_candidate(path) for _, _, path in sorted(found)]


def _candidate(path: Path) -> _Candidate:
    # Only in the layout of Hugging Face a config.json beside the weights is about them.
    config = path.parent / _SETTINGS_FILE
    paired = path.suffix in (".bin", ".safetensors") and config.is_file()
    return _Candidate(path, config if paired else None)


def _fits(kind: str, path: Path, place: Path) -> bool:
    """Return whether a file's name is one under which a base model is known."""
    stem, suffix = names.key(path.stem), path.suffix.lower()
    if suffix not in _WEIGHTS or path.name.startswith("."):
        return False
    if kind in ("rmvpe", "fcpe"):
        return stem.startswith(kind) and suffix != ".bin"
    folder = names.key(path.parent.name)
    in_folder = names.key(path.name) in _FILES_OF_A_FOLDER
    if in_folder and path.parent == place:
        return True  # The folder itself was named: it is this encoder, whatever it is called.
    if kind == "contentvec":
        return folder in _CONTENTVEC_FOLDERS if in_folder else stem in _CONTENTVEC_STEMS
    return kind_of(folder) == kind if in_folder else kind_of(stem) == kind


def _looked_for(kind: str) -> str:
    if kind == "contentvec":
        return " (such as hubert_base.pt, or a folder contentvec with pytorch_model.bin)"
    if kind in BASE_MODELS:
        return f" (a file such as {BASE_MODELS[kind].file})"
    return f" (a folder {kind} with config.json and pytorch_model.bin)"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
