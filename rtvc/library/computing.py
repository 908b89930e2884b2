"""Prepares MLX for the first voice: the device that you chose, and the self-test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtvc.config.compute_file import VerdictFile, load_device
from rtvc.system.mlx_environment import request_device, requested_device

if TYPE_CHECKING:
    from rtvc.engine.selftest.ladder import Step, Verdict


def prepare_computing() -> Verdict:
    """Choose the device, and test it if that has not been done on this system.

    Call it before anything of MLX is imported.

    Raises
    ------
    UsageError
        If the chosen device is not there.
    """
    _request_device()
    from rtvc.engine.selftest.ladder import ensure_tested

    return ensure_tested(VerdictFile())


def check_computing() -> tuple[Verdict, list[Step]]:
    """Run the whole self-test, and keep its verdict for later runs.

    Raises
    ------
    UsageError
        If the chosen device is not there.
    """
    _request_device()
    from rtvc.engine.selftest.ladder import run_again

    return run_again(VerdictFile())


def _request_device() -> None:
    if not requested_device():
        request_device(load_device())
