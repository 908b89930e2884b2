"""Values of a parameter, of which most are left to the thorough runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def more(values: Iterable[Any], keep: int = 1) -> list[Any]:
    """Return the values for ``parametrize``, all after the first `keep` marked as thorough.

    Values of several names are tuples.
    """
    marked: list[Any] = []
    for number, value in enumerate(values):
        each = value if isinstance(value, tuple) else (value,)
        marked.append(value if number < keep else pytest.param(*each, marks=pytest.mark.thorough))
    return marked
