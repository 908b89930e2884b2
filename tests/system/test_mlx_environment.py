"""What MLX reads when it is imported is set by then, and suffices."""

import ast
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rtvc.cli.doctor import _mlx
from rtvc.cli.probes import backend_name, installed_builds
from rtvc.system.mlx_environment import VARIABLES

ROOT = Path(__file__).parents[2]

# Prints the variables at the moment in which MLX is imported.
WATCH = """
import json, os, sys
class Finder:
    def find_spec(self, name, *rest):
        if name == "mlx.core":
            print(json.dumps({name: os.environ.get(name) for name in %r}), flush=True)
sys.meta_path.insert(0, Finder())
"""

# Notes which convolutions run. On CUDA MLX makes a plan for each.
RECORD = """
import mlx.core as mx
plans = set()
def record(name):
    convolve = getattr(mx, name)
    def call(x, weight, *arguments, **options):
        plans.add((name, x.shape, weight.shape, str(arguments), str(options)))
        return convolve(x, weight, *arguments, **options)
    setattr(mx, name, call)
for name in ("conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"):
    record(name)
"""

# Opens a voice of full depth on GPU operators, and prints how many different convolutions ran.
PLANS = f"""{RECORD}
import dataclasses
from rtvc.engine.plan import make_plan
from rtvc.engine.profiling import random_weights as random
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.settings import Settings
encoder = dataclasses.replace(
    random.FULL_ENCODER, layers=1, feed_forward_width=32, conv_width=16, position_kernel=16
)
rmvpe = random.random_rmvpe(dataclasses.replace(random.FULL_RMVPE, base_channels=2, hidden=8))
network = random.random_voice("v2", 40_000, width=32, initial=32)
voice = RvcVoice("random", network, random.random_encoder(encoder), lambda kind: rmvpe)
settings = Settings(context=200.0, index_rate=0.0)
plan = make_plan(settings, voice_lookahead=voice.lookahead_frames(settings), continuous=True)
voice.open(plan, settings)
print(len(plans))
"""

# Prints how many different convolutions have run after each of three recordings.
RECORDINGS = f"""{RECORD}
import numpy as np
from rtvc.engine.rvc import offline
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import voice
for samples in (8000, 9600, 11200):
    sound = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    offline.convert(voice(), sound, Settings(index_rate=0.0), lambda part: None)
    print(len(plans))
"""


def python(code: str, **environment: str) -> str:
    variables = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=variables | environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert not run.returncode, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    "entry",
    ["import rtvc.engine.models.ops.ops", "from rtvc.system.blas import load_blas; load_blas()"],
)
def test_they_are_set_before_mlx_is_imported_unless_you_have_set_them(entry: str):
    code = WATCH % (list(VARIABLES),) + entry
    first = python(code).splitlines()[0]
    assert json.loads(first) == VARIABLES
    first = python(code, MLX_ENABLE_TF32="1").splitlines()[0]
    assert json.loads(first) == VARIABLES | {"MLX_ENABLE_TF32": "1"}


def test_whatever_imports_mlx_outside_the_engine_sets_them():
    for path in (ROOT / "rtvc").rglob("*.py"):
        source = path.read_text()
        if "import mlx" not in source:
            continue
        imported = {
            alias.name
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        if "mlx.core" in imported and ROOT / "rtvc/engine" not in path.parents:
            assert "set_mlx_environment()" in source or "from rtvc.engine" in source, path


@pytest.mark.slow
def test_no_number_of_convolution_plans_is_enough_for_every_recording():
    counts = [int(line) for line in python(RECORDINGS, RTVC_OPERATORS="gpu").splitlines()]
    assert min(after - before for before, after in pairwise(counts)) > 30  # of a small network
    assert VARIABLES["MLX_ENABLE_CACHE_THRASHING_CHECK"] == "0"


@pytest.mark.slow
def test_the_convolution_plans_of_many_streams_fit_on_cuda():
    plans = int(python(PLANS, RTVC_OPERATORS="gpu", MLX_DISABLE_COMPILE="1"))
    assert plans > 200  # MLX's own limit is 128
    assert 8 * plans < int(VARIABLES["MLX_CUDA_CONV_CACHE_SIZE"])


@pytest.mark.parametrize(
    ("metal", "cuda", "name"),
    [(True, False, "Metal"), (False, True, "CUDA"), (False, False, "CPU")],
)
def test_the_backend_is_named(metal: bool, cuda: bool, name: str):
    assert backend_name(metal, cuda) == name


def test_two_builds_of_the_same_library_are_reported():
    names = ["numpy", "mlx", "mlx_cuda_12", "mlx-cpu", "mlx-lm", "mlx-metal"]
    assert installed_builds(names) == ["mlx-cpu", "mlx-cuda-12"]
    assert installed_builds() in (["mlx-cpu"], [])  # Linux, macOS
    found = {
        "version": "0.32.4",
        "backend": "CUDA",
        "device": "NVIDIA L4",
        "blas": "OpenBLAS",
        "remedy": None,
        "gflops": 900.0,
        "builds": ["mlx-cpu", "mlx-cuda-12"],
    }
    check = _mlx(found)
    assert check.verdict == "warning"
    assert "CUDA (NVIDIA L4)" in check.found
    assert "mlx-cpu and mlx-cuda-12" in check.found
    assert "pip uninstall mlx-cpu mlx-cuda-12" in check.fix
    assert "mlx-cuda-12==0.32.4" in check.fix
    assert _mlx(found | {"builds": ["mlx-cuda-12"]}).verdict == "good"
