"""Whether two paths lead to one file, also on a disk that ignores case, as most Macs have."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from rtvc.system.unicode_names import comparison_key


def path_key(path: str | Path) -> str:
    """Return a key that is equal for all paths of one file, whether it exists or not.

    Links are followed. Where the disk ignores case, so does the key, and it ignores Unicode
    normalization too.
    """
    real = os.path.realpath(path)  # unlike Path.resolve, it accepts links in a circle
    if not _ignores_case(os.path.dirname(real)):
        return real
    return comparison_key(real)


@cache
def _ignores_case(folder: str) -> bool:
    """Return whether a folder is found by its name in the other case, or would be."""
    parent, name = os.path.split(folder)
    other = os.path.join(parent, name.swapcase())
    if other == folder or not os.path.exists(folder):
        return parent != folder and _ignores_case(parent)
    return os.path.exists(other) and os.path.samefile(folder, other)
