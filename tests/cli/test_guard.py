"""The guard of a live run, with real processes and signals."""

import os
import signal
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from rtvc.cli.guard import _is_live
from rtvc.config.panel_state import PanelState, save_panel_state
from tests.support.processes import started
from tests.support.pseudo_terminal import on_terminal
from tests.support.sound_server import SoundServer

ROOT = Path(__file__).parents[2]
CHILD = """\
import os, signal, sys, time
from rtvc.cli import guard, guarded
if guarded.ENVIRONMENT not in os.environ:
    sys.exit(guard._Guard().run())
link = guarded.GuardLink()
print(os.getpid(), link.crash or "-", link.muted, link.saved, flush=True)
"""


def guarded(folder: Path, ending: str):
    """Start a guard whose child prints what it knows, and then ends in some way."""
    path = folder / "child.py"
    path.write_text(CHILD + ending)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return started(
        [sys.executable, path], env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, text=True
    )


def crash(number: signal.Signals) -> str:
    return f"os.kill(os.getpid(), {int(number)})"


def words(line: str) -> list[str]:
    return line.split()[1:]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTRAP])
def test_a_crash_starts_it_again_three_times(tmp_path: Path, number: signal.Signals):
    with guarded(tmp_path, crash(number)) as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert len(out.splitlines()) == 4
    assert words(out.splitlines()[1]) == [number.name, "False", "False"]
    assert err.count("Starting it again.") == 3
    assert f"rtvc has crashed ({number.name}) 4 times within a minute" in err


def test_what_it_reported_last_is_known_after_the_crash(tmp_path: Path):
    say = "for word in () if link.crash else ('saved', 'muted', 'converted', 'muted'):"
    with guarded(tmp_path, f"{say} link.report(word)\n{crash(signal.SIGSEGV)}") as process:
        out, _ = process.communicate(timeout=20)
    first, *others = map(words, out.splitlines())
    assert first == ["-", "False", "False"]
    assert others == [["SIGSEGV", "True", "True"]] * 3


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (crash(signal.SIGKILL), 137),
        (f"link.report('closing'); {crash(signal.SIGSEGV)}", 139),
        ("sys.exit(5)", 5),
    ],
    ids=["killed", "crashed while it closed", "exited"],
)
def test_other_ends_are_ends(tmp_path: Path, ending: str, code: int):
    with guarded(tmp_path, ending) as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert len(out.splitlines()) == 1
    assert err == ""


def test_signals_are_passed_on_and_no_restart_follows(tmp_path: Path):
    handler = "signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGSEGV))\n"
    with guarded(tmp_path, f"{handler}print('ready', flush=True); time.sleep(20)") as process:
        process.stdout.readline()
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(10) == 139
        assert process.stdout.read() == ""


def test_it_stops_and_continues_with_its_child(tmp_path: Path):
    with guarded(tmp_path, "time.sleep(20)") as process:
        child = int(process.stdout.readline().split()[0])
        os.kill(child, signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        process.terminate()
        assert process.wait(10) == 143


def test_the_child_ends_with_its_guard(tmp_path: Path):
    with guarded(tmp_path, "time.sleep(20)") as process:
        process.stdout.readline()
        process.kill()
        began = time.monotonic()
        assert process.stdout.read() == ""  # until the child has closed it too
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("line", "live"),
    [
        ("", True),
        ("--preset deep", True),
        ("run --no-tui", True),
        ("run --help", False),
        ("--seconds=3", False),
        ("--demo out.wav", False),
        ("devices", False),
    ],
)
def test_only_live_runs_have_a_guard(line: str, live: bool):
    assert _is_live(line.split()) is live


def test_after_a_crash_the_panel_is_back_as_it_was(
    sound_server: SoundServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    save_panel_state(PanelState(guided=True))
    with on_terminal(
        f"import os; os.execv({sys.executable!r}, {[sys.executable, '-m', 'rtvc']})"
    ) as it:
        it.read_until("CHANGED VOICE")
        it.type("m")
        it.read_until("MUTED")
        children = Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children").read_text()
        os.kill(int(children.split()[0]), signal.SIGSEGV)
        it.read_until("rtvc has crashed (SIGSEGV: Segmentation fault). Starting it again.")
        seen = it.read_until("was started again")
        seen += it.read_until("MUTED")
        assert "CHANGED VOICE" not in seen
        it.type("q")
        assert it.process.wait(20) == 0
        assert it.modes() == it.before
