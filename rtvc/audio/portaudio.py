"""Access to PortAudio: import it on first use, restart it, explain its errors."""

from __future__ import annotations

import atexit
import contextlib
import sys
import time
from typing import Any, NamedTuple

from rtvc.audio.errors import AudioError
from rtvc.audio.portaudio_thread import PORTAUDIO
from rtvc.audio.sound_system import DeviceMarks, device_marks
from rtvc.audio.stderr_capture import capture_stderr

INITIALIZE_LIMIT_S = 2.0
"""Limit for listing devices and restarting PortAudio, which takes 0.1 s."""
_FINISH_LIMIT_S = 0.3
_FIRST_AGE_S, _LIST_AGE_S = 0.25, 60.0
"""Shortest and longest age at which the list of devices is renewed even if no change is known."""
_SYSTEM = "the sound system"


class _Listing(NamedTuple):
    """What the system's devices were when PortAudio listed them, and since when."""

    marks: DeviceMarks
    time: float
    since: float

    @property
    def lasts_s(self) -> float:
        """Age at which it is renewed: a sound server listens before it has all of its devices."""
        return min(max(_FIRST_AGE_S, self.time - self.since), _LIST_AGE_S)


_listing = _Listing(DeviceMarks(), 0.0, 0.0)

INVALID_CHANNELS, INVALID_RATE, INVALID_DEVICE = -9998, -9997, -9996
HOST_ERROR, BAD_COMBINATION, INTERNAL, UNAVAILABLE = -9999, -9993, -9986, -9985

ALLOW_MICROPHONE = (
    "Allow your terminal to use the microphone under System Settings, Privacy & Security, "
    "Microphone, then quit the terminal and open it again."
)


def portaudio() -> Any:
    """Return the `sounddevice` module, imported at the first call.

    Raises
    ------
    AudioError
        If sounddevice or the PortAudio library is not installed, or PortAudio cannot start.
    """
    loaded = sys.modules.get("sounddevice")
    # While it is being imported, which initialises PortAudio, it is not usable yet.
    if loaded is not None and not getattr(loaded.__spec__, "_initializing", False):
        return loaded
    return PORTAUDIO.call(_import, INITIALIZE_LIMIT_S)


def _import() -> Any:
    _note_listing()
    try:
        with capture_stderr() as noise:
            import sounddevice
    except ImportError as error:
        raise AudioError(
            f"The sounddevice package cannot be imported ({error}). Install it with "
            "'pip install sounddevice'."
        ) from None
    except OSError as error:
        how = "brew install portaudio" if sys.platform == "darwin" else "apt install libportaudio2"
        raise AudioError(
            f"The PortAudio library is missing; live audio needs it. Install it with '{how}'.",
            str(error),
        ) from None
    except Exception as error:
        if type(error).__name__ != "PortAudioError":  # a class of the module that is not imported
            raise
        raise audio_error(error, "start", _SYSTEM, detail=noise.text) from None
    # Its handler would call PortAudio on the main thread and wait for a server that hangs.
    atexit.unregister(sounddevice._exit_handler)
    atexit.register(finish_portaudio)
    return sounddevice


def set_alsa_printing(allowed: bool) -> None:
    """Set whether ALSA may print to the terminal.

    ALSA prints each "underrun occurred" to file descriptor 2 from its own threads, in
    the middle of the panel. rtvc counts and shows underruns itself. Printing is allowed
    while a device is opened, where `capture_stderr` keeps it for the error message.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        alsa, libc = ctypes.CDLL("libasound.so.2"), ctypes.CDLL(None)
        # A handler in Python would make the audio thread wait for the interpreter lock; any C
        # function without arguments will do.
        silent = ctypes.cast(libc.getpid, ctypes.c_void_p)
        alsa.snd_lib_error_set_handler(None if allowed else silent)


def restart_portaudio() -> None:
    """Terminate and initialise PortAudio, which closes every stream.

    PortAudio updates its list of devices only when it is initialised.

    Raises
    ------
    AudioError
        If PortAudio cannot be initialised, or does not answer.
    """
    PORTAUDIO.call(_restart, INITIALIZE_LIMIT_S)


def update_devices(*, hardware_only: bool = False) -> bool:
    """Restart PortAudio if the system's devices have changed; return whether it did.

    Each restart takes 50 ms and loses 12 kB in the system's libraries.

    Parameters
    ----------
    hardware_only
        Whether only devices that were connected or removed count. Otherwise a sound server that
        has started or ended counts too, and so does a list that is more than a minute old, or
        was made soon after a change: after 0.25 s, then each time after twice as long.
    """
    now, listing = device_marks(), _listing
    if hardware_only:
        changed = now.hardware != listing.marks.hardware
    else:
        changed = now != listing.marks or time.monotonic() - listing.time > listing.lasts_s
    if changed or now.hardware is None:
        restart_portaudio()
    return changed or now.hardware is None


def listed_marks() -> DeviceMarks:
    """Return the marks of the system's devices from when PortAudio listed them."""
    return _listing.marks


def finish_portaudio() -> bool:
    """Close every stream and terminate PortAudio; return False if it does not answer."""
    if PORTAUDIO.hung:
        return False
    return PORTAUDIO.begin(_terminate, _FINISH_LIMIT_S).wait(_FINISH_LIMIT_S)


def _note_listing() -> None:
    global _listing  # noqa: PLW0603
    marks, now = device_marks(), time.monotonic()
    _listing = _Listing(marks, now, _listing.since if marks == _listing.marks else now)


def _restart() -> None:
    sounddevice = portaudio()
    with capture_stderr() as noise:
        _terminate()
        _note_listing()
        try:
            sounddevice._initialize()
        except sounddevice.PortAudioError as error:
            failure = error
        else:
            return
    raise audio_error(failure, "start", _SYSTEM, detail=noise.text)


def _terminate() -> None:
    sounddevice = sys.modules.get("sounddevice")
    if sounddevice is None:
        return
    for stream in list(PORTAUDIO.streams):
        stream.close()  # a stream that PortAudio has closed itself must not be used again
    PORTAUDIO.streams.clear()
    with contextlib.suppress(sounddevice.PortAudioError):  # it may not be initialised
        while sounddevice._initialized > 0:
            sounddevice._terminate()


def audio_error(
    error: Exception, doing: str, device: str, *, microphone: bool = False, detail: str = ""
) -> AudioError:
    """Return an error with a message that explains a PortAudio error and what to do.

    Parameters
    ----------
    error
        A ``PortAudioError``, or another error that sounddevice raised.
    doing
        What was tried, as in "Cannot {doing} {device}".
    device
        The device's name.
    microphone
        Whether it is a microphone, for which macOS requires a permission.
    detail
        What the libraries printed.
    """
    code = next((a for a in error.args if isinstance(a, int)), 0)
    host = next((str(a[2]) for a in error.args if isinstance(a, tuple) and len(a) == 3), "")
    text = _text_of(error)
    output = f"{text} {detail}".strip()
    lower = output.lower()
    guarded = microphone and sys.platform == "darwin"
    if "permission denied" in lower or "not permitted" in lower:
        reason = "permission was denied"
        fix = ALLOW_MICROPHONE if guarded else "Add yourself to the group audio."
    elif "connection refused" in lower:
        reason = "the sound server does not answer"
        fix = "Restart it (pulseaudio or pipewire)."
    elif code == UNAVAILABLE or "busy" in lower:
        reason = "another program is using it, or it was unplugged"
        fix = "Close the other program, or choose another device ('rtvc devices' lists them)."
    elif code == INVALID_RATE:
        reason = "it does not support this sample rate"
        fix = "Leave the rate out to use its default rate."
    elif code == INVALID_CHANNELS:
        reason = "it has fewer channels than requested"
        fix = "'rtvc devices' lists the channels of each device."
    elif code == INVALID_DEVICE:
        reason = "it is no longer available"
        fix = "'rtvc devices' lists the available devices."
    elif code == BAD_COMBINATION:
        reason = "the input and the output cannot be used together"
        fix = "Choose other devices ('rtvc devices' lists them)."
    elif device == _SYSTEM:
        reason = "PortAudio cannot be initialised"
        fix = "Check that the sound server runs"
        fix += "." if sys.platform == "darwin" else ", and ~/.asoundrc and /etc/asound.conf."
    elif code in (INTERNAL, HOST_ERROR) and guarded:
        reason = f"the system refused access ({host or text})"
        fix = ALLOW_MICROPHONE
    else:
        reason = f"the sound system reports {host or text!r}"
        fix = "Check that it is plugged in and that the sound server runs, then try again."
    return AudioError(f"Cannot {doing} {device}: {reason}. {fix}", output)


def _text_of(error: Exception) -> str:
    """Return the text of an error. Its class asks PortAudio, which may not be initialised."""
    try:
        return str(error)
    except Exception:
        message, _, (_, _, host) = error.args
        return f"{message}: {host}"
