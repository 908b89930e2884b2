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
from rtvc.system import blas, mkl
from rtvc.system.elf_patch import patch_import

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX brings its own BLAS")
with_mkl = pytest.mark.skipif(mkl.find_mkl() is None, reason="the extra mkl is not installed")

RATE = """
import time
a = mx.random.normal((768, 768)); mx.eval(a)
times = []
for _ in range(5):
    start = time.perf_counter(); mx.eval(a @ a); times.append(time.perf_counter() - start)
seconds = min(times)
"""


def _run(code: str, **environment: str) -> dict[str, Any]:
    """Run code in a new interpreter and return its variable `seconds` and the report.

    Without MKL, unless ``RTVC_BLAS`` is given.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    inherited["RTVC_BLAS"] = "openblas"
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
    with pytest.raises(UsageError, match=r"'on'; it can be auto, openblas, mkl or off\."):
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


SINGLE = """
from rtvc.system.blas import _numpy_blas, single_numpy_thread
threads = _numpy_blas()
seen = [threads.get()]
with single_numpy_thread:
    seen.append(threads.get())
    with single_numpy_thread:
        seen.append(threads.get())
    seen.append(threads.get())
seen.append(threads.get())
seconds = seen
"""


@linux_only
def test_numpy_has_one_thread_until_the_last_context_ends() -> None:
    assert _run(SINGLE, OPENBLAS_NUM_THREADS="2")["seconds"] == [2, 1, 1, 1, 2]


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


MULTIPLY = """
import mlx.core as mx, numpy as np
from rtvc.system.blas import load_blas
load_blas()
rng = np.random.default_rng(0)
for rows, inner, columns in ((1, 7, 5), (37, 53, 16), (40, 768, 1536), (131, 300, 96)):
    a = rng.standard_normal((rows, inner), np.float32)
    b = rng.standard_normal((inner, columns), np.float32)
    exact = a.astype(np.float64) @ b
    for product in (mx.array(a) @ mx.array(b), mx.array(a) @ mx.array(b.T.copy()).T):
        error = np.abs(np.array(product) - exact).max()
        assert error < 2e-6 * inner, (rows, inner, columns, error)
"""


@linux_only
@with_mkl
def test_mkl_multiplies_right_with_one_or_two_callers() -> None:
    for threads, used in (("1", 1), ("2", 2), ("4", 2)):
        report = _run(MULTIPLY, RTVC_BLAS="mkl", OMP_NUM_THREADS=threads)
        assert "libmkl_rt" in report["library"]
        assert report["optimised"]
        assert (report["threads"], report["streams"]) == (used, used)


# A processor that is not the one of this machine.
PROCESSOR = """
import pathlib, rtvc.system.mkl as mkl
mkl._CPUINFO = pathlib.Path({path!r})
"""


@linux_only
@with_mkl
@pytest.mark.parametrize(
    ("processor", "switch", "threads", "used"),
    [
        ("vendor_id: GenuineIntel\nflags: fma avx2", "auto", "2", "libmkl_rt"),
        ("vendor_id: GenuineIntel\nflags: fma avx2", "openblas", "2", "openblas"),
        ("vendor_id: GenuineIntel\nflags: fma avx2", "auto", "3", "openblas"),
        ("vendor_id: GenuineIntel\nflags: sse2", "auto", "2", "openblas"),
        ("vendor_id: AuthenticAMD\nflags: fma avx2", "auto", "2", "openblas"),
        ("vendor_id: AuthenticAMD\nflags: fma avx2", "mkl", "2", "libmkl_rt"),
    ],
)
def test_mkl_is_used_where_it_is_faster_or_chosen(
    processor: str, switch: str, threads: str, used: str, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(processor)
    code = PROCESSOR.format(path=str(tmp_path / "cpuinfo"))
    assert used in _run(code, RTVC_BLAS=switch, OMP_NUM_THREADS=threads)["library"]


def test_a_processor_that_is_not_known_gets_no_mkl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mkl, "_CPUINFO", Path("/nowhere/cpuinfo"))
    assert not mkl.suits_mkl()


@linux_only
def test_mkl_that_is_chosen_but_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_BLAS", "mkl")
    monkeypatch.setattr(blas, "find_mkl", lambda: None)
    with pytest.raises(UsageError, match=r"not installed here.*pip install 'rtvc-live\[mkl\]'"):
        blas.load_blas.__wrapped__()


@linux_only
def test_mkl_that_does_not_load_is_refused_if_chosen_and_passed_over_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "libmkl_rt.so.3"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(blas, "find_mkl", lambda: broken)
    monkeypatch.setattr(blas, "suits_mkl", lambda: True)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert all(found.callers is None for found in blas._libraries("auto"))
    with pytest.raises(UsageError, match="does not load"):
        next(blas._libraries("mkl"))


@pytest.mark.parametrize(
    ("interface", "threading", "usable"), [(0, 1, True), (1, 1, False), (0, 0, False)]
)
def test_mkl_that_is_in_use_otherwise_is_left_alone(
    interface: int, threading: int, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MKL of another package with integers of 64 bits, or with threads."""

    class Library:
        def __init__(self, path: str) -> None:
            pass

        def MKL_Set_Interface_Layer(self, wanted: int) -> int:  # noqa: N802
            return interface

        def MKL_Set_Threading_Layer(self, wanted: int) -> int:  # noqa: N802
            return threading

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert (mkl.load_mkl(Path("libmkl_rt.so.3")) is not None) == usable


def test_macos_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)  # touching a library would fail
    report = blas.load_blas.__wrapped__()
    assert report == blas.BlasReport("Accelerate", True, None, None)
    assert str(report) == "Accelerate"
