"""Convert an hour of speech with the built-in voice: memory, progress, length.

    python -m benchmarks.hour [--minutes 60] [--preset deep]

Runs ``rtvc convert`` on a pseudo-terminal, reads its progress line, and samples the memory of the
process. Exits with 1 unless the result has the length of the input, the memory grew by less than
150 MB after the first seconds of conversion, and the line always had the speed and the time left.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from rtvc.live.demo import load_utterance
from rtvc.system.info import hardware, versions
from tests.support.pseudo_terminal import OnTerminal, on_terminal

RATE = 48_000
MAX_GROWTH_MB = 150.0
_WARM_S = 5.0
"""Seconds after the first progress until the memory of the start is taken."""
_LINE = re.compile(r"\r[^\r\x1b]*?([\d.]+)x \[#* *\] +(\d+)% +([^\r\x1b]* left)?")
_END = "x real time"


def write_speech(path: Path, minutes: float) -> int:
    """Write speech with pauses, and return its length in frames."""
    piece = np.concatenate([load_utterance(), np.zeros(RATE // 2, np.float32)])
    frames = round(minutes * 60 * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, subtype="PCM_16") as file:
        while file.frames < frames:
            file.write(piece[: frames - file.frames])
    return frames


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB, files mapped into it included."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


def watch(terminal: OnTerminal) -> tuple[list[tuple[float, str, str]], list[float], str]:
    """Follow a conversion: the lines (share, speed, time left), the memory, and the last line."""
    lines: list[tuple[float, str, str]] = []
    memory: list[float] = []
    text, began = "", 0.0
    while terminal.process.poll() is None:
        time.sleep(0.5)
        text += terminal.take()
        for speed, share, left in _LINE.findall(text):
            lines.append((float(share), speed, left.strip()))
        text = text[text.rfind("\r") :] if _END not in text else text
        began = began or (time.monotonic() if lines else 0.0)
        if began and time.monotonic() > began + _WARM_S and terminal.process.poll() is None:
            memory.append(resident_mb(terminal.process.pid))
    return lines, [value for value in memory if value], text + terminal.take()


def main() -> int:
    """Convert, print the figures, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--preset", default="deep")
    args = parser.parse_args()
    print(hardware(), versions(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in.wav", Path(name) / "out.wav"
        frames = write_speech(source, args.minutes)
        words = ["convert", str(source), str(target), "--preset", args.preset]
        code = (
            "import sys; from rtvc.cli.main import main; "
            f"sys.exit(main({shlex.join(words)!r}.split()))"
        )
        began = time.monotonic()
        with on_terminal(code) as terminal:
            lines, memory, last = watch(terminal)
            exit_code = terminal.process.wait()
        wall = time.monotonic() - began
        made = soundfile.info(target).frames if target.exists() else 0
    growth = max(memory, default=0.0) - (memory[0] if memory else 0.0)
    silent = sum(not left for share, _, left in lines if share < 100)
    print(f"exit code {exit_code}, {made:,} of {frames:,} frames, {wall:.0f} s in all")
    print(f"memory {memory[0] if memory else 0:.1f} MB at first, {growth:.1f} MB more at most")
    print(
        f"{len(lines)} progress lines, {silent} without the time left; in between: {lines[::200]}"
    )
    print(last.strip()[-200:])
    good = exit_code == 0 and made == frames and growth < MAX_GROWTH_MB and lines and not silent
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
