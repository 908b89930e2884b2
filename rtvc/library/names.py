"""Names of voices: what may be one, and which one a file suggests."""

from __future__ import annotations

import re
import unicodedata

from rtvc.errors import UsageError
from rtvc.settings import BUILT_IN

VOICE_SUFFIXES = (".pth", ".safetensors")
"""Of files with a voice; what ends so is a path and never a name."""

MAX_LENGTH = 80
MAX_BYTES = 200

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
    """Return whether ``Settings.voice`` means a file or folder rather than an installed voice."""
    return "/" in name or name.lower().endswith(VOICE_SUFFIXES)


def normalized(name: str) -> str:
    """Return a name in the one spelling of its accents that rtvc uses (NFC)."""
    return unicodedata.normalize("NFC", name)


def comparison_key(name: str) -> str:
    """Return what two names share when they are the same voice.

    Most disks of macOS do not tell upper case from lower, nor one spelling of an accent from
    another, so names that differ only in these are one name everywhere.
    """
    return normalized(normalized(name).casefold())


def validated_name(name: str) -> str:
    """Return a name that a person gave, tidied.

    Raises
    ------
    UsageError
        If it cannot be the name of a folder, or is that of the built-in voice.
    """
    tidy = " ".join(normalized(name).split())
    bad = [c for c in tidy if c in _FORBIDDEN or unicodedata.category(c) in _UNPRINTABLE]
    if bad or not tidy or tidy[0] in ".-" or tidy[-1] == ".":
        raise UsageError(
            f"{name!r} cannot be the name of a voice; use letters, digits, spaces, '-' and '_', "
            "and do not begin with '.' or '-'."
        )
    if len(tidy) > MAX_LENGTH or len(tidy.encode()) > MAX_BYTES:
        raise UsageError(f"The name {tidy[:20]!r}… is too long; use at most {MAX_LENGTH} letters.")
    if tidy.lower().endswith(VOICE_SUFFIXES):
        raise UsageError(f"{tidy!r} is a name for files; leave out its ending.")
    if comparison_key(tidy) == comparison_key(BUILT_IN):
        raise UsageError(f"{tidy!r} is the name of the built-in voice; choose another one.")
    return tidy


def suggested_name(stem: str, container: str = "") -> str:
    """Return the name that a file of weights suggests, safe as the name of a folder.

    Parameters
    ----------
    stem
        Name of the file without its suffix.
    container
        Name of the archive or folder around it, which serves where the file's says nothing
        (``model``, ``G_2333``).
    """
    if container and (_GENERIC_STEM.fullmatch(stem) or not sanitized(stem)):
        stem = container
    name = sanitized(stem)
    while name.lower().endswith(VOICE_SUFFIXES):
        name = sanitized(name.rpartition(".")[0])
    return name or "voice"


def without_training_suffix(stem: str) -> str:
    """Return a file's name without the epoch and step that training programs append."""
    return _TRAINING_SUFFIX.sub("", stem) or stem


def sanitized(text: str) -> str:
    """Return any text as a name: what cannot stay becomes '_' or is dropped; it may be empty."""
    kept = "".join(
        "_" if c in _FORBIDDEN else " " if c.isspace() else c
        for c in normalized(text)[: 4 * MAX_LENGTH]
        if c.isspace() or unicodedata.category(c) not in _UNPRINTABLE
    )
    name = " ".join(kept.split()).lstrip(".- ")[:MAX_LENGTH]
    while len(name.encode()) > MAX_BYTES:
        name = name[:-1]
    return name.rstrip(". ")
