"""Runs the cases of the self-test on the device in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mlx.core as mx
import numpy as np

from rtvc._types import Float64
from rtvc.engine.selftest.networks import NETWORK_CASES
from rtvc.engine.selftest.numbers import Judgement, fold, judge, other_numbers
from rtvc.engine.selftest.operators import OPERATOR_CASES, Case

CASES = (*OPERATOR_CASES, *NETWORK_CASES)
_OPERATORS = frozenset(case.name for case in OPERATOR_CASES)
REFERENCE = Path(__file__).with_name("reference.npz")
"""Results in float64, from ``python -m benchmarks.selftest_reference``."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case.

    Attributes
    ----------
    case
        The case.
    judgement
        The comparison, or None if it raised an error.
    error
        The error as text, "" without one.
    """

    case: Case
    judgement: Judgement | None
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether the result is right."""
        return self.judgement is not None and self.judgement.passed


@cache
def reference() -> dict[str, Float64]:
    """Return the reference numbers by case, (at most STORED,) each."""
    with np.load(REFERENCE) as file:
        ends = np.cumsum(file["sizes"])[:-1]
        parts = np.split(file["numbers"].astype(np.float64), ends)
        return dict(zip(map(str, file["names"]), parts, strict=True))


def computed(case: Case) -> Float64:
    """Return the folded result of a case on the device in use."""
    return fold(np.array(case.compute().astype(mx.float32)).astype(np.float64))


def run_cases(cases: Iterable[Case] = CASES) -> Iterator[Result]:
    """Run the cases one after the other, as `backend.compute` says.

    The calling thread is the one that computes. An error of MLX is a failed case. Each operator
    computes other numbers first, so that a result of an earlier call, and a fault of all calls
    but the first, are found too.
    """
    for case in cases:
        try:
            if case.name in _OPERATORS:
                with other_numbers():
                    mx.eval(case.compute())
            yield Result(case, judge(computed(case), reference()[case.name]))
        except Exception as error:
            yield Result(case, None, str(error).strip().splitlines()[0] if str(error) else "error")
