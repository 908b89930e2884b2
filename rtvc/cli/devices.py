"""``rtvc devices``: lists microphones and speakers."""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import TYPE_CHECKING, NamedTuple

from rtvc.cli.columns import columns_of, padded
from rtvc.cli.run_devices import WAITING, print_note
from rtvc.errors import RtvcError, escaped

if TYPE_CHECKING:
    from rtvc.audio.devices import Device, Direction

SUMMARY = "list microphones and speakers"
USAGE = "rtvc devices [--json]"
DESCRIPTION = """\
Lists microphones and speakers with their number, channels and sample rates. '*' marks
the system default, which rtvc uses unless you name a device or one is remembered from
the last run."""
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
    remembered = _remembered(devices)
    if args.json:
        from rtvc.cli.run_report import as_json

        rows = [
            {
                **dataclasses.asdict(device),
                "input_rates": supported_rates(device, "input"),
                "output_rates": supported_rates(device, "output"),
                "remembered": [one.use for one in remembered if one.number == device.index],
            }
            for device in devices
        ]
        print(as_json(rows), end="")
        return 0
    _print_table("microphones", devices, "input", remembered)
    print()
    _print_table("speakers", devices, "output", remembered)
    if missing := [one.missing for one in remembered if one.missing]:
        print()
        print("\n".join(f"Remembered, but missing: {sentence}" for sentence in missing))
    return 0


class _Remembered(NamedTuple):
    """A device of the last run: use, index, channel if it is chosen, or why it is missing."""

    use: str
    number: int
    channel: str
    missing: str = ""


def _remembered(devices: list[Device]) -> list[_Remembered]:
    from rtvc.audio.device_search import find_device
    from rtvc.audio.errors import AudioError
    from rtvc.config.remembered import read_remembered
    from rtvc.device_choice import channel_label

    try:
        run = read_remembered()
    except RtvcError as error:
        print_note(str(error))
        return []
    uses: dict[str, Direction] = {"input": "input", "output": "output", "monitor": "output"}
    found = []
    for use, direction in uses.items():
        identity = getattr(run, use)
        channel = channel_label(run.input_channel) if use == "input" else ""
        if identity is None and not channel:
            continue
        try:
            device = find_device(identity, direction, devices)
            found.append(_Remembered(use, device.index, channel))
        except AudioError as error:
            found.append(_Remembered(use, -1, channel, str(error)))
    return found


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


def _print_table(
    title: str, devices: list[Device], direction: Direction, remembered: list[_Remembered]
) -> None:
    from rtvc.audio.devices import supported_rates

    usable = [device for device in devices if device.channels(direction)]
    print(f"{title}:" if usable else f"{title}: none")
    width = max((columns_of(escaped(device.name)) for device in usable), default=0)
    for device in usable:
        channels = device.channels(direction)
        facts = [
            f"{channels} channel{'s' if channels > 1 else ''}",
            device.host_api,
            _rates(supported_rates(device, direction), device.rate),
        ]
        if device.virtual_cable:
            facts.append("virtual cable")
        facts += [
            f"remembered {one.use}{', ' if one.channel else ''}{one.channel}"
            for one in remembered
            if one.number == device.index and (one.use == "input") == (direction == "input")
        ]
        mark = "*" if device.is_default(direction) else " "
        print(f"{mark} {device.index:3}  {padded(escaped(device.name), width)}  {', '.join(facts)}")


def _rates(rates: tuple[int, ...], own: float) -> str:
    from rtvc.audio.devices import COMMON_RATES

    if not rates:
        return f"{own:.0f} Hz, cannot be opened now"
    if rates == COMMON_RATES:
        return f"{own:.0f} Hz, any from {rates[0]} to {rates[-1]}"
    others = ", ".join(str(rate) for rate in rates if rate != own)
    return f"{own:.0f} Hz" + (f", also {others}" if others else "")
