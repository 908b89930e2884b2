"""Measure what the panel's plots of pitch and spectrum cost, in a real terminal.

Runs the panel on a pseudo-terminal with all of its widgets and 30 updates a second, but with a
made-up engine that takes no time, so that only the panel is measured:

    python -m benchmarks.panel_plots
    python -m benchmarks.panel_plots --columns 200 --rows 50

Measures with the plots and without them, in turn, and prints the medians of CPU time and of the
bytes that are sent to the terminal, and the differences. Exits with 1 if the plots take more
than 3 % of a core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import termios
import threading
import time
from dataclasses import replace
from pathlib import Path

from rtvc.audio.spectrum import Spectrum
from rtvc.config.panel_state import THEMES, PanelState, save_panel_state
from rtvc.system.info import hardware, versions
from rtvc.tui.app import Panel
from tests.support.processes import started
from tests.support.pseudo_terminal import PseudoTerminal
from tests.tui.simulated_devices import speech
from tests.tui.still import StillController

MAX_CPU = 3.0
_WARM_UP_S = 15.0
"""Time after which the plots are full."""
_SPEECH_S = 60.0
_BLOCK = 4800


class SpeechController(StillController):
    """Statistics that are made up, and the spectrum of speech."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._speech = speech(_SPEECH_S)
        self._spectrum = Spectrum()
        self._pushed = 0

    def clock(self) -> float:
        """Return the time since the start, for the panel and for the statistics."""
        self.now = time.monotonic() - self._began
        return self.now

    def spectrum(self) -> tuple[float, ...]:
        """Return the spectrum of the speech at this moment."""
        while self._pushed < self.now * 48_000:
            first = self._pushed % self._speech.size
            self._spectrum.push(self._speech[first : first + _BLOCK])
            self._pushed += _BLOCK
        return self._spectrum.bands(0)


def used() -> tuple[float, int]:
    """Return the CPU time of this process in seconds, and the bytes that it has written."""
    facts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return time.process_time(), int(facts["wchar"])


def measure(panel: Panel, args: argparse.Namespace) -> None:
    """Measure with and without the plots, write the figures to a file, and close the panel."""

    def show(shown: bool) -> None:
        panel.screen.query_one("#pictures").display = shown
        panel.actions.memory = replace(panel.actions.memory, spectrogram=shown)

    time.sleep(_WARM_UP_S)
    cpu: dict[bool, list[float]] = {True: [], False: []}
    sent: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(args.rounds):
        for shown in (True, False):
            panel.call_from_thread(show, shown)
            time.sleep(1.0)
            before, began = used(), time.monotonic()
            time.sleep(args.seconds)
            after, seconds = used(), time.monotonic() - began
            cpu[shown].append(100 * (after[0] - before[0]) / seconds)
            sent[shown].append((after[1] - before[1]) / seconds / 1000)
    figures = {
        "terminal": f"{panel.size.width}x{panel.size.height}",
        "colours": panel.console.color_system,
    }
    for name, values in (("% of a core", cpu), ("kB/s to the terminal", sent)):
        with_plots, without = (statistics.median(values[shown]) for shown in (True, False))
        figures |= {
            f"panel, {name}": round(with_plots, 2),
            f"panel without plots, {name}": round(without, 2),
            f"plots, {name}": round(with_plots - without, 2),
        }
    args.inside.write_text(json.dumps(figures))
    panel.call_from_thread(panel.action_quit)


def run_panel(args: argparse.Namespace) -> None:
    """Run the panel in the terminal of this process."""
    save_panel_state(PanelState(theme=args.theme, guided=True))
    controller = SpeechController()
    panel = Panel(controller, clock=controller.clock)
    threading.Thread(target=measure, args=(panel, args), name="measure", daemon=True).start()
    panel.run()


def run(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run the panel on a pseudo-terminal; return the figures."""
    file = folder / "figures.json"
    terminal = PseudoTerminal()
    termios.tcsetwinsize(terminal.inner, (args.rows, args.columns))
    command = [sys.executable, "-m", "benchmarks.panel_plots", "--inside", str(file)]
    command += ["--seconds", str(args.seconds), "--rounds", str(args.rounds)]
    command += ["--theme", args.theme]
    environment = {"TERM": "xterm-256color", "COLORTERM": args.colorterm}
    environment |= {"RTVC_CONFIG_DIR": str(folder)}
    try:
        with started(
            command,
            stdin=terminal.inner,
            stdout=terminal.inner,
            stderr=terminal.inner,
            env=os.environ | environment,
        ) as process:
            process.wait()
        if not file.exists():
            raise RuntimeError(f"The panel ended early:\n{terminal.take()[-3000:]}")
    finally:
        terminal.close()
    figures: dict[str, object] = json.loads(file.read_text())
    return figures


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--theme", default="dark", choices=THEMES)
    parser.add_argument("--colorterm", default="truecolor", help='"" for 256 colours')
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        run_panel(args)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        figures = run(args, Path(folder))
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    cost = float(str(figures["plots, % of a core"]))
    if cost > MAX_CPU:
        print(f"The plots take {cost} % of a core, but at most {MAX_CPU:g}.", file=sys.stderr)
    return int(cost > MAX_CPU)


if __name__ == "__main__":
    sys.exit(main())
