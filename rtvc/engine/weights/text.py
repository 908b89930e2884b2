"""Text that comes out of other people's files, made safe to show in a terminal."""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, limit: int = 80) -> str:
    """Return `text` on one line, without control characters, at most `limit` characters long.

    Control, format (bidirectional overrides, zero-width), surrogate, private and unassigned
    characters are dropped, so that no escape sequence reaches the terminal.
    """
    # A generous slice first: the cost must not grow with what a hostile file holds.
    words = "".join(
        " " if c.isspace() else c
        for c in text[: 8 * limit]
        if c.isspace() or unicodedata.category(c) not in _HIDDEN
    ).split()
    line = " ".join(words)
    return line if len(line) <= limit else line[: limit - 1] + "…"
