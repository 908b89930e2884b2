"""Run a full-size RVC voice live at the block that ``rtvc calibrate`` finds on this machine.

Installs a voice, a content encoder and RMVPE, with random weights in the usual file formats, into
a temporary folder, and runs ``rtvc calibrate --profile fast`` on the voice. Then it converts
speech live, through a private PulseAudio server, as benchmarks/calibrated.py does:

    python -m benchmarks.full_size_live --voice v2-40k --seconds 600
    python -m benchmarks.full_size_live --voice v2-32k --content running --pitch-method swift

``rtvc calibrate`` measures ``content: window``. With ``--content running`` the same measurement
is made with that setting. ``--block`` runs at a block of your choice instead.

If no block up to 500 ms is long enough, nothing runs live. In any case the profile of the step
follows, at that block or at 500 ms: for each stage its time, the processor time of all threads
and the GFLOP, and how many times faster the step has to be. Prints the hardware and the versions.
Exits with 1 if no block was found, a block was late, the work was reduced, or the device had an
underrun or overflow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.full_size import in_subprocess, run, write_base_models, write_voice
from benchmarks.live import run as run_live
from benchmarks.live import speech
from rtvc.calibration.conditions import conditions
from rtvc.calibration.profiles import PROFILES, Profile, choose, closest_sizes
from rtvc.calibration.timing import Timing
from rtvc.calibration.work import work_to_fit
from rtvc.config.calibration_yaml import load_calibration, save_calibration
from rtvc.engine.chain import Chain
from rtvc.engine.profiling.random_weights import KINDS
from rtvc.engine.profiling.stage_times import STAGES, count_step, stage_methods, time_stages
from rtvc.engine.profiling.step_timing import measure
from rtvc.engine.thread_pool import clear_mlx_streams
from rtvc.library.open_voice import find_voice, voice_kind
from rtvc.live.demo import load_utterance
from rtvc.live.startup_sizing import startup_sizing
from rtvc.settings import SETTINGS, Settings
from rtvc.system.info import hardware, versions
from rtvc.system.realtime_mode import realtime_mode
from rtvc.system.thread_priority import raise_thread_priority

MUST_BE_ZERO = ("late blocks", "device underruns", "device overflows", "degraded")

StepProfile = dict[str, dict[str, float]]
"""By stage: ms, processor ms, and GFLOP, see `profile_step`."""


def install(kind: str, home: Path) -> None:
    """Install base models and a voice with the commands of a user."""
    folder = home / "files"
    in_subprocess(write_base_models, folder / "models")
    in_subprocess(write_voice, folder / f"{kind}.pth", *KINDS[kind])
    commands = (
        ["setup", "--from", str(folder / "models")],
        ["voices", "add", str(folder / f"{kind}.pth"), "--name", kind, "--no-level"],
    )
    for words in commands:
        if not run(*words, home=home):
            raise SystemExit(f"rtvc {words[0]} failed; its output above has the reason.")


def calibrate(settings: Settings, seconds: float) -> None:
    """Measure the voice as a user does, or the same with other features, and store the result."""
    if settings.content == "window":
        words = ["calibrate", "--voice", settings.voice, "--profile", "fast"]
        command = [sys.executable, "-m", "rtvc", *words, "--seconds", f"{seconds:g}"]
        subprocess.run(command, check=True, stdout=sys.stderr)
    else:
        in_subprocess(measure_here, settings, seconds)


def measure_here(settings: Settings, seconds: float) -> None:
    """Measure on a thread like the engine's, with these settings; store the result."""

    def work() -> None:
        voice = find_voice(settings.voice)
        raise_thread_priority()
        # The method is what it costs less than RMVPE, as in `rtvc calibrate`.
        usual = settings.replace(pitch_method="rmvpe", index_rate=0.0)
        measured = measure(
            voice, usual, load_utterance(), conditions(), seconds=seconds, methods=["swift", "dio"]
        )
        save_calibration({voice.kind: measured.timing})

    with ThreadPoolExecutor(1) as executor, realtime_mode():
        try:
            executor.submit(work).result()
        finally:
            executor.submit(clear_mlx_streams).result()


def profile_step(settings: Settings, steps: int, path: Path) -> None:
    """Write the profile of a step as JSON: ms, processor ms and GFLOP of its stages.

    The stages run one after the other. "whole" is a step as it runs live, where stages overlap.
    """
    settings = settings.replace(gate=-90.0)
    voice = find_voice(settings.voice)
    chain, parts = Chain(voice, settings), stage_methods(voice, settings)
    sound = np.resize(load_utterance(), (3 * steps + 3) * chain.block).reshape(-1, chain.block)
    blocks = iter(sound)
    for _ in range(3):
        chain.step(next(blocks), settings)
    taken: list[Mapping[str, float]] = []
    spent: list[Mapping[str, float]] = []
    for _ in range(steps):
        began, used = time.perf_counter(), time.process_time()
        chain.step(next(blocks), settings)
        whole = {"whole": time.perf_counter() - began}, {"whole": time.process_time() - used}
        for clock, times, more in ((time.perf_counter, taken, 0), (time.process_time, spent, 1)):
            with time_stages(parts, clock) as seconds:
                chain.step(next(blocks), settings)
            times.append({**seconds, **whole[more]})
    counts = count_step(voice, settings)
    gflop = {stage: found.flop / 1e9 for stage, found in counts.items()}
    gflop["whole"] = sum(gflop.values())
    path.write_text(json.dumps(summarise(taken, spent, gflop)))


def summarise(
    taken: Sequence[Mapping[str, float]],
    spent: Sequence[Mapping[str, float]],
    gflop: Mapping[str, float],
) -> StepProfile:
    """Return the medians of times in seconds by stage, and the GFLOP."""
    return {
        stage: {
            "ms": 1000 * float(np.median([times[stage] for times in taken])),
            "processor ms": 1000 * float(np.median([times[stage] for times in spent])),
            "GFLOP": gflop.get(stage, 0.0),
        }
        for stage in (*STAGES, "whole")
        if stage in taken[0]
    }


def profile_lines(profile: StepProfile) -> list[str]:
    """Return the profile of a step as a Markdown table."""
    lines = ["| | ms | processor ms | GFLOP |", "|---|---|---|---|"]
    for stage, figures in profile.items():
        lines.append(
            f"| {stage} | {figures['ms']:.1f} | {figures['processor ms']:.1f} "
            f"| {figures['GFLOP']:.1f} |"
        )
    return lines


def speed_needed(timing: Timing, settings: Settings, profile: Profile) -> float:
    """Return how many times faster a step has to be for the block with the lowest load.

    At most 1 if a block up to 500 ms keeps the load of the profile.
    """
    sizes = closest_sizes(timing, work_to_fit(settings))
    return sizes.p99 / (profile.max_load * sizes.block)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; exit with a sentence if one is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--voice", choices=KINDS, default="v2-40k")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--content", choices=SETTINGS["content"].choices, default="window")
    parser.add_argument("--pitch-method", choices=("rmvpe", "swift", "dio"), default="rmvpe")
    parser.add_argument("--block", type=float, help="block in ms, instead of the measured one")
    parser.add_argument(
        "--calibrate", type=float, default=60.0, metavar="S", help="duration of the measurement"
    )
    parser.add_argument("--steps", type=int, default=10, help="steps for the profile")
    args = parser.parse_args(words)
    if min(args.seconds, args.calibrate, args.steps) < 1:
        parser.error("--seconds, --calibrate and --steps must be 1 or more.")
    block = SETTINGS["block"]
    if args.block is not None and not block.low <= args.block <= block.high:
        parser.error(f"--block must be {block.low:g} to {block.high:g} ms.")
    return args


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    args = parse(words)
    profile = PROFILES["fast"]
    settings = Settings(
        voice=args.voice,
        pitch=4.0,
        content=args.content,
        pitch_method=args.pitch_method,
        latency="constant",  # the measured block is judged
    )
    with tempfile.TemporaryDirectory(prefix="rtvc-") as folder:
        home = Path(folder)
        os.environ |= {"RTVC_HOME": folder, "RTVC_CONFIG_DIR": str(home / "config")}
        install(args.voice, home)
        calibrate(settings, args.calibrate)
        kind = voice_kind(args.voice)
        timing = load_calibration()[0][kind]
        work = work_to_fit(settings)
        found = choose(timing, profile, work=work)
        chosen: frozenset[str] = frozenset()
        if args.block is not None:
            settings, chosen = settings.replace(block=args.block), frozenset({"block"})
        sizing, _ = startup_sizing(settings, profile.name, chosen)
        sized = settings.replace(**sizing.changes(settings, kind))
        report: dict[str, Any] = {
            "voice": args.voice,
            "content": args.content,
            "pitch method": args.pitch_method,
            "block found, ms": None if found is None else found.block,
            "predicted p99 at the block below, ms": round(
                timing.p99(sized.block, sized.context, work), 1
            ),
            "times faster that a step of 500 ms has to be": round(
                speed_needed(timing, settings, profile), 2
            ),
            "block, headroom, context, ms": [sized.block, sized.headroom, sized.context],
        }
        live = found is not None or args.block is not None
        if live:
            sound = speech(args.seconds + 5)
            report |= run_live(settings, sound, args.seconds, busy=False, sizing=sizing)
        in_subprocess(profile_step, sized, args.steps, home / "profile.json")
        stages = json.loads((home / "profile.json").read_text())
    print(json.dumps({"hardware": hardware(), "versions": versions()} | report, indent=1))
    print("\n".join(profile_lines(stages)))
    if not live:
        print(f"No block up to 500 ms keeps the load of profile {profile.name}.", file=sys.stderr)
    return int(not live or any(report[name] for name in MUST_BE_ZERO))


if __name__ == "__main__":
    sys.exit(main())
