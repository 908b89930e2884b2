"""Errors of MLX become sentences that say what to do."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from rtvc.engine.models.ops import backend
from rtvc.engine.rvc.content import Content
from rtvc.engine.rvc.mlx_errors import mlx_errors
from rtvc.engine.voice import VoiceError
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import plan_for, voice

REFUSED = "[metal::malloc] Unable to allocate 1 bytes."


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_an_error_in_a_step(monkeypatch: pytest.MonkeyPatch):
    settings = Settings(context=200.0, pitch_method="dio")
    rvc = voice(with_index=False)
    stream = rvc.open(plan_for(settings), settings)
    monkeypatch.setattr(Content, "begin", failing(RuntimeError(REFUSED)))
    with pytest.raises(VoiceError, match=r"failed while the voice was rendered: \[metal::malloc\]"):
        stream.render(np.zeros(1600, np.float32), settings)
    longer = settings.replace(context=400.0)  # other sizes are warmed up
    with pytest.raises(VoiceError, match="failed while the voice was rendered"):
        rvc.open(plan_for(longer), longer)


@pytest.mark.parametrize(
    "said", ["[reshape] Cannot reshape.", "Thread group size (512) is greater than the maximum."]
)
def test_the_sentence_on_a_gpu(said: str, monkeypatch: pytest.MonkeyPatch):
    on_gpu = dataclasses.replace(backend.compute, device="gpu")
    monkeypatch.setattr(backend, "compute", on_gpu)
    with pytest.raises(VoiceError) as caught, mlx_errors("loaded"):
        raise ValueError(said)
    assert str(caught.value) == (
        f"The GPU failed while the voice was loaded: {said} If it happens again, "
        "compute on the processor: 'rtvc run --compute cpu'."
    )


def test_a_mistake_of_the_caller_stays_one():
    settings = Settings(context=200.0, pitch_method="dio")
    rvc = voice(with_index=False)
    stream = rvc.open(plan_for(settings), settings)
    with pytest.raises(ValueError, match="not a whole number of 10 ms frames"):
        stream.render(np.zeros(1601, np.float32), settings)
