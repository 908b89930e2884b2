"""From the command to the first sound, and to the panel: python -m benchmarks.startup.

Installs a full-size voice of random weights with the base models, as `rtvc setup` and `rtvc
voices add` do, and the small ones of tests/golden in a place of their own. Starts a private
PulseAudio server whose fake microphone speaks; then it starts `rtvc run` again and again, the
files in the system's cache, and measures

    sound    from the start of the process to the first sample at the fake speaker, small voice
    panel    from Enter in a terminal (tmux) to the panel on its screen, full-size voice
    ready    from Enter to the full-size voice listening: its first sound comes a block later

A machine that is too slow for a full-size voice plays nothing of it, but has it ready. Prints
all times with the machine and versions, and exits with 1 if a median is above what it may be.
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
from benchmarks.full_size import apart, run, write_base_models, write_voice
from benchmarks.live import speech
from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.engine.profiling.random_weights import KINDS
from rtvc.system.info import hardware, versions
from tests.support.sound_server import RATE, SPEAKER_SINK, SoundServer
from tests.support.terminal import Terminal

MOST_S = {"sound": 3.0, "panel": 0.5, "ready": 3.0}
_PATIENCE_S = 30.0
_LOOK_S = 0.02
_PAINTED = "STARTING"
"""The badge until it runs."""


def install_full_size(kind: str, home: Path) -> None:
    """Install the voice and the base models below `home`."""
    with tempfile.TemporaryDirectory() as folder:
        file, models = Path(folder) / f"{kind}.pth", Path(folder) / "models"
        apart(write_base_models, models)
        apart(write_voice, file, *KINDS[kind])
        for words in (("setup", "--from", str(models)), ("voices", "add", str(file))):
            if not run(*words, home=home):
                sys.exit("The voice could not be installed.")


def sound(server: SoundServer, command: list[str]) -> float:
    """Return the seconds from the start of the command to its first sound."""
    with server.recording(SPEAKER_SINK) as finish:
        time.sleep(1.0)  # the recorder is there, and has said when it began
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(6.0)
        except subprocess.TimeoutExpired:
            process.terminate()
        told = process.communicate()[1].decode()
        heard = finish()[0]
    loud = np.flatnonzero(heard.samples)
    if not len(loud):
        sys.exit(f"Nothing was heard. {told}")
    return heard.began + float(loud[0]) / RATE - began


def panel(folder: Path, command: list[str]) -> tuple[float, float]:
    """Return the seconds from Enter to the panel, and to the first block."""
    terminal = Terminal(folder)
    try:
        terminal.type(f"exec {shlex.join(command)}")
        time.sleep(0.5)
        began = terminal.type("Enter")
        times = []
        for painted in (True, False):
            while (_PAINTED in terminal.text()) is not painted:
                if time.monotonic() > began + _PATIENCE_S:
                    sys.exit(f"There is no panel:\n{terminal.screen()}")
                time.sleep(_LOOK_S)  # looking takes some of the processor, too
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
    took: dict[str, list[float]] = {name: [] for name in MOST_S}
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
                        if number:  # the first time brings the files into the cache
                            took[name].append(seconds)
    finally:
        server.stop()
    return took


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kind", choices=KINDS, default="v2-40k")
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rtvc-") as folder:
        took = run_all(args.kind, Path(folder), args.times)
    figures: dict[str, object] = {"voice": args.kind}
    bad = False
    for name, seconds in took.items():
        middle = statistics.median(seconds)
        bad |= middle > MOST_S[name]
        figures[f"{name}, s"] = [round(value, 2) for value in sorted(seconds)]
        figures[f"{name}, median (at most {MOST_S[name]:g})"] = round(middle, 2)
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
