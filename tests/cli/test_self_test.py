"""``rtvc doctor --self-test``, and the choice of the device to compute on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import soundfile

from rtvc.cli import doctor_self_test, probes
from rtvc.cli.doctor import _self_test
from rtvc.config.compute_file import VerdictFile, compute_path, load_device, save_device
from rtvc.engine.models.ops import backend, gpu, ops
from rtvc.engine.models.ops.backend import Compute
from rtvc.engine.selftest import ladder
from rtvc.errors import RtvcError
from rtvc.library import computing
from rtvc.library.computing import needs_mlx, prepare_computing, self_test_notice
from tests.engine.selftest.faults import FAULTS, spoiled

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_HOME", str(tmp_path))


def rtvc(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rtvc", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_told_while_the_machine_is_tested(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ladder, "_once", ladder._Once())
    told: list[str] = []
    thread = threading.Thread(target=prepare_computing)
    thread.start()
    while thread.is_alive():
        told.append(self_test_notice())
        thread.join(0.01)
    assert "Testing how this machine computes; needed once." in told
    assert self_test_notice() == ""
    # Another run has the verdict.
    monkeypatch.setattr(ladder, "_once", ladder._Once())
    started = threading.Event()
    monkeypatch.setattr(computing._under_test, "set", started.set)
    prepare_computing()
    assert not started.is_set()


@pytest.mark.thorough
def test_every_result_is_printed_and_the_verdict_kept():
    run = rtvc("doctor", "--self-test", "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["passed"]
    assert found["sentences"] == []
    (step,) = found["steps"]
    assert len(step["cases"]) > 40
    assert min(case["snr_db"] for case in step["cases"]) > 100
    assert found["versions"]["mlx"]
    (kept,) = json.loads(compute_path().read_text())["self-tests"].values()
    assert kept["compute"] == found["compute"]


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The findings on a machine whose GPU computes attention wrongly."""
    monkeypatch.setattr(backend, "FIRST", Compute("cpu", "gpu", "float32"))
    monkeypatch.setattr(ladder, "_once", ladder._Once())
    monkeypatch.setattr(gpu, "attention", spoiled(gpu.attention, FAULTS["sign"]))
    mx.disable_compile()
    before = backend.compute
    found = probes.self_test()
    mx.enable_compile()
    ops.use(before)
    return json.loads(json.dumps(found))


@pytest.mark.thorough
def test_a_wrong_result_is_reported(
    faulty: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(probes, "probe", lambda name: faulty)
    assert doctor_self_test.run(json=False) == 1
    printed = capsys.readouterr().out
    assert "! attention  " in printed
    assert "-6.0 dB, level -1.0000" in printed
    assert "computes attention wrongly (MLX 0.3" in printed
    assert "CPU, float32 on " in printed
    check = _self_test(faulty)
    assert check.verdict == "warning"
    assert "computes on the processor" in check.found
    assert check.fix.startswith("rtvc uses CPU, float32 on ")
    assert _self_test({"error": "crashed with signal 6: abort"}).verdict == "broken"


def test_the_flags_exclude_each_other():
    run = rtvc("doctor", "--self-test", "--live")
    assert run.returncode == 2
    assert run.stderr == "rtvc: --self-test and --live exclude each other.\n"


def test_a_wrong_device_is_a_wrong_request_and_no_failed_test():
    run = rtvc("doctor", "--self-test", "--json", RTVC_DEVICE="metal")
    assert run.returncode == 2
    assert run.stderr == "rtvc: RTVC_DEVICE is 'metal'; it can be cpu or gpu.\n"
    assert run.stdout == ""


WITHOUT_MLX = """
import sys
class WithoutMlx:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlx":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, WithoutMlx())
from rtvc.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", ["convert", "bench"])
def test_without_mlx_an_rvc_voice_says_what_is_missing(tmp_path: Path, command: str):
    soundfile.write(tmp_path / "talk.wav", np.zeros(4800), 48_000)
    voice = Path(__file__).parents[1] / "golden" / "voice_v1_f0_40k.pth"
    convert = [str(tmp_path / "talk.wav"), str(tmp_path / "out.wav"), "--voice", str(voice)]
    arguments = [command, *(convert if command == "convert" else [])]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_MLX, *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr == (
        "rtvc: RVC voices need the package mlx, which cannot be imported (No module named 'mlx'). "
        "Install rtvc-live again, with the tool that installed it.\n"
    )


def test_a_python_for_intel_on_a_mac_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with (
        pytest.raises(RtvcError, match=r"this one is for x86_64\. On an Apple Silicon Mac"),
        needs_mlx(),
    ):
        raise ModuleNotFoundError("No module named 'mlx'", name="mlx")
    with pytest.raises(ModuleNotFoundError), needs_mlx():
        raise ModuleNotFoundError("No module named 'other'", name="other")


def test_the_chosen_device_is_remembered_and_used(tmp_path: Path):
    demo = str(tmp_path / "demo.wav")
    run = rtvc("run", "--compute", "cpu", "--demo", demo, "--seconds", "0.1")
    assert run.returncode == 0, run.stderr
    assert load_device() == "cpu"
    save_device("gpu")
    show = "from rtvc.library.computing import prepare_computing; print(prepare_computing())"
    asked = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, check=False
    )
    if not mx.is_available(mx.gpu):
        assert "The chosen device is 'gpu', but MLX finds no GPU here." in asked.stderr
    save_device("auto")
    assert load_device() == ""


@pytest.mark.skipif(mx.is_available(mx.gpu), reason="there is a GPU")
def test_a_missing_gpu_is_refused_with_any_voice_and_not_remembered(tmp_path: Path):
    demo = str(tmp_path / "demo.wav")
    run = rtvc("run", "--compute", "gpu", "--demo", demo, "--seconds", "0.1")
    assert run.returncode == 2
    assert run.stderr == (
        "rtvc: The chosen device is 'gpu', but MLX finds no GPU here. Use 'cpu', or 'rtvc run "
        "--compute auto'; 'rtvc doctor' shows what MLX finds.\n"
    )
    assert load_device() == ""


def test_a_damaged_file_counts_as_empty():
    compute_path().write_text("{")
    assert load_device() == ""
    assert VerdictFile().load("key") is None
    VerdictFile().save("key", {"passed": True})
    assert VerdictFile().load("key") == {"passed": True}
    for number in range(30):
        VerdictFile().save(f"key {number}", {})
    assert len(json.loads(compute_path().read_text())["self-tests"]) == 20


_AT_THE_END = """
import atexit, sys
if "rtvc.cli.probes" in sys.orig_argv:
    atexit.register(print, "a library says goodbye")
"""


@pytest.mark.parametrize(
    ("modules", "found"),
    [
        ({"rtmixer.py": "import os; os._exit(0)"}, {"error": "no result"}),
        ({"rtmixer.py": "raise SystemExit"}, {"error": "no result"}),
        ({"rtmixer.py": "__version__ = '1'", "sitecustomize.py": _AT_THE_END}, {"version": "1"}),
    ],
)
def test_a_library_that_ends_the_process_or_prints_breaks_no_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: dict[str, str], found: dict[str, str]
):
    for name, text in modules.items():
        (tmp_path / name).write_text(text)
    # The modules come before those that are installed.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert probes.probe("rtmixer") == found


@pytest.mark.parametrize("device", ["CPU", "cuda", " cpu", "gpu:0", "\x1b[31m"])
def test_a_device_that_is_none_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, device: str
):
    monkeypatch.setenv("RTVC_DEVICE", device)
    check = _self_test(probes.probe("self_test"))
    assert check.verdict == "broken"
    assert check.found == f"RTVC_DEVICE is {device!r}; it can be cpu or gpu."
    assert check.fix == "Remove RTVC_DEVICE from the environment, or set it to cpu."
