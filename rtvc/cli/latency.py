"""``rtvc latency``: measures the latency of the devices through a cable or loop."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from rtvc.cli import options
from rtvc.errors import RtvcError, UsageError

if TYPE_CHECKING:
    from rtvc.audio.loop_latency import LoopLatency
    from rtvc.live.devices import DeviceNames

SUMMARY = "measure the latency of the devices with chirps"
USAGE = (
    "rtvc latency [--input NAME] [--input-channel CHANNEL] [--output NAME] [--yes] [--json]\n"
    "       rtvc latency --forget"
)
DESCRIPTION = """\
Plays chirps on the speaker for three seconds at -20 dBFS, and finds them in the microphone.
You can hear them. The microphone must pick up the speaker: hold it to the speaker or to the
headphones, connect them with a cable, or choose one virtual cable as both devices.

Reports the latency of speaker and microphone together, its jitter, all paths from one to
the other, gaps, clicks and clipping. The result is kept for this pair of devices, sample
rate and block. The panel, 'rtvc run --stats' and 'rtvc doctor --live' show it.

The devices are those of the last run unless you name others. The exit code is 1 if the
chirps do not come back or disagree; then nothing is kept."""
EPILOG = """\
examples:
  rtvc latency
  rtvc latency --input "BlackHole" --output "BlackHole"
  rtvc latency --yes --json > latency.json
  rtvc latency --forget               remove all results"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--input", metavar="NAME", help="microphone: name, part of it, or number")
    parser.add_argument("--output", metavar="NAME", help="speaker: name, part of it, or number")
    options.add_live_input_channel(parser)
    parser.add_argument("--yes", action="store_true", help="play the chirps without asking")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--forget", action="store_true", help="remove all kept results")


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.cli.run_devices import print_note, selected_devices
    from rtvc.config.remembered import load_remembered
    from rtvc.live.device_latency import measure_devices
    from rtvc.live.devices import SystemDevices

    if args.forget:
        return _forget(args)
    selection = selected_devices(args, load_remembered()[0])
    devices = SystemDevices().open(selection)
    print_note(
        f"Plays chirps for three seconds at -20 dBFS on {devices.names.output!r}; "
        f"{devices.names.input!r} must pick them up."
    )
    _ask(args)
    loop = measure_devices(devices)
    if args.json:
        from rtvc.cli.run_report import as_json

        print(as_json(_report(loop, devices.names)), end="")
    else:
        print("\n".join(_lines(loop)))
    return 0 if loop.reliable else 1


def _ask(args: argparse.Namespace) -> None:
    """Ask before anything is played.

    Raises
    ------
    UsageError
        If there is nobody to ask.
    RtvcError
        If the answer is no.
    """
    if args.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("The chirps are audible. Add --yes to play them without asking.")
    print("Play them now? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RtvcError("Nothing was played.")


def _forget(args: argparse.Namespace) -> int:
    from rtvc.config.measured_latency import forget_latencies

    if args.input or args.output or args.input_channel or args.yes:
        raise UsageError("--forget removes all results; it takes no other flag than --json.")
    count = forget_latencies()
    if args.json:
        from rtvc.cli.run_report import as_json

        print(as_json({"forgotten": count}), end="")
    else:
        print(f"Forgot {count} measured {'latency' if count == 1 else 'latencies'}.")
    return 0


def _report(loop: LoopLatency, names: DeviceNames) -> dict[str, Any]:
    """Return the result for JSON; times are in seconds."""
    found = loop.analysis
    return {
        "input": names.input,
        "output": names.output,
        "latency": loop.measured,
        "reported": loop.reported,
        "jitter": loop.jitter,
        "reliable": loop.reliable,
        "chirps": list(loop.lags),
        "paths": [{"latency": lag, "level_db": level} for lag, level in loop.paths],
        "events": [
            {"kind": event.kind, "at": event.at_s, "seconds": event.seconds}
            for event in found.events
        ],
        "gain_db": found.gain_db,
        "noise_db": found.noise_db,
        "clipped_samples": found.clipped,
        "underruns": loop.underruns,
        "overflows": loop.overflows,
        "warnings": list(loop.warnings),
    }


def _lines(loop: LoopLatency) -> list[str]:
    """Return the result as text."""
    found = loop.analysis
    lines = [
        f"Latency of the devices: {loop.measured * 1000:.1f} ms "
        f"(they report {loop.reported * 1000:.1f} ms), "
        f"jitter {loop.jitter * 1000:.1f} ms over {len(loop.lags)} chirps, "
        f"level {found.gain_db:+.0f} dB."
    ]
    lines += [f"! {warning}" for warning in loop.warnings]
    if loop.reliable:
        lines.append("Kept for this pair of devices; the panel and --stats show it.")
    else:
        lines.append("Not kept.")
    return lines
