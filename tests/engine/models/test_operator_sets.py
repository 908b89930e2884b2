"""Parity tests with the operators that this machine does not select.

Operators are selected at import, so the parity tests run again in a separate process: the small
networks here, all of them with ``make operators``. Without a GPU, fused operators are compiled
by the system's C++ compiler, so only a few tests run fused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from rtvc.engine.models.ops.backend import OPERATORS
from rtvc.errors import UsageError
from rtvc.system.mkl import find_mkl

ROOT = Path(__file__).parents[3]
OTHER = "gpu" if OPERATORS == "cpu" else "cpu"
PARITY = [
    "tests/engine/models/test_hubert.py",
    "tests/engine/models/test_rmvpe.py",
    "tests/engine/models/test_swift_f0.py",
    "tests/engine/models/test_synthesizer_parity.py",
]
FUSED = [
    "tests/engine/rvc/test_traces.py",
    "tests/engine/models/test_budget.py",
    "tests/engine/models/test_rmvpe.py::test_salience",
    "tests/engine/models/test_streaming_vocoder.py::test_chunks_equal_the_whole[direct-even-voice_v2_f0_40k]",
    "tests/engine/models/test_synthesizer_parity.py::test_whole_window[voice_v2_f0_40k]",
]
TWO_STREAMS = [
    "tests/engine/rvc/test_realtime_golden.py",
    "tests/engine/rvc/test_stream.py::TestContinuing",
    "tests/engine/models/test_fcpe.py",
    "tests/engine/models/test_streaming_vocoder.py",
    *PARITY,
]


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        # What this process was asked to run, the other one runs, too.
        env=os.environ | {"CI": "true"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.full_size
def test_parity_of_the_other_operators() -> None:
    run = _python(
        *("-m", "pytest", "-q", "-k", "not refinegan", *PARITY),
        RTVC_OPERATORS=OTHER,
        MLX_DISABLE_COMPILE="1",
    )
    assert run.returncode == 0, run.stdout[-4000:]


@pytest.mark.full_size
@pytest.mark.skipif(OTHER == "cpu", reason="the CPU operators do not fuse networks")
def test_parity_and_budget_of_the_gpu_operators_fused() -> None:
    run = _python("-m", "pytest", "-q", "-rs", *FUSED, RTVC_OPERATORS=OTHER)
    assert run.returncode == 0, run.stdout[-4000:]
    assert "SKIPPED" not in run.stdout


@pytest.mark.thorough
@pytest.mark.full_size
@pytest.mark.skipif(OPERATORS == "gpu", reason="streams are for the CPU only")
def test_parity_with_two_threads() -> None:
    # On Linux this selects two streams, each with a part of every layer.
    run = _python("-m", "pytest", "-q", *TWO_STREAMS, OMP_NUM_THREADS="2")
    assert run.returncode == 0, run.stdout[-4000:]


@pytest.mark.thorough
@pytest.mark.full_size
@pytest.mark.skipif(find_mkl() is None, reason="the extra mkl is not installed")
def test_parity_with_mkl() -> None:
    run = _python("-m", "pytest", "-q", *TWO_STREAMS, OMP_NUM_THREADS="2", RTVC_BLAS="mkl")
    assert run.returncode == 0, run.stdout[-4000:]


@pytest.mark.parametrize(
    ("variable", "choices"),
    [
        ("RTVC_DEVICE", "cpu or gpu"),
        ("RTVC_OPERATORS", "cpu or gpu"),
        ("RTVC_PRECISION", "float16 or float32"),
    ],
)
def test_invalid_values_are_refused(variable: str, choices: str) -> None:
    run = _python("-c", "import rtvc.engine.models.ops.backend", **{variable: "tpu"})
    assert run.stderr.strip().endswith(
        f"{UsageError.__name__}: {variable} is 'tpu'; it can be {choices}."
    )


@pytest.mark.skipif(mx.is_available(mx.gpu), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    run = _python("-c", "import rtvc.engine.models.ops.backend", RTVC_DEVICE="gpu")
    assert "UsageError: RTVC_DEVICE is 'gpu', but MLX finds no GPU here." in run.stderr


def test_variables_select_operators_and_precision() -> None:
    run = _python(
        "-c",
        "from rtvc.engine.models.ops import backend, cpu, gpu, ops\n"
        f"assert ops.operators()['conv1d'] is {OTHER}.conv1d\n"
        f"assert ops.operators()['relative_attention'] is {OTHER}.relative_attention\n"
        "print(backend.default_precision())",
        RTVC_OPERATORS=OTHER,
        RTVC_PRECISION="float16",
    )
    assert run.stdout.strip() == "mlx.core.float16", run.stderr
