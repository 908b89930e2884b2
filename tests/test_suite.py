"""What the suite does around its tests: processes, signals, and what is measured again."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.control import Control, Delay, joined
from benchmarks.soak import least_memory, times_of, while_held_up
from tests.support import machine
from tests.support.material import more
from tests.support.patience import measured as measured_test
from tests.support.processes import started
from tests.support.pseudo_terminal import PseudoTerminal

ROOT = Path(__file__).parent.parent

MEASURED = """
from tests.support import patience
patience.PAUSES_S = (0, 0)
patience.what_holds_it_up = lambda before: {held_up!r}
left = {times}

@patience.measured
def test_it():
    global left
    left -= 1
    assert left < 0, "too slow"

@patience.measured
def test_another():
    test_it.__wrapped__()

def test_what_does_not_measure():
    assert {right}, "wrong"
"""


def measured(times: int, held_up: str = "", right: bool = True) -> str:
    """Return tests that fail in their first attempts."""
    return MEASURED.format(times=times, held_up=held_up, right=right)


def pytest_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder of its own, with what counts the retries."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.patience", *words, "."],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", more(["0", "2"]))
def test_what_is_measured_again_is_printed(tmp_path: Path, workers: str):
    (tmp_path / "test_it.py").write_text(measured(times=2))
    done = pytest_in(tmp_path, "--numprocesses", workers, "--dist", "loadfile")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("test_it.py::test_it: too slow") == 2
    assert "2 retries; more than 3 fail the run." in done.stdout


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("workers", more(["2", "0"]))
def test_too_many_retries_fail_the_run(tmp_path: Path, workers: str):
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(measured(times=2))
    done = pytest_in(tmp_path, "--numprocesses", workers, "--dist", "loadfile")
    assert "6 passed" in done.stdout
    assert "4 retries; more than 3 fail the run." in done.stdout
    assert done.returncode == 1
    again = pytest_in(tmp_path, "--last-failed")
    assert "2 passed" in again.stdout
    assert again.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", more(["0", "2"]))
def test_what_cannot_be_measured_is_skipped_and_printed(tmp_path: Path, workers: str):
    (tmp_path / "test_it.py").write_text(measured(times=9, held_up="a fault", right=False))
    done = pytest_in(tmp_path, "--numprocesses", workers)
    assert "1 failed, 2 skipped" in done.stdout
    assert "test_what_does_not_measure - AssertionError: wrong" in done.stdout
    assert "NOT MEASURED" in done.stdout
    assert "test_it.py::test_it: a fault" in done.stdout
    assert "retries" not in done.stdout
    assert done.returncode == 1


def test_only_the_first_tests_wait_for_a_machine_that_is_held_up(tmp_path: Path):
    words = measured(times=99, held_up="a fault") + "\npatience.MAX_WAITS = 3\n"
    counted = words.replace("    left -= 1\n", "    left -= 1\n    print('tried', left)\n")
    (tmp_path / "test_it.py").write_text(counted)
    done = pytest_in(tmp_path, "--capture=no")
    assert "1 passed, 2 skipped" in done.stdout
    # Three attempts of the first test and two of the second one.
    assert done.stdout.count("tried") == 5


@pytest.mark.thorough
@measured_test
def test_what_holds_the_machine_up_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    began = machine.processor_times()
    assert machine.what_holds_it_up(began) == ""
    hogs = 2 * (os.cpu_count() or 1)
    with ExitStack() as running:
        for _ in range(hogs):
            running.enter_context(started([sys.executable, "-c", "while True: pass"]))
        assert "waits for a processor" in machine.what_holds_it_up(began)


def test_late_blocks_while_no_thread_could_run_are_counted_apart():
    late = [0, 1, 1, 3, 6, 6, 10]
    log = [{"t": n + 0.5, "late": count} for n, count in enumerate(late)]
    # What follows within two seconds may be due to it too.
    assert while_held_up(log, "late", [Delay(1.3, 2.0, 0.7)]) == 6
    assert while_held_up(log, "late", []) == 0


def test_a_soak_tells_when_blocks_were_late_and_the_memory_that_is_always_in_use():
    log = [
        {"t": 100.0 + k, "late": k // 70, "rss": 130e6 + 3e6 * (k > 60) + 9e6 * (k % 20 < 12)}
        for k in range(150)
    ]
    assert times_of(log, "late") == [70.0, 140.0]
    assert least_memory(log) == (130.0, 133.0)


def test_short_delays_of_the_control_that_follow_one_another_are_one():
    pieces = [(1.0, 1.004), (1.006, 1.010), (1.013, 1.018), (1.5, 1.504), (2.0, 2.012)]
    first, second = joined(pieces)
    assert (first.began, first.ended) == (1.0, 1.018)
    assert first.seconds == pytest.approx(0.013)
    assert (second.began, second.ended) == (2.0, 2.012)


@pytest.mark.skipif(sys.platform != "linux", reason="The control is for Linux.")
def test_the_control_notes_when_it_could_not_run():
    with Control() as control:
        if not control.allowed:
            assert control.delays() == []
            pytest.skip("No real-time priority is allowed.")
        before = time.monotonic()
        process = control.processes[0]
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        process.send_signal(signal.SIGCONT)
        after = time.monotonic()
        time.sleep(0.1)
        longest = max(control.delays(), key=lambda delay: delay.seconds)
    assert longest.seconds > 0.09
    assert before - 0.01 < longest.began < longest.ended < after + 0.1


def test_programs_can_be_interrupted_though_the_suite_ignores_it():
    code = "import signal; print(signal.getsignal(2).__name__, signal.getsignal(1).name)"
    script = (
        f"import subprocess, sys, tests.conftest; subprocess.run([sys.executable, '-c', {code!r}])"
    )
    ignoring = f'trap "" INT HUP; exec {sys.executable} -c "$0"'
    done = subprocess.run(
        ["sh", "-c", ignoring, script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "default_int_handler SIG_DFL\n"


def test_a_process_is_killed_with_what_it_has_started(tmp_path: Path):
    script = f"sleep 60 & echo $! > {tmp_path}/child; echo ready; wait"
    process = None

    def fail() -> None:
        nonlocal process
        with started(["sh", "-c", script], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            raise AssertionError("the test fails")

    with pytest.raises(AssertionError, match="the test fails"):
        fail()
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 10
    while alive(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path("/proc", str(pid), "stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_terminal_takes_more_than_anybody_has_read():
    terminal = PseudoTerminal()
    code = "import sys; sys.stdout.write('x' * 1_000_000 + 'end')"
    try:
        with started([sys.executable, "-c", code], stdout=terminal.inner) as process:
            assert process.wait(20) == 0
            assert len(terminal.read_until("end")) == 1_000_003
    finally:
        terminal.close()
