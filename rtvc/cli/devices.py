"""``rtvc devices``: lists microphones and speakers."""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import TYPE_CHECKING

from rtvc.cli.run_devices import WAITING, print_note

if TYPE_CHECKING:
    from rtvc.audio.devices import Device, Direction

SUMMARY = "list microphones and speakers"
USAGE = "rtvc devices [--json]"
DESCRIPTION = """\
Lists microphones and speakers with their number, channels and sample rates. '*' marks
the system default, which rtvc uses unless you name a device."""
EPILOG = """\
examples:
  rtvc devices
  rtvc devices --json
  rtvc run --input "USB" --output "BlackHole"    a part of the name is enough"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.audio.devices import supported_rates

    devices = _list_patiently()
    if args.json:
        from rtvc.cli.run_report import as_json

        rows = [
            {
                **dataclasses.asdict(device),
                "input_rates": supported_rates(device, "input"),
                "output_rates": supported_rates(device, "output"),
            }
            for device in devices
        ]
        print(as_json(rows), end="")
        return 0
    _print_table("microphones", devices, "input")
    print()
    _print_table("speakers", devices, "output")
    return 0


def _list_patiently() -> list[Device]:
    """Return the devices; while the sound server does not answer, say so and wait."""
    from rtvc.audio.devices import list_devices
    from rtvc.audio.errors import NoAnswerError

    told = False
    while True:
        try:
            return list_devices()
        except NoAnswerError as error:
            if not told:
                print_note(f"{error} {WAITING}")
            told = True
            time.sleep(0.1)


def _print_table(title: str, devices: list[Device], direction: Direction) -> None:
    from rtvc.audio.devices import supported_rates

    usable = [device for device in devices if device.channels(direction)]
    print(f"{title}:" if usable else f"{title}: none")
    width = max((len(device.name) for device in usable), default=0)
    for device in usable:
        channels = device.channels(direction)
        facts = [
            f"{channels} channel{'s' if channels > 1 else ''}",
            device.host_api,
            _rates(supported_rates(device, direction), device.rate),
        ]
        if device.virtual_cable:
            facts.append("virtual cable")
        mark = "*" if device.is_default(direction) else " "
        print(f"{mark} {device.index:3}  {device.name:{width}}  {', '.join(facts)}")


def _rates(rates: tuple[int, ...], own: float) -> str:
    from rtvc.audio.devices import COMMON_RATES

    if not rates:
        return f"{own:.0f} Hz, cannot be opened now"
    if rates == COMMON_RATES:
        return f"{own:.0f} Hz, any from {rates[0]} to {rates[-1]}"
    others = ", ".join(str(rate) for rate in rates if rate != own)
    return f"{own:.0f} Hz" + (f", also {others}" if others else "")
