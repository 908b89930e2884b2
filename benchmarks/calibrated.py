"""Run a small RVC voice live at the block that ``rtvc calibrate`` selects on this machine.

Installs the small networks of tests/golden (content encoder, RMVPE and a voice with its index,
in the usual file formats and at reduced width) into a temporary folder, and runs ``rtvc
calibrate`` on that voice twice. The first run's prediction for the selected sizes is compared
with the second run's measurement. Then it converts speech live with the voice, through a
private PulseAudio server, as benchmarks/live.py does:

    python -m benchmarks.calibrated --seconds 600

Prints the measurements, the hardware and the versions. Exits with 1 if a block was late, the
device had an underrun or overflow, or the two runs differ by more than 20 % in the p99 of a step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.live import run, speech
from rtvc.calibration.profiles import PROFILES, choose
from rtvc.config.calibration_yaml import load_calibration
from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from rtvc.library.open_voice import voice_kind
from rtvc.library.setting_up import install_from_folder
from rtvc.live.startup_sizing import startup_sizing
from rtvc.settings import Settings
from rtvc.system.info import hardware, versions

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
VOICE = "Small"
TOLERANCE = 0.2


def install(name: str) -> None:
    """Install the small networks, with `name` as the voice's name."""
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
    index = GOLDEN / "added_IVF16_Flat_nprobe_1_golden_v1.index"
    add_voice(FoundVoice(GOLDEN / "voice_v1_f0_40k.pth", index, name))


def calibrate(seconds: float, *, busy: bool) -> None:
    words = ["calibrate", "--voice", VOICE, "--seconds", f"{seconds:g}"]
    command = [sys.executable, "-m", "rtvc", *words, *(["--busy"] if busy else [])]
    subprocess.run(command, check=True, stdout=sys.stderr)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--profile", choices=PROFILES, default="balanced")
    parser.add_argument("--busy", action="store_true", help="add a thread that computes")
    parser.add_argument(
        "--calibrate", type=float, default=60.0, metavar="S", help="duration of a calibration"
    )
    args = parser.parse_args()
    # The sizes of the calibration are judged, so they must not settle.
    settings = Settings(voice=VOICE, pitch=4.0, latency="constant")
    profile = PROFILES[args.profile]
    with tempfile.TemporaryDirectory(prefix="rtvc-") as home:
        os.environ["RTVC_HOME"] = home
        install(VOICE)
        timings = []
        for _ in range(2):
            calibrate(args.calibrate, busy=args.busy)
            timings.append(load_calibration()[0][voice_kind(VOICE)])
        sizes = choose(timings[0], profile)
        if sizes is None:
            print("This machine is too slow even for the small voice.", file=sys.stderr)
            return 1
        found = timings[1].p99(sizes.block, sizes.context)
        sizing, _ = startup_sizing(settings, profile.name, frozenset())
        figures = run(
            settings, speech(args.seconds + 5), args.seconds, busy=args.busy, sizing=sizing
        )
    difference = found / sizes.p99 - 1.0
    report = {
        "profile": profile.name,
        "first calibration, block ms": sizes.block,
        "predicted p99 ms": round(sizes.p99, 2),
        "p99 of the second calibration at this block, ms": round(found, 2),
        "difference": f"{100 * difference:+.1f} %",
    }
    print(json.dumps({"hardware": hardware(), "versions": versions()} | report | figures, indent=1))
    bad = [figures[n] for n in ("late blocks", "device underruns", "device overflows", "degraded")]
    return int(any(bad) or abs(difference) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
