"""Run the panel in a real terminal with the built-in voice on a real sound server.

Starts a private PulseAudio server with a fake microphone and a fake speaker, plays real speech
into the microphone, and runs the panel in tmux between them:

    python -m benchmarks.panel --minutes 10
    python -m benchmarks.panel --minutes 30     mainly for its memory

Measures after a warm-up of a minute. Prints the measurements, the hardware and the versions.
Exits with 1 if a block was late, the device had an underrun or overflow, or the panel's CPU time
or memory growth exceeds its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.live import speech
from rtvc.cli.terminal import redirect_stderr
from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.config.paths import config_folder
from rtvc.config.remembered import RememberedRun
from rtvc.live.controller import Controller
from rtvc.live.devices import DeviceSelection, SystemDevices
from rtvc.settings import Settings
from rtvc.stats import State, Stats
from rtvc.system.info import hardware, versions
from rtvc.tui.app import Panel
from tests.support.sound_server import SoundServer
from tests.support.terminal import Terminal

MAX_CPU = 10.0
MAX_GROWTH_MB = 3.0
_ENGINE = ("rtvc engine", "rtvc chain", "rtvc audio")
_SPEECH_S = 300.0
_SAMPLE_S = 5.0
_END_SAMPLES = 5


class CountingController(Controller):
    """Counts how often the panel reads the stats."""

    reads = 0

    def stats(self) -> Stats:
        """Return the stats, and count the call."""
        self.reads += 1
        return super().stats()


def cpu_s() -> dict[str, float]:
    """Return the CPU time of each Python thread in seconds, by name."""
    used: dict[str, float] = {}
    for thread in threading.enumerate():
        try:
            facts = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
        except OSError:
            continue  # the thread has ended since it was listed
        used[thread.name] = used.get(thread.name, 0.0) + int(facts.split()[0]) / 1e9
    return used


def memory_mb() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(panel: Panel, controller: CountingController, args: argparse.Namespace) -> None:
    """Measure, write the measurements to a file, and close the panel."""
    while Controller.stats(controller).state is not State.CONVERTED:
        time.sleep(0.1)
    time.sleep(args.warm_up)
    before, reads, began = cpu_s(), controller.reads, time.monotonic()
    first, memory = Controller.stats(controller), [memory_mb()]
    while time.monotonic() < began + 60 * args.minutes:
        time.sleep(_SAMPLE_S)
        memory.append(memory_mb())
    after, seconds = cpu_s(), time.monotonic() - began
    refreshed, stats = controller.reads - reads, Controller.stats(controller)
    share = {
        name: round(100 * (used - before.get(name, 0.0)) / seconds, 2)
        for name, used in sorted(after.items())
        if name != threading.current_thread().name
    }
    ends = [statistics.median(part) for part in (memory[:_END_SAMPLES], memory[-_END_SAMPLES:])]
    figures = {
        "seconds": round(seconds),
        "block ms": controller.settings.block,
        "terminal": f"{panel.size.width}x{panel.size.height}",
        "state": str(stats.state),
        "refreshes per second": round(refreshed / seconds, 1),
        "blocks": stats.blocks - first.blocks,
        "late blocks": stats.late_blocks - first.late_blocks,
        "device underruns": stats.device.underruns - first.device.underruns,
        "device overflows": stats.device.overflows - first.device.overflows,
        "step p50 ms": round(stats.step.p50 * 1000, 2),
        "step p99 ms": round(stats.step.p99 * 1000, 2),
        "panel's CPU, % of a core": round(
            sum(part for name, part in share.items() if name not in _ENGINE), 1
        ),
        "CPU by thread, % of a core": share,
        "memory MB": round(ends[0], 1),
        "memory growth MB": round(ends[1] - ends[0], 2),
    }
    args.inside.write_text(json.dumps(figures))
    panel.call_from_thread(panel.action_quit)


def run_panel(args: argparse.Namespace) -> None:
    """Run the panel in the terminal of this process."""
    save_panel_state(PanelState(guided=True))
    settings = Settings(pitch=4.0, block=args.block, latency="constant")
    controller = CountingController(
        SystemDevices(),
        RememberedRun(settings=settings),
        selection=DeviceSelection("fake_mic", "fake_speaker"),
        remember=False,
    )
    panel = Panel(controller)
    threading.Thread(
        target=measure, args=(panel, controller, args), name="measure", daemon=True
    ).start()
    try:
        with redirect_stderr(config_folder() / "panel.log"):
            panel.run()
    finally:
        controller.close()


def ended(terminal: Terminal) -> bool:
    """Return whether the program in the terminal has ended."""
    return re.search(r"code=\d", terminal.text()) is not None


def run(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run the server, the terminal and the panel; return the measurements."""
    file = folder / "figures.json"
    server = SoundServer()
    server.start()
    os.environ |= server.environment | {"RTVC_CONFIG_DIR": str(folder)}
    terminal = Terminal(folder, args.columns, args.rows)
    sound = speech(_SPEECH_S)
    try:
        flags = ["--inside", str(file), "--minutes", str(args.minutes)]
        flags += ["--warm-up", str(args.warm_up), "--block", str(args.block)]
        command = [sys.executable, "-m", "benchmarks.panel", *flags]
        terminal.type(f"{shlex.join(command)}; echo code=$?", "Enter")
        while not ended(terminal):
            with server.speaking(sound):
                end = time.monotonic() + _SPEECH_S
                while time.monotonic() < end and not ended(terminal):
                    time.sleep(1.0)
        if not file.exists():
            raise RuntimeError(f"The panel ended early:\n{terminal.screen()}")
    finally:
        terminal.close()
        server.stop()
    return json.loads(file.read_text()) | {"server scheduled in real time": server.realtime}


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--warm-up", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--block", type=float, default=100.0)
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        run_panel(args)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        figures = run(args, Path(folder))
    limits = {"late blocks": 0, "device underruns": 0, "device overflows": 0}
    limits |= {"panel's CPU, % of a core": MAX_CPU, "memory growth MB": MAX_GROWTH_MB}
    failed = [name for name, limit in limits.items() if float(str(figures[name])) > limit]
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    for name in failed:
        print(f"{name}: {figures[name]}, but at most {limits[name]:g}.", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
