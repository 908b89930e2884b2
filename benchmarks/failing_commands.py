"""Run failing commands again and again, each in a process of its own, with an RVC voice.

``python -m benchmarks.failing_commands [RUNS]`` prints a line per command: its exit codes, and in
how many runs it printed more than one sentence, aborted, leaked or left a file behind. A thread
that outlives an error shows here only, and in some of the runs. The exit code is 1 for any.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
VOICE = ("--voice", "Anna")
COMMANDS = {
    "the output exists": ("in.wav", "exists.wav", *VOICE),
    "the output exists, offline": ("in.wav", "exists.wav", *VOICE, "--quality", "offline"),
    "the input is no sound": ("text.wav", "out.wav", *VOICE),
    "the input is missing": ("absent.wav", "out.wav", *VOICE),
    "a speaker is missing": ("in.wav", "out.wav", *VOICE, "--speaker", "99"),
    "a channel is missing": ("in.wav", "out.wav", *VOICE, "--input-channel", "9"),
    "a voice is missing": ("in.wav", "out.wav", "--voice", "Anne"),
    "the extension is unknown": ("in.wav", "out.xyz", *VOICE),
    "the rate is not supported": ("in.wav", "out.opus", *VOICE, "--rate", "44100"),
    "the rate is negative": ("in.wav", "out.wav", *VOICE, "--rate", "-5"),
}
_BAD_WORDS = ("leak", "terminate", "abort", "Traceback", "bug in rtvc")


def main(runs: int) -> int:
    """Run all commands; return the exit code."""
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {"RTVC_HOME": str(folder / "library")}
        _prepare(folder, environment)
        before = sorted(os.listdir(folder))
        for what, words in COMMANDS.items():
            codes: Counter[int] = Counter()
            bad = 0
            for _ in range(runs):
                done = _rtvc(("convert", *words), folder, environment)
                codes[done.returncode] += 1
                told = done.stderr
                bad += (
                    done.returncode not in (1, 2)
                    or told.count("\n") != 1
                    or any(word in told for word in _BAD_WORDS)
                    or sorted(os.listdir(folder)) != before
                )
            wrong += bad
            print(f"{what:28} exit codes {dict(codes)}, wrong {bad} of {runs}", flush=True)
    return int(wrong > 0)


def _prepare(folder: Path, environment: dict[str, str]) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(48_000)
    for file in ("in.wav", "exists.wav"):
        soundfile.write(folder / file, noise, 48_000)
    (folder / "text.wav").write_text("no sound, whatever the name is")
    for words in (
        ("setup", "contentvec", "--from", str(GOLDEN / "hubert_small")),
        ("setup", "rmvpe", "--from", str(GOLDEN / "rmvpe_small.pt")),
        ("voices", "add", str(GOLDEN / "voice_v1_f0_40k.pth"), "--name", "Anna"),
    ):
        _rtvc(words, folder, environment).check_returncode()


def _rtvc(
    words: tuple[str, ...], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rtvc", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
