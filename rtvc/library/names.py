"""Names of voices: validation, comparison, and suggestions from file names."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

from rtvc.errors import UsageError
from rtvc.settings import BUILT_IN
from rtvc.system.unicode_names import comparison_key, normalized

VOICE_SUFFIXES = (".pth", ".safetensors")
"""Suffixes of files with a voice; a text that ends in one is a path and never a name."""

MAX_LENGTH = 80
MAX_BYTES = 200
_LONGEST_SUFFIX = 12
"""Characters of a suffix; the text behind the last point of a longer one belongs to the name."""

_FORBIDDEN = frozenset('/\\:*?"<>|')
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# RVC writes Anna_e200_s4000, Applio Anna_200e_4000s and Anna_200e_4000s_best_epoch.
_TRAINING_SUFFIX = re.compile(
    r"[ _-]+(?:e\d+|\d+e)(?:[ _-]+(?:s\d+|\d+s))?(?:[ _-]best[ _-]epoch)?$", re.IGNORECASE
)
_GENERIC_STEM = re.compile(
    r"(?:pytorch[ _-]?)?(?:model|voice|weights?|final|best|download|infer|"
    r"(?:f0)?[GD](?:\d+k)?)(?:[ _-]?\d+)?",
    re.IGNORECASE,
)


def is_path(name: str) -> bool:
    """Return whether ``Settings.voice`` is the path of a file or folder, not an installed voice."""
    return "/" in name or name.lower().endswith(VOICE_SUFFIXES)


def absolute(name: str) -> str:
    """Return a voice as typed, with a path that leads to the same file from every folder.

    It is remembered and saved in presets.
    """
    if not is_path(name) or name.startswith("~"):
        return name
    return str(Path(name).absolute())


def validated_name(name: str) -> str:
    """Return a name in NFC and with single spaces.

    Raises
    ------
    UsageError
        If it cannot be the name of a folder, or is the name of the built-in voice.
    """
    tidy = " ".join(normalized(name).split())
    bad = [c for c in tidy if c in _FORBIDDEN or unicodedata.category(c) in _UNPRINTABLE]
    if bad or not tidy or tidy[0] in ".-" or tidy[-1] == ".":
        raise UsageError(
            f"{name!r} cannot be the name of a voice; use letters, digits, spaces, '-' and '_', "
            "and do not begin with '.' or '-'."
        )
    if len(tidy) > MAX_LENGTH or len(tidy.encode()) > MAX_BYTES:
        raise UsageError(
            f"The name {tidy[:20]!r}… is too long; use at most {MAX_LENGTH} characters."
        )
    if tidy.lower().endswith(VOICE_SUFFIXES):
        raise UsageError(f"{tidy!r} is a file name; leave out the suffix.")
    if comparison_key(tidy) == comparison_key(BUILT_IN):
        raise UsageError(f"{tidy!r} is the name of the built-in voice; choose another one.")
    return tidy


def suggested_name(stem: str, container: str = "") -> str:
    """Return the name that a weights file suggests, safe as the name of a folder.

    Parameters
    ----------
    stem
        Name of the file without its suffix.
    container
        Name of the archive or folder of the file, used if `stem` is generic, such as ``model``
        or ``G_2333``.
    """
    if container and (_GENERIC_STEM.fullmatch(stem) or not sanitized(stem)):
        stem = container
    name = sanitized(stem)
    while name.lower().endswith(VOICE_SUFFIXES):
        name = sanitized(name.rpartition(".")[0])
    return name or "voice"


def distinct(suggested: list[str]) -> list[str]:
    """Return suggested names with a number behind each that an earlier one equals."""
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    found = []
    for name in suggested:
        unique = name
        while comparison_key(unique) in taken:
            numbers[comparison_key(name)] += 1
            number = f" {numbers[comparison_key(name)] + 1}"
            unique = _shortened(name, MAX_LENGTH - len(number), MAX_BYTES - len(number)) + number
        taken.add(comparison_key(unique))
        found.append(unique)
    return found


def without_training_suffix(stem: str) -> str:
    """Return a file's stem without the epoch and step that training programs append."""
    return _TRAINING_SUFFIX.sub("", stem) or stem


def sanitized(text: str) -> str:
    """Return a text without the characters that a name cannot contain; may be empty.

    A forbidden character becomes ``_``; unprintable ones are dropped.
    """
    kept = "".join(
        "_" if c in _FORBIDDEN else " " if c.isspace() else c
        for c in normalized(text)[: 4 * MAX_LENGTH]
        if c.isspace() or unicodedata.category(c) not in _UNPRINTABLE
    )
    return _shortened(" ".join(kept.split()).lstrip(".- "), MAX_LENGTH, MAX_BYTES)


def _shortened(name: str, characters: int, size: int) -> str:
    name = name[:characters]
    while len(name.encode()) > size:
        name = name[:-1]
    return name.rstrip(". ")


def sanitized_file_name(text: str) -> str:
    """Return a file name without forbidden characters, shortened before its suffix."""
    name = sanitized(text)
    stem, _, suffix = text.rpartition(".")
    if not stem or len(suffix) > _LONGEST_SUFFIX or name.endswith(f".{suffix}"):
        return name
    return f"{sanitized(stem)}.{sanitized(suffix)}"
