"""File permissions as for an ordinary user, even if the tests run as root."""

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
    """Apply file permissions to this thread in the block, even for root."""
    if os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("on this system file permissions do not apply to root")
    # It changes only this thread's access to files.
    libc = ctypes.CDLL(None)
    libc.setfsuid(_NOBODY)
    try:
        yield
    finally:
        libc.setfsuid(0)
