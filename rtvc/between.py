"""The name of what lies between two voices, which `find_voice` takes like that of a voice."""

from __future__ import annotations

import re

_NAME = re.compile(r"(.+) > (.+) ([01]\.\d)", re.DOTALL)


def name_between(first: str, second: str, share: float) -> str:
    """Return the name of the voice between two others.

    Parameters
    ----------
    first, second
        Names of voices. Those of installed voices contain no ``>``.
    share
        Position between them: 0 is the first voice, 1 the second one; a multiple of 0.1.
    """
    return f"{first} > {second} {share:.1f}"


def parts_between(name: str) -> tuple[str, str, float] | None:
    """Return what `name_between` was given, or None if the name is that of one voice."""
    found = _NAME.fullmatch(name)
    return None if found is None else (found[1], found[2], float(found[3]))
