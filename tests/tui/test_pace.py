"""Frames at the pace of the terminal, and floods of keys."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual import events

from rtvc.tui.flood import Flood
from rtvc.tui.frame_pace import FramePace
from tests.support.patience import measured
from tests.support.terminal import Terminal


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_frame_waits_for_the_answer_to_the_last_one():
    clock = Clock()
    pace = FramePace(clock)
    assert pace.ready
    assert pace.drawn()
    pace.answered()
    assert pace.ready
    assert pace.drawn()
    clock.now += 1.0
    assert not pace.ready
    assert not pace.drawn(), "one question at a time"
    clock.now += 5.0
    assert pace.ready, "the answer is lost"
    assert pace.drawn()
    pace.answered()
    assert pace.ready


def test_a_line_is_slow_while_answers_take_long():
    clock = Clock()
    pace = FramePace(clock)
    found = []
    for seconds in (0.4, 0.6, 0.4, 0.1, 0.4):
        pace.drawn()
        clock.now += seconds
        pace.answered()
        found.append(pace.slow)
    assert found == [False, True, True, False, False]


def test_a_terminal_on_the_same_machine_answers_at_once():
    clock = Clock()
    pace = FramePace(clock)
    found = [pace.near]
    for seconds in (0.01, 0.3, 0.02):
        pace.drawn()
        clock.now += seconds
        pace.answered()
        found.append(pace.near)
    assert found == [False, True, False, True]


def test_a_terminal_that_does_not_answer_gets_all_frames():
    clock = Clock()
    pace = FramePace(clock)
    pace.drawn()
    drawn = 0
    for _ in range(40):  # two seconds, in which it might still answer
        clock.now += 0.05
        if pace.ready:
            pace.drawn()
            drawn += 1
    assert 6 <= drawn <= 8
    for _ in range(20):
        clock.now += 0.05
        assert pace.ready
        assert not pace.drawn()


def keys(text: str) -> list[events.Key]:
    return [events.Key("enter" if c == "\n" else c, c) for c in text]


def handled(flood: Flood, messages: list[events.Key]) -> list[str]:
    """Return the keys, and the texts of pastes."""
    return [
        getattr(message, "text", getattr(message, "key", "")) for message in flood.filter(messages)
    ]


def test_fast_typing_is_no_flood():
    flood = Flood(Clock())
    text = "quite a long sentence\nbut typed, in a second"
    assert handled(flood, keys(text)) == [c if c != "\n" else "enter" for c in text]


def test_pasted_text_does_nothing_until_it_pauses():
    clock = Clock()
    flood = Flood(clock)
    assert handled(flood, keys("quit and delete me\n" * 10)) == ["quit and delete me\n" * 10]
    clock.now += 0.09
    assert handled(flood, keys("q")) == ["q"], "the end of the paste"
    assert isinstance(next(flood.filter(keys("m"))), events.Paste)
    clock.now += 0.2
    assert isinstance(next(flood.filter(keys("m"))), events.Key)


def test_other_events_pass_a_flood():
    flood = Flood(Clock())
    resize = events.AppFocus()
    assert list(flood.filter([*keys("abcdefgh" * 10), resize]))[-1] is resize


def test_of_a_held_key_the_repetitions_are_limited_and_the_next_key_counts():
    flood = Flood(Clock())
    assert handled(flood, keys("]" * 500 + "m")) == ["]"] * 64 + ["m"]


@contextmanager
def panel(
    home: Path, line: str = "", flags: str = "", count_file: str = "passed"
) -> Iterator[Terminal]:
    """The panel in a terminal, on simulated devices, maybe behind a slow line."""
    terminal = Terminal(home)
    program = f"{shlex.quote(sys.executable)} -m"
    slow = f"{program} tests.support.slow_line {line} {count_file}" if line else ""
    try:
        terminal.type(f"{slow} {program} tests.tui.simulated_panel {flags}; echo code=$?", "Enter")
        terminal.reads("IN ", "q quit")
        yield terminal
        terminal.type("q")
        terminal.reads("code=0")
        assert "[" not in terminal.text().rpartition("code=0")[2], "an answer came too late"
    finally:
        terminal.close()


@pytest.fixture
def home(program_home: Path) -> Path:
    return program_home


def bytes_arrived() -> int:
    """Return the number of bytes that have reached the terminal."""
    return int(Path("passed").read_text())


def wait_until_quiet() -> None:
    """Wait until a screen has been drawn, so that half of the line is enough; at most 5 s."""
    end = time.monotonic() + 5.0
    while bytes_passed(0.5, "passed")[0] > 3000 and time.monotonic() < end:
        pass


def bytes_passed(seconds: float, *count_files: str) -> list[float]:
    """Return the bytes per second that panels write."""
    files = [Path(name) for name in count_files]
    before, began = [int(file.read_text()) for file in files], time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - began
    return [(int(f.read_text()) - b) / lasted for f, b in zip(files, before, strict=True)]


class SlowPanel:
    """A panel behind a slow line, and how long its screen takes to tell what has changed."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.took: dict[str, tuple[float, int]] = {}

    def change(self, what: str, *keys: str, to: str = "", lacks: str = "") -> None:
        """Press keys, and note the seconds and the bytes until the screen is right."""
        before, began = bytes_arrived(), time.monotonic()
        if keys:
            self.terminal.type(*keys)
        else:
            os.kill(int(Path("panel.pid").read_text()), signal.SIGUSR1)
        self.terminal.reads(*([to] if to else []), lacks=lacks, seconds=20.0)
        seconds = round(time.monotonic() - began, 2)
        self.took[what] = seconds, bytes_arrived() - before
        time.sleep(max(0.0, PANIC_S - seconds))

    def mute(self, where: str) -> None:
        self.change(f"muted {where}", "m", to="MUTED")
        self.change(f"open {where}", "m", lacks="MUTED")


PANIC_S = 0.75
"""Presses of the mute key at shorter intervals are one."""
MAX_BYTES = 4500
"""Bytes that take 0.75 s on the line; with its delays, the state is right 1.1 s after a key."""


@pytest.mark.thorough
@measured
def test_on_a_slow_line_the_state_is_right_within_a_second_and_a_half(home: Path):
    with panel(home, "6000 0.15") as terminal:
        slow = SlowPanel(terminal)
        time.sleep(1.0)
        wait_until_quiet()
        slow.mute("at the start")
        terminal.type("Space")
        terminal.reads("Your own voice on air?", seconds=20.0)
        time.sleep(0.5)  # a later press is deliberate
        slow.change("own voice", "Space", to="YOUR OWN VOICE IS LIVE")
        slow.change("changed voice", "Space", lacks="YOUR OWN VOICE IS LIVE")
        slow.change("preset", "5", to="*5 deep")
        slow.change("lost", to="DEVICE LOST")
        terminal.reads(lacks="DEVICE LOST", seconds=20.0)
        terminal.type("p")
        terminal.reads("rename", seconds=20.0)
        slow.mute("among the presets")
        terminal.type("Escape")
        for columns, rows in ((40, 12), (120, 40)):
            before = bytes_arrived()
            terminal.resize(columns, rows)
            end = time.monotonic() + 20.0
            while bytes_arrived() < before + 800 and time.monotonic() < end:
                time.sleep(0.05)
            wait_until_quiet()
            slow.mute(f"at {columns}x{rows}")
        assert bytes_passed(1.5, "passed")[0] < 4000
    assert max(number for _, number in slow.took.values()) < MAX_BYTES, slow.took
    assert max(seconds for seconds, _ in slow.took.values()) < 1.5, slow.took


@pytest.mark.thorough
@measured
def test_fewer_frames_a_second_are_fewer_bytes(home: Path):
    with (
        panel(home, "1e9 0", "--fps 30", "often"),
        panel(home, "1e9 0", "--fps 2", "rarely"),
    ):
        time.sleep(3.0)
        rates = bytes_passed(4.0, "often", "rarely")
    assert rates[1] < 0.75 * rates[0], rates  # a later frame has more to draw


@measured
def test_ten_kilobytes_of_keys_cost_under_two_seconds_and_do_nothing(home: Path):
    with panel(home) as terminal:
        text = b"Quick movements of the enemy will jeopardize six gunboats, m, q.\n" * 160
        assert len(text) > 10_000
        began = time.monotonic()
        terminal.paste(text, home, bracketed=False)
        time.sleep(0.3)  # longer than the pause that ends a flood
        assert "MUTED" not in terminal.text()
        while "MUTED" not in terminal.text():
            terminal.type("m")
            time.sleep(0.3)
        assert time.monotonic() - began < 2.0
