"""Sanitises text from files for display in a terminal."""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, limit: int = 80) -> str:
    """Return `text` as one line of at most `limit` characters, without control characters.

    Control, format (bidirectional overrides, zero-width), surrogate, private and unassigned
    characters are dropped, so no escape sequence reaches the terminal.
    """
    # A slice first, so that the cost does not grow with the text of a hostile file.
    words = "".join(
        " " if c.isspace() else c
        for c in text[: 8 * limit]
        if c.isspace() or unicodedata.category(c) not in _HIDDEN
    ).split()
    line = " ".join(words)
    return line if len(line) <= limit else line[: limit - 1] + "…"
