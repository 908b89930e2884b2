"""Files as someone sees them who is not allowed everything, also where the tests run as root."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_NOBODY = 65_534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Let this thread be refused what the files' modes refuse while the block runs."""
    if os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("here root cannot be refused anything")
    # Of this thread only, and of nothing but its access to files.
    libc = ctypes.CDLL(None)
    libc.setfsuid(_NOBODY)
    try:
        yield
    finally:
        libc.setfsuid(0)
