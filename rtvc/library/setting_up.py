"""Install base models: from their published URL, a mirror, or a folder."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rtvc.engine.weights.content_encoder import read_content_encoder
from rtvc.engine.weights.fcpe import read_fcpe
from rtvc.engine.weights.rmvpe import read_rmvpe
from rtvc.engine.weights.text import printable
from rtvc.errors import RtvcError, UsageError
from rtvc.library import names
from rtvc.library.addresses import file_in, without_query
from rtvc.library.base_models import (
    BASE_MODELS,
    BaseModel,
    InstalledModel,
    model_kind,
    model_title,
    refuse_newer,
    write_manifest,
)
from rtvc.library.download import RETRY_DELAYS_S, ReportProgress, discard_download, download
from rtvc.library.home import (
    copy_file,
    models_folder,
    move_into_place,
    require_space,
    staging_folder,
    unreadable_path,
)
from rtvc.system.unicode_names import comparison_key

_WEIGHTS_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
_CONFIG_FILE = "config.json"
_WEIGHTS_IN_FOLDER = ("pytorch_model.bin", "model.safetensors")
_MAX_FILES = 50_000
_MAX_TRIED = 8
# Names of the files and folders with ContentVec in RVC, Applio and other programs.
_CONTENTVEC_STEMS = frozenset(
    {"hubert_base", "contentvec", "contentvec_base", "content-vec-best", "content_vec_500"}
)
_CONTENTVEC_FOLDERS = frozenset(
    {"hubert_base", "contentvec", "content-vec-best", "contentvec-500", "hubert"}
)


@dataclass(frozen=True, slots=True)
class _ModelFile:
    """A weights file that may be a base model, and the ``config.json`` next to it, if any."""

    path: Path
    config: Path | None


def install_from_url(
    model: BaseModel,
    progress: ReportProgress,
    *,
    mirror: str = "",
    unverified: bool = False,
    retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
) -> InstalledModel:
    """Download and install a base model; replaces an installed one.

    Parameters
    ----------
    model
        The model to install.
    progress
        Called with the progress of the download; see `ReportProgress`.
    mirror
        URL of a folder with a file of the same name; "" for the published URL.
    unverified
        Accept a file with any SHA-256 if the names and shapes of its weights are right.
    retry_delays_s
        Seconds to wait before each attempt after the first.

    Raises
    ------
    RtvcError
        If it cannot be downloaded, is a different file, or cannot be written, or if a newer
        version of rtvc has installed the present one.
    """
    refuse_newer(model.kind)
    url = file_in(mirror, model.file) if mirror else model.url
    if not unverified:
        require_space(model.size, f"the {model.title}")
    fetching = download(
        url,
        progress,
        retry_delays_s=retry_delays_s,
        size=None if unverified else model.size,
        sha256="" if unverified else model.sha256,
    )
    with fetching as fetched, staging_folder() as stage:
        # A rename, so that the file is not written a second time.
        folder = stage / "model"
        folder.mkdir()
        fetched.path.rename(folder / model.file)
        discard_download(url)
        if unverified:
            _check_weights(model.kind, folder / model.file)
        return _install(model.kind, folder, stage, model.file, without_query(url))


def install_from_folder(kind: str, source: Path) -> InstalledModel:
    """Install a base model from a folder or file; replaces an installed one.

    Files with the size of a published file are tried first. A file with another SHA-256 is
    accepted if the names and shapes of its weights are right.

    Parameters
    ----------
    kind
        A key of `BASE_MODELS`, or the name of another content encoder.
    source
        A file, or a folder to search, with its subfolders, for the usual file names.

    Raises
    ------
    UsageError
        If no file has a usual name.
    RtvcError
        If no file is this network, or it cannot be written, or if a newer version of rtvc has
        installed the present one.
    """
    refuse_newer(kind)
    model_files = _find_model_files(kind, source)
    if not model_files:
        raise UsageError(f"{source} holds no {model_title(kind)}{_expected_files(kind)}.")
    reasons = []
    for model_file in model_files[:_MAX_TRIED]:
        try:
            return _install_copy(kind, model_file)
        except _WrongNetworkError as error:
            reasons.append(str(error))
    raise RtvcError(f"No file in {source} is the {model_title(kind)}. {' '.join(reasons[:3])}")


class _WrongNetworkError(RtvcError):
    """A file with the name of a base model is not that network."""


def _install_copy(kind: str, model_file: _ModelFile) -> InstalledModel:
    path = model_file.path
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _WrongNetworkError(f"Cannot open {path.name}: {error.strerror}.") from None
    require_space(size, f"the {model_title(kind)}")
    with staging_folder() as stage:
        folder = stage / "model"
        folder.mkdir()
        name = names.sanitized(path.name)
        copy_file(path, folder / name)
        if model_file.config is not None:
            copy_file(model_file.config, folder / _CONFIG_FILE)
        # Check the copy, so that the checked file is the installed one.
        model = BASE_MODELS.get(kind)
        if model is None or not model.matches(size, _sha256(folder / name)):
            try:
                _check_weights(kind, folder / name)
            except RtvcError as error:
                raise _WrongNetworkError(str(error)) from None
        return _install(kind, folder, stage, name, printable(str(path), 400))


def _check_weights(kind: str, path: Path) -> None:
    """Raise `RtvcError` if a file does not contain the weights of the network."""
    if kind == "rmvpe":
        read_rmvpe(path)
    elif kind == "fcpe":
        read_fcpe(path)
    else:
        read_content_encoder(path)


def _install(kind: str, folder: Path, stage: Path, name: str, source: str) -> InstalledModel:
    size, sha256 = (folder / name).stat().st_size, _sha256(folder / name)
    model = BASE_MODELS.get(kind)
    known = model is not None and model.matches(size, sha256)
    installed = InstalledModel(kind, name, source, size, sha256, known)
    write_manifest(folder, installed)
    target = models_folder() / kind
    replaced = stage / "replaced"
    with suppress(FileNotFoundError):
        target.rename(replaced)
    try:
        move_into_place(folder, target)
    except FileExistsError:
        raise RtvcError(
            f"Another rtvc process has installed the {model_title(kind)} at the same time. "
            "'rtvc setup --list' checks it."
        ) from None
    except BaseException:
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        raise
    return installed


def _find_model_files(kind: str, source: Path) -> list[_ModelFile]:
    """Return the files that may be a base model, the likeliest first."""
    if source.is_file():
        return [_with_config(source)]
    if not source.is_dir():
        raise UsageError(f"There is no folder {str(source)!r}.")
    model = BASE_MODELS.get(kind)
    sizes = {model.size, *(size for size, _ in model.other_files)} if model else set()
    found: list[tuple[bool, int, Path]] = []
    locked: list[OSError] = []
    count = 0
    for folder, folders, file_names in os.walk(source, onerror=locked.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        count += len(file_names)
        if count > _MAX_FILES:
            raise UsageError(f"{source} holds more than {_MAX_FILES} files; give a smaller folder.")
        for name in sorted(file_names):
            path = Path(folder, name)
            if not _name_matches(kind, path, source):
                continue
            try:
                facts = path.stat()
            except PermissionError as error:
                locked.append(error)
                continue
            except OSError:  # such as a link to nothing
                continue
            if stat.S_ISREG(facts.st_mode):
                found.append((facts.st_size not in sizes, len(path.parts), path))
    if locked and not found:
        raise unreadable_path(locked[0])
    return [_with_config(path) for _, _, path in sorted(found)]


def _with_config(path: Path) -> _ModelFile:
    # Only in Hugging Face's layout does a config.json next to the weights describe them.
    config = path.parent / _CONFIG_FILE
    paired = path.suffix in (".bin", ".safetensors") and config.is_file()
    return _ModelFile(path, config if paired else None)


def _name_matches(kind: str, path: Path, source: Path) -> bool:
    """Return whether a file has a usual name of a base model."""
    stem, suffix = comparison_key(path.stem), path.suffix.lower()
    if suffix not in _WEIGHTS_SUFFIXES or path.name.startswith("."):
        return False
    if kind in ("rmvpe", "fcpe"):
        return stem.startswith(kind) and suffix != ".bin"
    folder = comparison_key(path.parent.name)
    in_folder = comparison_key(path.name) in _WEIGHTS_IN_FOLDER
    if in_folder and path.parent == source:
        return True  # the user gave this folder, so it is this encoder whatever its name
    if kind == "contentvec":
        return folder in _CONTENTVEC_FOLDERS if in_folder else stem in _CONTENTVEC_STEMS
    return model_kind(folder) == kind if in_folder else model_kind(stem) == kind


def _expected_files(kind: str) -> str:
    if kind == "contentvec":
        return " (such as hubert_base.pt, or a folder contentvec with pytorch_model.bin)"
    if kind in BASE_MODELS:
        return f" (a file such as {BASE_MODELS[kind].file})"
    return f" (a folder {kind} with config.json and pytorch_model.bin)"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
