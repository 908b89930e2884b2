"""The devices of ``rtvc run``, or the demonstration without devices."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError, UsageError

if TYPE_CHECKING:
    from rtvc.audio.devices import Direction
    from rtvc.config.remembered import RememberedRun
    from rtvc.live.devices import DeviceSelection, OpenDevices
    from rtvc.settings import Settings

DEMO_FILE = "rtvc-demo.wav"
WAITING = "Waiting for it; press Ctrl-C to stop."
_NO_MONITOR = "off"
_SOUND_SERVER = "pulse"
"""PortAudio's device of PulseAudio and PipeWire."""


@dataclass(frozen=True, slots=True)
class RunDevices:
    """The devices of a run.

    Attributes
    ----------
    choice
        Names of the devices to open and to remember.
    open
        Opens the devices, or the demonstration instead.
    live
        True for devices, False for the demonstration.
    advice
        A warning about the devices, "" if there is none.
    """

    choice: DeviceSelection
    open: Callable[[], OpenDevices]
    live: bool = True
    advice: str = ""

    def remembered_run(self, settings: Settings) -> RememberedRun:
        """Return the devices and settings to remember."""
        from rtvc.config.remembered import RememberedRun

        return RememberedRun(self.choice.input, self.choice.output, settings, self.choice.monitor)


def find_devices(
    args: argparse.Namespace, remembered_run: RememberedRun, *, on_panel: bool
) -> RunDevices:
    """Return the devices of a command line.

    If there are none, the run waits for them: a sound server can start, a microphone can be
    plugged in. Only without any sound system, and without the panel, it is the demonstration.

    Parameters
    ----------
    args
        The command line.
    remembered_run
        The last run.
    on_panel
        Whether the panel will be opened.

    Raises
    ------
    RtvcError
        If a device is given but there is no sound system, or the demonstration cannot be written.
    UsageError
        If there is no device of that name.
    """
    from rtvc.audio.errors import AudioError
    from rtvc.audio.sound_system import has_sound_system
    from rtvc.live.devices import DeviceSelection

    remembered = DeviceSelection(
        remembered_run.input, remembered_run.output, remembered_run.monitor
    )
    if args.demo is not None:
        return _demo(args, remembered)
    try:
        _require_devices()
        return _live(args, remembered)
    except AudioError as error:
        if on_panel or has_sound_system():
            print_note(f"{error} {WAITING}")
            return _later(args, remembered)
        if args.input or args.output or args.monitor:
            raise
        print_note(f"No live sound. {error}")
    return _demo(args, remembered)


def selected_devices(args: argparse.Namespace, remembered: RememberedRun) -> DeviceSelection:
    """Return the devices of ``--input`` and ``--output``, else those of the last run.

    Raises
    ------
    RtvcError
        If there is no microphone or no speaker.
    UsageError
        If there is no device of that name.
    """
    from rtvc.live.devices import DeviceSelection

    _require_devices()
    microphone, _ = _device("input", args.input, remembered.input)
    speaker, _ = _device("output", args.output, remembered.output)
    return DeviceSelection(microphone, speaker)


@contextmanager
def cable(args: argparse.Namespace) -> Iterator[None]:
    """Use the virtual cable in the block if ``--cable`` is given, and repair it in any case.

    Raises
    ------
    RtvcError
        If there can be no cable.
    """
    from rtvc.live import cable as virtual_cable

    if not args.cable:
        if virtual_cable.is_left_behind():
            with suppress(RtvcError):
                virtual_cable.repair()
        yield
        return
    from rtvc.cli.cable import require_cable

    require_cable()
    args.output = _SOUND_SERVER
    with virtual_cable.in_use():
        print_note(f"Output: the virtual cable {virtual_cable.SINK!r}.")
        yield


def print_note(text: str) -> None:
    """Print a note to standard error."""
    print(text, file=sys.stderr, flush=True)


def _demo(args: argparse.Namespace, choice: DeviceSelection) -> RunDevices:
    from rtvc.live.demo import claim_file, open_demo

    path = claim_file(Path(args.demo or DEMO_FILE), force=args.force)
    print_note(f"Demonstration: converting a bundled utterance in real time, output to {path}.")
    return RunDevices(choice, lambda: open_demo(path), live=False)


def _later(args: argparse.Namespace, remembered: DeviceSelection) -> RunDevices:
    """Return devices that cannot be looked for yet, by the names that were given."""
    from rtvc.live.devices import DeviceSelection, SystemDevices

    def wanted(asked: str | None, remembered: str) -> str:
        if asked is None:
            return remembered
        return "" if asked.lower() in ("default", _NO_MONITOR) else asked

    choice = DeviceSelection(
        wanted(args.input, remembered.input),
        wanted(args.output, remembered.output),
        wanted(args.monitor, remembered.monitor),
    )
    return RunDevices(choice, lambda: SystemDevices().open(choice))


def _live(args: argparse.Namespace, remembered: DeviceSelection) -> RunDevices:
    from rtvc.live.devices import DeviceSelection, SystemDevices
    from rtvc.live.feedback import feedback_advice

    microphone, input_name = _device("input", args.input, remembered.input)
    speaker, output_name = _device("output", args.output, remembered.output)
    monitor, monitor_name = _monitor(args.monitor, remembered.monitor)
    if monitor and monitor_name == output_name:
        raise UsageError(f"{output_name!r} is already the output. Choose another monitor.")
    also = f", monitor: {monitor_name!r}" if monitor else ""
    print_note(f"Input: {input_name!r}, output: {output_name!r}{also}.")
    advice = feedback_advice(input_name, output_name)
    if monitor:
        advice = advice or feedback_advice(input_name, monitor_name)
    if advice:
        print_note(advice)
    choice = DeviceSelection(microphone, speaker, monitor)
    return RunDevices(choice, lambda: SystemDevices().open(choice), advice=advice)


def _device(direction: Direction, asked: str | None, remembered: str) -> tuple[str, str]:
    """Return the name to open ("" for the system default) and the full name of the device."""
    from rtvc.audio.devices import find_device

    if asked is not None:
        wanted = "" if asked.lower() == "default" else asked
        return wanted, find_device(wanted or None, direction).name
    if remembered:
        try:
            return remembered, find_device(remembered, direction).name
        except UsageError:
            print_note(
                f"The remembered {direction} {remembered!r} is missing. Using the system default."
            )
    return "", find_device(None, direction).name


def _monitor(asked: str | None, remembered: str) -> tuple[str, str]:
    """Return the name to open ("" for none) and the full name of the device."""
    from rtvc.audio.devices import find_device

    if asked is not None:
        if asked.lower() == _NO_MONITOR:
            return "", ""
        name = find_device(None if asked.lower() == "default" else asked, "output").name
        return name, name
    if remembered:
        try:
            return remembered, find_device(remembered, "output").name
        except UsageError:
            print_note(
                f"The remembered monitor {remembered!r} is missing. Running without a monitor."
            )
    return "", ""


def _require_devices() -> None:
    from rtvc.audio.devices import find_device

    find_device(None, "input")
    find_device(None, "output")
