"""Errors of MLX as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rtvc.engine.models.ops import backend
from rtvc.engine.voice import VoiceError

_OF_MLX = ("[", "Thread group size")
"""How a ValueError of MLX begins: with the name of an operation in brackets, or as one about a
kernel of rtvc that needs more registers than this GPU has for so many threads."""


@contextmanager
def mlx_errors(done: str) -> Iterator[None]:
    """Turn errors of MLX in the context, or in the decorated function, into `VoiceError`.

    Parameters
    ----------
    done
        What is being done to the voice, such as "loaded".
    """
    try:
        yield
    except (RuntimeError, MemoryError, ValueError) as error:
        message = str(error).strip()
        if isinstance(error, ValueError) and not message.startswith(_OF_MLX):
            raise
        said = (message.splitlines() or [type(error).__name__])[0].rstrip(".")
        unit, advice = "processor", "If it happens again, run 'rtvc doctor --self-test'."
        if backend.compute.device == "gpu":
            unit = "GPU"
            advice = "If it happens again, compute on the processor: 'rtvc run --compute cpu'."
        raise VoiceError(
            f"The {unit} failed while the voice was {done}: {said}. {advice}"
        ) from error
