"""What the system's devices and its sound server are now, found out without PortAudio.

PortAudio lists devices only when it is initialised, which takes 50 ms and leaks memory.
These functions take microseconds and never wait, so that they can be called ten times a second.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from rtvc.audio.core_audio import core_audio_devices

_CARDS = Path("/proc/asound/cards")


@dataclass(frozen=True, slots=True)
class DeviceMarks:
    """Values that are equal as long as the system's devices are the same.

    Attributes
    ----------
    hardware
        Changes when a device is connected or removed, or another one becomes a default device;
        None if that is not known.
    server
        Changes when the sound server starts, ends, or starts again.
    default_input, default_output
        Numbers of the system's default devices; None where a sound server, or nothing, moves
        streams to another default.
    """

    hardware: object = None
    server: tuple[object, ...] = ()
    default_input: int | None = None
    default_output: int | None = None


def device_marks() -> DeviceMarks:
    """Return the marks of this moment."""
    if sys.platform == "darwin":
        found = core_audio_devices()
        if found is None:
            return DeviceMarks()
        return DeviceMarks(found, (), found.default_input, found.default_output)
    return DeviceMarks(_cards(), _server_marks())


def _server_marks() -> tuple[object, ...]:
    found: list[object] = []
    for path in server_sockets():
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_ino, status.st_ctime_ns, _listens(path)))
    return tuple(found)


def server_is_down() -> bool:
    """Return whether there is a sound server's socket, but nobody listens to it."""
    sockets = [path for path in server_sockets() if path.exists()]
    return bool(sockets) and not any(_listens(path) for path in sockets)


def has_sound_system() -> bool:
    """Return whether this machine has devices or a sound server, or expects one."""
    if sys.platform == "darwin" or "PULSE_SERVER" in os.environ:
        return True
    return any(path.exists() for path in server_sockets()) or "[" in _cards()


def server_sockets() -> list[Path]:
    """Return where the sockets of PulseAudio and PipeWire may be."""
    server = os.environ.get("PULSE_SERVER", "").split()
    local = [word.rpartition("unix:")[2] for word in server]
    if paths := [Path(word) for word in local if word.startswith("/")]:
        return paths
    folders = []
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folders += [Path(runtime) / "pulse/native", Path(runtime) / "pipewire-0"]
    return [*folders, Path("/run/pulse/native")]


def _cards() -> str:
    try:
        return _CARDS.read_text(errors="replace")
    except OSError:
        return ""


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        try:
            connection.connect(str(path))
        except BlockingIOError:  # it hangs, and many wait for it
            return True
        except OSError:
            return False
    return True
