"""Find the voices in a folder, and the index of each."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rtvc.errors import RtvcError, UsageError
from rtvc.library import names
from rtvc.library.archives import is_ignored
from rtvc.library.home import unreadable_path
from rtvc.system.unicode_names import comparison_key

INDEX_SUFFIX = ".index"
SUFFIXES = (*names.VOICE_SUFFIXES, INDEX_SUFFIX)

FEATURE_WIDTHS = {"v1": 256, "v2": 768}
"""Width of the content features by RVC version."""
_MAX_FILES = 20_000
_INDEX = re.compile(r"(?:added|trained)_(?:IVF\d+_Flat_nprobe_\d+_)?", re.IGNORECASE)
_VERSION = re.compile(r"_v[12]$", re.IGNORECASE)
_DISCRIMINATOR = re.compile(r"(?:f0)?D(?:\d+k)?(?:_\d+)?", re.IGNORECASE)
_GENERATOR = re.compile(r"(?:f0)?G(?:\d+k)?(?:_\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FoundVoice:
    """The files of a voice that can be added.

    Attributes
    ----------
    path
        The weights file.
    index
        The index file of the voice, or None.
    name
        The name that the files suggest.
    origin
        URL that it was downloaded from, "" for a local file.
    notes
        Sentences about indexes that are not used.
    """

    path: Path
    index: Path | None
    name: str
    origin: str = ""
    notes: tuple[str, ...] = ()


def find_voices(folder: Path, container: str) -> list[FoundVoice]:
    """Return the voices in a folder and its subfolders, in the order of their paths.

    Parameters
    ----------
    folder
        The folder to search. Hidden files, links to folders and macOS metadata are skipped.
    container
        Name of the folder, or of the archive that it was unpacked from.

    Raises
    ------
    RtvcError
        If there is none; the message lists what the folder contains instead.
    UsageError
        If a voice matches more than one index.
    """
    from rtvc.engine.weights.recognise import WEIGHTS, FileKind, recognise

    files = _list_files(folder)
    kinds = {file: recognise(file) for file in files if file.name.lower().endswith(SUFFIXES)}
    weights = [file for file, kind in kinds.items() if kind in WEIGHTS]
    indexes = [file for file, kind in kinds.items() if kind is FileKind.INDEX]
    if not weights:
        descriptions = [
            f"{names.sanitized(file.name)} is {kind.value}" for file, kind in kinds.items()
        ]
        packed = [
            names.sanitized(file.name)
            for file in files
            if file.suffix.lower() in (".zip", ".rar", ".7z")
        ]
        if packed:
            descriptions.append(f"{packed[0]} is an archive inside it; unpack that one and add it")
        contents = (
            f": {'; '.join(descriptions[:3])}" if descriptions else " (no .pth and no .safetensors)"
        )
        raise RtvcError(f"{names.sanitized(container)} holds no voice{contents}.")
    voices = _without_training_files(weights)
    stems = _naming_stems(voices)
    belonging = _match_indexes(voices, indexes)
    unused = [index for index in indexes if index not in belonging.values()]
    note = (
        f"Indexes that belong to none of the voices by their names are not used: "
        f"{list_names(unused)}. To use one, add its voice with --index."
    )
    alone = container if len(voices) == 1 else ""
    suggested = [names.suggested_name(stems[voice], alone) for voice in voices]
    return [
        FoundVoice(
            voice,
            belonging[voice],
            name,
            notes=(note,) if unused and belonging[voice] is None else (),
        )
        for voice, name in zip(voices, names.distinct(suggested), strict=True)
    ]


def matching_indexes(voice: Path) -> list[Path]:
    """Return the indexes in the same folder that belong to a voice by its name.

    More than one only if the features of more than one, or of none, are as wide as the voice's.
    """
    from rtvc.engine.weights.recognise import FileKind, recognise

    found = [
        file
        for file in sorted(voice.parent.glob("*" + INDEX_SUFFIX))
        if os.path.isfile(file)  # unlike Path.is_file, it raises nothing
        and _voice_key(file) == _voice_key(voice)
        and recognise(file) is FileKind.INDEX
    ]
    fitting = _fitting(voice, found) if len(found) > 1 else []
    return fitting or found


def select_voice(found: list[FoundVoice], pick: str) -> list[FoundVoice]:
    """Return a list with the one voice whose name or file name is `pick`; its name counts first.

    Raises
    ------
    UsageError
        If no voice or more than one matches; the message lists all voices.
    """
    wanted = comparison_key(pick)
    chosen = [
        voice
        for voice in found
        if wanted
        in (
            comparison_key(voice.path.name),
            comparison_key(voice.path.stem),
            comparison_key(voice.name),
        )
    ]
    if len(chosen) > 1:
        chosen = [voice for voice in chosen if comparison_key(voice.name) == wanted] or chosen
    if len(chosen) == 1:
        return chosen
    if chosen:
        listed = ", ".join(voice.name for voice in chosen[:10])
        raise UsageError(
            f"More than one voice is called {pick!r}. Choose one by its name: {listed}."
        )
    listed = list_names(voice.path for voice in found)
    raise UsageError(f"No voice is called {pick!r}. Voices: {listed}.")


def list_names(paths: Iterable[Path]) -> str:
    """Return the names of the first ten files, and how many more there are."""
    shown = [names.sanitized(path.name) for path in paths]
    more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
    return ", ".join(shown[:10]) + more


def _list_files(folder: Path) -> list[Path]:
    found: list[Path] = []
    locked: list[OSError] = []
    count = 0
    for parent, folders, file_names in os.walk(folder, onerror=locked.append):
        folders[:] = sorted(name for name in folders if not is_ignored([name]))
        count += len(file_names)
        if count > _MAX_FILES:
            raise UsageError(
                f"{folder} holds more than {_MAX_FILES} files; give the folder of the voice itself."
            )
        found += [
            path
            for name in sorted(file_names)
            if not is_ignored([name]) and _is_file(path := Path(parent, name), locked)
        ]
    if locked and not found:
        raise unreadable_path(locked[0])
    return found


def _is_file(path: Path, locked: list[OSError]) -> bool:
    """Return whether a path is a file; one that may not be looked at is added to `locked`."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError as error:
        locked.append(error)
    except OSError:  # such as a link to nothing
        pass
    return False


def _without_training_files(weights: list[Path]) -> list[Path]:
    """Leave out discriminators and generators of a training, if there are other files."""
    for training in (_DISCRIMINATOR, _GENERATOR):
        weights = [f for f in weights if not training.fullmatch(f.stem)] or weights
    return weights


def _naming_stems(voices: list[Path]) -> dict[Path, str]:
    """Return the stem to name each voice after.

    Several checkpoints of one training keep their epochs and steps, so that the names differ.
    """
    bare = [comparison_key(names.without_training_suffix(voice.stem)) for voice in voices]
    counts = Counter(bare)
    return {
        voice: names.without_training_suffix(voice.stem) if counts[key] == 1 else voice.stem
        for voice, key in zip(voices, bare, strict=True)
    }


def _match_indexes(voices: list[Path], indexes: list[Path]) -> dict[Path, Path | None]:
    """Return the index of each voice, in linear time."""
    if len(voices) == 1 and len(indexes) == 1:
        return {voices[0]: indexes[0]}
    about: defaultdict[str, list[Path]] = defaultdict(list)
    in_folder: defaultdict[Path, list[Path]] = defaultdict(list)
    subjects = {_voice_key(voice) for voice in voices}
    for index in indexes:
        subject = _voice_key(index)
        about[subject].append(index)
        if subject not in subjects:
            in_folder[index.parent].append(index)
    together = Counter(voice.parent for voice in voices)
    found: dict[Path, Path | None] = {}
    for voice in voices:
        named = about[_voice_key(voice)]
        if len(named) > 1:
            named = [index for index in named if index.parent == voice.parent] or named
        if not named and together[voice.parent] == 1:
            # Many archives have one folder per voice, with an index of another name.
            named = in_folder[voice.parent]
        if not named and len(voices) == 1:
            named = indexes
        found[voice] = _only_index(voice, named)
    return found


def _only_index(voice: Path, named: list[Path]) -> Path | None:
    if len(named) > 1:
        fitting = _fitting(voice, named)
        named = fitting if len(fitting) == 1 else named
    if len(named) > 1:
        raise UsageError(
            f"{names.sanitized(voice.name)} matches more than one index: {list_names(named)}. "
            "Select one with --index; unpack an archive first."
        )
    return named[0] if named else None


def _fitting(voice: Path, indexes: list[Path]) -> list[Path]:
    """Return the indexes whose features are as wide as those of a voice."""
    from rtvc.engine.weights.checkpoint import read_voice_checkpoint
    from rtvc.engine.weights.ivf_flat_file import check_ivf_flat

    fitting = []
    with suppress(RtvcError):  # adding the voice gives the reason
        width = FEATURE_WIDTHS[read_voice_checkpoint(voice).version]
        for index in indexes:
            with suppress(RtvcError):
                if check_ivf_flat(index).width == width:
                    fitting.append(index)
    return fitting


def _voice_key(file: Path) -> str:
    """Return a voice's name from a file name, without the affixes of training programs."""
    stem = file.stem
    if file.suffix.lower() == INDEX_SUFFIX:
        stem = _VERSION.sub("", _INDEX.sub("", stem, count=1))
    stem = names.without_training_suffix(stem)
    return "".join(c for c in comparison_key(stem) if c.isalnum())
