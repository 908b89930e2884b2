"""The status line, the progress bar and the terminal's modes."""

import dataclasses
import re
import signal
import subprocess
import sys
import time
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from rtvc.cli.status_line import plain_line, progress_line, status_line, summary, transfer_line
from rtvc.cli.terminal import StatusDisplay
from rtvc.stats import DeviceHealth, Latency, Level, State, Stats, Times
from tests.support.pseudo_terminal import on_terminal

STATS = Stats(
    state=State.CONVERTED,
    blocks=120,
    late_blocks=2,
    concealed_s=0.2,
    gate_open=True,
    input_f0_hz=118.4,
    output_f0_hz=236.8,
    input=Level(-12.4, -20.0),
    output=Level(-6.0, -14.0),
    step=Times(0.008, 0.010, 0.0124, 0.02),
    latency=Latency(block=0.1, headroom=0.06, filters=0.0302),
    device=DeviceHealth(underruns=3, overflows=1),
)


def test_a_wide_line_tells_everything():
    assert status_line(STATS, 200) == (
        "CONVERTED  in ▕███████▉  ▏ -12 dB  out ▕█████████ ▏  -6 dB  step p99  12/100 ms  late 2"
        "  latency 190 ms  pitch 118 to 237 Hz  q stops"
    )


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"voice": "world"}, "TOO SLOW "),
        ({"voice": "world", "restarting": True}, "RESTARTING "),
        ({"restarting": True}, "NO VOICE "),
    ],
)
def test_a_silence_that_you_did_not_ask_for_is_not_called_muted(facts: dict[str, Any], word: str):
    stats = dataclasses.replace(STATS, state=State.MUTED, **facts)
    assert status_line(stats, 200).startswith(word)
    assert f" {word}" in plain_line(stats, 1.0)
    assert status_line(stats, 200, muted=True).startswith("MUTED ")


def test_the_display_knows_whether_you_have_muted():
    stats = dataclasses.replace(STATS, state=State.MUTED)
    for muted, word in ((True, "MUTED"), (False, "TOO SLOW")):
        log = StringIO()
        StatusDisplay(log, muted=muted).show(stats)
        assert f" {word} " in log.getvalue()


def test_fail_open_is_shown_in_any_width():
    stats = dataclasses.replace(STATS, fail_open=True, state=State.UNCHANGED)
    assert status_line(stats, 200).startswith("UNCHANGED  FAIL-OPEN  in ")
    assert status_line(stats, 30).startswith("UNCHANGED  FAIL-OPEN")
    assert "FAIL-OPEN" in plain_line(stats, 1.0)


def test_a_terminal_without_unicode_gets_ascii():
    line = status_line(STATS, 200, unicode=False)
    assert line.isascii()
    assert "in [########  ]" in line


@settings(deadline=None)
@given(
    st.integers(1, 250),
    st.floats(-400, 40) | st.just(float("-inf")),
    st.sampled_from(State),
    st.booleans(),
)
def test_a_line_never_exceeds_its_width(width: int, peak: float, state: State, clipped: bool):
    stats = Stats(state=state, input=Level(peak, peak, clipped), output=Level(peak, peak))
    for unicode in (True, False):
        line = status_line(stats, width, unicode=unicode, muted=True)
        assert len(line) <= width
        assert line.startswith(state.upper()[:width].rstrip())


def test_what_matters_most_stays_longest():
    words = ("q stops", "pitch ", "latency ", "step ", "late ", "out ", "in ", "CONVERTED")
    before = set(words)
    for width in range(200, 8, -1):
        line = status_line(STATS, width) + " "
        now = {word for word in words if re.search(rf"(^| ){word}", line)}
        assert now <= before
        before = now
    assert before == {"CONVERTED"}
    line = status_line(STATS, 40)
    assert line.startswith("CONVERTED  in -12 dB  out  -6 dB  late 2")


def test_levels_that_clip_are_marked():
    stats = Stats(input=Level(0.0, -3.0, clipped=True))
    assert "in ▕██████████▏   CLIP" in status_line(stats, 200)


@pytest.mark.parametrize(
    ("gate_open", "heard", "sung", "text"),
    [
        (False, 120.0, 120.0, "pitch silence"),
        (True, 0.0, 0.0, "pitch unvoiced"),
        (True, 120.0, 0.0, "pitch 120 Hz"),
    ],
)
def test_pitch_in_words(gate_open: bool, heard: float, sung: float, text: str):
    stats = Stats(gate_open=gate_open, input_f0_hz=heard, output_f0_hz=sung)
    assert text in plain_line(stats, 1.0)


def test_a_log_line_has_the_time_and_no_meters():
    line = plain_line(STATS, 12.34)
    assert line == (
        "  12.3 s  CONVERTED  in -12 dB  out  -6 dB  step p99  12/100 ms  late 2"
        "  latency 190 ms  pitch 118 to 237 Hz"
    )


def test_the_summary_counts():
    assert summary(STATS, 12.0) == (
        "12.0 s, 120 blocks, 2 late, 0.20 s concealed; step p50 8.0 ms, p99 12.4 ms of 100 ms; "
        "latency 190 ms; device: 3 underruns, 1 overflows."
    )


def test_progress_tells_the_time_left():
    assert progress_line("a.wav", 0.25, 10.0, 80) == (
        "a.wav [########                      ]  25%   30 s left"
    )
    assert progress_line("a.wav", 0.0, 1.0, 80).endswith("   0%")
    assert cell_len(progress_line("\u58f0" * 20, 0.25, 10.0, 80)) <= 80
    assert cell_len(transfer_line("\u58f0" * 20, 10**8, 10**9, 1e6, 80)) <= 80


@pytest.mark.thorough
@given(st.text(max_size=60), st.floats(-1, 2), st.floats(0, 1e5), st.integers(1, 200))
def test_progress_never_exceeds_its_width(title: str, share: float, elapsed: float, width: int):
    assert cell_len(progress_line(title, share, elapsed, width)) <= width


KEYS = """
import sys, time
from rtvc.cli.main import command, main
from rtvc.cli.terminal import Keyboard
class Command:
    @staticmethod
    def run(args):
        with Keyboard() as keyboard:
            print("ready", flush=True)
            while "q" not in keyboard.pressed():
                time.sleep(0.01)
        print("stopped", flush=True)
        return 0
command("doctor").run = Command.run
sys.exit(main(["doctor"]))
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [("q", 0), ("\x03", 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["q", "Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_the_terminal_gets_its_modes_back(end: str | signal.Signals, code: int):
    with on_terminal(KEYS) as terminal:
        terminal.read_until("ready")
        assert "-icanon" in terminal.modes()
        assert "-echo " in terminal.modes()
        if isinstance(end, str):
            terminal.type(end)
        else:
            terminal.process.send_signal(end)
        assert terminal.process.wait(20) == code
        assert terminal.modes() == terminal.before


def test_cbreak_comes_back_after_a_stop():
    with on_terminal(KEYS) as terminal:
        terminal.read_until("ready")
        terminal.process.send_signal(signal.SIGSTOP)
        subprocess.run(["stty", "sane"], stdin=terminal.inner, check=True)
        terminal.process.send_signal(signal.SIGCONT)
        end = time.monotonic() + 10
        while "-icanon" not in terminal.modes() and time.monotonic() < end:
            time.sleep(0.02)
        assert "-icanon" in terminal.modes()
        terminal.type("q")
        assert terminal.process.wait(20) == 0


def test_without_a_terminal_there_are_no_keys():
    code = (
        "from rtvc.cli.terminal import Keyboard\n"
        "with Keyboard() as keyboard: print(repr(keyboard.pressed()))"
    )
    for stdin in (subprocess.DEVNULL, subprocess.PIPE):
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=stdin,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "''\n"
