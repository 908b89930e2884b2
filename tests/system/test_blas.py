"""The BLAS loader, each case in a process of its own: what is loaded stays loaded."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rtvc.errors import UsageError
from rtvc.system import blas
from rtvc.system.elf_patch import patch_import

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX brings its own BLAS")

RATE = """
import time
a = mx.random.normal((768, 768)); mx.eval(a)
times = []
for _ in range(5):
    start = time.perf_counter(); mx.eval(a @ a); times.append(time.perf_counter() - start)
seconds = min(times)
"""


def _run(code: str, **environment: str) -> dict[str, Any]:
    """Run code in a new interpreter and return its variable `seconds` and the report."""
    inherited = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    code += """
import dataclasses, json, os
seconds = globals().get("seconds")
from rtvc.system.blas import load_blas
report = dataclasses.asdict(load_blas())
report["text"] = str(load_blas())
report["seconds"] = seconds
report["environment"] = {k: v for k, v in os.environ.items() if k.endswith("NUM_THREADS")}
print(json.dumps(report))
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return dict(json.loads(result.stdout))


@pytest.mark.thorough
@linux_only
@pytest.mark.parametrize(
    "imports",
    [
        "import rtvc.engine.models.ops.ops\nimport mlx.core as mx",
        "import mlx.core as mx\nimport rtvc.engine.models.ops.ops",
    ],
    ids=["before", "after"],
)
def test_the_networks_make_mlx_multiply_fast(imports: str) -> None:
    fast = _run(f"{imports}\n{RATE}", OMP_NUM_THREADS="1")
    slow = _run(f"import mlx.core as mx\n{RATE}", OMP_NUM_THREADS="1")
    assert fast["optimised"]
    assert fast["remedy"] is None
    assert "openblas" in fast["library"]
    # 25 times on a quiet machine; a busy one slows both.
    assert slow["seconds"] > 4 * fast["seconds"]


CANDIDATES = """
import rtvc.system.blas as blas
found = list(blas._candidates())
blas._candidates = lambda: iter(found[{part}])
"""


@linux_only
@pytest.mark.parametrize(("part", "name"), [(":1", "scipy_openblas"), ("1:", "faiss_cpu")])
def test_every_library_multiplies_right(part: str, name: str) -> None:
    code = """
import mlx.core as mx, numpy as np
blas.load_blas()
a = np.random.default_rng(0).standard_normal((37, 53), np.float32)
np.testing.assert_allclose(np.array(mx.array(a) @ mx.array(a).T), a @ a.T, atol=1e-4)
"""
    report = _run(CANDIDATES.format(part=part) + code)
    assert report["optimised"]
    assert name in report["library"]


@linux_only
def test_a_missing_blas_is_reported_with_the_remedy() -> None:
    report = _run(CANDIDATES.format(part=":0"))
    assert not report["optimised"]
    assert report["threads"] == 1
    assert "install scipy-openblas32" in report["remedy"]
    assert report["remedy"] in report["text"]


@linux_only
def test_the_switch_leaves_mlx_as_it_is() -> None:
    report = _run("import mlx.core as mx\n" + RATE, RTVC_BLAS="off")
    assert report["library"] == "the reference BLAS of the MLX wheel"
    assert not report["optimised"]
    assert "RTVC_BLAS is off; unset it" in report["remedy"]
    code = "from rtvc.system.blas import load_blas; import mlx.core as mx; load_blas()\n"
    slow = _run(code + RATE, RTVC_BLAS="off", OMP_NUM_THREADS="1")
    fast = _run(code + RATE, RTVC_BLAS="auto", OMP_NUM_THREADS="1")
    assert fast["optimised"]
    assert slow["seconds"] > 4 * fast["seconds"]
    assert _run("", RTVC_BLAS="")["optimised"]  # set to nothing counts as not set


@pytest.mark.thorough
@linux_only
def test_doctor_shows_the_switch() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rtvc", "doctor", "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "RTVC_BLAS": "off"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["MLX"]["verdict"] == "warning"
    assert "RTVC_BLAS is off; unset it" in checks["MLX"]["fix"]


def test_another_value_of_the_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_BLAS", "on")
    with pytest.raises(UsageError, match=r"RTVC_BLAS is 'on'; it can be auto or off\."):
        blas.load_blas.__wrapped__()


@linux_only
def test_a_library_without_the_function_is_left_alone() -> None:
    import mlx.core as mx

    library = Path(mx.__file__).parent / "lib" / "libmlx.so"
    assert not patch_import(library, "cblas_sgemm_of_nobody", 0)
    with pytest.raises(OSError, match="nowhere"):
        patch_import(Path("/nowhere/libmlx.so"), "cblas_sgemm", 0)


@linux_only
def test_one_core_is_left_to_the_audio_unless_set() -> None:
    report = _run("")
    assert report["threads"] == max(1, min(len(os.sched_getaffinity(0)) - 1, 8))
    assert report["environment"] == {}  # nothing left behind for child processes


@linux_only
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"])
def test_the_usual_variables_set_the_threads(variable: str) -> None:
    report = _run("", **{variable: "2"})
    assert report["threads"] == 2
    assert report["environment"] == {variable: "2"}


@linux_only
def test_a_preloaded_blas_is_kept() -> None:
    library = _run(CANDIDATES.format(part="1:"))["library"]
    # Its dependencies are next to it.
    report = _run("", LD_PRELOAD=library, LD_LIBRARY_PATH=str(Path(library).parent))
    assert report["optimised"]
    assert Path(report["library"]).samefile(library)


@pytest.mark.parametrize("value", ["", "0", "-1", "many", " 3 ", "3,1"])
def test_thread_variables_that_are_no_number_are_passed_over(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    assert blas._thread_count() == (3 if "3" in value else 5)


def test_a_library_that_does_not_load_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "libopenblas.so.0"
    broken.write_bytes(b"not a library")
    assert blas._load((broken,), "") is None
    assert blas._load((tmp_path / "libgomp.so.1",), "") is None
    assert blas._load((), "") is None


def test_macos_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)  # touching a library would fail
    report = blas.load_blas.__wrapped__()
    assert report == blas.BlasReport("Accelerate", True, None, None)
    assert str(report) == "Accelerate"
