"""The conversion of one file: a reason is never empty."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.cli.convert_file import Options, convert_file
from rtvc.cli.convert_jobs import Job
from rtvc.engine.voice import Voice
from rtvc.errors import RtvcError
from rtvc.settings import Settings
from tests.engine.rvc import rvc_stack
from tests.support.voices import PlainVoice

OPTIONS = Options(Settings(), False, None, False, False, "mix", False)


@pytest.mark.parametrize("failing", [{3}, {3, 4, 5, 6, 7, 8}])
def test_a_failed_step_is_the_reason(tmp_path: Path, failing: set[int]) -> None:
    def fail(render: int) -> None:
        if render in failing:
            raise ValueError("no such sound")

    noise = 0.1 * np.random.default_rng(0).standard_normal(48_000)
    soundfile.write(tmp_path / "in.wav", noise, 48_000)
    job = Job(tmp_path / "in.wav", tmp_path / "out.wav")
    with pytest.raises(RtvcError, match=r"in.wav was not converted\. .*[Ff]ailed"):
        convert_file(job, OPTIONS, PlainVoice(on_render=fail), lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def converted(folder: Path, voice: Voice, *, offline: bool) -> np.ndarray:
    job = Job(folder / "in.wav", folder / f"{offline}.wav")
    reading: list[float] = []
    shares: list[float] = []

    def show(share: float, _elapsed_s: float, doing: str) -> None:
        (reading if doing == "reading" else shares).append(share)

    outcome = convert_file(job, dataclasses.replace(OPTIONS, offline=offline), voice, show)
    assert outcome.status == "converted", outcome
    assert shares == sorted(shares)
    assert reading == sorted(reading)
    assert reading[-1] == 1
    made: np.ndarray = soundfile.read(job.target)[0]
    return made


def test_offline_quality_changes_the_result_of_a_streaming_voice(tmp_path: Path) -> None:
    voice = rvc_stack.voice(pitch=rvc_stack.LocalPitch())
    assert voice.continuous
    soundfile.write(tmp_path / "in.wav", rvc_stack.speech()[16_000:32_000], 16_000)
    live, offline = (converted(tmp_path, voice, offline=offline) for offline in (False, True))
    assert len(live) == len(offline) == 16_000
    difference = np.sqrt(np.mean((live - offline) ** 2) / np.mean(live**2))
    assert difference > 0.05
