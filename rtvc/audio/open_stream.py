"""Open a device stream, with the callback that this platform has."""

from __future__ import annotations

from rtvc.audio.streams import DeviceStream, StreamSpec


def open_stream(spec: StreamSpec, *, in_python: bool = False) -> DeviceStream:
    """Open a stream; its callback is C code where rtmixer can be imported.

    Parameters
    ----------
    spec
        Devices, rate, block and latency.
    in_python
        Use the callback in Python in any case.
    """
    if not in_python:
        try:
            from rtvc.audio.mixer_stream import MixerStream
        except ImportError:  # some platforms have no wheel of rtmixer
            pass
        else:
            return MixerStream(spec)
    from rtvc.audio.callback_stream import CallbackStream

    return CallbackStream(spec)
