"""``rtvc cable``: makes and removes a virtual cable into a call."""

from __future__ import annotations

import argparse
import sys

from rtvc.errors import UsageError

SUMMARY = "make a virtual cable into a call (Linux)"
USAGE = "rtvc cable [--remove]"
DESCRIPTION = """\
Makes a virtual cable in PulseAudio or PipeWire: a null sink 'rtvc_cable'. 'rtvc --cable'
plays into it, and the program of your call records 'Monitor of rtvc_cable' as its
microphone. While 'rtvc --cable' runs, that is also the default microphone of the system,
so that a program without a choice does not record the real one. Both are undone:
the microphone at the end of the run, the cable with --remove or when the sound server ends.

On macOS install BlackHole (https://existential.audio/blackhole): rtvc installs nothing
and uses no network. Then: rtvc --output "BlackHole" --monitor "Headphones"."""
EPILOG = """\
examples:
  rtvc cable                    make it
  rtvc --cable --preset deep    play into it
  rtvc cable --remove           remove it, and repair what a killed run has left"""
_BLACKHOLE = """\
macOS has no virtual cable that rtvc could make. Install BlackHole, for example with
  brew install blackhole-2ch
then run
  rtvc --output "BlackHole" --monitor "Headphones"
and choose BlackHole as the microphone in your call. In System Settings, Sound, make BlackHole
the input as well: a program without a choice then does not record your real microphone. rtvc
then needs the name of your microphone: --input "MacBook"."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--remove",
        action="store_true",
        help="remove the cable that rtvc has made, and restore the default microphone",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.live import cable

    if sys.platform == "darwin":
        print(_BLACKHOLE)
        return 0
    require_cable()
    print(cable.remove() if args.remove else cable.make())
    return 0


def require_cable() -> None:
    """Check that this system can have a cable.

    Raises
    ------
    UsageError
        If it cannot.
    """
    from rtvc.live import cable

    if sys.platform == "darwin":
        raise UsageError("rtvc makes no cable on macOS: 'rtvc cable' says how to get one.")
    if not cable.is_available():
        raise UsageError(
            "A cable needs PulseAudio or PipeWire and the program 'pactl'. Install the package "
            "pulseaudio-utils."
        )
