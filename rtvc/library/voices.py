"""The voices that are installed: find, list, remove, restore and rename them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtvc.errors import RtvcError, UsageError, nearest
from rtvc.library import names
from rtvc.library.home import explain_write_errors, move_into_place, removed_folder, voices_folder
from rtvc.settings import BUILT_IN

"""Voices that need no files."""

WEIGHTS_FILE = "voice.safetensors"
INDEX_FILE = "voice.index"
MANIFEST_FILE = "voice.json"

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
        Hz.
    uses_pitch
        Whether it was trained with pitch.
    speakers
        How many it has.
    vocoder
        ``"HiFi-GAN"``, ``"MRF HiFi-GAN"`` or ``"RefineGAN"``.
    embedder
        Name of the content encoder that it was trained with.
    info
        What its author wrote into it, printable.
    source
        Name of the file that it came from, or how it was made.
    source_sha256
        Of that file, "" for a voice without one.
    origin
        Address that it was downloaded from, without what may be secret in it; "" if from a disk.
    index
        Name of the index's file as it came, "" without an index.
    index_vectors
        How many training features the index holds.
    added
        When, in ISO 8601.
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
        As in ``Settings.voice``.
    folder
        Where its files are.
    manifest
        What is known of it.
    """

    name: str
    folder: Path
    manifest: Manifest

    @property
    def path(self) -> Path:
        """The weights, for ``read_voice_checkpoint``."""
        return self.folder / WEIGHTS_FILE

    @property
    def index(self) -> Path | None:
        """The faiss index, None where the voice has none."""
        return self.folder / INDEX_FILE if self.manifest.index else None

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir() if file.is_file())


def installed_voice(name: str) -> InstalledVoice:
    """Return the installed voice of that name; upper and lower case are the same.

    Raises
    ------
    UsageError
        If there is none; the nearest name is given.
    RtvcError
        If its folder is damaged.
    """
    folder = find_folder(voices_folder(), name)
    if folder is None:
        raise UsageError(f"There is no voice {name!r}{_hint(name)}")
    return _read(folder)


def list_voices() -> tuple[list[InstalledVoice], list[str]]:
    """Return the installed voices by name, and a sentence about each that is damaged."""
    voices, problems = [], []
    for folder in _folders(voices_folder()):
        try:
            voices.append(_read(folder))
        except RtvcError as error:
            problems.append(str(error))
    return voices, problems


def list_removed() -> list[str]:
    """Return the names under which removed voices can be restored."""
    return [names.normalized(folder.name) for folder in _folders(removed_folder())]


def remove_voice(name: str, *, forever: bool = False) -> str:
    """Take a voice out of the library.

    Parameters
    ----------
    name
        An installed voice; with `forever` also one that was removed before.
    forever
        Delete its files instead of keeping them for `restore_voice`.

    Returns
    -------
    str
        The name under which it can be restored, "" if it cannot.

    Raises
    ------
    UsageError
        If there is none of that name.
    RtvcError
        If the files cannot be moved or deleted.
    """
    folder = find_folder(voices_folder(), name)
    if folder is None and forever:
        folder = find_folder(removed_folder(), name)
    if folder is None:
        raise UsageError(f"There is no voice {name!r}{_hint(name)}")
    with explain_write_errors():
        kept = _move_aside(folder)
        if not forever:
            return kept
        shutil.rmtree(removed_folder() / kept)
        return ""


def restore_voice(name: str, new_name: str | None = None) -> str:
    """Bring a removed voice back, under its own or another name, which is returned.

    Raises
    ------
    UsageError
        If there is no removed voice of that name, or the name is taken meanwhile.
    RtvcError
        If the files cannot be moved.
    """
    folder = find_folder(removed_folder(), name)
    if folder is None:
        there = list_removed()
        near = nearest(name, there)
        hint = f"nearest: {near}" if near else "none can be restored"
        raise UsageError(f"There is no removed voice {name!r}; {hint}.")
    target = available_name(
        new_name or names.normalized(folder.name), "--name gives it another name"
    )
    _move(folder, target)
    return target


def rename_voice(old: str, new: str) -> str:
    """Give a voice another name, which is returned tidied.

    Raises
    ------
    UsageError
        If there is no such voice, or the name is taken or not possible.
    RtvcError
        If the folder cannot be moved.
    """
    folder = find_folder(voices_folder(), old)
    if folder is None:
        raise UsageError(f"There is no voice {old!r}{_hint(old)}")
    same = names.comparison_key(old) == names.comparison_key(new)
    target = names.validated_name(new) if same else available_name(new, "choose another name")
    if folder.name != target:
        _move(folder, target)
    return target


def available_name(name: str, advice: str) -> str:
    """Return a name tidied, if no voice has it yet.

    Raises
    ------
    UsageError
        If one has, with the advice; or if it cannot be a name.
    """
    tidy = names.validated_name(name)
    if find_folder(voices_folder(), tidy) is not None:
        raise UsageError(f"There is a voice {tidy!r} already; {advice}.")
    return tidy


def find_folder(parent: Path, name: str) -> Path | None:
    """Return the folder of that name in `parent`, None if there is none."""
    wanted = names.comparison_key(name)
    return next((f for f in _folders(parent) if names.comparison_key(f.name) == wanted), None)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write what is known of a voice into its folder."""
    facts = {"format": _FORMAT, **dataclasses.asdict(manifest)}
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")


def _move_aside(folder: Path) -> str:
    """Move a voice to the removed ones, under its name or a numbered one."""
    number, name = 1, names.normalized(folder.name)
    while True:
        kept = name if number == 1 else f"{name} {number}"
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
            raise UsageError(f"There is a voice {name!r} already.") from None


def _folders(parent: Path) -> Iterator[Path]:
    """Folders of voices: those whose names could be a voice's."""
    try:
        folders = sorted(parent.iterdir(), key=lambda folder: names.comparison_key(folder.name))
    except OSError:
        return  # there is none, or none that may be read
    for folder in folders:
        if folder.is_dir() and names.sanitized(folder.name) == names.normalized(folder.name):
            yield folder


def _read(folder: Path) -> InstalledVoice:
    name = names.normalized(folder.name)
    try:
        with (folder / MANIFEST_FILE).open("rb") as file:
            facts = json.loads(file.read(_MAX_MANIFEST_BYTES))
        voice = InstalledVoice(name, folder, _manifest(facts))
        for needed in (voice.path, voice.index):
            if needed is not None and not needed.is_file():
                raise ValueError(f"{needed.name} is missing")
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RtvcError(
            f"The voice {name!r} is damaged ({MANIFEST_FILE}: {reason}); remove it with "
            f"'rtvc voices remove' and add it again."
        ) from None
    return voice


def _manifest(facts: Any) -> Manifest:
    if not isinstance(facts, dict) or facts.pop("format", None) != _FORMAT:
        raise ValueError("it is of another version of rtvc")
    kinds = {"str": str, "int": int, "bool": bool, "dict[str, str]": dict}
    fields = dataclasses.fields(Manifest)
    if facts.keys() != {f.name for f in fields} or any(
        type(facts[f.name]) is not kinds[str(f.type)] for f in fields
    ):
        raise ValueError("it does not say what it should")
    if any(type(text) is not str for text in facts["info"].values()):
        raise ValueError("it does not say what it should")
    return Manifest(**facts)


def _hint(name: str) -> str:
    there = [BUILT_IN, *(names.normalized(folder.name) for folder in _folders(voices_folder()))]
    by_key = {names.comparison_key(one): one for one in there}
    near = by_key[nearest(names.comparison_key(name), by_key)]
    return f"; nearest: {near}. 'rtvc voices' lists all."
