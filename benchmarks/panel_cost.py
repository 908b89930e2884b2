"""Measure what the panel costs, frame by frame: python -m benchmarks.panel_cost.

Runs the panel with speech that is always the same, without any audio, in a pseudo-terminal of
each size. Prints the CPU time of a frame with all threads of the panel, what that is of a core at
the default frames per second, and the bytes written; then the hardware and the versions. Exits with
1 if a size costs more than its limit. On a busy machine frames are drawn together, so the figures
are too low.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import termios
import time
from pathlib import Path

from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.system.info import hardware, versions
from rtvc.tui import app
from rtvc.tui.app import FPS, Panel
from rtvc.tui.frame_pace import REPORT
from tests.support.processes import started
from tests.support.pseudo_terminal import PseudoTerminal
from tests.tui.still import StillController

MAX_CPU = {(120, 40): 10.0}
"""Limit in % of a core, by columns and rows."""
_SIZES = ((40, 12), (80, 24), (120, 40), (200, 50))
_WARM_UP, _FRAMES = 60, 300


class _CountedPanel(Panel):
    """A panel that measures its frames, writes the result to a file, and quits."""

    CSS_PATH = Path(app.__file__).with_name("app.tcss")

    def __init__(self, controller: StillController, file: Path, fps: int) -> None:
        super().__init__(controller, fps=fps, clock=lambda: controller.now)
        self._still, self._file = controller, file
        self._drawn, self._began = 0, (0.0, 0.0)

    def update_screens(self) -> None:
        """Advance the time, draw, and count."""
        self._still.now += 1 / self._fps
        super().update_screens()
        self._drawn += 1
        if self._drawn == _WARM_UP:
            self._began = time.process_time(), time.monotonic()
        if self._drawn == _WARM_UP + _FRAMES:
            cpu, seconds = time.process_time() - self._began[0], time.monotonic() - self._began[1]
            self._file.write_text(json.dumps({"cpu": cpu / _FRAMES, "seconds": seconds}))
            self.exit()


def measure(size: tuple[int, int], fps: int, folder: Path) -> dict[str, float]:
    """Run the panel in a pseudo-terminal, and return the figures."""
    file = folder / "figures.json"
    command = [sys.executable, "-m", "benchmarks.panel_cost", "--inside", str(file)]
    terminal = PseudoTerminal({REPORT: "\x1b[1;1R"})
    termios.tcsetwinsize(terminal.inner, (size[1], size[0]))
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.inner)
    try:
        with started([*command, "--fps", str(fps)], **ends) as process:
            process.wait()
        written = len(terminal.take().encode())
    finally:
        terminal.close()
    figures = json.loads(file.read_text())
    return {
        "ms per frame": round(figures["cpu"] * 1000, 2),
        f"% of a core at {fps} fps": round(figures["cpu"] * fps * 100, 1),
        "kB per frame": round(written / (_WARM_UP + _FRAMES) / 1000, 2),
    }


def run_panel(file: Path, fps: int) -> None:
    """Run the panel in the terminal of this process."""
    os.chdir(file.parent)
    os.environ["RTVC_CONFIG_DIR"] = str(file.parent)
    save_panel_state(PanelState(guided=True))
    controller = StillController()
    _CountedPanel(controller, file, fps).run()
    controller.close()


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fps", type=int, default=FPS)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        run_panel(args.inside, args.fps)
        return 0
    failed = 0
    for size in _SIZES:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(size, args.fps, Path(folder))
        print(f"{size[0]}x{size[1]}", json.dumps(figures), flush=True)
        failed += next(v for k, v in figures.items() if "core" in k) > MAX_CPU.get(size, 100.0)
    print(json.dumps({"hardware": hardware(), "versions": versions()}, indent=1))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
