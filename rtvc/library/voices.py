"""Installed voices: find, list, remove, restore and rename them."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtvc.errors import RtvcError, UsageError, did_you_mean
from rtvc.library import names
from rtvc.library.home import explain_write_errors, move_into_place, removed_folder, voices_folder
from rtvc.settings import BUILT_IN
from rtvc.system.permission import folder_problem, permission_advice
from rtvc.system.unicode_names import comparison_key, normalized

WEIGHTS_FILE = "voice.safetensors"
INDEX_FILE = "voice.index"
MANIFEST_FILE = "voice.json"
DEFAULTS_FILE = "defaults.yaml"
"""What the voice remembers; see `rtvc.library.voice_defaults`."""

_FORMAT = 1
_MAX_MANIFEST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of an installed voice without opening its weights.

    Attributes
    ----------
    version
        ``"v1"`` (256 content features) or ``"v2"`` (768).
    sample_rate
        Sample rate of the output in Hz.
    uses_pitch
        Whether it was trained with pitch.
    speakers
        Number of speakers.
    vocoder
        ``"HiFi-GAN"``, ``"MRF HiFi-GAN"`` or ``"RefineGAN"``.
    embedder
        Name of the content encoder that it was trained with.
    info
        The author's remarks in the file, without unprintable characters.
    source
        Name of the original file, or the recipe of a blend.
    source_sha256
        SHA-256 of the original file, "" for a blend.
    origin
        URL that it was downloaded from, without the query; "" for a local file.
    index
        Original name of the index file, "" without an index.
    index_vectors
        Number of vectors in the index.
    added
        Time of installation in ISO 8601.
    """

    version: str
    sample_rate: int
    uses_pitch: bool
    speakers: int
    vocoder: str
    embedder: str
    info: dict[str, str]
    source: str
    source_sha256: str
    origin: str
    index: str
    index_vectors: int
    added: str


@dataclass(frozen=True, slots=True)
class InstalledVoice:
    """An RVC voice in the library.

    Attributes
    ----------
    name
        Its name, as in ``Settings.voice``.
    folder
        The folder with its files.
    manifest
        Its properties.
    """

    name: str
    folder: Path
    manifest: Manifest

    @property
    def path(self) -> Path:
        """The weights file, for ``read_voice_checkpoint``."""
        return self.folder / WEIGHTS_FILE

    @property
    def index(self) -> Path | None:
        """The faiss index file, or None."""
        return self.folder / INDEX_FILE if self.manifest.index else None

    @property
    def size(self) -> int:
        """Size on disk in bytes."""
        return sum(file.stat().st_size for file in self.folder.iterdir() if file.is_file())


class _NewerFormatError(ValueError):
    """A manifest has a newer format than this version of rtvc reads."""


def installed_voice(name: str) -> InstalledVoice:
    """Return an installed voice by name, ignoring case.

    Raises
    ------
    UsageError
        If there is none; a similar name is suggested.
    RtvcError
        If its folder is damaged.
    """
    folder = find_folder(voices_folder(), name)
    if folder is None:
        raise _unknown(name)
    return _read(folder)


def list_voices() -> tuple[list[InstalledVoice], list[str]]:
    """Return the installed voices in the order of their names, and a sentence per problem."""
    voices, problems = [], []
    for folder in _folders(voices_folder()):
        try:
            voices.append(_read(folder))
        except RtvcError as error:
            problems.append(str(error))
    if problem := folder_problem(voices_folder()):
        problems.append(problem)
    return voices, problems


def list_removed() -> list[str]:
    """Return the names of the removed voices that can be restored."""
    return [normalized(folder.name) for folder in _folders(removed_folder())]


def remove_voice(name: str, *, forever: bool = False) -> str:
    """Remove a voice from the library.

    Parameters
    ----------
    name
        An installed voice; with `forever` also a removed one.
    forever
        Delete its files instead of keeping them for `restore_voice`.

    Returns
    -------
    str
        The name to restore it by, "" if it was deleted.

    Raises
    ------
    UsageError
        If there is no such voice.
    RtvcError
        If the files cannot be moved or deleted.
    """
    folder = find_removable(name, forever=forever)
    with explain_write_errors():
        kept = _move_aside(folder)
        if not forever:
            return kept
        aside = removed_folder() / kept
        if aside.is_symlink():  # what it leads to is not part of the library
            aside.unlink()
        else:
            shutil.rmtree(aside)
        return ""


def find_removable(name: str, *, forever: bool = False) -> Path:
    """Return the folder of an installed voice, with `forever` also of a removed one.

    Raises
    ------
    UsageError
        If there is no such voice.
    """
    folder = find_folder(voices_folder(), name)
    if folder is None and forever:
        folder = find_folder(removed_folder(), name)
    if folder is None:
        raise _unknown(name)
    return folder


def restore_voice(name: str, new_name: str | None = None) -> str:
    """Restore a removed voice, optionally under a new name; return the name.

    Raises
    ------
    UsageError
        If there is no such removed voice, they cannot be read, or the name is taken.
    RtvcError
        If the files cannot be moved.
    """
    folder = find_folder(removed_folder(), name)
    if folder is None:
        if problem := folder_problem(removed_folder()):
            raise UsageError(problem)
        available = list_removed()
        listed = (
            f"Removed voices: {', '.join(available)}." if available else "None can be restored."
        )
        hint = did_you_mean(name, available, listed)
        raise UsageError(f"There is no removed voice {name!r}. {hint}")
    target = available_name(new_name or normalized(folder.name), "--name gives it another name")
    _move(folder, target)
    return target


def rename_voice(old: str, new: str) -> str:
    """Rename a voice; return the new name as it was validated.

    Raises
    ------
    UsageError
        If there is no such voice, or the new name is taken or invalid.
    RtvcError
        If the folder cannot be moved.
    """
    folder = find_folder(voices_folder(), old)
    if folder is None:
        raise _unknown(old)
    same = comparison_key(old) == comparison_key(new)
    target = names.validated_name(new) if same else available_name(new, "choose another name")
    if folder.name != target:
        _move(folder, target)
    return target


def available_name(name: str, advice: str) -> str:
    """Return a validated name that no installed voice has.

    Parameters
    ----------
    name
        The name.
    advice
        What to do if it is taken, for the message.

    Raises
    ------
    UsageError
        If the name is taken or invalid.
    """
    tidy = names.validated_name(name)
    if find_folder(voices_folder(), tidy) is not None:
        raise UsageError(f"There is a voice {tidy!r} already; {advice}.")
    return tidy


def find_folder(parent: Path, name: str) -> Path | None:
    """Return the folder of the voice `name` in `parent`, or None.

    Of names that differ only in case, which older versions gave to removed voices, an equal one
    goes first.
    """
    wanted = comparison_key(name)
    found = [folder for folder in _folders(parent) if comparison_key(folder.name) == wanted]
    return min(found, key=lambda folder: normalized(folder.name) != normalized(name), default=None)


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Name the installed voice whose file cannot be used in the block.

    Raises
    ------
    RtvcError
        In place of the one about the file.
    """
    try:
        yield
    except RtvcError as error:
        if path.parent.parent != voices_folder() or not os.access(path, os.R_OK):
            raise
        raise RtvcError(
            f"The voice {path.parent.name!r} is damaged; remove it with 'rtvc voices remove' and "
            f"add it again. {error}"
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a voice's manifest into its folder."""
    facts = {"format": _FORMAT, **dataclasses.asdict(manifest)}
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")


def _move_aside(folder: Path) -> str:
    """Move a voice to the removed voices, with a number if its name is taken there."""
    number, name = 1, normalized(folder.name)
    while True:
        kept = name if number == 1 else f"{name} {number}"
        if find_folder(removed_folder(), kept) is not None:  # perhaps with another case
            number += 1
            continue
        try:
            move_into_place(folder, removed_folder() / kept)
        except FileExistsError:
            number += 1
        else:
            return kept


def _move(folder: Path, name: str) -> None:
    with explain_write_errors():
        try:
            move_into_place(folder, voices_folder() / name)
        except FileExistsError:
            raise UsageError(f"There is a voice {name!r} already; choose another name.") from None


def _folders(parent: Path) -> Iterator[Path]:
    """Yield the subfolders with a valid voice name, in the order of their names."""
    try:
        folders = sorted(parent.iterdir(), key=lambda folder: comparison_key(folder.name))
    except OSError:
        return  # it is missing or not readable
    for folder in folders:
        # Unlike Path.is_dir, it raises nothing where only the names may be read.
        if os.path.isdir(folder) and names.sanitized(folder.name) == normalized(folder.name):
            yield folder


def _read(folder: Path) -> InstalledVoice:
    name = normalized(folder.name)
    try:
        if (folder / MANIFEST_FILE).is_fifo():  # to open it would wait
            raise ValueError("it is a pipe, not a file")
        with (folder / MANIFEST_FILE).open("rb") as file:
            facts = json.loads(file.read(_MAX_MANIFEST_BYTES))
        voice = InstalledVoice(name, folder, _manifest(facts))
        for needed in (voice.path, voice.index):
            if needed is not None and not needed.is_file():
                raise ValueError(f"{needed.name} is missing")
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, _NewerFormatError):
            raise RtvcError(
                f"The voice {name!r} was installed by a newer version of rtvc. Update rtvc to use "
                "it."
            ) from None
        if isinstance(error, PermissionError):
            raise RtvcError(
                f"Cannot read the voice {name!r} in {folder}: {reason}.{permission_advice(error)}"
            ) from None
        raise RtvcError(
            f"The voice {name!r} is damaged ({MANIFEST_FILE}: {reason}); remove it with "
            f"'rtvc voices remove' and add it again."
        ) from None
    return voice


def _manifest(facts: Any) -> Manifest:
    if not isinstance(facts, dict):
        raise ValueError("it is no mapping")
    form = facts.pop("format", None)
    if type(form) is int and form > _FORMAT:
        raise _NewerFormatError
    if form != _FORMAT:
        raise ValueError(f"its format is {form!r} instead of {_FORMAT}")
    kinds = {"str": str, "int": int, "bool": bool, "dict[str, str]": dict}
    fields = dataclasses.fields(Manifest)
    if facts.keys() != {f.name for f in fields} or any(
        type(facts[f.name]) is not kinds[str(f.type)] for f in fields
    ):
        raise ValueError("its fields are not as expected")
    if any(type(text) is not str for text in facts["info"].values()):
        raise ValueError("its fields are not as expected")
    return Manifest(**facts)


def _unknown(name: str) -> UsageError:
    """Return the error for a name that no installed voice has."""
    if name == BUILT_IN:
        return UsageError(f"{BUILT_IN!r} is the built-in voice; choose an installed one.")
    if name.lower().endswith(".zip"):
        return UsageError(
            f"{name!r} is an archive, not an installed voice. Install it with "
            f"'rtvc voices add {shlex.quote(name)}'."
        )
    if problem := folder_problem(voices_folder()):
        return UsageError(problem)
    available = [BUILT_IN, *(normalized(folder.name) for folder in _folders(voices_folder()))]
    hint = did_you_mean(normalized(name), available, "'rtvc voices' lists all.")
    return UsageError(f"There is no voice {name!r}. {hint}")
