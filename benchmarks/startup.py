"""Measure the startup time of `rtvc run`: python -m benchmarks.startup.

Installs a full-size voice with random weights and the base models, as `rtvc setup` and `rtvc
voices add` do, and the small networks of tests/golden in another folder. Starts a private
PulseAudio server with real speech at its fake microphone. Then it starts `rtvc run` repeatedly,
with the files in the system's cache, and measures

    sound    from the start of the process to the first sample at the fake speaker, small voice
    panel    from Enter in a terminal (tmux) to the panel on its screen, full-size voice
    ready    from Enter to the full-size voice being ready: its first output comes a block later

The voice gets ready even on a machine that is too slow to run it. Prints all times, the hardware
and the versions. Exits with 1 if a median exceeds its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.calibrated import install as install_small
from benchmarks.full_size import in_subprocess, run, write_base_models, write_voice
from benchmarks.live import speech
from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.engine.profiling.random_weights import KINDS
from rtvc.system.info import hardware, versions
from tests.support.sound_server import RATE, SPEAKER_SINK, SoundServer
from tests.support.terminal import Terminal

MAX_S = {"sound": 3.0, "panel": 0.5, "ready": 3.0}
_TIMEOUT_S = 30.0
_POLL_S = 0.02
_STARTING_BADGE = "STARTING"
"""The panel's badge until the engine runs."""


def install_full_size(kind: str, home: Path) -> None:
    """Install the voice and the base models in the library folder `home`."""
    with tempfile.TemporaryDirectory() as folder:
        file, models = Path(folder) / f"{kind}.pth", Path(folder) / "models"
        in_subprocess(write_base_models, models)
        in_subprocess(write_voice, file, *KINDS[kind])
        for words in (("setup", "--from", str(models)), ("voices", "add", str(file), "--no-level")):
            if not run(*words, home=home):
                sys.exit("The voice could not be installed.")


def sound(server: SoundServer, command: list[str]) -> float:
    """Return the seconds from the start of the command to its first output sample."""
    with server.recording(SPEAKER_SINK) as finish:
        time.sleep(1.0)  # by now the recorder has measured its start time
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(6.0)
        except subprocess.TimeoutExpired:
            process.terminate()
        errors = process.communicate()[1].decode()
        recorded = finish()[0]
    audible = np.flatnonzero(recorded.samples)
    if not len(audible):
        sys.exit(f"There was no output. {errors}")
    return recorded.began + float(audible[0]) / RATE - began


def panel(folder: Path, command: list[str]) -> tuple[float, float]:
    """Return the seconds from Enter to the panel, and to the first block."""
    terminal = Terminal(folder)
    try:
        terminal.type(f"exec {shlex.join(command)}")
        time.sleep(0.5)
        began = terminal.type("Enter")
        times = []
        for starting in (True, False):
            while (_STARTING_BADGE in terminal.text()) is not starting:
                if time.monotonic() > began + _TIMEOUT_S:
                    sys.exit(f"There is no panel:\n{terminal.screen()}")
                time.sleep(_POLL_S)  # reading the screen needs CPU time, too
            times.append(time.monotonic() - began)
        return times[0], times[1]
    finally:
        terminal.close()


def run_all(kind: str, folder: Path, times: int) -> dict[str, list[float]]:
    """Install, start and measure; return the times."""
    homes = {"small": folder / "small", kind: folder / "full"}
    os.environ["RTVC_HOME"] = str(homes["small"])
    install_small("small")
    install_full_size(kind, homes[kind])
    for home in homes.values():
        os.environ["RTVC_CONFIG_DIR"] = str(home / "config")
        save_panel_state(PanelState(guided=True))
    server = SoundServer()
    server.start()
    os.environ |= server.environment
    times_s: dict[str, list[float]] = {name: [] for name in MAX_S}
    try:
        with server.speaking(speech(40.0 * (times + 1))):
            for number in range(times + 1):
                for voice, home in homes.items():
                    os.environ |= {"RTVC_HOME": str(home), "RTVC_CONFIG_DIR": str(home / "config")}
                    command = [sys.executable, "-m", "rtvc", "run", "--no-save", "--voice", voice]
                    command += ["--input", "fake_mic", "--output", "fake_speaker"]
                    if voice == "small":
                        found = {"sound": sound(server, [*command, "--no-tui"])}
                    else:
                        found = dict(zip(("panel", "ready"), panel(folder, command), strict=True))
                    for name, seconds in found.items():
                        if number:  # the first run loads the files into the cache
                            times_s[name].append(seconds)
    finally:
        server.stop()
    return times_s


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kind", choices=KINDS, default="v2-40k")
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rtvc-") as folder:
        times_s = run_all(args.kind, Path(folder), args.times)
    figures: dict[str, object] = {"voice": args.kind}
    bad = False
    for name, seconds in times_s.items():
        median = statistics.median(seconds)
        bad |= median > MAX_S[name]
        figures[f"{name}, s"] = [round(value, 2) for value in sorted(seconds)]
        figures[f"{name}, median (at most {MAX_S[name]:g})"] = round(median, 2)
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
