"""What can be plugged in: the devices to choose from, and how a pair of them is opened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rtvc.errors import RtvcError

if TYPE_CHECKING:
    from rtvc.audio.devices import Direction
    from rtvc.audio.endpoint import Endpoint

_SCAN_S = 10.0
_SCAN = """\
import dataclasses, json
from rtvc.audio.devices import list_devices
print(json.dumps([dataclasses.asdict(device) for device in list_devices()]))
"""


@dataclass(frozen=True, slots=True)
class SoundDevice:
    """A device in one direction, as a person chooses it.

    Attributes
    ----------
    name, host_api
        What it is called, and by which part of the system.
    channels, rate
        How many channels it has, and samples per second.
    default
        Whether the system uses it when nothing is said.
    cable
        Whether it is a virtual cable from one program to another.
    """

    name: str
    host_api: str = ""
    channels: int = 1
    rate: float = 48_000.0
    default: bool = False
    cable: bool = False


@dataclass(frozen=True, slots=True)
class Devices:
    """All microphones and speakers of a moment."""

    inputs: tuple[SoundDevice, ...] = ()
    outputs: tuple[SoundDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A microphone and a speaker, ready to be started.

    Attributes
    ----------
    endpoint
        For the session; not started yet.
    input, output
        The devices' names.
    hint
        Tells what is probably wrong while it runs, "" if nothing is.
    """

    endpoint: Endpoint
    input: str
    output: str
    hint: Callable[[], str] = lambda: ""


class Rig(Protocol):
    """Devices to choose from."""

    def scan(self) -> Devices:
        """Return what is plugged in now; may take a second."""

    def open(self, input: str, output: str) -> Line:
        """Return a pair of devices by their names; "" is the system's default.

        Raises
        ------
        RtvcError
            If there is no such device.
        """


class LiveRig:
    """The devices of this machine."""

    def __init__(self) -> None:
        self._opened = False

    def scan(self) -> Devices:
        """Return what is plugged in now.

        PortAudio sees the devices of the moment at which it was started, and
        starting it again would end the sound. So another process looks.

        Raises
        ------
        RtvcError
            If the sound system cannot be asked.
        """
        try:
            done = subprocess.run(
                [sys.executable, "-c", _SCAN],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=_SCAN_S,
                check=True,
            )
            rows = json.loads(done.stdout)
        except (subprocess.SubprocessError, OSError, ValueError):
            raise RtvcError("The devices could not be listed; 'rtvc doctor' says why.") from None
        return Devices(_side(rows, "input"), _side(rows, "output"))

    def open(self, input: str, output: str) -> Line:
        """Return a pair of devices by their names; "" is the system's default.

        To be called only while no other pair is open.
        """
        from rtvc.audio.devices import find_device
        from rtvc.audio.live import LiveEndpoint
        from rtvc.audio.portaudio import restart

        if self._opened:
            # What has been plugged in since is seen only so.
            restart()
        self._opened = True
        microphone = find_device(input or None, "input")
        speaker = find_device(output or None, "output")
        endpoint = LiveEndpoint(input or None, output or None)
        return Line(endpoint, microphone.name, speaker.name, lambda: endpoint.hint)


def _side(rows: list[dict[str, object]], direction: Direction) -> tuple[SoundDevice, ...]:
    return tuple(
        SoundDevice(
            name=str(row["name"]),
            host_api=str(row["host_api"]),
            channels=int(str(row[f"{direction}s"])),
            rate=float(str(row["rate"])),
            default=bool(row[f"default_{direction}"]),
            cable=bool(row["virtual_cable"]),
        )
        for row in rows
        if row[f"{direction}s"]
    )
