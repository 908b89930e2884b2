"""Prepares MLX for the first voice: the device that you chose, and the self-test."""

from __future__ import annotations

import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rtvc.config.compute_file import VerdictFile, load_device
from rtvc.errors import RtvcError
from rtvc.system.mlx_environment import request_device, requested_device

if TYPE_CHECKING:
    from rtvc.engine.selftest.ladder import Step, Verdict

_under_test = threading.Event()


def self_test_notice() -> str:
    """Return a sentence while the device is tested, as before the first RVC voice, else ""."""
    return "Testing how this machine computes; needed once." if _under_test.is_set() else ""


def prepare_computing() -> Verdict:
    """Choose the device, and test it if that has not been done on this system.

    Call it before anything of MLX is imported.

    Raises
    ------
    UsageError
        If the chosen device is not there.
    RtvcError
        If MLX cannot be imported.
    """
    _request_device()
    with needs_mlx():
        from rtvc.engine.selftest.ladder import ensure_tested

    return ensure_tested(VerdictFile(), _under_test)


def check_computing() -> tuple[Verdict, list[Step]]:
    """Run the whole self-test, and keep its verdict for later runs.

    Raises
    ------
    UsageError
        If the chosen device is not there.
    RtvcError
        If MLX cannot be imported.
    """
    _request_device()
    with needs_mlx():
        from rtvc.engine.selftest.ladder import run_again

    return run_again(VerdictFile())


def _request_device() -> None:
    if not requested_device():
        request_device(load_device())


@contextmanager
def needs_mlx() -> Iterator[None]:
    """Explain that MLX cannot be imported in the block.

    Raises
    ------
    RtvcError
        In place of the `ImportError`.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "mlx":
            raise
        if sys.platform == "darwin" and platform.machine() != "arm64":
            raise RtvcError(
                f"RVC voices need Apple Silicon, and a Python for it: this one is for "
                f"{platform.machine()}. On an Apple Silicon Mac install rtvc with a Python for "
                "arm64, in a terminal that does not run under Rosetta."
            ) from None
        raise RtvcError(
            f"RVC voices need the package mlx, which cannot be imported ({error}). Install "
            "rtvc-live again, with the tool that installed it."
        ) from None
