"""Access to PortAudio: import it on first use, capture its output, explain its errors."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from rtvc.errors import RtvcError

_lock = threading.RLock()

INVALID_CHANNELS, INVALID_RATE, INVALID_DEVICE = -9998, -9997, -9996
HOST_ERROR, BAD_COMBINATION, INTERNAL, UNAVAILABLE = -9999, -9993, -9986, -9985

ALLOW_MICROPHONE = (
    "Allow your terminal to use the microphone under System Settings, Privacy & Security, "
    "Microphone, then quit the terminal and open it again."
)


class AudioError(RtvcError):
    """An error of the sound system.

    Attributes
    ----------
    detail
        What its libraries printed, for ``--debug``; may be empty.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class StderrCapture:
    """What C libraries printed to file descriptor 2; `text` is set when the capture ends."""

    def __init__(self) -> None:
        self.text = ""


@contextlib.contextmanager
def capture_stderr() -> Iterator[StderrCapture]:
    """Capture what C libraries print to file descriptor 2, so that it is not on the terminal.

    The descriptor belongs to the whole process: the output of other threads is captured
    as well, so keep the block short.
    """
    noise = StderrCapture()
    with _lock, contextlib.ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:  # the descriptor is closed: there is no terminal to protect
            yield noise
            return
        stack.callback(os.close, saved)
        file = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(file.fileno(), 2)
        try:
            yield noise
        finally:
            os.dup2(saved, 2)
            file.seek(0)
            noise.text = file.read().decode(errors="replace").strip()


def portaudio() -> Any:
    """Return the `sounddevice` module, imported at the first call.

    Raises
    ------
    AudioError
        If sounddevice or the PortAudio library is not installed.
    """
    try:
        with capture_stderr():
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
        If PortAudio cannot be initialised.
    """
    sounddevice = portaudio()
    with capture_stderr() as noise:
        with contextlib.suppress(sounddevice.PortAudioError):  # it may not be initialised
            sounddevice._terminate()
        try:
            sounddevice._initialize()
        except sounddevice.PortAudioError as error:
            failure = error
        else:
            return
    raise audio_error(failure, "start", "the sound system", detail=noise.text)


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
    output = f"{error} {detail}".strip()
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
    elif code in (INTERNAL, HOST_ERROR) and guarded:
        reason = f"the system refused access ({host or error})"
        fix = ALLOW_MICROPHONE
    else:
        reason = f"the sound system reports {host or str(error)!r}"
        fix = "Check that it is plugged in and that the sound server runs, then try again."
    return AudioError(f"Cannot {doing} {device}: {reason}. {fix}", output)
