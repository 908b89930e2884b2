"""Plain mode: keys, commands, and what it prints on a terminal and into pipes."""

import os
import re
import select
import signal
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import PIPE
from typing import TextIO

import pytest

from rtvc.cli import plain
from rtvc.cli.plain_input import ESCAPE, KeyInput, LineInput, Typed
from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.live.commands import HELP, KEYS, offered
from tests.cli.test_main import rtvc_command
from tests.support.processes import Process, started
from tests.support.pseudo_terminal import on_terminal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from rtvc.cli import main, options, plain
from rtvc.config.remembered import RememberedRun
from rtvc.live.controller import Controller
from rtvc.settings import Settings
from tests.tui.simulated_devices import SimulatedDevices

def run(args):
    controller = Controller(
        SimulatedDevices(), RememberedRun(settings=Settings(pitch=4.0)), remember=False
    )
    return plain.run(
        controller,
        "",
        seconds=None,
        check_voice=options.require_voice,
        confirm_dry=args.confirm_dry,
    )

main.command("run").run = run  # all of the command line, but no real device
sys.exit(main.main(["run"]))
"""
LIVE = "The latency is "


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)


class Keys:
    """A keyboard on which texts arrive one after the other."""

    def __init__(self, *texts: str) -> None:
        self.echoed = ""
        self._texts = list(texts)
        self.input = KeyInput(lambda _: self._texts.pop(0), self._echo)

    def _echo(self, text: str) -> None:
        self.echoed += text

    def typed(self) -> list[Typed]:
        found = []
        while self._texts:
            found += self.input.read(0)
        return found


def test_keys_act_at_once_and_commands_with_enter():
    keys = Keys("m", " ", ":pit", "ch 4", "\r", "q")
    assert keys.typed() == [
        Typed("m"),
        Typed(" "),
        Typed(":pitch 4", is_line=True),
        Typed("q"),
    ]
    assert keys.echoed == ":pitch 4\n"


def test_a_command_can_be_corrected_and_abandoned():
    keys = Keys(":picht\x7f\x7f\x7f", "tch 4\r", ":quit\x1b", "", "m", ":no\x15undo\r")
    assert keys.typed() == [
        Typed(":pitch 4", is_line=True),
        Typed("m"),
        Typed(":undo", is_line=True),
    ]
    assert keys.input.unfinished == ""


def test_a_character_is_erased_in_its_columns():
    keys = Keys(":\u0e17\u0e35\u58f0", "\x7f", "\x7f", "\x7f")
    keys.typed()
    assert keys.echoed == ":\u0e17\u0e35\u58f0" + "\b \b" * 3
    assert keys.input.unfinished == ":"


def test_while_a_command_is_typed_another_key_mutes():
    assert Keys(":mm\x07").typed() == [Typed("m")]


@pytest.mark.parametrize("sequence", ["\x1b[A", "\x1b[15~", "\x1bOP", "\x1b[1;5C"])
def test_keys_with_escape_sequences_do_nothing(sequence: str):
    assert Keys(sequence).typed() == []
    assert Keys(*sequence, "m").typed() == [Typed("m")], "in pieces"
    assert Keys(f":a{sequence}b\r").typed() == [Typed(":ab", is_line=True)]


def test_escape_itself_is_a_key():
    assert Keys("\x1b", "").typed() == [Typed(ESCAPE)]
    assert Keys("\x1bm").typed() == [Typed("m")]


@pytest.mark.parametrize("sequence", ["\x1b[", "\x1bO", "\x1b[1;"])
def test_the_key_after_a_sequence_that_does_not_end_acts(sequence: str):
    assert Keys(sequence, "", "m").typed() == [Typed("m")]
    assert Keys(f":a{sequence}", "", "b\r").typed() == [Typed(":ab", is_line=True)]


def test_of_pasted_text_only_commands_count():
    text = "we may quit: right now or never\n:pitch 4\nmore\n:undo\nm q 1"
    assert Keys(text).typed() == [
        Typed(":pitch 4", is_line=True),
        Typed(":undo", is_line=True),
    ]


@pytest.mark.parametrize("text", ["my words", "so what\n", "a b c"])
def test_a_short_text_that_is_pasted_does_nothing_either(text: str):
    assert Keys(text).typed() == []


def test_keys_that_come_at_once_all_act():
    assert Keys("\x1b[Am\x1b[15~").typed() == [Typed("m")]
    assert Keys("m" * 40).typed() == [Typed("m")] * 40
    assert Keys("m:pitch 4\r1").typed() == [
        Typed("m"),
        Typed(":pitch 4", is_line=True),
        Typed("1"),
    ]
    assert Keys("m1 ").typed() == [Typed("m"), Typed("1"), Typed(" ")]


def test_the_end_of_a_pipe_ends_the_run_and_that_of_a_file_does_not(tmp_path: Path):
    read, write = os.pipe()
    os.write(write, "pitch 4\nvoice \u00fc".encode()[:-1])
    lines = LineInput(read)
    assert lines.read(0) == [Typed("pitch 4", is_line=True)]
    assert lines.read(0) == []
    os.write(write, "\u00fc".encode()[-1:])
    os.close(write)
    assert lines.read(0) == []
    assert not lines.ended
    assert lines.read(0) == [Typed("voice \u00fc", is_line=True)]
    assert lines.ended
    os.close(read)
    (tmp_path / "commands").write_text("m\n")
    with (tmp_path / "commands").open() as file:
        lines = LineInput(file.fileno())
        assert lines.read(0) == [Typed("m", is_line=True)]
        assert lines.read(0) == []
        assert not lines.ended


def test_on_a_terminal_it_prints_lines_and_obeys_keys():
    with on_terminal(RUN) as terminal:
        seen = terminal.read_until(LIVE)
        terminal.type("m")
        pressed = time.monotonic()
        seen += terminal.read_until("Muted.")
        assert time.monotonic() - pressed < 2.0
        terminal.type(" ")
        seen += terminal.read_until("Press m to unmute.")
        terminal.type(":pitch 99\r")
        seen += terminal.read_until("The nearest valid value is 24.")
        terminal.type(":pitch 7\r1")
        seen += terminal.read_until("Loaded preset ")
        assert "pitch: 4 -> 7 semitones." in seen
        terminal.type("r")
        seen += terminal.read_until("Recording to ")
        time.sleep(0.9)  # sooner it may be a key that is held
        terminal.type("rq")
        seen += terminal.read_until("Saved the recording to ")
        assert terminal.process.wait(20) == 0
        assert terminal.modes() == terminal.before
    assert "\x1b" not in seen
    assert not re.search(r"\r(?!\n)|\x08", seen), "the cursor is moved"


def test_signals_leave_the_terminal_as_it_was():
    with on_terminal(RUN) as terminal:
        terminal.read_until(LIVE)
        assert "-icanon" in terminal.modes()
        for _ in range(2):
            terminal.process.send_signal(signal.SIGTSTP)
            _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            assert terminal.modes() == terminal.before
            terminal.process.send_signal(signal.SIGCONT)
            _wait_until(lambda: "-icanon" in terminal.modes())
        terminal.type("m")
        terminal.read_until("Muted.")
        terminal.process.terminate()
        assert terminal.process.wait(20) == 143
        assert terminal.modes() == terminal.before


def _wait_until(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def piped() -> AbstractContextManager[Process]:
    return started([sys.executable, "-c", RUN], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)


def read_until(process: Process, wanted: str) -> None:
    """Read lines up to one that begins with a text; the state may come between."""
    lines = [""]
    timer = threading.Timer(60, process.kill)
    timer.start()
    while not lines[-1].startswith(wanted):
        lines.append(process.stdout.readline())
        assert lines[-1], f"no {wanted!r} in {lines}"
    timer.cancel()


def test_through_pipes_each_line_is_a_command_and_the_end_quits():
    with piped() as process:
        read_until(process, LIVE)
        process.stdin.write("pitch -4\n:preset deep\n:xyzzy\nm\n")
        process.stdin.flush()
        for wanted in (
            "pitch: 4 -> -4 semitones.\n",
            "Loaded preset 'deep'. ",
            "There is no command or setting 'xyzzy'. ':help' lists the commands.\n",
            "Muted.\n",
        ):
            read_until(process, wanted)
        process.stdin.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_presets_and_favourites_that_others_change_are_used(tmp_path: Path):
    (tmp_path / "config" / "presets").mkdir(parents=True)
    mine = tmp_path / "config" / "presets" / "mine.yaml"
    mine.write_text("pitch: 3\n")
    with piped() as process:
        read_until(process, LIVE)
        save_panel_state(PanelState(favourites={1: "mine"}))
        mine.write_text("pitch: 9\nformant: 2\n")
        time.sleep(3)
        process.stdin.write("1\npitch\n")
        process.stdin.close()
        printed = process.stdout.read()
        assert process.wait(20) == 0
    assert "Loaded preset 'mine'." in printed
    assert "pitch: 9 semitones;" in printed


def test_a_reader_that_goes_is_noticed_on_macos(monkeypatch: pytest.MonkeyPatch):
    class Poll:
        """Polls as the kernel of macOS does: what is registered without an event is left out."""

        def __init__(self) -> None:
            self._poll = real()

        def register(self, file: TextIO, events: int) -> None:
            if events:
                self._poll.register(file, events)

        def poll(self, timeout: float) -> list[tuple[int, int]]:
            return self._poll.poll(timeout)

    real = select.poll
    monkeypatch.setattr(select, "poll", Poll)
    reader, writer = os.pipe()
    with open(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        plain._check_reader()
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            plain._check_reader()


def test_a_reader_that_goes_ends_it():
    with piped() as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 128 + signal.SIGPIPE
        assert process.stderr.read() == ""


@pytest.mark.thorough
def test_the_flag_and_what_does_not_go_with_it():
    done = rtvc_command("--plain", "--seconds", "1", "--no-save")
    assert "space is your own voice" in done.stdout
    assert "\x1b" not in done.stdout
    assert "--no-tui" in rtvc_command("--plain", "--demo", code=2).stderr
    assert "for the panel" in rtvc_command("--plain", "--fps", "5", code=2).stderr
    assert "from 1 to 60" in rtvc_command("--fps", "0", code=2).stderr


def test_a_run_without_your_own_voice_does_not_offer_it():
    for text in (KEYS, HELP):
        assert "own" in text
        left = offered(text, never_dry=True)
        assert "own" not in left
        assert "quit" in left
        assert offered(text, never_dry=False) == text


def test_a_setting_without_a_name_is_asked_for():
    with piped() as process:
        process.stdin.write(":set\n:set pich\n")
        process.stdin.close()
        printed = process.stdout.read()
        assert process.wait(20) == 0
    assert "Name a setting: ':set NAME VALUE'.\n" in printed
    assert "There is no command or setting 'pich'. Did you mean 'pitch'?\n" in printed
