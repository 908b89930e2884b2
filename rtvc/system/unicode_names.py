"""Names that are the same whatever their Unicode form, and whatever their case."""

from __future__ import annotations

import unicodedata


def normalized(name: str) -> str:
    """Return a name in Unicode normalization form NFC.

    Some disks and programs of macOS store a letter and its accent as two characters.
    """
    return unicodedata.normalize("NFC", name)


def comparison_key(name: str) -> str:
    """Return a key that is equal for equivalent names.

    Most macOS disks ignore case and Unicode normalization in file names.
    """
    return normalized(normalized(name).casefold())
