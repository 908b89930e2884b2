"""A panel that is stopped and continued again and again, with anything open."""

import io
import os
import signal
import sys
import time
from pathlib import Path
from typing import cast

import pytest
from textual.drivers._writer_thread import WriterThread

from rtvc.tui.key_driver import KeyDriver, _Screen
from tests.support.patience import measured
from tests.support.terminal import Terminal


def test_what_is_written_while_the_terminal_is_left_is_not_waited_for():
    driver = object.__new__(KeyDriver)
    driver._screen = _Screen(io.StringIO())
    driver._writes, driver._continuing = 0, False
    thread = driver._writer_thread = WriterThread(cast("io.StringIO", driver._screen))
    thread.start()
    driver.write("a frame")
    driver._continuing = True
    driver.write("a frame on the screen of the shell")
    driver._continuing = False
    thread.stop()
    for _ in range(100):  # more than its queue holds
        driver.write("a frame that nobody writes")
    assert driver._writes == driver._screen.taken == 1


@pytest.mark.slow
@measured
def test_the_whole_screen_is_back_each_time(program_home: Path):
    terminal = Terminal(program_home)
    try:
        terminal.type(f"{sys.executable} -m tests.tui.simulated_panel", "Enter")
        terminal.reads("IN ", "q quit")
        process = int(Path("panel.pid").read_text())
        for keys, shown in (((), "q quit"), (("C-s",), "Enter saves")):
            terminal.type(*keys)
            terminal.reads(shown, "VOICE IS LIVE" if not keys else "mutes")
            os.kill(process, signal.SIGTSTP)
            terminal.reads("Stopped")
            terminal.type("fg", "Enter")
            terminal.reads(shown, "IN " if not keys else "mutes")
            terminal.type("Escape")
            terminal.reads("q quit", lacks="mutes")
        terminal.type("q")
        while Path("/proc", str(process)).exists():
            time.sleep(0.05)
    finally:
        terminal.close()
