"""Open a device stream with the best callback that the platform has."""

from __future__ import annotations

from rtvc.audio.portaudio_thread import PORTAUDIO
from rtvc.audio.streams import DeviceStream, StreamSpec


def open_stream(spec: StreamSpec, *, in_python: bool = False) -> DeviceStream:
    """Open a stream whose callback is C code if rtmixer can be imported, else Python.

    Parameters
    ----------
    spec
        Devices, channels, sample rate, block size and latency.
    in_python
        Use the callback in Python even if rtmixer can be imported.
    """
    stream = _open(spec, in_python)
    PORTAUDIO.streams.add(stream)
    return stream


def _open(spec: StreamSpec, in_python: bool) -> DeviceStream:
    if not in_python:
        try:
            from rtvc.audio.mixer_stream import MixerStream
        except ImportError:  # some platforms have no wheel of rtmixer
            pass
        else:
            return MixerStream(spec)
    from rtvc.audio.callback_stream import CallbackStream

    return CallbackStream(spec)
