"""The devices of ``rtvc run``, or the demonstration without devices."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rtvc.errors import RtvcError, UsageError, escaped

if TYPE_CHECKING:
    from rtvc.audio.devices import Device, Direction
    from rtvc.config.remembered import RememberedRun
    from rtvc.device_choice import ChannelChoice, DeviceIdentity
    from rtvc.live.devices import DeviceChoice, DeviceSelection, OpenDevices

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
        The devices to open and to remember.
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


def find_devices(
    args: argparse.Namespace, remembered_run: RememberedRun, *, echo: str, waiting: bool
) -> RunDevices:
    """Return the devices of a command line.

    If there are none, the run waits for them: a sound server can start, a microphone can be
    plugged in. Only without any sound system, and unless `waiting`, it is the demonstration.

    Parameters
    ----------
    args
        The command line.
    remembered_run
        The last run.
    echo
        The run's value of ``Settings.echo``, for advice.
    waiting
        Whether to wait for devices without a sound system too, as the panel and plain mode do.

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

    remembered = DeviceSelection.of(remembered_run)
    if args.demo is not None:
        return _demo(args, remembered)
    try:
        _require_devices()
        return _live(args, remembered_run, echo)
    except AudioError as error:
        if waiting or has_sound_system():
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
        If there is no microphone or no speaker, or a remembered one is not connected.
    UsageError
        If there is no device of that name.
    """
    from rtvc.live.devices import DeviceSelection

    _require_devices()
    microphone = _device("input", args.input, remembered.input)
    speaker = _device("output", args.output, remembered.output)
    for sentence in filter(None, (microphone.missing, speaker.missing)):
        raise RtvcError(sentence)
    channel = _channel(args, remembered, microphone)
    return DeviceSelection(microphone.choice, speaker.choice, channel=channel)


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
    name = escaped(str(path))
    print_note(f"Demonstration: converting a bundled utterance in real time, output to {name}.")
    return RunDevices(choice, lambda: open_demo(path, force=args.force), live=False)


def _later(args: argparse.Namespace, remembered: DeviceSelection) -> RunDevices:
    """Return devices that cannot be looked for yet, by the names that were given."""
    from rtvc.live.devices import SystemDevices

    def wanted(asked: str | None, remembered: DeviceChoice) -> DeviceChoice:
        if asked is None:
            return remembered
        return "" if asked.lower() == "default" else asked

    choice = remembered.with_input(wanted(args.input, remembered.input))._replace(
        output=wanted(args.output, remembered.output),
        monitor=_later_monitor(args.monitor, remembered.monitor),
    )
    if args.input_channel is not None:
        choice = choice._replace(channel=args.input_channel)
    return RunDevices(choice, lambda: SystemDevices().open(choice))


def _later_monitor(asked: str | None, remembered: DeviceChoice) -> DeviceChoice:
    from rtvc.device_choice import SYSTEM_DEFAULT

    if asked is None:
        return remembered
    if asked.lower() == "default":
        return SYSTEM_DEFAULT
    return "" if asked.lower() == _NO_MONITOR else asked


def _live(args: argparse.Namespace, remembered: RememberedRun, echo: str) -> RunDevices:
    from rtvc.device_choice import channel_label
    from rtvc.live.devices import DeviceSelection, SystemDevices
    from rtvc.live.feedback import Side, feedback_advice

    microphone = _device("input", args.input, remembered.input)
    speaker = _device("output", args.output, remembered.output)
    monitor = _monitor(args.monitor, remembered.monitor)
    if monitor and monitor.device and monitor.device == speaker.device:
        raise UsageError(f"{speaker.name!r} is already the output. Choose another monitor.")
    channel = _channel(args, remembered, microphone)
    used = f" ({label})" if (label := channel_label(channel)) else ""
    also = f", monitor: {monitor.name!r}" if monitor else ""
    print_note(f"Input: {microphone.name!r}{used}, output: {speaker.name!r}{also}.")
    for sentence in filter(None, (found.missing for found in (microphone, speaker))):
        print_note(f"{sentence} Until then rtvc waits; press Ctrl-C to stop.")
    if monitor and monitor.missing:
        print_note(f"{monitor.missing} Until then rtvc runs without a monitor.")
    source = Side.of(microphone.name, microphone.known)
    advice = feedback_advice(source, Side.of(speaker.name, speaker.known), echo)
    if monitor:
        advice = advice or feedback_advice(source, Side.of(monitor.name, monitor.known), echo)
    if advice:
        print_note(advice)
    choice = DeviceSelection(
        microphone.choice, speaker.choice, monitor.choice if monitor else "", channel
    )
    return RunDevices(choice, lambda: SystemDevices().open(choice), advice=advice)


class _Found(NamedTuple):
    """A device to open, its full name, and a sentence if it is not connected."""

    choice: DeviceChoice
    name: str
    device: Device | None
    missing: str = ""

    @property
    def known(self) -> tuple[Device, ...]:
        """The device, if it is connected."""
        return (self.device,) if self.device else ()


def _device(
    direction: Direction,
    asked: str | None,
    remembered: DeviceIdentity | None,
    flag: str = "",
) -> _Found:
    """Return the device of a flag, else the remembered one, else the system's default."""
    from rtvc.audio.device_search import find_device, identity_of
    from rtvc.audio.devices import list_devices
    from rtvc.audio.errors import AudioError
    from rtvc.device_choice import SYSTEM_DEFAULT

    everything = list_devices()
    followed = asked is None and remembered in (None, SYSTEM_DEFAULT)
    if followed or (asked or "").lower() == "default":
        device = find_device(None, direction, everything)
        return _Found(SYSTEM_DEFAULT if flag else "", device.name, device)
    if asked is None and remembered is not None:
        try:
            device = find_device(remembered, direction, everything)
        except AudioError as error:
            missing = (
                f"Remembered, but missing: {error} Connect it, or choose another one with "
                f"--{flag or direction}."
            )
            return _Found(remembered, remembered.name, None, missing)
    else:
        device = find_device(asked, direction, everything)
    return _Found(identity_of(device, direction, everything), device.name, device)


def _channel(
    args: argparse.Namespace, remembered: RememberedRun, microphone: _Found
) -> ChannelChoice:
    """Return the channel of the flag, else the remembered one if the microphone is the same.

    Raises
    ------
    UsageError
        If the microphone has no such channel.
    """
    from rtvc.device_choice import MIX, check_channel

    same = args.input is None or microphone.choice == (remembered.input or "")
    channel: ChannelChoice = remembered.input_channel if same else MIX
    if args.input_channel is not None:
        channel = args.input_channel
    if microphone.device is not None:
        check_channel(channel, microphone.device.inputs, repr(microphone.name))
    return channel


def _monitor(asked: str | None, remembered: DeviceIdentity | None) -> _Found | None:
    """Return the monitor of the flag, else the remembered one; None if there is none."""
    if (asked is None and remembered is None) or (asked or "").lower() == _NO_MONITOR:
        return None
    return _device("output", asked, remembered, "monitor")


def _require_devices() -> None:
    from rtvc.audio.device_search import find_device

    find_device(None, "input")
    find_device(None, "output")
